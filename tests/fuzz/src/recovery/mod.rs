//! Recovery of a log whose slots were damaged, and everything that is read of it afterwards.
//!
//! The log itself is real: [`base`] had the engine write it. An input is a list of accidents, as
//! disks have them; with checksums mended they become lies that no disk tells, which must end in a
//! typed error all the same.

mod accident;
mod base;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use weir_log::{LedgerState, Log, ReadError, RecoveryError, ShardTip, recover};
use weir_protocol::batch::BatchView;
use weir_protocol::frame::FrameHeader;
use weir_protocol::limits::BLOCK_BYTES;
use weir_protocol::model::{Count, LogId, Offset, Position, ShardId, Timestamp};
use weir_reactor::sim::{RunLimit, Sim, SimOptions, SimReactor};

pub use base::{Base, Slot};

const CLOSED: u8 = 1;
const MENDED: u8 = 2;

/// A log whose server was killed, with its durable mark written.
pub static KILLED: LazyLock<Base> = LazyLock::new(|| base::write(false));
/// A log that was closed in good order.
pub static STOPPED: LazyLock<Base> = LazyLock::new(|| base::write(true));

/// Accidents, eight bytes each, behind a byte of switches.
pub(crate) fn check(data: &[u8]) {
    let Some((&switches, accidents)) = data.split_first() else {
        return;
    };
    let base = if switches & CLOSED == 0 {
        &*KILLED
    } else {
        &*STOPPED
    };
    let mended = switches & MENDED != 0;
    let mut slots = base.slots.clone();
    let mut ledger = base.ledger.clone();
    for bytes in accidents.chunks_exact(accident::BYTES).take(32) {
        accident::happen(bytes, base, &mut slots, &mut ledger, mended);
    }
    let found = recovered(&slots, &ledger, mended);
    if mended {
        return;
    }
    found.is_true_to(base);
}

/// What was read of every shard after a recovery.
#[derive(Debug, Default)]
pub struct Found {
    /// Every record, by its number.
    records: BTreeMap<(ShardId, Offset), (Vec<u8>, Vec<u8>)>,
    /// Numbers that were asked for and answered with a typed error.
    refused: Vec<(ShardId, Offset)>,
    /// The log did not open: recovery's error.
    pub error: Option<RecoveryError>,
    /// The highest durable mark that survived.
    mark: Position,
}

impl Found {
    /// Nothing was served that was not sent.
    pub fn is_true_to(&self, base: &Base) {
        for (at, (key, data)) in &self.records {
            let kept = base
                .kept
                .get(at)
                .unwrap_or_else(|| panic!("{at:?} was never given"));
            assert!(
                kept.key == *key && kept.data == *data,
                "{at:?} is another record"
            );
        }
    }

    /// Every young record below the durable mark was served or refused by a typed error. Returns how
    /// many were served.
    pub fn is_whole(&self, base: &Base) -> usize {
        if self.error.is_some() {
            return 0;
        }
        let mut served = 0;
        for (at, kept) in &base.kept {
            if !kept.is_young || kept.end > self.mark {
                continue;
            }
            let is_there = self.records.contains_key(at);
            assert!(
                is_there || self.refused.contains(at),
                "{at:?} is lost in silence"
            );
            served += usize::from(is_there);
        }
        served
    }
}

