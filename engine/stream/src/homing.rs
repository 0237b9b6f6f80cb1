//! Which core gets which shard and which log, after recovery.
//!
//! Owns: the homing of one start. Never: the rule itself, which is [`crate::shard::placement`].

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use weir_log::{LogSeed, RecoveredLog, Retention, SealedSegment, ShardTip};
use weir_protocol::model::{Epoch, LogId, Offset, ShardId, Timestamp};

use crate::catalog::given_up::GivenUpRows;
use crate::stream::{Shard, Stream, Streams};

/// How the last life ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LastStop {
    /// Numbers go on without a gap.
    Clean,
    /// They go on in an epoch that none of them had; `None` when the epochs are used up.
    Unclean { epoch: Option<Epoch> },
}

/// A shard that another core has, and what is kept of it.
type Elsewhere = (ShardId, Retention);

/// Where every shard of the catalog goes. Shards that logs know and the catalog does not were
/// deleted: no core is told of them.
pub(crate) struct Homes {
    shards: Vec<(u32, ShardTip, Retention)>,
}

impl Homes {
    pub(crate) fn new(
        streams: &Streams,
        recovered: &[RecoveredLog],
        stop: LastStop,
        given_up: &GivenUpRows,
    ) -> Self {
        let mut known: FxHashMap<ShardId, ShardTip> = FxHashMap::default();
        for tip in recovered.iter().flat_map(|log| &log.shards) {
            let entry = known
                .entry(tip.shard)
                .or_insert_with(|| ShardTip::empty(tip.shard));
            entry.next = entry.next.max(tip.next);
            entry.last_arrival = entry.last_arrival.max(tip.last_arrival);
            for hole in &tip.holes {
                if !entry.holes.contains(hole) {
                    entry.holes.push(*hole);
                }
            }
        }
        let mut shards = Vec::new();
        for stream in streams.all() {
            for (shard, retention) in stream.shards.iter().zip(retention_of(stream)) {
                let id = stream.shard_id(shard.index);
                let mut tip = known.remove(&id).unwrap_or_else(|| ShardTip::empty(id));
                if let Some(closed) = shard.closed {
                    // An epoch that was raised and never used is in no log.
                    tip.next = tip.next.max(closed.next);
                } else if let LastStop::Unclean { epoch } = stop {
                    // Used up numbers refuse appends; what is stored stays readable.
                    tip.next = epoch.map_or(Offset::MAX, |epoch| tip.next.raised_to(epoch));
                }
                if shard.closed.is_none() {
                    // What is gone may have held these numbers.
                    tip.next = tip.next.max(given_up.least_next(id));
                }
                shards.push((shard.core, tip, retention));
            }
        }
        shards.sort_unstable_by_key(|(_, tip, _)| tip.shard);
        Self { shards }
    }

    /// The shards of `core`, and those of others.
    pub(crate) fn of_core(&self, core: u32) -> (Vec<(ShardTip, Retention)>, Vec<Elsewhere>) {
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        for (owner, tip, retention) in &self.shards {
            if *owner == core {
                here.push((tip.clone(), *retention));
            } else {
                elsewhere.push((tip.shard, *retention));
            }
        }
        (here, elsewhere)
    }
}

/// What the log keeps of each shard of `stream`, in the order of its shards.
pub(crate) fn retention_of(stream: &Stream) -> Vec<Retention> {
    let parts: Vec<Option<u64>> = match stream.retain_bytes {
        None => vec![None; stream.shards.len()],
        Some(cap) => parts_of(cap, stream).into_iter().map(Some).collect(),
    };
    let millis = stream.retention_ms;
    let none_before = stream.expired_before;
    let retention = |bytes| Retention {
        millis,
        none_before,
        bytes,
    };
    parts.into_iter().map(retention).collect()
}

/// Each shard's part of the byte cap. Open shards share it. A closed shard keeps the part that it
/// had when it was closed, or else a split would at once trim what the cap has room for; but all
/// closed shards together have no more than one cap, so that the stream never takes more than two.
fn parts_of(cap: u64, stream: &Stream) -> Vec<u64> {
    let closed_at = |shard: &Shard| shard.closed.map(|closed| closed.at);
    let mut opened: Vec<_> = stream.shards.iter().map(|shard| shard.opened).collect();
    let mut closed: Vec<_> = stream.shards.iter().filter_map(closed_at).collect();
    let open = (opened.len() - closed.len()).max(1) as u64;
    opened.sort_unstable();
    closed.sort_unstable();
    let open_before = |at: Timestamp| {
        let (opened, closed) = (
            opened.partition_point(|opened| *opened < at),
            closed.partition_point(|closed| *closed < at),
        );
        // A clock that was set back may have them in another order.
        opened.saturating_sub(closed).max(1) as u64
    };
    let at_closing = |at| cap / open_before(at);
    let all: u128 = closed.iter().map(|at| u128::from(at_closing(*at))).sum();
    let part = |shard: &Shard| match closed_at(shard) {
        None => cap / open,
        Some(at) if all <= u128::from(cap) => at_closing(at),
        // Less than the cap, for it is a part of all of them.
        Some(at) => (u128::from(at_closing(at)) * u128::from(cap) / all) as u64,
    };
    stream.shards.iter().map(part).collect()
}

/// The recovered logs, to be dealt to cores: log N to core N, and those of earlier, more numerous
/// cores to whoever looks after them.
pub(crate) struct Logs {
    seeds: BTreeMap<LogId, LogSeed>,
    cores: u32,
    has_cores_changed: bool,
}

impl Logs {
    pub(crate) fn new(recovered: Vec<RecoveredLog>, cores: u32, has_cores_changed: bool) -> Self {
        let seeds = recovered
            .into_iter()
            .map(|log| (log.log, log.seed))
            .collect();
        Self {
            seeds,
            cores,
            has_cores_changed,
        }
    }

    /// The core's own log, segments of others that it may have to read, logs that it looks after.
    pub(crate) fn of_core(&self, core: u32) -> (LogSeed, Vec<Arc<SealedSegment>>, Vec<LogSeed>) {
        let own = LogId(core);
        let is_adopted = |log: LogId| log.0 >= self.cores && log.0 % self.cores == core;
        let (mut foreign, mut adopted) = (Vec::new(), Vec::new());
        for (log, seed) in self.seeds.iter().filter(|(log, _)| **log != own) {
            if is_adopted(*log) {
                adopted.push(seed.clone());
            } else if self.has_cores_changed {
                foreign.extend_from_slice(seed.sealed());
            }
        }
        let seed = self
            .seeds
            .get(&own)
            .cloned()
            .unwrap_or_else(|| LogSeed::new(own));
        (seed, foreign, adopted)
    }
}
