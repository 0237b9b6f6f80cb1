//! redb's storage on the reactor's plain files, real or simulated.

use std::io;

use redb::StorageBackend;
use weir_reactor::BlockingFile;

/// One plain file as redb's storage.
#[derive(Debug)]
pub(crate) struct CatalogStorage<F: BlockingFile> {
    file: F,
}

impl<F: BlockingFile> CatalogStorage<F> {
    pub(crate) fn new(file: F) -> Self {
        Self { file }
    }
}

impl<F: BlockingFile> StorageBackend for CatalogStorage<F> {
    fn len(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_bytes(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, data)
    }
}
