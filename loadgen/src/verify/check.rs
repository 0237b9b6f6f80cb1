//! Judges the records of a stream, shard by shard, in the order they are read.

use std::collections::{BTreeMap, HashMap};

use weir_protocol::batch::{BatchView, RecordView};
use weir_protocol::model::{Count, Offset, ShardIndex};
use weir_protocol::wire::response::ShardDescription;

use super::{Evidence, Verified, Wrong};
use crate::payload::{KEY_BYTES, RecordError, RecordHead};
use crate::witness::Fate;

/// The state of reading shards from their beginning to their tip, parents before children.
pub(crate) struct Check<'a> {
    evidence: &'a Evidence<'a>,
    by_key: HashMap<[u8; KEY_BYTES], usize>,
    /// By slot that is not finished, then by writer: the sequence that must come next, or a later one
    /// if what is between was not acknowledged.
    next: HashMap<usize, Vec<u64>>,
    /// Acknowledged records of a shard below it may be gone.
    horizons: BTreeMap<ShardIndex, Offset>,
    /// The shard that is read, and the key that was found in it last with its slot.
    shard: ShardDescription,
    last: Option<([u8; KEY_BYTES], usize)>,
    /// Acknowledged records of the slots that are finished.
    acknowledged: u64,
    verified: Verified,
}

impl<'a> Check<'a> {
    /// A check of the shards of `evidence`, of which there is at least one.
    pub(crate) fn new(evidence: &'a Evidence<'a>) -> Self {
        let keys = evidence.targets.iter().map(|target| target.key);
        Self {
            evidence,
            by_key: keys.zip(0..).collect(),
            next: HashMap::new(),
            horizons: BTreeMap::new(),
            shard: evidence.shards[0],
            last: None,
            acknowledged: 0,
            verified: Verified::default(),
        }
    }

    /// What comes now is of another shard.
    pub(crate) fn begin(&mut self, shard: &ShardDescription) {
        self.shard = *shard;
        self.last = None;
    }

    /// Says that the server rightly keeps nothing of the shard below `offset`.
    pub(crate) fn trimmed_to(&mut self, offset: Offset) {
        self.trimmed(self.shard.index, offset);
    }

    /// Says that the server rightly keeps nothing of a shard below `offset`.
    pub(crate) fn trimmed(&mut self, shard: ShardIndex, offset: Offset) {
        let horizon = self.horizons.entry(shard).or_insert(Offset::ZERO);
        *horizon = (*horizon).max(offset);
    }

    /// Judges the records of `batch` from `from` on, before `until`.
    pub(crate) fn batch(
        &mut self,
        batch: &BatchView<'_>,
        from: Offset,
        until: Offset,
    ) -> Result<(), Wrong> {
        let header = &batch.header;
        if header.shard.index != self.shard.index {
            let what = format!("a batch of shard {} was read", header.shard);
            return Err(self.wrong(header.first_offset, None, what));
        }
        let mut count = 0;
        for (record, number) in batch.records().zip(0..) {
            count += 1;
            let Some(offset) = header.first_offset.checked_add(Count(number)) else {
                let what = "its batch spills into the next epoch".to_owned();
                return Err(self.wrong(header.first_offset, None, what));
            };
            if (from..until).contains(&offset) {
                self.record(offset, &record)?;
            }
        }
        if count == header.records.0 {
            return Ok(());
        }
        let what = format!(
            "its batch counts {} records, holds {count}",
            header.records.0
        );
        Err(self.wrong(header.first_offset, None, what))
    }

    fn record(&mut self, offset: Offset, record: &RecordView<'_>) -> Result<(), Wrong> {
        let head = match RecordHead::decode(record.data) {
            Ok(head) if head.run == self.evidence.run => head,
            Err(error @ RecordError::Checksum { .. }) => {
                return Err(self.wrong(offset, None, format!("damaged: {error}")));
            }
            _ if self.evidence.alone => {
                let what = "a record that this run never sent".to_owned();
                return Err(self.wrong(offset, None, what));
            }
            _ => {
                self.verified.foreign += 1;
                return Ok(());
            }
        };
        let name = Some((head.writer, head.sequence));
        if head.shard != self.shard.index {
            let what = format!("it was sent to {}", head.shard);
            return Err(self.wrong(offset, name, what));
        }
        let Some(slot) = self.slot_of(record.key) else {
            let what = "it was sent under another key".to_owned();
            return Err(self.wrong(offset, name, what));
        };
        let Some(ledger) = self.evidence.ledgers.get(head.writer as usize) else {
            let what = "a writer that this run does not have".to_owned();
            return Err(self.wrong(offset, name, what));
        };
        let batch = head.sequence / self.evidence.batch_records;
        if batch >= ledger.sent(slot) {
            let what = "a record that was never sent".to_owned();
            return Err(self.wrong(offset, name, what));
        }
        let writers = self.evidence.ledgers.len();
        let next = self.next.entry(slot).or_insert_with(|| vec![0; writers]);
        let expected = next[head.writer as usize];
        if head.sequence < expected {
            let what = format!(
                "doubled or out of order: it comes after sequence {}",
                expected - 1
            );
            return Err(self.wrong(offset, name, what));
        }
        match ledger.fate(slot, batch) {
            Some(Fate::Stored(first)) => {
                let within = (head.sequence % self.evidence.batch_records) as u32;
                let promised = first.checked_add(Count(within));
                let home = ledger.home(slot, batch);
                if promised != Some(offset) || home != self.shard.index {
                    let what = format!(
                        "acknowledged as the record at offset {first} plus {within} of {home}"
                    );
                    return Err(self.wrong(offset, name, what));
                }
                self.verified.found += 1;
            }
            Some(Fate::Refused) => {
                let what = "stored, though its append was refused".to_owned();
                return Err(self.wrong(offset, name, what));
            }
            Some(Fate::Unknown) => self.verified.unanswered += 1,
            None => self.verified.beyond += 1,
        }
        self.gap(slot, head.writer, expected, head.sequence)?;
        if let Some(next) = self.next.get_mut(&slot) {
            next[head.writer as usize] = head.sequence + 1;
        }
        Ok(())
    }

