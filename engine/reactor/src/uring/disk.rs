//! The data folder on the real file system.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use glommio::io::OpenOptions;

use super::create::{create_reserved, create_written};
use super::file::CoreFile;
use crate::blocking::sync_folder;
use crate::off_core::off_core;
use crate::preflight::space_of;
use crate::seam::{Disk, Entry, Space};

/// A folder of the real file system, for one core.
#[derive(Debug, Clone)]
pub struct CoreDisk {
    root: Rc<PathBuf>,
}

impl CoreDisk {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root: Rc::new(root),
        }
    }

    /// Decides, for this core, that disk operations complete by interrupt. Left alone, the runtime
    /// finds out by a read of the first file it opens whether the device can be polled, is misled
    /// where that file has blocks not yet written, and fails every later operation; and where it is
    /// right, it spins, which starves the flush of a write. A file that can not be read settles it.
    pub(super) async fn refuse_polling(&self, core: usize) {
        let path = self.root.join(format!(".probe-core-{core}"));
        let mut options = OpenOptions::new();
        if let Ok(file) = options.write(true).create(true).dma_open(&path).await {
            // Whatever went wrong here, the first real file will show.
            let _ = file.close().await;
            let _ = fs::remove_file(&path);
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        assert!(
            !path.starts_with('/'),
            "{path} is no path inside the folder"
        );
        assert!(
            path.split('/').all(|part| part != ".."),
            "{path} leaves the folder"
        );
        self.root.join(path)
    }
}

impl Disk for CoreDisk {
    type File = CoreFile;

    async fn make_folder(&self, path: &str) -> io::Result<()> {
        let (root, path) = (self.root.as_path().to_owned(), self.path(path));
        off_core(move || {
            fs::create_dir_all(&path)?;
            // Every folder on the way may be new, and each new name is durable only after a flush
            // of the folder that holds it.
            for folder in path
                .ancestors()
                .take_while(|folder| folder.starts_with(&root))
            {
                sync_folder(folder)?;
            }
            Ok(())
        })
        .await
    }

    async fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let path = self.path(path);
        off_core(move || {
            let mut entries = Vec::new();
            for found in fs::read_dir(&path)? {
                let found = found?;
                let about = found.metadata()?;
                // A name that is not UTF-8 is none of ours.
                let Ok(name) = found.file_name().into_string() else {
                    continue;
                };
                let is_folder = about.is_dir();
                let bytes = if is_folder { 0 } else { about.len() };
                entries.push(Entry {
                    name,
                    bytes,
                    is_folder,
                });
            }
            entries.sort_by(|left, right| left.name.cmp(&right.name));
            Ok(entries)
        })
        .await
    }

    async fn create_written(&self, path: &str, bytes: u64) -> io::Result<()> {
        let path = self.path(path);
        off_core(move || create_written(&path, bytes)).await
    }

    async fn create_reserved(&self, path: &str, bytes: u64) -> io::Result<()> {
        let path = self.path(path);
        off_core(move || create_reserved(&path, bytes)).await
    }

    async fn open(&self, path: &str) -> io::Result<CoreFile> {
        CoreFile::open(self.path(path)).await
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        off_core(move || {
            fs::remove_file(&path)?;
            sync_folder(path.parent().unwrap_or(&path))
        })
        .await
    }

    async fn space(&self) -> io::Result<Space> {
        let root = self.root.as_path().to_owned();
        off_core(move || space_of(&root)).await
    }
}
