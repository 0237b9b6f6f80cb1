//! Opens a recovered log for appends, in a new segment.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use weir_protocol::model::{LogId, Position, ShardId, Timestamp};
use weir_reactor::{Disk, Reactor};

use crate::counters::LogCounters;
use crate::discipline::Discipline;
use crate::error::OpenError;
use crate::given_up::{GivenUp, GivenUpRanges};
use crate::ledger::{Ledger, LedgerChange};
use crate::log::{Inner, Log, Mode, State};
use crate::pool::Pool;
use crate::sealed::{SealedList, SealedSegment};
use crate::segment::{StartEntry, log_folder, slot_path};
use crate::settings::{FolderIdentity, LogSettings};
use crate::shard::{Hole, Retention, Shard, ShardTip};
use crate::tail::Tail;
use crate::waiters::{DurableWaiters, Event};

/// What recovery learned of a log, to be opened on any core.
#[derive(Debug, Clone)]
pub struct LogSeed {
    pub(crate) log: LogId,
    pub(crate) sealed: Vec<Arc<SealedSegment>>,
    /// Sealed segments that the catalog has not heard of.
    pub(crate) unrecorded: Vec<u64>,
    /// The catalog says that this generation is being written; 0 if it says so of none.
    pub(crate) begun: u64,
    pub(crate) free_slots: Vec<u32>,
    /// Slots that hold a segment which was given up: they keep what they hold.
    pub(crate) set_aside: usize,
    pub(crate) next_slot: u32,
    pub(crate) next_ordinal: u64,
    pub(crate) next_generation: u64,
    pub(crate) end: Position,
    pub(crate) newest_log_generation: u64,
    /// Where the shards of this log stand, whoever owns them now.
    pub(crate) tips: Vec<ShardTip>,
}

impl LogSeed {
    /// The seed of a log that does not exist yet.
    pub fn new(log: LogId) -> Self {
        Self {
            log,
            sealed: Vec::new(),
            unrecorded: Vec::new(),
            begun: 0,
            free_slots: Vec::new(),
            set_aside: 0,
            next_slot: 0,
            next_ordinal: 1,
            next_generation: 1,
            end: Position(0),
            newest_log_generation: 0,
            tips: Vec::new(),
        }
    }

    /// The log.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Its sealed segments: what other cores need to read shards that moved to them.
    pub fn sealed(&self) -> &[Arc<SealedSegment>] {
        &self.sealed
    }
}

/// What a core opens its log with.
#[derive(Debug, Clone)]
pub struct LogParts {
    /// The core's own log.
    pub seed: LogSeed,
    /// Segments of other logs that may hold older records of the shards homed here: none unless
    /// the number of cores has changed.
    pub foreign: Vec<Arc<SealedSegment>>,
    /// Logs without a core of their own, whose segments this core gives back when they expire.
    pub adopted: Vec<LogSeed>,
    /// The shards homed here, with epochs already raised if any log of the folder ended uncleanly.
    pub shards: Vec<(ShardTip, Retention)>,
    /// Shards that exist and are homed elsewhere: records of any other shard count as dead.
    pub elsewhere: Vec<(ShardId, Retention)>,
    /// What an operator gave up of any shard, here or elsewhere.
    pub given_up: Vec<GivenUp>,
}