    /// The slot of a key of this run whose hash the shard owns.
    fn slot_of(&mut self, key: &[u8]) -> Option<usize> {
        if let Some((last, slot)) = self.last
            && last == key
        {
            return Some(slot);
        }
        let key: [u8; KEY_BYTES] = key.try_into().ok()?;
        let slot = *self.by_key.get(&key)?;
        let is_here = self
            .shard
            .range
            .contains(self.evidence.targets[slot].hash());
        self.last = is_here.then_some((key, slot));
        is_here.then_some(slot)
    }

    /// What lies from sequence `from` to before `to` was passed over: nothing of it may have been
    /// acknowledged, unless it was trimmed.
    fn gap(&self, slot: usize, writer: u32, from: u64, to: u64) -> Result<(), Wrong> {
        let records = self.evidence.batch_records;
        let ledger = &self.evidence.ledgers[writer as usize];
        let mut at = from;
        while at < to {
            let batch = at / records;
            let Some(fate) = ledger.fate(slot, batch) else {
                return Ok(());
            };
            let end = to.min((batch + 1) * records);
            if let Fate::Stored(first) = fate {
                let home = ledger.home(slot, batch);
                let horizon = self.horizons.get(&home).copied().unwrap_or(Offset::ZERO);
                // The first missing record of this batch that is not below the horizon.
                let missing = (at..end).find_map(|sequence| {
                    let offset = first.checked_add(Count((sequence - batch * records) as u32))?;
                    (offset >= horizon).then_some((offset, sequence))
                });
                if let Some((offset, sequence)) = missing {
                    let what = "lost: acknowledged here, and not in the shard".to_owned();
                    return Err(Wrong {
                        shard: home,
                        offset,
                        record: Some((writer, sequence)),
                        what,
                    });
                }
            }
            at = end;
        }
        Ok(())
    }

    /// The last shard of a slot was read: nothing that was acknowledged may be outstanding.
    pub(crate) fn finish(&mut self, slot: usize) -> Result<(), Wrong> {
        let next = self.next.remove(&slot);
        for (writer, ledger) in self.evidence.ledgers.iter().enumerate() {
            let end = ledger.noted(slot) * self.evidence.batch_records;
            let next = next.as_ref().map_or(0, |next| next[writer]);
            self.gap(slot, writer as u32, next, end)?;
            self.acknowledged += ledger.stored(slot).count() as u64 * self.evidence.batch_records;
        }
        Ok(())
    }

    /// All slots are finished.
    pub(crate) fn verified(mut self) -> Verified {
        self.verified.trimmed = self.acknowledged - self.verified.found;
        self.verified
    }

