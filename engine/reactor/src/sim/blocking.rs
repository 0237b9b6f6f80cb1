//! Plain files on the simulated disk: at once, cached until synced, lost or torn by a power cut.

use std::io;
use std::sync::{Arc, Mutex};

use super::disk::SimDisk;
use super::image::{Image, SharedFile, disk_full, input_output_error, locked};
use crate::blocking::{BlockingDisk, BlockingFile};

/// A plain file of one life; after a crash every call on it fails and changes nothing.
#[derive(Debug)]
pub struct SimBlockingFile {
    image: Arc<Mutex<Image>>,
    file: SharedFile,
    life: u64,
}

impl Image {
    /// Spends one of the plain operations that are left.
    fn plain_operation(&mut self) -> io::Result<()> {
        match &mut self.plain_operations_left {
            None => Ok(()),
            Some(0) => Err(input_output_error()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl SimDisk {
    fn handle(&self, file: SharedFile) -> SimBlockingFile {
        let life = locked(&self.image).life;
        SimBlockingFile {
            image: Arc::clone(&self.image),
            file,
            life,
        }
    }
}

impl BlockingDisk for SimDisk {
    type File = SimBlockingFile;

    fn create(&self, path: &str) -> io::Result<SimBlockingFile> {
        let mut image = locked(&self.image);
        image.plain_operation()?;
        let file = image.create(path, 0)?;
        drop(image);
        Ok(self.handle(file))
    }

    fn open(&self, path: &str) -> io::Result<SimBlockingFile> {
        let file = locked(&self.image).file(path)?;
        Ok(self.handle(file))
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(locked(&self.image).names.contains_key(path))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut image = locked(&self.image);
        image.plain_operation()?;
        image.remove(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut image = locked(&self.image);
        image.plain_operation()?;
        image.rename(from, to)
    }
}

impl SimBlockingFile {
    fn change(&self, end: Option<u64>) -> io::Result<()> {
        let mut image = locked(&self.image);
        if image.life != self.life {
            return Err(io::Error::other(
                "the machine crashed since this file was opened",
            ));
        }
        image.plain_operation()?;
        let bytes = locked(&self.file).bytes() as u64;
        if end.is_some_and(|end| end.saturating_sub(bytes) > image.free_bytes()) {
            return Err(disk_full());
        }
        Ok(())
    }
}

impl BlockingFile for SimBlockingFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(locked(&self.file).bytes() as u64)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        locked(&self.file).read(at as usize, into)
    }

    fn write_at(&self, at: u64, data: &[u8]) -> io::Result<()> {
        self.change(Some(at + data.len() as u64))?;
        locked(&self.file).write_cached(at as usize, data);
        Ok(())
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        self.change(Some(bytes))?;
        locked(&self.file).set_bytes(bytes as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.change(None)?;
        locked(&self.file).flush();
        Ok(())
    }
}