impl<R: Reactor, D: Discipline> Log<R, D> {
    /// Opens a log on this core, in a new segment whose header makes the epochs durable.
    pub async fn open(
        reactor: R,
        identity: FolderIdentity,
        settings: LogSettings,
        parts: LogParts,
        ledger: Rc<dyn Ledger>,
    ) -> Result<Self, OpenError> {
        let LogParts {
            seed,
            foreign,
            adopted,
            shards: tips,
            elsewhere,
            given_up,
        } = parts;
        let id = seed.log;
        let segment_failed = |e: io::Error| match e.kind() {
            io::ErrorKind::StorageFull => OpenError::DiskFull {
                log: id,
                bytes: identity.segment_bytes,
            },
            _ => OpenError::Segment {
                log: id,
                what: e.to_string(),
            },
        };
        reactor
            .disk()
            .make_folder(&log_folder(id))
            .await
            .map_err(segment_failed)?;
        for own in std::iter::once(&seed).chain(&adopted) {
            // What was begun and holds nothing that counts is missed no more: its slot is used again.
            let is_recorded = own.begun <= own.newest_log_generation;
            if own.unrecorded.is_empty() && is_recorded {
                continue;
            }
            let change = LedgerChange {
                log: own.log,
                known_generation: own.newest_log_generation.max(own.begun),
                begun: 0,
                added: own.unrecorded.clone(),
                removed: Vec::new(),
            };
            let recorded = ledger.record(change).await;
            recorded.map_err(|e| OpenError::Ledger {
                log: id,
                what: e.to_string(),
            })?;
        }

        let mut sealed = SealedList::new(settings.footer_cache_bytes);
        let owned = std::iter::once(&seed)
            .chain(&adopted)
            .flat_map(|s| s.sealed.iter());
        for meta in owned {
            sealed.insert(Arc::clone(meta), true, true);
        }
        for meta in foreign {
            sealed.insert(meta, false, true);
        }
        let next_ordinal = seed.next_ordinal;
        let mut shards = FxHashMap::default();
        for (tip, retention) in tips {
            shards.insert(tip.shard, Shard::new(tip, retention, next_ordinal));
        }
        let elsewhere: FxHashMap<ShardId, Retention> = elsewhere.into_iter().collect();
        let carried = seed
            .tips
            .iter()
            .filter(|tip| !shards.contains_key(&tip.shard) && elsewhere.contains_key(&tip.shard))
            .map(|t| StartEntry {
                shard: t.shard,
                next: t.next,
                last_arrival: t.last_arrival,
            })
            .collect();
        let is_elsewhere =
            |shard: &ShardId| !shards.contains_key(shard) && elsewhere.contains_key(shard);
        let carried_holes: Vec<(ShardId, Hole)> = seed
            .tips
            .iter()
            .filter(|tip| is_elsewhere(&tip.shard))
            .flat_map(|tip| tip.holes.iter().map(|hole| (tip.shard, *hole)))
            .collect();
        let hole_count =
            carried_holes.len() + shards.values().map(|s| s.holes.len()).sum::<usize>();
        let set_aside = std::iter::once(&seed)
            .chain(&adopted)
            .map(|s| s.set_aside)
            .sum();
        let keep = settings.free_segments_max.max(settings.reserve_segments);
        let expired_at = reactor.monotonic();
        let log = Self::from_inner(Inner {
            reactor,
            identity,
            settings,
            log: id,
            ledger,
            state: RefCell::new(State {
                mode: Mode::Open,
                shards,
                elsewhere,
                carried,
                segments: VecDeque::new(),
                open: None,
                closed: VecDeque::new(),
                in_flight: VecDeque::new(),
                sealing: false,
                writing: 0,
                life: 0,
                durable: seed.end,
                last_mark: seed.end,
                lost: VecDeque::new(),
                faults: VecDeque::new(),
                tail: Tail::new(settings.tail_bytes),
                sealed,
                pool: Pool::new(seed.free_slots, seed.next_slot, keep),
                next_ordinal,
                next_generation: seed.next_generation,
                begun_noted: 0,
                waiters: DurableWaiters::default(),
                carried_holes,
                hole_count,
                given_up: GivenUpRanges::new(given_up),
                set_aside,
                list_version: 0,
                expiry: Timestamp::ZERO,
                expired_at,
                stamp_ahead_ms: i64::MIN,
                deletions: 0,
                caps: FxHashMap::default(),
                counters: LogCounters::default(),
            }),
            kick: Event::default(),
            room: Event::default(),
            seal: Event::default(),
            pool: Event::default(),
            pool_ready: Event::default(),
            quiet: Event::default(),
        });
        // Logs without a core need no free slots.
        for own in &adopted {
            for slot in &own.free_slots {
                let path = slot_path(own.log, *slot);
                log.inner
                    .reactor
                    .disk()
                    .remove(&path)
                    .await
                    .map_err(segment_failed)?;
            }
        }
        log.fill_pool(1 + settings.reserve_segments)
            .await
            .map_err(segment_failed)?;
        {
            let mut state = log.inner.state.borrow_mut();
            log.begin_segment(&mut state);
        }
        log.header_written().await.map_err(segment_failed)?;
        // Before anything in it is acknowledged: were its file gone after this, it would be missed.
        let noted = log.note_begun().await;
        noted.map_err(|e| OpenError::Ledger {
            log: id,
            what: e.to_string(),
        })?;
        log.spawn_background();
        Ok(log)
    }

    /// Waits until the first segment's header is durable: the epochs in its start table must be,
    /// before anybody is served.
    async fn header_written(&self) -> io::Result<()> {
        loop {
            let seen = self.inner.kick.count();
            {
                let state = self.inner.state.borrow();
                if state.mode != Mode::Open {
                    return Err(io::Error::other(
                        "writing the first segment's header failed",
                    ));
                }
                if state.active().header_ready {
                    return Ok(());
                }
            }
            self.inner.kick.after(seen).await;
        }
    }

    /// Settles now and then, beside everything else: it rests most of the time.
    pub(crate) async fn run_settling(self) {
        loop {
            self.inner.reactor.sleep(Duration::from_millis(500)).await;
            if self.inner.state.borrow().mode == Mode::Closed {
                return;
            }
            self.settle_some().await;
        }
    }

    /// Twice a second: the idle mark, expiry, segments whose last reader let go.
    pub(crate) async fn run_ticks(self) {
        loop {
            self.inner.reactor.sleep(Duration::from_millis(500)).await;
            if self.inner.state.borrow().mode == Mode::Closed {
                return;
            }
            self.write_idle_mark();
            self.give_back_retired().await;
            self.record_sealed().await;
            if let Err(error) = self.note_begun().await {
                tracing::warn!(log = self.inner.log.0, %error, "a segment's beginning is not noted");
            }
            self.look_for_expired().await;
            // Room may have come back from outside.
            if self.inner.state.borrow().pool.is_full() {
                self.inner.pool.notify();
            }
        }
    }
}
