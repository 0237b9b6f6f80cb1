//! The index of a sealed segment: every shard that its log knew, and the place of every batch.
//!
//! A footer is searched as it lies in memory; nothing of it is unpacked.

use weir_protocol::bytes::{u32_at, u64_at};
use weir_protocol::checksum;
use weir_protocol::model::{Count, Offset, ShardId, ShardIndex, StreamId, Timestamp};

use super::blocks;
use super::trailer::Trailer;
use crate::shard::Hole;

const SHARD_BYTES: usize = 40;
const BATCH_BYTES: usize = 28;
const HOLE_BYTES: usize = 28;

type Fields = Vec<(usize, usize, &'static str)>;

/// Fields of the footer's three tables as (offset, bytes, name): for the document's test.
pub fn layout() -> [(&'static str, Fields, usize); 3] {
    let shard = vec![
        (0, 8, "stream"),
        (8, 4, "shard"),
        (12, 4, "its batches in this segment"),
        (16, 8, "its next offset at the segment's end"),
        (24, 8, "its last arrival time at the segment's end, ms"),
        (32, 4, "index of its first batch in the batch table"),
        (36, 4, "bytes of its batches in this segment"),
    ];
    let batch = vec![
        (0, 8, "first offset"),
        (8, 8, "arrival time, ms"),
        (16, 4, "file offset"),
        (20, 4, "bytes"),
        (24, 4, "records"),
    ];
    let hole = vec![
        (0, 8, "stream"),
        (8, 4, "shard"),
        (12, 8, "first offset that may be missing"),
        (20, 8, "first offset that is there again"),
    ];
    [
        (
            "shard table, sorted by stream and shard",
            shard,
            SHARD_BYTES,
        ),
        ("batch table, by shard and offset", batch, BATCH_BYTES),
        ("hole table", hole, HOLE_BYTES),
    ]
}

/// Length of a footer without its trailer, in whole blocks.
pub(crate) const fn footer_bytes(shards: usize, batches: usize, holes: usize) -> usize {
    blocks(shards * SHARD_BYTES + batches * BATCH_BYTES + holes * HOLE_BYTES)
}

/// What a footer says of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FooterShard {
    pub(crate) shard: ShardId,
    pub(crate) next: Offset,
    pub(crate) last_arrival: Timestamp,
    pub(crate) first_batch: u32,
    pub(crate) batches: u32,
    pub(crate) bytes: u32,
}

/// What a footer says of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FooterBatch {
    pub(crate) first: Offset,
    pub(crate) arrival: Timestamp,
    pub(crate) file_offset: u32,
    pub(crate) bytes: u32,
    pub(crate) records: Count,
}

impl FooterBatch {
    pub(crate) fn next(&self) -> Offset {
        self.first + self.records
    }
}

/// Builds a footer; shards are added in order.
#[derive(Debug, Default)]
pub(crate) struct FooterBuilder {
    shards: Vec<FooterShard>,
    batches: Vec<FooterBatch>,
    holes: Vec<(ShardId, Hole)>,
}

/// A footer's bytes, and what its trailer says of it.
pub(crate) struct BuiltFooter {
    pub(crate) bytes: Vec<u8>,
    pub(crate) shards: u32,
    pub(crate) batches: u32,
    pub(crate) holes: u32,
    pub(crate) crc: u32,
    pub(crate) newest: Timestamp,
    pub(crate) batch_bytes: u64,
}

impl FooterBuilder {
    /// Adds a shard with its batches in this segment. Shards come sorted, each once.
    pub(crate) fn push(
        &mut self,
        shard: ShardId,
        next: Offset,
        last_arrival: Timestamp,
        batches: impl Iterator<Item = FooterBatch>,
    ) {
        if let Some(last) = self.shards.last() {
            assert!(last.shard < shard, "shards come sorted");
        }
        let first_batch = self.batches.len() as u32;
        self.batches.extend(batches);
        let added = &self.batches[first_batch as usize..];
        let bytes = added.iter().map(|b| b.bytes).sum();
        let batches = added.len() as u32;
        self.shards.push(FooterShard {
            shard,
            next,
            last_arrival,
            first_batch,
            batches,
            bytes,
        });
    }

