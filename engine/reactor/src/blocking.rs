//! Plain files for ordinary threads: the catalog's storage.
//!
//! Owns: the seam, and its real side on `std::fs`. Never: direct I/O, an executor thread.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// An open plain file. Calls block the thread; what they wrote is durable after [`sync`](Self::sync).
pub trait BlockingFile: fmt::Debug + Send + Sync + 'static {
    /// Length in bytes.
    fn bytes(&self) -> io::Result<u64>;

    /// Fills `into` from `at`; an error if the file ends before.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `at`, extending the file if need be.
    fn write_at(&self, at: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts the file, or extends it with zeros.
    fn set_bytes(&self, bytes: u64) -> io::Result<()>;

    /// Flushes contents and length to the device.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of plain files. Paths are relative to it. Changes of names are durable when the call
/// returns.
pub trait BlockingDisk: Clone + fmt::Debug + Send + Sync + 'static {
    /// An open plain file.
    type File: BlockingFile;

    /// Makes an empty file; `AlreadyExists` if there is one.
    fn create(&self, path: &str) -> io::Result<Self::File>;

    /// Opens a file for reading and writing; `NotFound` if there is none.
    fn open(&self, path: &str) -> io::Result<Self::File>;

    /// Whether there is such a file.
    fn exists(&self, path: &str) -> io::Result<bool>;

    /// Unlinks a file.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Gives a file another name, in place of one that may bear it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
}

/// A folder of the real file system.
#[derive(Debug, Clone)]
pub struct PlainDisk {
    root: PathBuf,
}

/// A file of the real file system.
#[derive(Debug)]
pub struct PlainFile {
    file: fs::File,
}

impl PlainDisk {
    /// The folder at `root`, which is there.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn sync_folder_of(&self, path: &str) -> io::Result<()> {
        let path = self.root.join(path);
        sync_folder(path.parent().unwrap_or(&self.root))
    }
}

/// Makes changes of names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

impl BlockingDisk for PlainDisk {
    type File = PlainFile;

    fn create(&self, path: &str) -> io::Result<PlainFile> {
        let mut options = fs::OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.root.join(path))?;
        self.sync_folder_of(path)?;
        Ok(PlainFile { file })
    }

    fn open(&self, path: &str) -> io::Result<PlainFile> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.root.join(path))?;
        Ok(PlainFile { file })
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        fs::exists(self.root.join(path))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(path))?;
        self.sync_folder_of(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))?;
        self.sync_folder_of(from)?;
        self.sync_folder_of(to)
    }
}

impl BlockingFile for PlainFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }

    fn write_at(&self, at: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, at)
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
