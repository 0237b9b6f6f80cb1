//! One answer's records, walked in order.

use weir_protocol::batch::{BATCH_HEADER_BYTES, BatchView, RECORD_HEADER_BYTES};
use weir_protocol::bytes::{u16_at, u32_at};
use weir_protocol::model::{Count, Offset, Timestamp};

/// A record with its place and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) offset: Offset,
    pub(crate) arrival: Timestamp,
    pub(crate) key: &'a [u8],
    pub(crate) data: &'a [u8],
}

/// Batches whose checksums were verified, and a place in them. Records outside the wanted offsets
/// are passed over.
#[derive(Debug)]
pub(crate) struct RecordRun {
    bytes: Vec<u8>,
    at: usize,
    left_in_batch: u32,
    offset: Offset,
    arrival: Timestamp,
    from: Offset,
    until: Offset,
}

impl RecordRun {
    /// Verifies the batches in `bytes`; records below `from` and from `until` on are not wanted.
    pub(crate) fn verify(bytes: Vec<u8>, from: Offset, until: Offset) -> Result<Self, String> {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let batch = BatchView::decode(rest).map_err(|error| error.to_string())?;
            let limit = weir_protocol::limits::RECORD_BYTES_CEILING;
            batch
                .check_records(limit)
                .map_err(|error| error.to_string())?;
            rest = &rest[batch.as_bytes().len()..];
        }
        let mut run = Self {
            bytes,
            at: 0,
            left_in_batch: 0,
            offset: Offset::ZERO,
            arrival: Timestamp::ZERO,
            from,
            until,
        };
        run.settle();
        Ok(run)
    }

    /// Moves to the next wanted record, or to the end.
    fn settle(&mut self) {
        loop {
            if self.left_in_batch == 0 {
                if self.at == self.bytes.len() {
                    return;
                }
                let batch = BatchView::decode_unverified(&self.bytes[self.at..])
                    .expect("it was verified when it came");
                self.left_in_batch = batch.header.records.0;
                self.offset = batch.header.first_offset;
                self.arrival = batch.header.arrival;
                self.at += BATCH_HEADER_BYTES;
            }
            if self.offset >= self.until {
                self.at = self.bytes.len();
                self.left_in_batch = 0;
                return;
            }
            if self.offset >= self.from {
                return;
            }
            self.pass();
        }
    }

    fn pass(&mut self) {
        let data = u32_at(&self.bytes, self.at) as usize;
        let key = usize::from(u16_at(&self.bytes, self.at + 4));
        self.at += RECORD_HEADER_BYTES + key + data;
        self.left_in_batch -= 1;
        if self.left_in_batch > 0 {
            self.offset = self.offset + Count(1);
        }
    }

    /// The record that is next.
    pub(crate) fn peek(&self) -> Option<Record<'_>> {
        if self.left_in_batch == 0 {
            return None;
        }
        let data = u32_at(&self.bytes, self.at) as usize;
        let key = usize::from(u16_at(&self.bytes, self.at + 4));
        let key_at = self.at + RECORD_HEADER_BYTES;
        Some(Record {
            offset: self.offset,
            arrival: self.arrival,
            key: &self.bytes[key_at..key_at + key],
            data: &self.bytes[key_at + key..key_at + key + data],
        })
    }

    /// Goes past the record that is next.
    pub(crate) fn advance(&mut self) {
        assert!(self.left_in_batch > 0, "there is a record to go past");
        self.pass();
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::batch::{BatchBuilder, ProducerMark, stamp};
    use weir_protocol::model::{ShardId, ShardIndex, StreamId};

    fn batches() -> Vec<u8> {
        let mut out = Vec::new();
        for (first, arrival) in [(10, 1000), (13, 2000), (40, 3000)] {
            let start = out.len();
            let shard = ShardId::new(StreamId::new(1), ShardIndex(0));
            let mut batch = BatchBuilder::new(&mut out, shard, 1, ProducerMark::default());
            for i in 0..3 {
                batch
                    .push("k", format!("{}", first + i).as_bytes())
                    .unwrap();
            }
            batch.finish();
            stamp(
                &mut out[start..],
                Offset::new(first).unwrap(),
                Timestamp::from_millis(arrival),
            );
        }
        out
    }

    fn read(from: u64, until: u64) -> Vec<(u64, u64, String)> {
        let (from, until) = (Offset::new(from).unwrap(), Offset::new(until).unwrap());
        let mut run = RecordRun::verify(batches(), from, until).unwrap();
        let mut all = Vec::new();
        while let Some(record) = run.peek() {
            let data = String::from_utf8(record.data.to_vec()).unwrap();
            assert_eq!(record.key, b"k");
            all.push((record.offset.get(), record.arrival.as_millis(), data));
            run.advance();
        }
        all
    }

    #[test]
    fn only_wanted_records_come_in_order() {
        let all = read(0, 100);
        assert_eq!(all.len(), 9);
        assert_eq!(all[3], (13, 2000, "13".to_owned()));
        assert_eq!(all[8], (42, 3000, "42".to_owned()));
        let some: Vec<_> = read(12, 41).into_iter().map(|r| r.0).collect();
        assert_eq!(some, [12, 13, 14, 15, 40]);
        assert_eq!(read(50, 60), []);
    }

    #[test]
    fn damage_is_an_error() {
        let mut bytes = batches();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(RecordRun::verify(bytes, Offset::ZERO, Offset::MAX).is_err());
    }
}