    /// Adds a hole of a shard.
    pub(crate) fn push_hole(&mut self, shard: ShardId, hole: Hole) {
        self.holes.push((shard, hole));
    }

    /// The bytes, in whole blocks.
    pub(crate) fn finish(self) -> BuiltFooter {
        let length = footer_bytes(self.shards.len(), self.batches.len(), self.holes.len());
        let mut bytes = Vec::with_capacity(length);
        for s in &self.shards {
            bytes.extend_from_slice(&s.shard.stream.get().to_le_bytes());
            bytes.extend_from_slice(&s.shard.index.0.to_le_bytes());
            bytes.extend_from_slice(&s.batches.to_le_bytes());
            bytes.extend_from_slice(&s.next.get().to_le_bytes());
            bytes.extend_from_slice(&s.last_arrival.as_millis().to_le_bytes());
            bytes.extend_from_slice(&s.first_batch.to_le_bytes());
            bytes.extend_from_slice(&s.bytes.to_le_bytes());
        }
        for b in &self.batches {
            bytes.extend_from_slice(&b.first.get().to_le_bytes());
            bytes.extend_from_slice(&b.arrival.as_millis().to_le_bytes());
            bytes.extend_from_slice(&b.file_offset.to_le_bytes());
            bytes.extend_from_slice(&b.bytes.to_le_bytes());
            bytes.extend_from_slice(&b.records.0.to_le_bytes());
        }
        for (shard, hole) in &self.holes {
            bytes.extend_from_slice(&shard.stream.get().to_le_bytes());
            bytes.extend_from_slice(&shard.index.0.to_le_bytes());
            bytes.extend_from_slice(&hole.from.get().to_le_bytes());
            bytes.extend_from_slice(&hole.until.get().to_le_bytes());
        }
        bytes.resize(length, 0);
        BuiltFooter {
            crc: checksum::crc(&bytes),
            shards: self.shards.len() as u32,
            batches: self.batches.len() as u32,
            holes: self.holes.len() as u32,
            newest: self
                .batches
                .iter()
                .map(|b| b.arrival)
                .max()
                .unwrap_or(Timestamp::ZERO),
            batch_bytes: self.batches.iter().map(|b| u64::from(b.bytes)).sum(),
            bytes,
        }
    }
}

/// A footer in memory.
#[derive(Debug)]
pub(crate) struct Footer {
    bytes: Vec<u8>,
    shards: usize,
    batches: usize,
    holes: usize,
}

impl Footer {
    /// Length of the footer that a trailer describes, in bytes, if it fits a file of that size.
    pub(crate) fn length(trailer: &Trailer, segment_bytes: u64) -> Option<usize> {
        let length = footer_bytes(
            trailer.shards as usize,
            trailer.batches as usize,
            trailer.holes as usize,
        );
        let end = trailer.footer_at.checked_add(length as u64)?;
        (end <= segment_bytes && trailer.footer_at.is_multiple_of(4096)).then_some(length)
    }

    /// Verifies a footer's bytes against its trailer, and that what they say is possible: a true
    /// checksum over impossible numbers is no disk's doing, and still no reason to stop the process.
    pub(crate) fn decode(trailer: &Trailer, bytes: Vec<u8>) -> Option<Self> {
        let (shards, batches, holes) = (
            trailer.shards as usize,
            trailer.batches as usize,
            trailer.holes as usize,
        );
        let whole = bytes.len() == footer_bytes(shards, batches, holes);
        let footer = (whole && checksum::crc(&bytes) == trailer.footer_crc).then_some(Self {
            bytes,
            shards,
            batches,
            holes,
        })?;
        footer.is_possible(trailer.footer_at).then_some(footer)
    }