    /// A verdict on one place of the shard that is read.
    pub(crate) fn wrong(&self, offset: Offset, record: Option<(u32, u64)>, what: String) -> Wrong {
        Wrong {
            shard: self.shard.index,
            offset,
            record,
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_protocol::batch::stamp;
    use weir_protocol::model::{
        HashKeyRange, ShardId, StreamId, StreamMode, StreamName, StreamQuota, StreamStatus,
        Timestamp,
    };
    use weir_protocol::wire::frame::{self, Correlation};
    use weir_protocol::wire::response::StreamDescription;

    use super::*;
    use crate::args::Shape;
    use crate::payload::{Send, Template};
    use crate::shards::Map;
    use crate::verify::Target;
    use crate::witness::Ledger;

    const RUN: u64 = 77;
    const SHAPE: Shape = Shape {
        record_bytes: 60,
        batch_records: 3,
    };

    fn shard(index: u32, range: HashKeyRange, closed: bool) -> ShardDescription {
        ShardDescription {
            index: ShardIndex(index),
            core: 0,
            range,
            created: Timestamp::ZERO,
            closed,
        }
    }

    fn stream(shards: Vec<ShardDescription>, map_version: u32) -> StreamDescription {
        StreamDescription {
            name: StreamName::new("s").unwrap(),
            id: StreamId::new(5),
            status: StreamStatus::Active,
            mode: StreamMode::OnDemand,
            retention_ms: 0,
            retain_bytes: 0,
            quota: StreamQuota::Server,
            record_bytes_max: 1 << 20,
            created: Timestamp::ZERO,
            map_version,
            cores: 1,
            shards,
        }
    }

    /// A batch as a shard keeps it.
    fn batch(target: &Target, shard: ShardIndex, number: u64, first: u64) -> Vec<u8> {
        let template = Template::new(SHAPE, RUN, 1, StreamId::new(5));
        let mut bytes = template.buffer(1);
        let send = Send {
            correlation: Correlation(1),
            map_version: 1,
            shard,
            key: &target.key,
            batch: number,
            intended: 0,
        };
        template.patch(&mut bytes, 0, &send);
        let (frame, _) = frame::decode(&bytes).unwrap().unwrap();
        let mut batch = frame.bulk.to_vec();
        stamp(&mut batch, Offset::new(first).unwrap(), Timestamp::ZERO);
        batch
    }

    /// What is said of shards that hold these batches: (shard, batch number, first offset). One
    /// writer sent four batches under one key: two to shard 0, then two to the child it split into.
    fn said(held: &[(u32, u64, u64)]) -> Result<Verified, String> {
        let halves: Vec<_> = HashKeyRange::divide(2).collect();
        let before = Map::of(&stream(vec![shard(0, HashKeyRange::ALL, false)], 1)).unwrap();
        let split = stream(
            vec![
                shard(0, HashKeyRange::ALL, true),
                shard(1, halves[0], false),
                shard(2, halves[1], false),
            ],
            2,
        );
        let after = before.redrawn(&split);
        let child = after.targets[0].shard;
        let mut ledger = Ledger::new(&before.targets, 100);
        for (number, offset) in [(0, 0), (1, 3), (2, 0), (3, 3)] {
            ledger.send(0);
            ledger.note(0, number, Fate::Stored(Offset::new(offset).unwrap()));
        }
        ledger.moved(0, 2, child);
        ledger.grow(&after.targets);
        let ledgers = [ledger];
        let evidence = Evidence {
            run: RUN,
            batch_records: 3,
            targets: &after.targets,
            shards: &split.shards,
            ledgers: &ledgers,
            alone: true,
        };
        let plan = evidence.plan(&[0]);
        let lines: Vec<u32> = plan.readings.iter().map(|r| r.shard.index.0).collect();
        assert_eq!(lines[..2], [0, child.0], "the parent before its child");
        let mut check = Check::new(&evidence);
        for reading in &plan.readings {
            let index = reading.shard.index;
            check.begin(&reading.shard);
            // "1" stands for the child that has the key, whichever that is.
            let of = |shard: u32| if shard == 1 { child } else { ShardIndex(shard) };
            for (_, number, first) in held.iter().filter(|held| of(held.0) == index) {
                let bytes = batch(&after.targets[0], index, *number, *first);
                let view = BatchView::decode(&bytes).unwrap();
                assert_eq!(view.header.shard, ShardId::new(StreamId::new(5), index));
                check
                    .batch(&view, Offset::ZERO, Offset::MAX)
                    .map_err(|wrong| wrong.to_string())?;
            }
            for slot in &reading.ends {
                check.finish(*slot).map_err(|wrong| wrong.to_string())?;
            }
        }
        assert!(plan.lost.is_empty());
        Ok(check.verified())
    }

    #[test]
    fn a_key_is_judged_over_its_parent_and_its_child() {
        let honest = [(0, 0, 0), (0, 1, 3), (1, 2, 0), (1, 3, 3)];
        let found = said(&honest).unwrap();
        assert_eq!((found.found, found.trimmed), (12, 0));
        for (held, expected) in [
            (&honest[..3], "lost"),
            (
                &[honest[0], honest[2], honest[3]][..],
                "shardId-000000000000 offset 0.3 (writer 0, sequence 3): lost",
            ),
            (&honest[..2], "lost"),
            (&[honest[0], honest[1], honest[3]][..], "lost"),
            (
                &[honest[0], honest[1], (1, 1, 0)][..],
                "doubled or out of order",
            ),
            (
                &[honest[0], honest[1], (0, 2, 6)][..],
                "acknowledged as the record at offset 0.0 plus 0 of shardId-",
            ),
            // At the right number, in the wrong shard.
            (
                &[honest[0], honest[1], (0, 2, 0)][..],
                "acknowledged as the record at offset 0.0 plus 0 of shardId-",
            ),
            (
                &[(1, 0, 0)][..],
                "acknowledged as the record at offset 0.0 plus 0 of shardId-000000000000",
            ),
        ] {
            let wrong = said(held).unwrap_err();
            assert!(wrong.contains(expected), "{held:?}: {wrong}");
        }
    }
}
