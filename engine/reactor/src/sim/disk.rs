//! The simulated disk from outside: for tests to look at and to damage.
//!
//! Owns: nothing but a handle. Never: virtual time; everything here happens at once.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::blocking::PlainFaults;
use super::image::{Image, SECTOR_BYTES, SharedFile, locked};

/// The disk of one simulated machine, over all its lives. Sectors are 512 bytes. `Send` and
/// `Sync`, since the catalog's storage must be.
#[derive(Debug, Clone)]
pub struct SimDisk {
    pub(super) image: Arc<Mutex<Image>>,
}

impl SimDisk {
    /// Paths of all files, sorted.
    pub fn paths(&self) -> Vec<String> {
        locked(&self.image).names.keys().cloned().collect()
    }

    /// Bytes taken by files.
    pub fn used_bytes(&self) -> u64 {
        locked(&self.image).used_bytes()
    }

    /// Changes how much the disk holds; what is there stays, even if it is more.
    pub fn set_capacity(&self, bytes: u64) {
        locked(&self.image).capacity_bytes = bytes;
    }

    /// What would survive a power cut now that loses every cache.
    pub fn durable_bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        let file = self.file(path)?;
        let bytes = locked(&file).durable().to_vec();
        Ok(bytes)
    }

    /// What a reader sees: the caches over the durable bytes.
    pub fn visible_bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        let file = self.file(path)?;
        let file = locked(&file);
        let mut bytes = vec![0; file.bytes()];
        file.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Sectors of the file that are readable but not durable.
    pub fn cached_sectors(&self, path: &str) -> io::Result<usize> {
        let file = self.file(path)?;
        let cached = locked(&file).cached_sectors();
        Ok(cached)
    }

    /// Flips one bit, durably.
    pub fn rot_bit(&self, path: &str, byte: u64, bit: u8) -> io::Result<()> {
        assert!(bit < 8, "a byte has no bit {bit}");
        self.damage(path, byte as usize..byte as usize + 1, |bytes| {
            bytes[0] ^= 1 << bit;
        })
    }

    /// Zeroes the sector that holds `byte`, durably.
    pub fn zero_sector(&self, path: &str, byte: u64) -> io::Result<()> {
        let start = byte as usize / SECTOR_BYTES * SECTOR_BYTES;
        self.damage(path, start..start + SECTOR_BYTES, |bytes| bytes.fill(0))
    }

    /// Puts `bytes` at `at`, durably. The range must lie inside the file.
    pub fn write_raw(&self, path: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let at = at as usize;
        self.damage(path, at..at + bytes.len(), |range| {
            range.copy_from_slice(bytes);
        })
    }

    /// Makes a file of these durable bytes, in place of one that may be there.
    pub fn put_file(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut image = locked(&self.image);
        image.names.remove(path);
        if let Some((folder, _)) = path.rsplit_once('/') {
            image.make_folder(folder);
        }
        let file = image.create(path, bytes.len() as u64)?;
        locked(&file).durable_mut().copy_from_slice(bytes);
        Ok(())
    }

    /// Unlinks a file; who has it open keeps it.
    pub fn remove_file(&self, path: &str) -> io::Result<()> {
        locked(&self.image).remove(path)
    }

    /// From now on reading any sector of `range` fails with EIO, until the sector is written again.
    pub fn make_unreadable(&self, path: &str, range: Range<u64>) -> io::Result<()> {
        let file = self.file(path)?;
        locked(&file).set_unreadable(sectors(range.start as usize..range.end as usize));
        Ok(())
    }

    /// After `count` more plain operations (those of [`crate::BlockingDisk`]) that change
    /// something, all further ones fail and change nothing, as on a machine about to crash; `None`
    /// ends that. A crash ends it too.
    pub fn stop_plain_operations_after(&self, count: Option<u64>) {
        locked(&self.image).plain_operations_left = count;
    }

    /// Changes what goes wrong with plain files, until the next crash.
    pub fn set_plain_faults(&self, faults: PlainFaults) {
        locked(&self.image).plain_faults = faults;
    }

    /// From now on a new file's name survives the next power cut only by luck, as with a seam that
    /// forgets to flush the folder: a bug planted for a judge.
    pub fn forget_folder_flushes(&self) {
        locked(&self.image).forgets_folder_flushes = true;
    }

    /// From now on a sync of a plain file does nothing and succeeds: another such bug.
    pub fn forget_plain_syncs(&self) {
        locked(&self.image).forgets_plain_syncs = true;
    }

    fn file(&self, path: &str) -> io::Result<SharedFile> {
        locked(&self.image).file(path)
    }

    fn damage(
        &self,
        path: &str,
        range: Range<usize>,
        change: impl FnOnce(&mut [u8]),
    ) -> io::Result<()> {
        let file = self.file(path)?;
        let mut file = locked(&file);
        let end = range.end.min(file.durable().len());
        if range.start >= end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.drop_cached(sectors(range.clone()));
        change(&mut file.durable_mut()[range.start..end]);
        Ok(())
    }
}

fn sectors(range: Range<usize>) -> Range<usize> {
    range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES)
}
