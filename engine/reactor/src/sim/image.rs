//! The bytes of the simulated disk: what is durable, and what is only in caches.
//!
//! Owns: files, sectors, names, capacity. Never: time, tasks, chance of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::blocking::PlainFaults;
use super::dice::Dice;

/// What a device writes whole; a torn write is torn between sectors.
pub(super) const SECTOR_BYTES: usize = 512;

/// One file. `durable` survives everything; `cached` sectors are what readers see instead, until a
/// flush makes them durable or a power cut decides.
#[derive(Debug, Default)]
pub(super) struct FileImage {
    durable: Vec<u8>,
    bytes: usize,
    cached: BTreeMap<usize, [u8; SECTOR_BYTES]>,
    /// Cached sectors that a failed flush gave up: no flush makes them durable any more.
    doomed: BTreeSet<usize>,
    unreadable: BTreeSet<usize>,
}

pub(super) type SharedFile = Arc<Mutex<FileImage>>;

/// Locks; a poisoned lock only means that a test panicked elsewhere.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FileImage {
    pub(super) fn zeroed(bytes: usize) -> Self {
        Self {
            durable: vec![0; bytes],
            bytes,
            ..Self::default()
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    pub(super) fn durable_mut(&mut self) -> &mut [u8] {
        &mut self.durable
    }

    pub(super) fn set_unreadable(&mut self, sectors: std::ops::Range<usize>) {
        self.unreadable.extend(sectors);
    }

    pub(super) fn drop_cached(&mut self, sectors: std::ops::Range<usize>) {
        self.cached.retain(|sector, _| !sectors.contains(sector));
    }

    pub(super) fn cached_sectors(&self) -> usize {
        self.cached.len()
    }

    /// Fills `into` from what a reader sees at `at`.
    pub(super) fn read(&self, at: usize, into: &mut [u8]) -> io::Result<()> {
        let end = at + into.len();
        if end > self.bytes {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let sectors = at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES);
        if self.unreadable.range(sectors.clone()).next().is_some() {
            return Err(input_output_error());
        }
        let durable = self.durable.get(at..).unwrap_or_default();
        let durable = &durable[..durable.len().min(into.len())];
        into[..durable.len()].copy_from_slice(durable);
        into[durable.len()..].fill(0);
        for (&sector, content) in self.cached.range(sectors) {
            let (from, to) = clip(sector, at, end);
            into[from - at..to - at].copy_from_slice(
                &content[from - sector * SECTOR_BYTES..to - sector * SECTOR_BYTES],
            );
        }
        Ok(())
    }

    /// Writes whole sectors; `keep(index)` says whether the index-th sector of `data` arrives, and
    /// whether it is durable then.
    pub(super) fn land(&mut self, at: usize, data: &[u8], mut keep: impl FnMut(usize) -> Landing) {
        assert!(at.is_multiple_of(SECTOR_BYTES) && data.len().is_multiple_of(SECTOR_BYTES));
        assert!(
            at + data.len() <= self.durable.len(),
            "a direct write extends no file"
        );
        for (index, content) in data.chunks_exact(SECTOR_BYTES).enumerate() {
            let sector = at / SECTOR_BYTES + index;
            match keep(index) {
                Landing::Lost => {}
                Landing::Cached => {
                    let mut copy = [0; SECTOR_BYTES];
                    copy.copy_from_slice(content);
                    self.cached.insert(sector, copy);
                    self.doomed.remove(&sector);
                    self.unreadable.remove(&sector);
                }
                Landing::Durable => {
                    self.cached.remove(&sector);
                    self.doomed.remove(&sector);
                    self.unreadable.remove(&sector);
                    let start = sector * SECTOR_BYTES;
                    self.durable[start..start + SECTOR_BYTES].copy_from_slice(content);
                }
            }
        }
    }

    /// A write that completed well.
    pub(super) fn land_durably(&mut self, at: usize, data: &[u8]) {
        if self.cached.is_empty() && self.unreadable.is_empty() {
            self.durable[at..at + data.len()].copy_from_slice(data);
        } else {
            self.land(at, data, |_| Landing::Durable);
        }
    }

    /// A plain write: any position and length, into the cache only, extending the file if need be.
    pub(super) fn write_cached(&mut self, at: usize, data: &[u8]) {
        let end = at + data.len();
        if end > self.bytes {
            self.set_bytes(end);
        }
        for sector in at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let mut content = self.sector(sector);
            let (from, to) = clip(sector, at, end);
            let start = sector * SECTOR_BYTES;
            content[from - start..to - start].copy_from_slice(&data[from - at..to - at]);
            self.cached.insert(sector, content);
            self.doomed.remove(&sector);
            self.unreadable.remove(&sector);
        }
    }

    /// A plain write that fails: some of its sectors are in the cache.
    pub(super) fn write_in_part(&mut self, at: usize, data: &[u8], dice: &mut Dice) {
        let end = at + data.len();
        let sectors = at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES);
        let written = dice.subset(sectors.len());
        for (sector, _) in sectors.zip(written).filter(|(_, written)| *written) {
            let (from, to) = clip(sector, at, end);
            self.write_cached(from, &data[from - at..to - at]);
        }
    }

    /// Cuts or extends the file; the new length is durable only after a flush.
    pub(super) fn set_bytes(&mut self, bytes: usize) {
        let old = std::mem::replace(&mut self.bytes, bytes);
        if bytes < old {
            self.cached
                .retain(|&sector, _| sector * SECTOR_BYTES < bytes);
            if !bytes.is_multiple_of(SECTOR_BYTES) {
                let sector = bytes / SECTOR_BYTES;
                let mut content = self.sector(sector);
                content[bytes % SECTOR_BYTES..].fill(0);
                self.cached.insert(sector, content);
            }
        } else {
            // Old durable bytes behind a former cut must not shine through the extension.
            let stale = old.div_ceil(SECTOR_BYTES)..self.durable.len().div_ceil(SECTOR_BYTES);
            for sector in stale.filter(|sector| sector * SECTOR_BYTES < bytes) {
                self.cached.entry(sector).or_insert([0; SECTOR_BYTES]);
            }
        }
    }

    /// Makes durable what is only cached, the length too.
    pub(super) fn flush(&mut self) {
        self.durable.resize(self.bytes, 0);
        let doomed = &self.doomed;
        let durable = &mut self.durable;
        self.cached.retain(|sector, content| {
            if !doomed.contains(sector) {
                put_sector(durable, *sector, content);
            }
            doomed.contains(sector)
        });
    }

    /// A flush that fails: some of the cache is durable, the rest will never be.
    pub(super) fn fail_flush(&mut self, dice: &mut Dice) {
        let lost = dice.subset(self.cached.len());
        let sectors = self.cached.keys().copied();
        let lost = sectors
            .zip(lost)
            .filter_map(|(sector, lost)| lost.then_some(sector));
        self.doomed.extend(lost);
        self.flush();
    }

    /// The life that saw a flush fail ends: what was given up is gone.
    pub(super) fn forget_doomed(&mut self) {
        for sector in std::mem::take(&mut self.doomed) {
            self.cached.remove(&sector);
        }
    }

    /// A power cut: a drawn subset of the cache survives, the rest is as it was.
    pub(super) fn lose_power(&mut self, dice: &mut Dice) {
        if self.bytes != self.durable.len() && dice.coin() {
            self.durable.resize(self.bytes, 0);
        }
        let survives = dice.subset(self.cached.len());
        for ((sector, content), survives) in std::mem::take(&mut self.cached).iter().zip(survives) {
            if survives {
                put_sector(&mut self.durable, *sector, content);
            }
        }
        self.bytes = self.durable.len();
    }

    fn sector(&self, sector: usize) -> [u8; SECTOR_BYTES] {
        if let Some(content) = self.cached.get(&sector) {
            return *content;
        }
        let mut content = [0; SECTOR_BYTES];
        let start = (sector * SECTOR_BYTES).min(self.durable.len());
        let end = (start + SECTOR_BYTES).min(self.durable.len());
        content[..end - start].copy_from_slice(&self.durable[start..end]);
        content
    }
}

