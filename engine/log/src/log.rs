//! The log's handle and its state: one per core, shared by that core's tasks.
//!
//! Decisions are made synchronously inside one borrow of the state; nothing is borrowed across an
//! await.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::Poll;

use rustc_hash::FxHashMap;
use weir_protocol::model::{LogId, Offset, Position, ShardId, Timestamp};
use weir_reactor::{Disk, File, Monotonic, Reactor};

use crate::append::{ClosedFrame, InFlight, OpenFrame};
use crate::counters::LogCounters;
use crate::discipline::{Discipline, Sound};
use crate::error::LogFailed;
use crate::expire::Share;
use crate::given_up::GivenUpRanges;
use crate::ledger::Ledger;
use crate::pool::Pool;
use crate::sealed::SealedList;
use crate::segment::StartEntry;
use crate::settings::{FolderIdentity, LogSettings};
use crate::shard::{Hole, Retention, Shard, ShardTip, Tip};
use crate::tail::Tail;
use crate::waiters::{DurableWaiters, Event};

pub(crate) type FileOf<R> = <<R as Reactor>::Disk as Disk>::File;
pub(crate) type BufferOf<R> = <FileOf<R> as File>::Buffer;
pub(crate) type BytesOf<R> = <FileOf<R> as File>::Bytes;
pub(crate) type MapOf<R> = <FileOf<R> as File>::Map;

/// Whether a log takes appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogState {
    /// It does.
    Writable,
    /// The disk has no room for the next segment; it will when there is.
    Full,
    /// A write failed; the log is being reopened.
    Failed,
    /// It failed too often; it takes none until the server is restarted.
    ReadOnly,
    /// It is closing or closed.
    Closed,
}

/// One append log. Cloning is cheap; a clone stays on its core.
pub struct Log<R: Reactor, D: Discipline = Sound> {
    pub(crate) inner: Rc<Inner<R>>,
    discipline: PhantomData<D>,
}

impl<R: Reactor, D: Discipline> Clone for Log<R, D> {
    fn clone(&self) -> Self {
        Self {
            inner: Rc::clone(&self.inner),
            discipline: PhantomData,
        }
    }
}

impl<R: Reactor, D: Discipline> std::fmt::Debug for Log<R, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("id", &self.inner.log)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Inner<R: Reactor> {
    pub(crate) reactor: R,
    pub(crate) identity: FolderIdentity,
    pub(crate) settings: LogSettings,
    pub(crate) log: LogId,
    pub(crate) ledger: Rc<dyn Ledger>,
    pub(crate) state: RefCell<State<R>>,
    /// Something can be submitted.
    pub(crate) kick: Event,
    /// Buffer space was freed, or the mode changed.
    pub(crate) room: Event,
    /// A segment may be sealed, or the mode changed.
    pub(crate) seal: Event,
    /// The pool of free segments should be looked at.
    pub(crate) pool: Event,
    /// A segment became ready, or making one failed.
    pub(crate) pool_ready: Event,
    /// The last write of an earlier life returned.
    pub(crate) quiet: Event,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Open,
    Failed,
    ReadOnly,
    Closing,
    Closed,
}

/// A segment that is not sealed yet; the last one takes the appends.
pub(crate) struct Segment<R: Reactor> {
    pub(crate) ordinal: u64,
    pub(crate) generation: u64,
    pub(crate) slot: u32,
    pub(crate) file: Rc<FileOf<R>>,
    /// File offset of the next frame.
    pub(crate) write_at: u64,
    /// Batches put into frames of this segment.
    pub(crate) batches: usize,
    /// Entries the footer's shard table may need.
    pub(crate) footer_shards: usize,
    /// Shards with batches in this segment.
    pub(crate) present: Vec<ShardId>,
    pub(crate) header_ready: bool,
    /// Set when the segment is full: where it ends, and where every shard stood then.
    pub(crate) end: Option<SegmentEnd>,
}

pub(crate) struct SegmentEnd {
    pub(crate) position: Position,
    /// After a fault: older generations behind this segment are void. 0 otherwise.
    pub(crate) next_generation: u64,
    pub(crate) shards: Vec<StartEntry>,
}

