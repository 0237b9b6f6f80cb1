//! What the server promised: for every batch that was sent, what became of it, and in which shard.
//!
//! Owns: the ledger, eight bytes a batch. Never: reading back; that is [`crate::verify`].

use weir_protocol::model::{Offset, ShardIndex};

use crate::verify::Target;

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

/// The batches of one writer. All batches have the same number of records, so a batch's number tells
/// its sequence numbers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By slot.
    slots: Vec<Account>,
    room: usize,
}

/// The batches of one writer under one key.
#[derive(Debug)]
struct Account {
    /// The fates of the noted batches, in sending order.
    fates: Vec<u64>,
    /// Batches sent, noted or not.
    sent: u64,
    /// The shard that the first batches went to.
    home: ShardIndex,
    /// Where later ones went: from which batch on, in order.
    moves: Vec<(u64, ShardIndex)>,
}

impl Ledger {
    /// Notes up to `room` batches to the shards of `targets`.
    pub(crate) fn new(targets: &[Target], room: usize) -> Self {
        let mut ledger = Self {
            slots: Vec::new(),
            room,
        };
        ledger.grow(targets);
        ledger
    }

    /// Makes place for the slots that `targets` has more than before.
    pub(crate) fn grow(&mut self, targets: &[Target]) {
        for target in &targets[self.slots.len()..] {
            self.slots.push(Account {
                fates: Vec::new(),
                sent: 0,
                home: target.shard,
                moves: Vec::new(),
            });
        }
    }

    /// Batches from number `batch` on go to another shard.
    pub(crate) fn moved(&mut self, slot: usize, batch: u64, shard: ShardIndex) {
        let moves = &mut self.slots[slot].moves;
        assert!(
            moves.last().is_none_or(|(before, _)| *before <= batch),
            "what was refused was not stored before"
        );
        moves.push((batch, shard));
    }

    /// The shard that a batch was sent to last.
    pub(crate) fn home(&self, slot: usize, batch: u64) -> ShardIndex {
        let account = &self.slots[slot];
        let mut moves = account.moves.iter().rev();
        moves
            .find(|(from, _)| *from <= batch)
            .map_or(account.home, |(_, shard)| *shard)
    }

    /// The shard that the first batches of a slot were for.
    pub(crate) fn first_home(&self, slot: usize) -> Option<ShardIndex> {
        self.slots.get(slot).map(|account| account.home)
    }

    /// The shards that a slot's batches were sent to.
    pub(crate) fn homes(&self, slot: usize) -> impl Iterator<Item = ShardIndex> {
        let account = self.slots.get(slot);
        let homes = |account: &Account| {
            let moves = account.moves.iter().map(|(_, shard)| *shard);
            std::iter::once(account.home)
                .chain(moves)
                .collect::<Vec<_>>()
        };
        account.map(homes).into_iter().flatten()
    }

    /// Takes the next batch number of a slot.
    pub(crate) fn send(&mut self, slot: usize) -> u64 {
        let account = &mut self.slots[slot];
        let batch = account.sent;
        account.sent += 1;
        if self.room > 0 && account.fates.len() as u64 == batch {
            self.room -= 1;
            account.fates.push(UNKNOWN);
        }
        batch
    }

    /// Notes what became of a batch.
    pub(crate) fn note(&mut self, slot: usize, batch: u64, fate: Fate) {
        if let Some(noted) = self.slots[slot].fates.get_mut(batch as usize) {
            *noted = match fate {
                Fate::Stored(offset) => offset.get(),
                Fate::Refused => REFUSED,
                Fate::Unknown => UNKNOWN,
            };
        }
    }

    /// What became of a noted batch; `None` if it was not noted.
    pub(crate) fn fate(&self, slot: usize, batch: u64) -> Option<Fate> {
        let account = self.slots.get(slot)?;
        account.fates.get(batch as usize).map(|raw| match *raw {
            UNKNOWN => Fate::Unknown,
            REFUSED => Fate::Refused,
            raw => Fate::Stored(Offset::new(raw).expect("only offsets are noted")),
        })
    }

    /// Batches sent under a key.
    pub(crate) fn sent(&self, slot: usize) -> u64 {
        self.slots.get(slot).map_or(0, |account| account.sent)
    }

    /// Batches noted of a slot: the first ones.
    pub(crate) fn noted(&self, slot: usize) -> u64 {
        let account = self.slots.get(slot);
        account.map_or(0, |account| account.fates.len() as u64)
    }

    /// Where the acknowledged batches that were noted of a slot lie: shard and first offset.
    pub(crate) fn stored(&self, slot: usize) -> impl Iterator<Item = (ShardIndex, u64)> {
        let account = self.slots.get(slot);
        account.into_iter().flat_map(move |account| {
            let mut moves = account.moves.iter().peekable();
            let mut home = account.home;
            (0..).zip(&account.fates).filter_map(move |(batch, raw)| {
                while let Some((_, shard)) = moves.next_if(|(from, _)| *from <= batch) {
                    home = *shard;
                }
                (*raw < REFUSED).then_some((home, *raw))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::model::HashKeyRange;

    fn targets(count: u32) -> Vec<Target> {
        let target = |shard| Target {
            shard: ShardIndex(shard),
            core: 0,
            range: HashKeyRange::ALL,
            key: [0; crate::payload::KEY_BYTES],
            beside: 0,
        };
        (0..count).map(target).collect()
    }

    #[test]
    fn the_ledger_keeps_fates_up_to_its_room() {
        let mut ledger = Ledger::new(&targets(2), 3);
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
        let stored: Vec<_> = ledger.stored(1).collect();
        assert_eq!(stored, [(ShardIndex(1), 500)]);
    }

    #[test]
    fn batches_have_the_shard_they_were_sent_to_last() {
        let mut ledger = Ledger::new(&targets(1), 100);
        for batch in 0..6 {
            ledger.send(0);
            ledger.note(0, batch, Fate::Stored(Offset::new(batch * 10).unwrap()));
        }
        // The second shard was closed before it took anything.
        for (batch, shard) in [(2, 7), (2, 8), (5, 9)] {
            ledger.moved(0, batch, ShardIndex(shard));
        }
        let homes: Vec<u32> = (0..7).map(|batch| ledger.home(0, batch).0).collect();
        assert_eq!(homes, [0, 0, 8, 8, 8, 9, 9]);
        let stored: Vec<_> = ledger.stored(0).map(|(shard, _)| shard.0).collect();
        assert_eq!(stored, homes[..6]);
        ledger.grow(&targets(3));
        assert_eq!(ledger.first_home(2), Some(ShardIndex(2)));
        assert_eq!((ledger.first_home(3), ledger.sent(3)), (None, 0));
    }
}