/// Where a sector of a write ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landing {
    Lost,
    Cached,
    Durable,
}

fn clip(sector: usize, at: usize, end: usize) -> (usize, usize) {
    (
        (sector * SECTOR_BYTES).max(at),
        ((sector + 1) * SECTOR_BYTES).min(end),
    )
}

/// Puts a sector into `durable`, as far as the file reaches.
fn put_sector(durable: &mut [u8], sector: usize, content: &[u8; SECTOR_BYTES]) {
    let start = (sector * SECTOR_BYTES).min(durable.len());
    let end = (start + SECTOR_BYTES).min(durable.len());
    durable[start..end].copy_from_slice(&content[..end - start]);
}

/// The error a broken device gives.
pub(super) fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

/// Names and folders of the simulated disk.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) names: BTreeMap<String, SharedFile>,
    pub(super) folders: BTreeSet<String>,
    pub(super) capacity_bytes: u64,
    /// Rises with every crash: plain handles of a former life are refused.
    pub(super) life: u64,
    /// Plain operations that still work; the others fail and change nothing.
    pub(super) plain_operations_left: Option<u64>,
    pub(super) plain_faults: PlainFaults,
    /// Chance of its own, so that faults of plain files shift nothing else.
    pub(super) plain_dice: Dice,
    /// The life ended amid a plain operation, and only waits for its crash.
    pub(super) has_ended: bool,
    /// A planted bug: see [`super::SimDisk::forget_folder_flushes`].
    pub(super) forgets_folder_flushes: bool,
    /// Another: see [`super::SimDisk::forget_plain_syncs`].
    pub(super) forgets_plain_syncs: bool,
    /// Names that a power cut may take.
    unflushed_names: BTreeSet<String>,
}