pub(crate) struct State<R: Reactor> {
    pub(crate) mode: Mode,
    pub(crate) shards: FxHashMap<ShardId, Shard>,
    /// Retention of the shards that exist and are homed elsewhere.
    pub(crate) elsewhere: FxHashMap<ShardId, Retention>,
    /// Shards with data here that are homed elsewhere now: kept in every footer, so that a search
    /// over the log's segments never meets a gap.
    pub(crate) carried: Vec<StartEntry>,
    pub(crate) segments: VecDeque<Segment<R>>,
    pub(crate) open: Option<OpenFrame<R>>,
    pub(crate) closed: VecDeque<ClosedFrame<R>>,
    pub(crate) in_flight: VecDeque<InFlight<R>>,
    /// A segment is being sealed.
    pub(crate) sealing: bool,
    /// Writes that have not returned, of this life and earlier ones.
    pub(crate) writing: usize,
    /// Rises with each fault: writes of an earlier life are ignored.
    pub(crate) life: u64,
    pub(crate) durable: Position,
    /// Highest durable mark that is itself durable in a frame.
    pub(crate) last_mark: Position,
    /// Positions whose appends were undecided when the log failed.
    pub(crate) lost: VecDeque<(Position, Position)>,
    pub(crate) faults: VecDeque<Monotonic>,
    pub(crate) tail: Tail<BufferOf<R>>,
    pub(crate) sealed: SealedList<R>,
    pub(crate) pool: Pool<R>,
    pub(crate) next_ordinal: u64,
    pub(crate) next_generation: u64,
    /// Newest generation that the catalog was told of as begun.
    pub(crate) begun_noted: u64,
    pub(crate) waiters: DurableWaiters,
    /// Holes of the carried shards.
    pub(crate) carried_holes: Vec<(ShardId, Hole)>,
    /// How many holes there are, for the room that footers need.
    pub(crate) hole_count: usize,
    /// What readers step over.
    pub(crate) given_up: GivenUpRanges,
    /// Segments that were given up as a whole.
    pub(crate) set_aside: usize,
    /// Rises when a segment leaves the unsealed ones or the sealed list changes: a search that saw
    /// it change looks again.
    pub(crate) list_version: u64,
    /// What retention by time is measured against.
    pub(crate) expiry: Timestamp,
    /// When that was said.
    pub(crate) expired_at: Monotonic,
    /// Stamps are not behind the monotonic clock by more than this, in milliseconds.
    pub(crate) stamp_ahead_ms: i64,
    /// Rises when a shard is removed or a retention changes: sealed segments are looked at again.
    pub(crate) deletions: u64,
    /// Sealed shares of the shards that have a byte cap, oldest first.
    pub(crate) caps: FxHashMap<ShardId, VecDeque<Share>>,
    pub(crate) counters: LogCounters,
}

impl<R: Reactor, D: Discipline> Log<R, D> {
    pub(crate) fn from_inner(inner: Inner<R>) -> Self {
        Self {
            inner: Rc::new(inner),
            discipline: PhantomData,
        }
    }

    /// The log's id.
    pub fn id(&self) -> LogId {
        self.inner.log
    }

    /// Everything below this position is durable.
    pub fn durable(&self) -> Position {
        self.inner.state.borrow().durable
    }

    /// Waits until everything below `end` is durable. An error means that the append is undecided.
    pub async fn wait_durable(&self, end: Position) -> Result<(), LogFailed> {
        let mut wait = DurableWait {
            inner: &self.inner,
            key: None,
        };
        poll_fn(move |context| {
            let mut state = wait.inner.state.borrow_mut();
            if let Some(decided) = state.decided(end) {
                return Poll::Ready(decided);
            }
            match wait.key {
                Some(key) => state.waiters.refresh(key, context.waker()),
                None => wait.key = Some(state.waiters.register(end, context.waker())),
            }
            Poll::Pending
        })
        .await
    }

    /// Waits until some buffer space is freed, a segment becomes ready, or the log's state changes.
    /// To be called right after an append that was refused with `Busy`, with no await in between.
    pub async fn room(&self) {
        self.inner.room.after(self.inner.room.count()).await;
    }

