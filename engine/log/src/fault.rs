//! A write that failed: the unit of the fault is the log.
//!
//! Nothing is written again to the same blocks. Undecided appends fail, the segment ends at its
//! durable mark, every shard's epoch rises, and the log goes on in a fresh segment. After the third
//! fault in ten minutes it stays read-only until the server is restarted.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use rustc_hash::FxHashSet;
use weir_protocol::model::{Offset, Position, ShardId};
use weir_reactor::{Lane, Reactor};

use crate::discipline::Discipline;
use crate::log::{FileOf, Log, Mode, SegmentEnd};
use crate::seal::write_all;
use crate::segment::{SegmentHeader, StartEntry};

/// A segment that nothing durable went into, and the header that will say so.
struct VoidSegment<R: Reactor> {
    file: Rc<FileOf<R>>,
    slot: u32,
    header: Vec<u8>,
}

const FAULTS_MAX: usize = 3;
const FAULTS_WITHIN: Duration = Duration::from_mins(10);
/// Lost ranges remembered; a waiter is woken by the fault itself and asks at once.
const LOST_MAX: usize = 16;

impl<R: Reactor, D: Discipline> Log<R, D> {
    /// Stops taking appends, fails the undecided ones, and begins to reopen the log.
    pub(crate) fn fault(&self, what: &str) {
        let now = self.inner.reactor.monotonic();
        let mut state = self.inner.state.borrow_mut();
        if !matches!(state.mode, Mode::Open | Mode::Closing) {
            return;
        }
        state.counters.faults += 1;
        state.faults.push_back(now);
        while state
            .faults
            .front()
            .is_some_and(|at| now.since(*at) > FAULTS_WITHIN)
        {
            state.faults.pop_front();
        }
        let final_fault = state.faults.len() >= FAULTS_MAX || state.mode == Mode::Closing;
        tracing::error!(
            log = self.inner.log.0,
            read_only = final_fault,
            "log failed: {what}"
        );
        state.mode = if final_fault {
            Mode::ReadOnly
        } else {
            Mode::Failed
        };
        state.life += 1;
        state.open = None;
        state.closed.clear();
        state.in_flight.clear();
        let handed_out = Position(state.next_ordinal * self.inner.identity.segment_bytes);
        let durable = state.durable;
        state.lost.push_back((durable, handed_out));
        if state.lost.len() > LOST_MAX {
            state.lost.pop_front();
        }
        state.waiters.wake_all();
        for shard in state.shards.values_mut() {
            shard.wake();
        }
        drop(state);
        for event in [&self.inner.kick, &self.inner.room, &self.inner.seal] {
            event.notify();
        }
        if !final_fault {
            let log = self.clone();
            self.inner.reactor.spawn(Lane::Background, async move {
                if let Err(error) = log.reopen().await {
                    tracing::error!(log = log.inner.log.0, %error, "log stays read-only");
                    let mut state = log.inner.state.borrow_mut();
                    if state.mode == Mode::Failed {
                        state.mode = Mode::ReadOnly;
                    }
                    drop(state);
                    log.inner.room.notify();
                }
            });
        }
    }