    /// Every number in its bounds, shards sorted, batches of a shard one behind the other and all of
    /// them before `end`.
    fn is_possible(&self, end: u64) -> bool {
        let mut last = None;
        for entry in self.bytes.chunks_exact(SHARD_BYTES).take(self.shards) {
            let shard = shard_id(entry);
            let (first, count) = (u32_at(entry, 32) as usize, u32_at(entry, 12) as usize);
            let there = first
                .checked_add(count)
                .is_some_and(|to| to <= self.batches);
            let Some(shard_next) = Offset::new(u64_at(entry, 16)) else {
                return false;
            };
            if !there || last.is_some_and(|last| shard <= last) {
                return false;
            }
            last = Some(shard);
            let start = self.shards * SHARD_BYTES + first * BATCH_BYTES;
            let mut next = Offset::ZERO;
            for batch in self.bytes[start..].chunks_exact(BATCH_BYTES).take(count) {
                let first = Offset::new(u64_at(batch, 0));
                let behind = first.and_then(|first| first.checked_add(Count(u32_at(batch, 24))));
                let (Some(first), Some(behind)) = (first, behind) else {
                    return false;
                };
                let to = u64::from(u32_at(batch, 16)) + u64::from(u32_at(batch, 20));
                if first < next || to > end {
                    return false;
                }
                next = behind;
            }
            if next > shard_next {
                return false;
            }
        }
        let start = self.shards * SHARD_BYTES + self.batches * BATCH_BYTES;
        let mut holes = self.bytes[start..]
            .chunks_exact(HOLE_BYTES)
            .take(self.holes);
        holes.all(|hole| {
            Offset::new(u64_at(hole, 12)).is_some() && Offset::new(u64_at(hole, 20)).is_some()
        })
    }

    /// Bytes it takes in memory.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// All shards, sorted.
    pub(crate) fn shards(&self) -> impl ExactSizeIterator<Item = FooterShard> {
        (0..self.shards).map(|i| self.shard_at(i))
    }

    fn shard_at(&self, index: usize) -> FooterShard {
        let at = &self.bytes[index * SHARD_BYTES..(index + 1) * SHARD_BYTES];
        FooterShard {
            shard: shard_id(at),
            batches: u32_at(at, 12),
            next: offset(at, 16),
            last_arrival: Timestamp::from_millis(u64_at(at, 24)),
            first_batch: u32_at(at, 32),
            bytes: u32_at(at, 36),
        }
    }