    /// Where a shard of this log stands; `None` if it is not homed here.
    pub fn tip(&self, shard: ShardId) -> Option<Tip> {
        self.inner.state.borrow().shards.get(&shard).map(Shard::tip)
    }

    /// Ends every [`Self::wait_data`] of `shard`: something else about it has changed.
    pub fn wake_readers(&self, shard: ShardId) {
        if let Some(known) = self.inner.state.borrow_mut().shards.get_mut(&shard) {
            known.called += 1;
            known.wake();
        }
    }

    /// Waits until `shard` has durable data at or behind `beyond`. Also returns when the shard is
    /// gone, the log closes, or [`Self::wake_readers`] was called: look again.
    pub async fn wait_data(&self, shard: ShardId, beyond: Offset) {
        let mut wait = DataWait {
            inner: &self.inner,
            shard,
            id: None,
        };
        let mut called = None;
        poll_fn(move |context| {
            let mut state = wait.inner.state.borrow_mut();
            if matches!(state.mode, Mode::Closing | Mode::Closed) {
                return Poll::Ready(());
            }
            let Some(known) = state.shards.get_mut(&shard) else {
                return Poll::Ready(());
            };
            let is_called = *called.get_or_insert(known.called) != known.called;
            if is_called || known.durable_next > beyond {
                return Poll::Ready(());
            }
            wait.id = Some(known.register(wait.id, context.waker()));
            Poll::Pending
        })
        .await;
    }

    /// Homes a shard in this log. Does nothing if it already is.
    pub fn add_shard(&self, tip: ShardTip, retention: Retention) {
        let mut state = self.inner.state.borrow_mut();
        let since = state.next_ordinal;
        state
            .shards
            .entry(tip.shard)
            .or_insert_with(|| Shard::new(tip, retention, since));
    }

    /// Forgets a shard and all its records: their bytes count as dead from now on.
    pub fn remove_shard(&self, shard: ShardId) {
        let mut state = self.inner.state.borrow_mut();
        if let Some(mut gone) = state.shards.remove(&shard) {
            gone.wake();
        }
        state.deletions += 1;
        state.caps.remove(&shard);
        state.elsewhere.remove(&shard);
        state.carried.retain(|entry| entry.shard != shard);
        state.carried_holes.retain(|(id, _)| *id != shard);
        state.given_up.forget(shard);
    }

    /// Changes how long a shard's records are kept.
    pub fn set_retention(&self, shard: ShardId, retention: Retention) {
        let mut state = self.inner.state.borrow_mut();
        let state = &mut *state;
        let known = match state.shards.get_mut(&shard) {
            Some(homed) => Some(&mut homed.retention),
            None => state.elsewhere.get_mut(&shard),
        };
        let Some(known) = known.filter(|known| **known != retention) else {
            return;
        };
        if known.bytes.is_some() != retention.bytes.is_some() {
            // Shares were not counted while there was no cap.
            state.caps.remove(&shard);
            state.sealed.count_again();
        }
        *known = retention;
        state.deletions += 1;
    }

    /// Whether appends are taken.
    pub fn state(&self) -> LogState {
        let state = self.inner.state.borrow();
        match state.mode {
            Mode::Open if state.pool.is_full() => LogState::Full,
            Mode::Open => LogState::Writable,
            Mode::Failed => LogState::Failed,
            Mode::ReadOnly => LogState::ReadOnly,
            Mode::Closing | Mode::Closed => LogState::Closed,
        }
    }

    /// What was counted since the log was opened.
    pub fn counters(&self) -> LogCounters {
        let state = self.inner.state.borrow();
        let mut counters = state.counters;
        counters.free_segments = state.pool.ready() as u64;
        counters.sealed_segments = state.sealed.owned() as u64;
        let files = state.pool.ready() + state.segments.len() + state.sealed.owned();
        counters.disk_bytes = files as u64 * self.inner.identity.segment_bytes;
        counters.tail_bytes = state.tail.held_bytes() as u64;
        let ranges = state.shards.keys().map(|id| state.given_up.count(*id));
        counters.given_up = (ranges.sum::<usize>() + state.set_aside) as u64;
        counters
    }
}