    /// Ends the log at its durable mark and goes on in a fresh segment.
    async fn reopen(&self) -> io::Result<()> {
        // A write of the earlier life must not land behind what is written from now on.
        loop {
            let seen = self.inner.quiet.count();
            if self.inner.state.borrow().writing == 0 {
                break;
            }
            self.inner.quiet.after(seen).await;
        }
        let void = self.take_void_segments();
        self.end_at_durable_mark();
        while self.oldest_is_full() {
            self.seal_oldest(false).await?;
        }
        loop {
            let seen = self.inner.pool_ready.count();
            if self.inner.state.borrow().mode != Mode::Failed {
                return Err(io::Error::other("the log was closed while it was reopened"));
            }
            if self.inner.state.borrow().pool.has_ready() {
                break;
            }
            self.inner.pool.notify();
            self.inner.pool_ready.after(seen).await;
        }
        self.begin_next_epoch();
        // The header's start table is what makes the new epochs durable: no number of theirs may be
        // handed out before.
        loop {
            let seen = self.inner.kick.count();
            if self.inner.state.borrow().mode != Mode::Failed {
                let what = "the new segment's header could not be written";
                return Err(io::Error::other(what));
            }
            if self.inner.state.borrow().active().header_ready {
                break;
            }
            self.inner.kick.after(seen).await;
        }
        // A void segment may be the last that the catalog was told of. Until it is told of the new one,
        // the void one's slot is not used again, or a start would miss it; if the catalog takes nothing
        // now, the next start finds the slot.
        let noted = self.note_begun().await;
        // Only now: until then a void segment's start table may be the only durable note of the
        // epochs that were in use.
        for segment in void {
            write_all::<R>(&segment.file, &segment.header, 0).await?;
            if noted.is_ok() {
                self.inner.state.borrow_mut().pool.give_back(segment.slot);
            }
        }
        {
            let mut state = self.inner.state.borrow_mut();
            if state.mode != Mode::Failed {
                return Err(io::Error::other("the log was closed while it was reopened"));
            }
            state.mode = Mode::Open;
        }
        tracing::info!(log = self.inner.log.0, "log reopened with new epochs");
        for event in [&self.inner.kick, &self.inner.room, &self.inner.seal] {
            event.notify();
        }
        Ok(())
    }

    /// Takes out the segments that nothing durable went into.
    fn take_void_segments(&self) -> Vec<VoidSegment<R>> {
        let mut state = self.inner.state.borrow_mut();
        let identity = self.inner.identity;
        let mut void = Vec::new();
        while let Some(last) = state.segments.back() {
            if state.durable > last.base(identity.segment_bytes) {
                break;
            }
            let (generation, ordinal) = (last.generation, last.ordinal);
            void.push(VoidSegment {
                file: Rc::clone(&last.file),
                slot: last.slot,
                header: SegmentHeader::void(identity, self.inner.log, generation, ordinal),
            });
            state.segments.pop_back();
        }
        void
    }

    /// Raises every shard's epoch and begins the segment whose header says so.
    fn begin_next_epoch(&self) {
        let mut state = self.inner.state.borrow_mut();
        for shard in state.shards.values_mut() {
            // Out of epochs: the shard refuses appends with `Exhausted` once its count is used up.
            shard.next = if D::NEW_EPOCH_AFTER_FAULT {
                shard.next.next_epoch().unwrap_or(Offset::MAX)
            } else {
                shard.durable_next
            };
        }
        self.begin_segment(&mut state);
        let since = state.active().ordinal;
        for shard in state.shards.values_mut() {
            shard.since = shard.since.min(since);
        }
    }

    /// Ends the newest segment where its durable frames end.
    fn end_at_durable_mark(&self) {
        let mut state = self.inner.state.borrow_mut();
        let durable = state.durable;
        let next_generation = state.next_generation;
        let table: Vec<StartEntry> = {
            let Some(last) = state.segments.back() else {
                return;
            };
            let ordinal = last.ordinal;
            // Not what a shard is listed in now: that may be a segment that was void.
            let present: FxHashSet<ShardId> = last.present.iter().copied().collect();
            let mut table = state.start_table();
            table.retain(|entry| {
                let known = state.shards.get(&entry.shard);
                known.is_none_or(|s| s.since <= ordinal || present.contains(&entry.shard))
            });
            for entry in &mut table {
                if let Some(shard) = state.shards.get(&entry.shard) {
                    entry.next = shard.durable_next;
                    entry.last_arrival = shard.durable_arrival;
                }
            }
            table
        };
        let last = state.segments.back_mut().expect("it was looked at above");
        if last.end.as_ref().is_none_or(|end| end.position > durable) {
            last.end = Some(SegmentEnd {
                position: durable,
                next_generation,
                shards: table,
            });
        }
    }
}