impl Image {
    pub(super) fn new(capacity_bytes: u64, seed: u64) -> Self {
        Self {
            names: BTreeMap::new(),
            folders: BTreeSet::from([String::new()]),
            capacity_bytes,
            life: 0,
            plain_operations_left: None,
            plain_faults: PlainFaults::default(),
            plain_dice: Dice::new(seed.rotate_left(16)),
            has_ended: false,
            forgets_folder_flushes: false,
            forgets_plain_syncs: false,
            unflushed_names: BTreeSet::new(),
        }
    }

    pub(super) fn file(&self, path: &str) -> io::Result<SharedFile> {
        let found = self.names.get(path).cloned();
        found.ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("no file {path}")))
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.names
            .values()
            .map(|file| locked(file).bytes() as u64)
            .sum()
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes())
    }

    pub(super) fn create(&mut self, path: &str, bytes: u64) -> io::Result<SharedFile> {
        self.check_new(path)?;
        if bytes > self.free_bytes() {
            return Err(disk_full());
        }
        let file = Arc::new(Mutex::new(FileImage::zeroed(bytes as usize)));
        self.names.insert(path.to_owned(), Arc::clone(&file));
        if self.forgets_folder_flushes {
            self.unflushed_names.insert(path.to_owned());
        }
        Ok(file)
    }

    /// The present life ends: what it still holds of plain files is of no use from here on.
    pub(super) fn end_life(&mut self) {
        self.life += 1;
        self.plain_operations_left = None;
        self.plain_faults = PlainFaults::default();
        self.has_ended = false;
    }

    /// A power cut: of the names that were not flushed a drawn subset survives.
    pub(super) fn lose_names(&mut self, dice: &mut Dice) {
        let unflushed = std::mem::take(&mut self.unflushed_names);
        let survives = dice.subset(unflushed.len());
        for (path, survives) in unflushed.iter().zip(survives) {
            if !survives {
                self.names.remove(path);
            }
        }
    }

    pub(super) fn check_new(&self, path: &str) -> io::Result<()> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !self.folders.contains(folder) {
            return Err(io::Error::new(
                ErrorKind::NotFound,
                format!("no folder {folder}"),
            ));
        }
        if self.names.contains_key(path) || self.folders.contains(path) {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                format!("{path} exists"),
            ));
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        self.file(path)?;
        self.names.remove(path);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let file = self.file(from)?;
        self.names.remove(from);
        self.names.insert(to.to_owned(), file);
        Ok(())
    }

    /// Makes `path` and the folders above it.
    pub(super) fn make_folder(&mut self, path: &str) {
        let mut from = 0;
        while let Some(found) = path[from..].find('/') {
            self.folders.insert(path[..from + found].to_owned());
            from += found + 1;
        }
        self.folders.insert(path.to_owned());
    }
}

/// ENOSPC, whose kind is `StorageFull`.
pub(super) fn disk_full() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}
