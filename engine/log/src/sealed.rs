//! Sealed segments: what is known of each without touching it, and what was loaded of some.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use weir_protocol::model::{LogId, Timestamp};
use weir_reactor::{Disk, File, Reactor, Retiring};

use crate::discipline::Discipline;
use crate::log::{FileOf, Log, MapOf};
use crate::segment::{Footer, Trailer, slot_path};

/// A sealed segment of any log of the folder. It belongs to nobody: cores share it by `Arc`, and its
/// slot is used again when the last of them has let go.
#[derive(Debug)]
pub struct SealedSegment {
    pub(crate) log: LogId,
    pub(crate) generation: u64,
    pub(crate) slot: u32,
    /// Orders the segments of a log. A settled segment has its last input's.
    pub(crate) ordinal: u64,
    pub(crate) trailer: Trailer,
}

impl SealedSegment {
    /// The log it was written by.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Its number, never used twice in its log.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn path(&self) -> String {
        slot_path(self.log, self.slot)
    }
}

/// A sealed segment that was looked into.
pub(crate) struct Loaded<R: Reactor> {
    pub(crate) meta: Arc<SealedSegment>,
    pub(crate) file: FileOf<R>,
    pub(crate) footer: Footer,
    /// The mapping, made when a range is wanted a second time.
    pub(crate) map: RefCell<Option<Rc<MapOf<R>>>>,
    /// One flag for each MiB: it was read from disk before.
    pub(crate) read_before: RefCell<Vec<bool>>,
}

/// An entry of the list.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each named"
)]
pub(crate) struct SealedEntry<R: Reactor> {
    pub(crate) meta: Arc<SealedSegment>,
    /// Whether this core gives its slot back; the others only read it.
    pub(crate) owned: bool,
    /// Whether the catalog has heard of it.
    pub(crate) recorded: bool,
    /// Whether its shares were added to the shards that have a byte cap.
    pub(crate) counted: bool,
    /// Live bytes when it was last looked at; `None` before.
    pub(crate) live_bytes: Option<u64>,
    /// Nothing of it can have expired before this.
    pub(crate) look_again: Timestamp,
    /// The state's count of deletions when it was last looked at.
    pub(crate) looked_at: u64,
    /// Settling found damage in it: left alone.
    pub(crate) damaged: bool,
    loaded: RefCell<Option<Rc<Loaded<R>>>>,
    used: Cell<u64>,
}

/// All sealed segments a core can read, by log and ordinal.
pub(crate) struct SealedList<R: Reactor> {
    entries: Vec<SealedEntry<R>>,
    /// Segments that count no more, until their last reader lets go.
    pub(crate) retiring: Retiring<SealedSegment>,
    held_bytes: usize,
    held_bytes_max: usize,
    clock: u64,
}

/// Open files of sealed segments kept at most, per core.
const LOADED_MAX: usize = 64;

