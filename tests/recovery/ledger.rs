//! What clients of all lives know: every number that was ever acknowledged or read, and what is
//! there. Independent of the engine: it sees the wire only.

use std::collections::{BTreeMap, HashMap, HashSet};

use weir_protocol::model::{Offset, Timestamp};
use weir_protocol::wire::request::ReadFrom;
use weir_protocol::wire::response::StreamDescription;

use crate::harness::{Content, Found, Noted, Placed, Reader, parse};

/// Everything clients know of one stream.
#[derive(Debug)]
pub(crate) struct Ledger {
    shards: Vec<Shard>,
    /// Every batch ever sent, and its shard.
    sent: HashMap<u64, u32>,
    /// Every batch ever found or acknowledged: where it begins.
    places: HashMap<u64, (u32, Offset)>,
}

/// What is known of one shard.
#[derive(Debug, Default)]
struct Shard {
    /// Batches by the offset of their first record.
    batches: BTreeMap<Offset, (u64, u32)>,
    /// Up to here every record was found at its number.
    audited: Offset,
    /// The last record found, for what must not go back.
    last: Option<(Offset, Timestamp)>,
    /// The newest batch of each connection, in audited order.
    newest: HashMap<u64, u64>,
}

/// What an audit counted.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Audit {
    pub(crate) records: u64,
    /// Batches that nobody was told of, and are there.
    pub(crate) unacknowledged: u64,
}

impl Ledger {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            sent: HashMap::new(),
            places: HashMap::new(),
        }
    }

    /// How many batches are known to be stored.
    pub(crate) fn batches(&self) -> usize {
        self.places.len()
    }

    /// Takes in what a load noted. Panics if a number was given twice.
    pub(crate) fn note(&mut self, noted: Noted) {
        assert!(
            noted.refused.is_empty(),
            "nothing is refused: {:?}",
            noted.refused
        );
        self.sent.extend(noted.sent);
        for placed in noted.stored {
            self.place(placed, "acknowledged");
        }
    }

    /// Takes in batches that a consumer saw while the server ran: it sees only what is durable.
    pub(crate) fn note_seen(&mut self, seen: impl IntoIterator<Item = Placed>) {
        for placed in seen {
            self.place(placed, "read");
        }
    }

    /// True if nobody knew of the batch before.
    fn place(&mut self, placed: Placed, how: &str) -> bool {
        let place = (placed.shard, placed.first);
        let shard = self.sent.get(&placed.batch);
        assert_eq!(
            shard,
            Some(&placed.shard),
            "{how} {placed:?}, which was not sent there"
        );
        if let Some(before) = self.places.insert(placed.batch, place) {
            assert_eq!(
                before, place,
                "{how} {placed:?}, which is also at another number"
            );
            return false;
        }
        let batches = &mut self.shards[placed.shard as usize].batches;
        let before = batches.insert(placed.first, (placed.batch, placed.records));
        assert_eq!(
            before, None,
            "{how} {placed:?} at a number that was given before"
        );
        true
    }

    /// Reads what was not audited yet, and compares.
    #[track_caller]
    pub(crate) fn audit(&mut self, reader: &mut Reader, stream: &StreamDescription) -> Audit {
        let mut total = Audit::default();
        for index in 0..self.shards.len() {
            let from = ReadFrom::Offset(self.shards[index].audited);
            let audit = self.audit_shard(reader, stream, index, from);
            total.records += audit.records;
            total.unacknowledged += audit.unacknowledged;
        }
        total
    }

    /// Reads everything from the start, and compares.
    #[track_caller]
    pub(crate) fn audit_all(&mut self, reader: &mut Reader, stream: &StreamDescription) -> Audit {
        for shard in &mut self.shards {
            shard.audited = Offset::ZERO;
            shard.last = None;
            shard.newest.clear();
        }
        self.audit(reader, stream)
    }

    fn audit_shard(
        &mut self,
        reader: &mut Reader,
        stream: &StreamDescription,
        index: usize,
        from: ReadFrom,
    ) -> Audit {
        let mut found: Vec<Placed> = Vec::new();
        let mut audit = Audit::default();
        let shard = &mut self.shards[index];
        // The record of the batch that must come next, while one is open.
        let mut open: Option<Content> = None;
        let next = reader.all(stream, index as u32, from, |record| {
            audit.records += 1;
            let content = check(shard, record, &mut open);
            if content.index == 0 {
                shard.follow(content.batch);
                found.push(Placed {
                    batch: content.batch,
                    records: content.records,
                    shard: index as u32,
                    first: record.offset,
                });
            }
        });
        assert_eq!(open, None, "shard {index} ends within a batch");
        let audited = shard.audited;
        shard.audited = next;
        for placed in &found {
            audit.unacknowledged += u64::from(self.place(*placed, "found"));
        }
        let known = self.shards[index].batches.range(audited..);
        let known: Vec<_> = known.map(|(first, (batch, _))| (*first, *batch)).collect();
        let found: Vec<_> = found
            .iter()
            .map(|placed| (placed.first, placed.batch))
            .collect();
        compare(index, &known, &found);
        audit
    }
}