/// Recovers twice, which must come to the same, opens the log and reads every shard.
fn recovered(slots: &[Slot], ledger: &LedgerState, mended: bool) -> Found {
    let sim = Sim::new(3, SimOptions::default());
    for (path, bytes) in slots {
        let put = sim.disk().put_file(path, bytes);
        put.expect("the simulated disk has room");
    }
    let mark = durable_mark(slots);
    let (reactor, ledger) = (sim.reactor(), ledger.clone());
    let found = sim.run(RunLimit::done(), async move {
        let recover =
            |incarnation| recover(&reactor, base::IDENTITY, LogId(0), incarnation, &ledger);
        let first = recover(100).await;
        let again = recover(101).await;
        let again = match (first, again) {
            (Err(error), _) => {
                return Found {
                    error: Some(error),
                    ..Found::default()
                };
            }
            (Ok(first), Ok(again)) => {
                // Lies that contradict each other may be told apart only once.
                if !mended {
                    assert_eq!(sorted(&first.shards), sorted(&again.shards));
                }
                again
            }
            (Ok(_), Err(error)) if mended => {
                return Found {
                    error: Some(error),
                    ..Found::default()
                };
            }
            (Ok(_), Err(error)) => panic!("recovered once, and then: {error}"),
        };
        let mut found = Found::default();
        if let Ok(log) = base::reopen(reactor.clone(), again, ledger.clone(), 102).await {
            for shard in base::shards() {
                read(&log, shard, &mut found).await;
            }
        }
        found
    });
    let mut found = found.expect("it ran");
    found.mark = mark;
    found
}

/// What two recoveries must agree on: where shards stand, and what is missing of them.
fn sorted(tips: &[ShardTip]) -> Vec<ShardTip> {
    let mut tips = tips.to_vec();
    for tip in &mut tips {
        tip.last_arrival = Timestamp::ZERO;
        tip.holes.sort_by_key(|hole| (hole.from, hole.until));
        tip.holes.dedup();
    }
    tips
}

/// Read by an eye of our own: what any surviving frame says was durable.
fn durable_mark(slots: &[Slot]) -> Position {
    let blocks = slots
        .iter()
        .flat_map(|(_, bytes)| bytes.chunks_exact(BLOCK_BYTES as usize));
    let frames = blocks.filter_map(|block| FrameHeader::decode(block).ok());
    let ours = frames.filter(|frame| frame.folder == base::IDENTITY.folder);
    ours.map(|frame| frame.durable_mark)
        .max()
        .unwrap_or_default()
}

/// Reads a shard from its beginning, and behind every refusal the next record that was given out.
async fn read(log: &Log<SimReactor>, shard: ShardId, found: &mut Found) {
    let given: Vec<Offset> = KILLED
        .kept
        .range((shard, Offset::ZERO)..=(shard, Offset::MAX))
        .map(|((_, offset), _)| *offset)
        .collect();
    let Some(tip) = log.tip(shard) else {
        return;
    };
    let mut from = Offset::ZERO;
    while from < tip.durable_next {
        match log.read(shard, from, 100_000).await {
            Ok(batches) => {
                let mut last = None;
                for chunk in batches.chunks() {
                    take(chunk, shard, &mut last, found);
                }
                assert!(batches.next > from, "a read stands still at {from}");
                from = batches.next;
            }
            Err(ReadError::ShardNotFound { .. }) => panic!("{shard} is gone"),
            Err(_) => {
                found.refused.push((shard, from));
                let Some(next) = given.iter().find(|offset| **offset > from) else {
                    return;
                };
                from = *next;
            }
        }
    }
}

/// Whatever is served verifies, belongs to the shard and is in order.
fn take(chunk: &[u8], shard: ShardId, last: &mut Option<Offset>, found: &mut Found) {
    let mut rest = chunk;
    while !rest.is_empty() {
        let view = BatchView::decode(rest).expect("what is served verifies");
        assert_eq!(view.header.shard, shard);
        for (i, record) in view.records().enumerate() {
            let offset = view.header.first_offset + Count(i as u32);
            assert!(
                last.is_none_or(|last| last < offset),
                "{offset} after {last:?}"
            );
            *last = Some(offset);
            let bytes = (record.key.to_vec(), record.data.to_vec());
            found.records.insert((shard, offset), bytes);
        }
        rest = &rest[view.as_bytes().len()..];
    }
}

/// Recovery of the killed or the stopped log with these slots in place of its own.
pub fn recovered_with(base: &Base, slots: &[Slot]) -> Found {
    recovered(slots, &base.ledger, false)
}

#[cfg(test)]
pub(crate) use accident::seeds;