/// Takes its entry out of the waiters when the wait is given up.
struct DurableWait<'a, R: Reactor> {
    inner: &'a Rc<Inner<R>>,
    key: Option<(Position, u64)>,
}

impl<R: Reactor> Drop for DurableWait<'_, R> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.inner.state.borrow_mut().waiters.forget(key);
        }
    }
}

/// Takes its waker back when the wait is given up: a poll that timed out must not be remembered
/// until the shard's next record.
struct DataWait<'a, R: Reactor> {
    inner: &'a Rc<Inner<R>>,
    shard: ShardId,
    id: Option<u64>,
}

impl<R: Reactor> Drop for DataWait<'_, R> {
    fn drop(&mut self) {
        if let Some(id) = self.id
            && let Some(known) = self.inner.state.borrow_mut().shards.get_mut(&self.shard)
        {
            known.waiting.remove(&id);
        }
    }
}

impl<R: Reactor> State<R> {
    /// Whether the append that ends at `end` is durable, lost, or neither yet.
    fn decided(&self, end: Position) -> Option<Result<(), LogFailed>> {
        if self.lost.iter().any(|(from, to)| *from < end && end <= *to) {
            return Some(Err(LogFailed));
        }
        if end <= self.durable {
            return Some(Ok(()));
        }
        matches!(self.mode, Mode::Failed | Mode::ReadOnly | Mode::Closed).then_some(Err(LogFailed))
    }

    pub(crate) fn active(&self) -> &Segment<R> {
        self.segments
            .back()
            .expect("an open log has an active segment")
    }

    /// The newest segment whose header is durable, if the catalog has not been told of it; else 0.
    pub(crate) fn begun_unnoted(&self) -> u64 {
        let ready = self.segments.iter().rev().find(|s| s.header_ready);
        let newest = ready.map_or(0, |segment| segment.generation);
        if newest > self.begun_noted { newest } else { 0 }
    }

    pub(crate) fn active_mut(&mut self) -> &mut Segment<R> {
        self.segments
            .back_mut()
            .expect("an open log has an active segment")
    }

    /// Where a read of a shard from `from` begins: at the oldest record kept, and behind what was
    /// given up.
    pub(crate) fn start_of_read(&self, known: &Shard, shard: ShardId, from: Offset) -> Offset {
        let from = from.max(known.horizon);
        let behind = self.given_up.step_over(shard, from);
        // Of a closed shard more may have been given up than it ever held.
        from.max(behind.min(known.durable_next))
    }

    /// Where a read of a shard from `from` ends at the latest: at a hole, or where something was
    /// given up.
    pub(crate) fn end_of_read(&self, known: &Shard, shard: ShardId, from: Offset) -> Offset {
        let given_up = self.given_up.next(shard, from);
        let stops = known.next_hole(from).into_iter().chain(given_up);
        stops.min().unwrap_or(Offset::MAX)
    }

    /// Every hole that a footer must remember, sorted by shard.
    pub(crate) fn holes(&self) -> Vec<(ShardId, Hole)> {
        let homed = self
            .shards
            .iter()
            .flat_map(|(id, s)| s.holes.iter().map(|h| (*id, *h)));
        let mut holes: Vec<_> = homed.chain(self.carried_holes.iter().copied()).collect();
        holes.sort_unstable_by_key(|(shard, hole)| (*shard, hole.from));
        holes
    }

    /// Where every shard stands: the table that begins a segment, sorted.
    pub(crate) fn start_table(&self) -> Vec<StartEntry> {
        let homed = self.shards.iter().map(|(shard, s)| StartEntry {
            shard: *shard,
            next: s.next,
            last_arrival: s.last_arrival,
        });
        let mut table: Vec<_> = homed.chain(self.carried.iter().copied()).collect();
        table.sort_unstable_by_key(|entry| entry.shard);
        table.dedup_by_key(|entry| entry.shard);
        table
    }
}

impl<R: Reactor> Segment<R> {
    /// Log position of the segment's first byte.
    pub(crate) fn base(&self, segment_bytes: u64) -> Position {
        Position(self.ordinal * segment_bytes)
    }
}