/// What is known to be stored against what is there.
#[track_caller]
fn compare(shard: usize, known: &[(Offset, u64)], found: &[(Offset, u64)]) {
    if known != found {
        let there: HashSet<_> = found.iter().collect();
        let lost = known.iter().filter(|place| !there.contains(place)).count();
        let first = known
            .iter()
            .zip(found)
            .find(|(known, found)| known != found);
        panic!("shard {shard}: {lost} acknowledged batches lost, first difference {first:?}");
    }
}

impl Shard {
    /// Batches of one connection to one shard keep their order.
    fn follow(&mut self, batch: u64) {
        let connection = batch >> 40;
        if let Some(before) = self.newest.insert(connection, batch) {
            assert!(before < batch, "batch {batch:#x} comes after {before:#x}");
        }
    }
}

/// One record against the one before it.
fn check(shard: &mut Shard, record: &Found<'_>, open: &mut Option<Content>) -> Content {
    let content = parse(record.data).unwrap_or_else(|wrong| panic!("{}: {wrong}", record.offset));
    assert!(
        record.key.starts_with(b"key-"),
        "the key of {}",
        record.offset
    );
    match open.take() {
        Some(expected) => assert_eq!(content, expected, "within a batch, at {}", record.offset),
        None => assert_eq!(content.index, 0, "a batch begins with its first record"),
    }
    if content.index + 1 < content.records {
        *open = Some(Content {
            index: content.index + 1,
            ..content
        });
    }
    if let Some((before, arrival)) = shard.last {
        assert!(
            record.offset > before,
            "{} comes after {before}",
            record.offset
        );
        assert!(
            record.offset - before == 1 || record.offset.epoch() > before.epoch(),
            "{} comes after {before}: numbers are dense within an epoch",
            record.offset
        );
        assert!(record.arrival >= arrival, "arrival times do not run back");
    }
    shard.last = Some((record.offset, record.arrival));
    content
}

/// The ledger itself must see what it is there for.
mod proofs {
    use std::collections::HashMap;

    use super::{Ledger, Shard, check};
    use crate::harness::{Content, Found, Noted, Placed, Shape, fill};
    use weir_protocol::batch::BatchView;
    use weir_protocol::model::{Offset, ShardId, ShardIndex, StreamId, Timestamp};

    fn placed(batch: u64, first: u64) -> Placed {
        Placed {
            batch,
            records: 2,
            shard: 0,
            first: Offset::new(first).unwrap(),
        }
    }

    fn noted(stored: Vec<Placed>) -> Noted {
        Noted {
            sent: HashMap::from([(1, 0), (2, 0)]),
            stored,
            ..Noted::default()
        }
    }

    #[test]
    #[should_panic(expected = "at a number that was given before")]
    fn a_number_given_twice() {
        Ledger::new(1).note(noted(vec![placed(1, 10), placed(2, 10)]));
    }

    #[test]
    #[should_panic(expected = "which is also at another number")]
    fn a_batch_stored_twice() {
        Ledger::new(1).note(noted(vec![placed(1, 10), placed(1, 12)]));
    }

    #[test]
    #[should_panic(expected = "which was not sent there")]
    fn a_batch_that_nobody_sent() {
        Ledger::new(1).note_seen([placed(3, 10)]);
    }

    #[test]
    #[should_panic(expected = "1 acknowledged batches lost")]
    fn a_batch_that_is_gone() {
        let at = |first| Offset::new(first).unwrap();
        super::compare(0, &[(at(1), 7), (at(3), 8)], &[(at(1), 7)]);
    }

    fn records() -> Vec<Vec<u8>> {
        let shape = Shape {
            records: 3..=3,
            bytes: 30..=40,
        };
        let shard = ShardId::new(StreamId::new(1), ShardIndex(0));
        let mut out = Vec::new();
        fill(&mut out, shard, 1, 9, &shape);
        let batch = BatchView::decode(&out).unwrap();
        batch.records().map(|record| record.data.to_vec()).collect()
    }

    fn walk(records: &[(u64, Vec<u8>)]) {
        let mut shard = Shard::default();
        let mut open: Option<Content> = None;
        for (offset, data) in records {
            let found = Found {
                offset: Offset::new(*offset).unwrap(),
                arrival: Timestamp::ZERO,
                key: b"key-1",
                data,
            };
            check(&mut shard, &found, &mut open);
        }
    }

    #[test]
    fn records_in_order_pass() {
        let three = records();
        walk(&(5..).zip(three).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "damaged record")]
    fn a_flipped_bit() {
        let mut three = records();
        three[1][25] ^= 1;
        walk(&(5..).zip(three).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "within a batch")]
    fn a_record_left_out() {
        let three = records();
        walk(&[(5, three[0].clone()), (6, three[2].clone())]);
    }

    #[test]
    #[should_panic(expected = "numbers are dense within an epoch")]
    fn a_number_left_out() {
        let three = records();
        walk(&[(5, three[0].clone()), (7, three[1].clone())]);
    }
}
