//! What the server promised: for every batch that was sent, what became of it.
//!
//! Owns: the ledger, eight bytes a batch. Never: reading back; that is [`crate::verify`].

use weir_protocol::model::Offset;

/// Most batches that the writers of a run note together: half a GiB of ledger. Batches beyond it
/// are sent and measured, but not checked, and the report says so.
pub(crate) const LEDGER_BATCHES_MAX: usize = 1 << 26;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Acknowledged; its first record lies at this offset.
    Stored(Offset),
    /// Refused: nothing of it may be stored.
    Refused,
    /// No answer, or one that leaves it open.
    Unknown,
}

const UNKNOWN: u64 = u64::MAX;
const REFUSED: u64 = u64::MAX - 1;

/// The batches of one writer (one connection). All batches have the same number of records, so
/// a batch's number tells its sequence numbers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By shard slot: the fates of the noted batches, in sending order.
    fates: Vec<Vec<u64>>,
    /// By shard slot: batches sent, noted or not.
    sent: Vec<u64>,
    room: usize,
}

impl Ledger {
    /// Notes up to `room` batches over `slots` shards.
    pub(crate) fn new(slots: usize, room: usize) -> Self {
        Self {
            fates: vec![Vec::new(); slots],
            sent: vec![0; slots],
            room,
        }
    }

    /// Takes the next batch number of a shard.
    pub(crate) fn send(&mut self, slot: usize) -> u64 {
        let batch = self.sent[slot];
        self.sent[slot] += 1;
        if self.room > 0 && self.fates[slot].len() as u64 == batch {
            self.room -= 1;
            self.fates[slot].push(UNKNOWN);
        }
        batch
    }

    /// Notes what became of a batch.
    pub(crate) fn note(&mut self, slot: usize, batch: u64, fate: Fate) {
        if let Some(noted) = self.fates[slot].get_mut(batch as usize) {
            *noted = match fate {
                Fate::Stored(offset) => offset.get(),
                Fate::Refused => REFUSED,
                Fate::Unknown => UNKNOWN,
            };
        }
    }

    /// What became of a noted batch; `None` if it was not noted.
    pub(crate) fn fate(&self, slot: usize, batch: u64) -> Option<Fate> {
        self.fates[slot].get(batch as usize).map(|raw| match *raw {
            UNKNOWN => Fate::Unknown,
            REFUSED => Fate::Refused,
            raw => Fate::Stored(Offset::new(raw).expect("only offsets are noted")),
        })
    }

    /// Batches sent to a shard.
    pub(crate) fn sent(&self, slot: usize) -> u64 {
        self.sent[slot]
    }

    /// Batches noted of a shard: the first ones.
    pub(crate) fn noted(&self, slot: usize) -> u64 {
        self.fates[slot].len() as u64
    }

    /// First offsets of the acknowledged batches that were noted of a shard.
    pub(crate) fn stored(&self, slot: usize) -> impl Iterator<Item = u64> {
        self.fates[slot]
            .iter()
            .copied()
            .filter(|raw| *raw < REFUSED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_keeps_fates_up_to_its_room() {
        let mut ledger = Ledger::new(2, 3);
        for (slot, batch) in [(1, 0), (1, 1), (0, 0), (1, 2)] {
            assert_eq!(ledger.send(slot), batch);
        }
        let offset = Offset::new(500).unwrap();
        ledger.note(1, 1, Fate::Stored(offset));
        ledger.note(0, 0, Fate::Refused);
        ledger.note(1, 2, Fate::Refused);
        assert_eq!(ledger.fate(1, 0), Some(Fate::Unknown));
        assert_eq!(ledger.fate(1, 1), Some(Fate::Stored(offset)));
        assert_eq!(ledger.fate(0, 0), Some(Fate::Refused));
        assert_eq!(ledger.fate(1, 2), None, "beyond the room");
        assert_eq!((ledger.sent(1), ledger.noted(1)), (3, 2));
        assert_eq!(ledger.stored(1).collect::<Vec<_>>(), [500]);
    }
}