impl<R: Reactor> SealedList<R> {
    pub(crate) fn new(held_bytes_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            retiring: Retiring::default(),
            held_bytes: 0,
            held_bytes_max,
            clock: 0,
        }
    }

    pub(crate) fn insert(&mut self, meta: Arc<SealedSegment>, owned: bool, recorded: bool) {
        let at = self
            .entries
            .partition_point(|e| (e.meta.log, e.meta.ordinal) < (meta.log, meta.ordinal));
        let entry = SealedEntry {
            meta,
            owned,
            recorded,
            counted: false,
            live_bytes: None,
            look_again: Timestamp::ZERO,
            looked_at: u64::MAX,
            damaged: false,
            loaded: RefCell::new(None),
            used: Cell::new(0),
        };
        self.entries.insert(at, entry);
    }

    pub(crate) fn remove(&mut self, log: LogId, generation: u64) -> Option<SealedEntry<R>> {
        let at = self.position(log, generation)?;
        let entry = self.entries.remove(at);
        if let Some(loaded) = entry.loaded.borrow_mut().take() {
            self.held_bytes -= loaded.footer.held_bytes();
        }
        Some(entry)
    }

    /// Has every segment's shares counted anew.
    pub(crate) fn count_again(&mut self) {
        for entry in &mut self.entries {
            entry.counted = false;
        }
    }

    pub(crate) fn entries(&self) -> &[SealedEntry<R>] {
        &self.entries
    }

    pub(crate) fn owned(&self) -> usize {
        self.entries.iter().filter(|e| e.owned).count() + self.retiring.len()
    }

    fn position(&self, log: LogId, generation: u64) -> Option<usize> {
        self.entries
            .iter()
            .position(|e| e.meta.log == log && e.meta.generation == generation)
    }

    pub(crate) fn entry_mut(&mut self, log: LogId, generation: u64) -> Option<&mut SealedEntry<R>> {
        let at = self.position(log, generation)?;
        self.entries.get_mut(at)
    }

    /// The segments, in groups of one log, each in order.
    pub(crate) fn by_log(&self) -> Vec<Vec<Arc<SealedSegment>>> {
        self.entries
            .chunk_by(|a, b| a.meta.log == b.meta.log)
            .map(|group| group.iter().map(|e| Arc::clone(&e.meta)).collect())
            .collect()
    }

    fn find_loaded(&mut self, meta: &SealedSegment) -> Option<Rc<Loaded<R>>> {
        self.clock += 1;
        let entry = &self.entries[self.position(meta.log, meta.generation)?];
        entry.used.set(self.clock);
        entry.loaded.borrow().clone()
    }

    fn keep(&mut self, loaded: &Rc<Loaded<R>>) {
        let Some(at) = self.position(loaded.meta.log, loaded.meta.generation) else {
            return;
        };
        if self.entries[at].loaded.borrow().is_some() {
            return;
        }
        self.clock += 1;
        self.entries[at].used.set(self.clock);
        self.held_bytes += loaded.footer.held_bytes();
        *self.entries[at].loaded.borrow_mut() = Some(Rc::clone(loaded));
        loop {
            let kept = self.entries.iter().filter(|e| e.loaded.borrow().is_some());
            if self.held_bytes <= self.held_bytes_max && kept.clone().count() <= LOADED_MAX {
                return;
            }
            let Some(oldest) = kept.min_by_key(|e| e.used.get()) else {
                return;
            };
            if oldest.used.get() == self.clock {
                return;
            }
            let gone = oldest.loaded.borrow_mut().take();
            self.held_bytes -= gone.map_or(0, |l| l.footer.held_bytes());
        }
    }
}

/// Why a sealed segment cannot be looked into.
pub(crate) enum LoadError {
    Io(std::io::Error),
    Footer,
}

impl<R: Reactor, D: Discipline> Log<R, D> {
    /// Opens a sealed segment and reads its footer, unless that is in memory.
    pub(crate) async fn load(&self, meta: &Arc<SealedSegment>) -> Result<Rc<Loaded<R>>, LoadError> {
        if let Some(loaded) = self.inner.state.borrow_mut().sealed.find_loaded(meta) {
            return Ok(loaded);
        }
        let file = self
            .inner
            .reactor
            .disk()
            .open(&meta.path())
            .await
            .map_err(LoadError::Io)?;
        let footer = read_footer::<R>(&file, &meta.trailer, self.inner.identity.segment_bytes);
        let footer = footer
            .await
            .map_err(LoadError::Io)?
            .ok_or(LoadError::Footer)?;
        let mebibytes = (self.inner.identity.segment_bytes as usize).div_ceil(1 << 20);
        let loaded = Rc::new(Loaded {
            meta: Arc::clone(meta),
            file,
            footer,
            map: RefCell::new(None),
            read_before: RefCell::new(vec![false; mebibytes]),
        });
        self.inner.state.borrow_mut().sealed.keep(&loaded);
        Ok(loaded)
    }
}

/// Reads the footer that a trailer describes; `None` if it is damaged.
pub(crate) async fn read_footer<R: Reactor>(
    file: &FileOf<R>,
    trailer: &Trailer,
    segment_bytes: u64,
) -> std::io::Result<Option<Footer>> {
    let Some(length) = Footer::length(trailer, segment_bytes) else {
        return Ok(None);
    };
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let piece = (length - bytes.len()).min(1 << 20);
        let read = file
            .read(trailer.footer_at + bytes.len() as u64, piece)
            .await?;
        bytes.extend_from_slice(read.as_ref());
    }
    Ok(Footer::decode(trailer, bytes))
}
