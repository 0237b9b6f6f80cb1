//! Plain files on the simulated disk: at once, cached until synced, lost or torn by a power cut.
//!
//! Owns: what goes wrong with them. Never: time, so no task runs between two operations of one call:
//! what a crash there leaves is asked for by [`PlainFaults::ends_amid`].

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::SimDisk;
use super::image::{Image, SharedFile, disk_full, input_output_error, locked};
use crate::blocking::{BlockingDisk, BlockingFile};

/// What goes wrong with plain files. Chances are times in 10,000; a crash ends them all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlainFaults {
    /// A read fails with EIO.
    pub read_errors: u32,
    /// A change of a file fails with EIO: any of a write's sectors may be in the cache, other changes
    /// are made or not.
    pub write_errors: u32,
    /// A sync fails with EIO. Some of what it was for is durable; no later sync makes the rest so, which
    /// is still read, or is gone at once.
    pub sync_errors: u32,
    /// Making or lengthening a file fails with ENOSPC.
    pub full_errors: u32,
    /// The life ends amid the n-th operation from now that changes something (0: the next one), which is
    /// done in part: whatever is asked afterwards fails, and [`super::Sim::run`] returns.
    pub ends_amid: Option<u64>,
}

/// A plain file of one life; after a crash every call on it fails and changes nothing.
#[derive(Debug)]
pub struct SimBlockingFile {
    image: Arc<Mutex<Image>>,
    file: SharedFile,
    life: u64,
}

/// What becomes of an operation that changes something.
enum Fate {
    Works,
    /// It fails, and is done in part.
    Breaks,
}

impl Image {
    /// The fate of the next operation, which spends one of those that are left.
    fn plain_operation(&mut self, faults_in: impl Fn(&PlainFaults) -> u32) -> io::Result<Fate> {
        if self.has_ended {
            return Err(input_output_error());
        }
        match &mut self.plain_operations_left {
            None => {}
            Some(0) => return Err(input_output_error()),
            Some(left) => *left -= 1,
        }
        if let Some(left) = self.plain_faults.ends_amid {
            self.plain_faults.ends_amid = left.checked_sub(1);
            if left == 0 {
                self.has_ended = true;
                return Ok(Fate::Breaks);
            }
        }
        if self.plain_dice.chance(faults_in(&self.plain_faults)) {
            return Ok(Fate::Breaks);
        }
        Ok(Fate::Works)
    }

    /// A change of names, which is made whole or not at all.
    fn change_names<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        match self.plain_operation(|faults| faults.write_errors)? {
            Fate::Works => change(self),
            Fate::Breaks => {
                if self.plain_dice.coin() {
                    change(self).ok();
                }
                Err(input_output_error())
            }
        }
    }

    /// A read of what is there: names or bytes.
    fn plain_read(&mut self) -> io::Result<()> {
        if self.has_ended || self.plain_dice.chance(self.plain_faults.read_errors) {
            return Err(input_output_error());
        }
        Ok(())
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
        let full = image.plain_faults.full_errors;
        if image.plain_dice.chance(full) {
            return Err(disk_full());
        }
        let file = image.change_names(|image| image.create(path, 0))?;
        drop(image);
        Ok(self.handle(file))
    }

    fn open(&self, path: &str) -> io::Result<SimBlockingFile> {
        let mut image = locked(&self.image);
        image.plain_read()?;
        let file = image.file(path)?;
        drop(image);
        Ok(self.handle(file))
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        let mut image = locked(&self.image);
        image.plain_read()?;
        Ok(image.names.contains_key(path))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        locked(&self.image).change_names(|image| image.remove(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        locked(&self.image).change_names(|image| image.rename(from, to))
    }
}

impl SimBlockingFile {
    /// The image, if this file is of the present life.
    fn image(&self) -> io::Result<MutexGuard<'_, Image>> {
        let image = locked(&self.image);
        if image.life != self.life {
            return Err(io::Error::other(
                "the machine crashed since this file was opened",
            ));
        }
        Ok(image)
    }

    /// The fate of a change that needs the file to be `end` bytes long.
    fn change(&self, image: &mut Image, end: u64) -> io::Result<Fate> {
        let fate = image.plain_operation(|faults| faults.write_errors)?;
        let more = end.saturating_sub(locked(&self.file).bytes() as u64);
        let full = image.plain_faults.full_errors;
        if more > image.free_bytes() || (more > 0 && image.plain_dice.chance(full)) {
            return Err(disk_full());
        }
        Ok(fate)
    }
}

impl BlockingFile for SimBlockingFile {
    fn bytes(&self) -> io::Result<u64> {
        self.image()?.plain_read()?;
        Ok(locked(&self.file).bytes() as u64)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.image()?.plain_read()?;
        locked(&self.file).read(at as usize, into)
    }

    fn write_at(&self, at: u64, data: &[u8]) -> io::Result<()> {
        let mut image = self.image()?;
        match self.change(&mut image, at + data.len() as u64)? {
            Fate::Works => {
                locked(&self.file).write_cached(at as usize, data);
                Ok(())
            }
            Fate::Breaks => {
                locked(&self.file).write_in_part(at as usize, data, &mut image.plain_dice);
                Err(input_output_error())
            }
        }
    }

    fn set_bytes(&self, bytes: u64) -> io::Result<()> {
        let mut image = self.image()?;
        let fate = self.change(&mut image, bytes)?;
        if matches!(fate, Fate::Works) || image.plain_dice.coin() {
            locked(&self.file).set_bytes(bytes as usize);
        }
        match fate {
            Fate::Works => Ok(()),
            Fate::Breaks => Err(input_output_error()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut image = self.image()?;
        match image.plain_operation(|faults| faults.sync_errors)? {
            Fate::Works => {
                if !image.forgets_plain_syncs {
                    locked(&self.file).flush();
                }
                return Ok(());
            }
            // What a power cut then leaves of the cache is any part of it, as if some had been flushed.
            Fate::Breaks if image.has_ended => {}
            Fate::Breaks => {
                let mut file = locked(&self.file);
                file.fail_flush(&mut image.plain_dice);
                if image.plain_dice.coin() {
                    file.forget_doomed();
                }
            }
        }
        Err(input_output_error())
    }
}

#[cfg(test)]
mod tests;
