//! Free segments, written ahead, so that a roll waits for nothing.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use futures_util::future::{Either, select};
use weir_reactor::{Disk, File, Lane, Reactor};

use crate::discipline::Discipline;
use crate::log::{FileOf, Log, Mode};
use crate::segment::slot_path;

/// A slot that can be begun.
pub(crate) struct ReadySlot<R: Reactor> {
    pub(crate) number: u32,
    pub(crate) file: FileOf<R>,
    /// Its blocks were reserved, not written: commits into it cost about twice as much.
    pub(crate) unwritten: bool,
}

/// The free segments of one log.
pub(crate) struct Pool<R: Reactor> {
    ready: VecDeque<ReadySlot<R>>,
    /// Slots whose last reader has let go, not opened yet.
    free: VecDeque<u32>,
    next_slot: u32,
    full: bool,
    /// Free segments kept at most.
    keep: usize,
}

impl<R: Reactor> Pool<R> {
    pub(crate) fn new(free: Vec<u32>, next_slot: u32, keep: usize) -> Self {
        Self {
            ready: VecDeque::new(),
            free: free.into(),
            next_slot,
            full: false,
            keep,
        }
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Whether the last try to make a segment found no room.
    pub(crate) fn is_full(&self) -> bool {
        self.full && self.ready.is_empty()
    }

    pub(crate) fn take(&mut self) -> Option<ReadySlot<R>> {
        self.ready.pop_front()
    }

    pub(crate) fn give_back(&mut self, slot: u32) {
        self.free.push_back(slot);
    }

    pub(crate) fn kept(&self) -> usize {
        self.ready.len() + self.free.len()
    }
}

/// How long a full disk is left alone before the next try: nobody tells when somebody else frees
/// room.
const FULL_RETRY: Duration = Duration::from_millis(250);

impl<R: Reactor, D: Discipline> Log<R, D> {
    /// Keeps enough segments ready and not too many free; ends with the log.
    pub(crate) async fn run_pool(self) {
        loop {
            let seen = self.inner.pool.count();
            if self.inner.state.borrow().mode == Mode::Closed {
                return;
            }
            match self.tend_pool().await {
                Ok(true) => {}
                Ok(false) => self.inner.pool.after(seen).await,
                Err(_) => {
                    let retry = self.inner.reactor.sleep(FULL_RETRY);
                    let woken = std::pin::pin!(self.inner.pool.after(seen));
                    if let Either::Left(_) = select(std::pin::pin!(retry), woken).await {}
                }
            }
        }
    }

    /// One step: opens, makes or unlinks one slot. False when there is nothing to do.
    async fn tend_pool(&self) -> io::Result<bool> {
        let min = self.inner.settings.free_segments_min;
        let (reuse, surplus, wanted) = {
            let mut state = self.inner.state.borrow_mut();
            let pool = &mut state.pool;
            let wanted = pool.ready.len() < min;
            let surplus = if wanted || pool.kept() <= pool.keep {
                None
            } else {
                pool.free.pop_back()
            };
            let reuse = if surplus.is_some() {
                None
            } else {
                pool.free.pop_front()
            };
            (reuse, surplus, wanted)
        };
        if let Some(slot) = surplus {
            let path = slot_path(self.inner.log, slot);
            let removed = self.inner.reactor.disk().remove(&path).await;
            if removed.is_err() {
                self.inner.state.borrow_mut().pool.give_back(slot);
            }
            removed?;
            return Ok(true);
        }
        if let Some(slot) = reuse {
            let added = self.add_ready(slot, false).await;
            if added.is_err() {
                self.inner.state.borrow_mut().pool.give_back(slot);
            }
            return added.map(|()| true);
        }
        if !wanted {
            return Ok(false);
        }
        let reserve = self.inner.settings.disk_reserve_bytes;
        let result = self.make_segment(reserve).await;
        let full = result.is_err();
        let was_full = std::mem::replace(&mut self.inner.state.borrow_mut().pool.full, full);
        if let Err(error) = &result {
            if !was_full {
                tracing::warn!(log = self.inner.log.0, %error, "no room for another segment");
                // Waiting appends must learn that room will not come by itself.
                self.inner.room.notify();
            }
            self.inner.pool_ready.notify();
        }
        result.map(|()| true)
    }

    /// Makes one new segment file. Written blocks, unless appends are waiting for it right now:
    /// then reserved ones, which are there at once. `leave_bytes` of the disk stay free.
    async fn make_segment(&self, leave_bytes: u64) -> io::Result<()> {
        let bytes = self.inner.identity.segment_bytes;
        let disk = self.inner.reactor.disk();
        let space = disk.space().await?;
        if space.free < bytes.saturating_add(leave_bytes) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let (slot, urgent) = {
            let mut state = self.inner.state.borrow_mut();
            let slot = state.pool.next_slot;
            state.pool.next_slot += 1;
            (slot, !state.pool.has_ready() && state.counters.frames > 0)
        };
        let path = slot_path(self.inner.log, slot);
        if urgent {
            disk.create_reserved(&path, bytes).await?;
        } else {
            disk.create_written(&path, bytes).await?;
        }
        self.add_ready(slot, urgent).await
    }

    async fn add_ready(&self, number: u32, unwritten: bool) -> io::Result<()> {
        let path = slot_path(self.inner.log, number);
        let file = self.inner.reactor.disk().open(&path).await?;
        // Cached pages of its former life would push direct writes to kernel workers.
        file.forget_pages().await?;
        let mut state = self.inner.state.borrow_mut();
        state.pool.ready.push_back(ReadySlot {
            number,
            file,
            unwritten,
        });
        state.pool.full = false;
        drop(state);
        self.inner.pool_ready.notify();
        self.inner.room.notify();
        Ok(())
    }

    /// Waits until `count` segments are ready; an error when there is no room for them. The first
    /// may take of what the disk keeps free: a log must open on a full disk, to be read and to be
    /// told what to delete.
    pub(crate) async fn fill_pool(&self, count: usize) -> io::Result<()> {
        loop {
            let (reuse, leave_bytes) = {
                let mut state = self.inner.state.borrow_mut();
                let pool = &mut state.pool;
                let leave_bytes = match pool.ready.len() {
                    ready if ready >= count => return Ok(()),
                    0 => 0,
                    _ => self.inner.settings.disk_reserve_bytes,
                };
                (pool.free.pop_front(), leave_bytes)
            };
            match reuse {
                Some(slot) => self.add_ready(slot, false).await?,
                None => self.make_segment(leave_bytes).await?,
            }
        }
    }

    pub(crate) fn spawn_background(&self) {
        let reactor = &self.inner.reactor;
        reactor.spawn(Lane::Commit, self.clone().run_commits());
        reactor.spawn(Lane::Background, self.clone().run_pool());
        reactor.spawn(Lane::Background, self.clone().run_seals());
        reactor.spawn(Lane::Background, self.clone().run_ticks());
        reactor.spawn(Lane::Background, self.clone().run_settling());
    }
}
