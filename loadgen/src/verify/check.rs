//! Judges the records of one shard, in the order they are read.

use weir_protocol::batch::{BatchView, RecordView};
use weir_protocol::model::{Count, Offset};

use super::{Evidence, Target, Verified, Wrong};
use crate::payload::{RecordError, RecordHead};
use crate::witness::Fate;

/// The state of reading one shard from its beginning to its tip.
pub(crate) struct ShardCheck<'a> {
    evidence: &'a Evidence<'a>,
    target: &'a Target,
    slot: usize,
    /// By writer: the sequence that must come next, or a later one if what is between was not
    /// acknowledged.
    next: Vec<u64>,
    /// Acknowledged records below it may be gone.
    horizon: Offset,
    verified: Verified,
}

impl<'a> ShardCheck<'a> {
    pub(crate) fn new(evidence: &'a Evidence<'a>, slot: usize) -> Self {
        Self {
            evidence,
            target: &evidence.targets[slot],
            slot,
            next: vec![0; evidence.ledgers.len()],
            horizon: Offset::ZERO,
            verified: Verified::default(),
        }
    }

    /// Says that the server rightly keeps nothing below `offset`.
    pub(crate) fn trimmed_to(&mut self, offset: Offset) {
        self.horizon = self.horizon.max(offset);
    }

    /// Judges the records of `batch` from `from` on, before `until`.
    pub(crate) fn batch(
        &mut self,
        batch: &BatchView<'_>,
        from: Offset,
        until: Offset,
    ) -> Result<(), Wrong> {
        let header = &batch.header;
        if header.shard.index != self.target.shard {
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
        if head.shard != self.target.shard || record.key != self.target.key {
            let what = format!("it was sent to {} under another key", head.shard);
            return Err(self.wrong(offset, name, what));
        }
        let Some(ledger) = self.evidence.ledgers.get(head.writer as usize) else {
            let what = "a writer that this run does not have".to_owned();
            return Err(self.wrong(offset, name, what));
        };
        let batch = head.sequence / self.evidence.batch_records;
        if batch >= ledger.sent(self.slot) {
            let what = "a record that was never sent".to_owned();
            return Err(self.wrong(offset, name, what));
        }
        let expected = self.next[head.writer as usize];
        if head.sequence < expected {
            let what = format!(
                "doubled or out of order: it comes after sequence {}",
                expected - 1
            );
            return Err(self.wrong(offset, name, what));
        }
        match ledger.fate(self.slot, batch) {
            Some(Fate::Stored(first)) => {
                let within = (head.sequence % self.evidence.batch_records) as u32;
                let promised = first.checked_add(Count(within));
                if promised != Some(offset) {
                    let what =
                        format!("acknowledged as the record at offset {first} plus {within}");
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
        self.gap(head.writer, expected, head.sequence)?;
        self.next[head.writer as usize] = head.sequence + 1;
        Ok(())
    }

    /// What lies from sequence `from` to before `to` was passed over: nothing of it may have been
    /// acknowledged, unless it was trimmed.
    fn gap(&self, writer: u32, from: u64, to: u64) -> Result<(), Wrong> {
        let records = self.evidence.batch_records;
        let ledger = &self.evidence.ledgers[writer as usize];
        let mut at = from;
        while at < to {
            let batch = at / records;
            let Some(fate) = ledger.fate(self.slot, batch) else {
                return Ok(());
            };
            let end = to.min((batch + 1) * records);
            if let Fate::Stored(first) = fate {
                // The first missing record of this batch that is not below the horizon.
                let missing = (at..end).find_map(|sequence| {
                    let offset = first.checked_add(Count((sequence - batch * records) as u32))?;
                    (offset >= self.horizon).then_some((offset, sequence))
                });
                if let Some((offset, sequence)) = missing {
                    let what = "lost: acknowledged here, and not in the shard".to_owned();
                    return Err(self.wrong(offset, Some((writer, sequence)), what));
                }
            }
            at = end;
        }
        Ok(())
    }

    /// The tip was reached: nothing that was acknowledged may be outstanding.
    pub(crate) fn finish(mut self) -> Result<Verified, Wrong> {
        let mut acknowledged = 0;
        for (writer, ledger) in self.evidence.ledgers.iter().enumerate() {
            let end = ledger.noted(self.slot) * self.evidence.batch_records;
            self.gap(writer as u32, self.next[writer], end)?;
            acknowledged += ledger.stored(self.slot).count() as u64 * self.evidence.batch_records;
        }
        self.verified.trimmed = acknowledged - self.verified.found;
        Ok(self.verified)
    }

    /// A verdict on one place of this shard.
    pub(crate) fn wrong(&self, offset: Offset, record: Option<(u32, u64)>, what: String) -> Wrong {
        Wrong {
            shard: self.target.shard,
            offset,
            record,
            what,
        }
    }
}