    /// What it says of `shard`.
    pub(crate) fn find(&self, shard: ShardId) -> Option<FooterShard> {
        let (mut low, mut high) = (0, self.shards);
        while low < high {
            let middle = usize::midpoint(low, high);
            if shard_id(&self.bytes[middle * SHARD_BYTES..]) < shard {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low < self.shards)
            .then(|| self.shard_at(low))
            .filter(|s| s.shard == shard)
    }

    /// Batch `index` of a shard, from 0 to `shard.batches`.
    pub(crate) fn batch(&self, shard: &FooterShard, index: u32) -> FooterBatch {
        let start = self.shards * SHARD_BYTES + (shard.first_batch + index) as usize * BATCH_BYTES;
        let at = &self.bytes[start..start + BATCH_BYTES];
        FooterBatch {
            first: offset(at, 0),
            arrival: Timestamp::from_millis(u64_at(at, 8)),
            file_offset: u32_at(at, 16),
            bytes: u32_at(at, 20),
            records: Count(u32_at(at, 24)),
        }
    }

    /// Index of the first batch of `shard` that satisfies a predicate which, once true, stays true.
    pub(crate) fn first_batch_where(
        &self,
        shard: &FooterShard,
        holds: impl Fn(&FooterBatch) -> bool,
    ) -> u32 {
        let (mut low, mut high) = (0, shard.batches);
        while low < high {
            let middle = u32::midpoint(low, high);
            if holds(&self.batch(shard, middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// All holes.
    pub(crate) fn holes(&self) -> impl Iterator<Item = (ShardId, Hole)> {
        let start = self.shards * SHARD_BYTES + self.batches * BATCH_BYTES;
        (0..self.holes).map(move |i| {
            let at = &self.bytes[start + i * HOLE_BYTES..start + (i + 1) * HOLE_BYTES];
            (
                shard_id(at),
                Hole {
                    from: offset(at, 12),
                    until: offset(at, 20),
                },
            )
        })
    }
}

fn shard_id(at: &[u8]) -> ShardId {
    ShardId::new(StreamId::new(u64_at(at, 0)), ShardIndex(u32_at(at, 8)))
}

/// Checked when the footer was decoded.
fn offset(at: &[u8], place: usize) -> Offset {
    Offset::new(u64_at(at, place)).expect("a footer holds offsets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_was_put_in() {
        let shard = |i: u32| ShardId::new(StreamId::new(u64::from(i / 10)), ShardIndex(i % 10));
        let mut builder = FooterBuilder::default();
        for i in (0..100).filter(|i| i % 3 == 0) {
            let batches = (0..i % 7).map(|b| FooterBatch {
                first: Offset::ZERO + Count(b * 10),
                arrival: Timestamp::from_millis(u64::from(b)),
                file_offset: b * 4096,
                bytes: 100,
                records: Count(10),
            });
            let next = Offset::ZERO + Count(i % 7 * 10);
            builder.push(shard(i), next, Timestamp::from_millis(9), batches);
        }
        builder.push_hole(
            shard(3),
            Hole {
                from: Offset::ZERO,
                until: Offset::ZERO + Count(4),
            },
        );
        let built = builder.finish();
        let trailer = Trailer {
            clean: false,
            folder: 0,
            log: weir_protocol::model::LogId(0),
            shards: built.shards,
            generation: 0,
            incarnation: 0,
            end: weir_protocol::model::Position(0),
            next_generation: 0,
            footer_at: 1 << 20,
            batches: built.batches,
            holes: built.holes,
            newest: built.newest,
            batch_bytes: built.batch_bytes,
            footer_crc: built.crc,
        };
        assert_eq!(Trailer::decode(&trailer.encode()), Some(trailer));
        let footer = Footer::decode(&trailer, built.bytes.clone()).unwrap();
        for i in 0..100 {
            match footer.find(shard(i)) {
                Some(found) => {
                    assert_eq!(i % 3, 0);
                    assert_eq!(found.batches, i % 7);
                    let behind =
                        footer.first_batch_where(&found, |b| b.next() > Offset::ZERO + Count(15));
                    assert_eq!(behind, found.batches.min(1));
                }
                None => assert_ne!(i % 3, 0),
            }
        }
        assert_eq!(footer.holes().count(), 1);
        let mut damaged = built.bytes.clone();
        damaged[5] ^= 1;
        assert!(Footer::decode(&trailer, damaged).is_none());

        // Impossible numbers under a true checksum.
        let batches = built.shards as usize * SHARD_BYTES;
        let holes = batches + built.batches as usize * BATCH_BYTES;
        for (what, at, value) in [
            ("next offset of a shard", 16, u64::MAX),
            ("a shard twice", SHARD_BYTES + 8, 0),
            ("more batches than there are", 12, u64::from(u32::MAX)),
            ("offset of a batch", batches, u64::MAX),
            ("a batch before the one before it", batches + BATCH_BYTES, 3),
            ("a batch behind the end", batches + 16, u64::from(u32::MAX)),
            ("offset of a hole", holes + 12, u64::MAX),
        ] {
            let mut bytes = built.bytes.clone();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            let trailer = Trailer {
                footer_crc: checksum::crc(&bytes),
                ..trailer
            };
            assert!(Footer::decode(&trailer, bytes).is_none(), "{what}");
        }
    }
}
