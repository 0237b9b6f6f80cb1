//! The client's side of the truth: what was sent, handed a number, acknowledged, and seen.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use weir_protocol::model::{Offset, ShardId, Timestamp};

/// A record of the story, known by its number alone: everything else follows from it.
pub type RecordId = u64;

/// Data of a record: its id, then bytes that follow from it.
pub fn data_of(id: RecordId) -> Vec<u8> {
    let mut state = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let length = match draw() % 20 {
        0 => 9_000 + draw() % 3_000,
        1..4 => 1_000 + draw() % 2_000,
        _ => draw() % 300,
    } as usize;
    let mut data = id.to_le_bytes().to_vec();
    while data.len() < 8 + length {
        data.extend_from_slice(&draw().to_le_bytes());
    }
    data.truncate(8 + length);
    data
}

/// Partition key of a record.
pub fn key_of(id: RecordId) -> String {
    format!("key-{}", id % 97)
}

#[derive(Debug, Clone, Copy)]
struct Handed {
    id: RecordId,
    arrival: Timestamp,
    bytes: u64,
}

/// What is known of one shard.
#[derive(Debug, Default)]
struct ShardLedger {
    handed_out: BTreeMap<Offset, Handed>,
    must_exist: BTreeSet<Offset>,
    last_arrival: Timestamp,
}

/// How long a shard's records are promised.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// Records that arrived before this may be gone.
    pub cutoff: Timestamp,
    /// Records behind which so many bytes were handed out may be gone.
    pub bytes: Option<u64>,
    /// The newest record that was promised when the reading began.
    pub until: Option<Offset>,
}

/// Judges one story. The first thing that goes wrong is kept.
#[derive(Debug, Default)]
pub struct Judge {
    shards: BTreeMap<ShardId, ShardLedger>,
    damaged: BTreeSet<ShardId>,
    /// What is missing may be missing; what is there must still be right.
    forgives: bool,
    /// Records that the next life may have cut, for the marks that covered them were struck too.
    excused: BTreeMap<ShardId, BTreeSet<Offset>>,
    /// Records of frames that were struck: these may be missing for good, if that is told.
    struck: BTreeSet<(ShardId, Offset)>,
    /// Something was struck that tells where others lie.
    strikes_spread: bool,
    failure: Option<String>,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records read and compared.
    pub compared: u64,
}

impl Judge {
    /// Notes that something is wrong.
    pub fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    /// The first thing that went wrong.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The log gave numbers to a batch: they must be new, and rise.
    ///
    /// Once bytes were damaged on purpose, arrival times may run backwards: the damage may have taken
    /// the newest one.
    pub fn handed_out(
        &mut self,
        shard: ShardId,
        first: Offset,
        arrival: Timestamp,
        ids: &[RecordId],
        damaged: bool,
    ) {
        let ledger = self.shards.entry(shard).or_default();
        if let Some((last, _)) = ledger.handed_out.last_key_value()
            && *last >= first
        {
            let what = format!("shard {shard}: number {first} handed out after {last}");
            return self.fail(what);
        }
        if arrival < ledger.last_arrival && !damaged {
            let what = format!("shard {shard}: arrival time went back to {arrival}");
            return self.fail(what);
        }
        for (i, id) in ids.iter().enumerate() {
            let offset = Offset::new(first.get() + i as u64).expect("offsets are small here");
            // Upper bound of what it takes on disk: a batch header of its own.
            let bytes = (data_of(*id).len() + key_of(*id).len() + 80) as u64;
            ledger.handed_out.insert(
                offset,
                Handed {
                    id: *id,
                    arrival,
                    bytes,
                },
            );
        }
    }

    /// The log said that a batch is durable.
    pub fn acknowledged(&mut self, shard: ShardId, first: Offset, count: usize) {
        self.acknowledged += count as u64;
        let ledger = self.shards.entry(shard).or_default();
        for i in 0..count as u64 {
            let offset = Offset::new(first.get() + i).expect("offsets are small here");
            ledger.must_exist.insert(offset);
            // Lost times may come again; acknowledged ones never run backwards.
            let arrival = ledger.handed_out.get(&offset).map(|h| h.arrival);
            ledger.last_arrival = ledger.last_arrival.max(arrival.unwrap_or_default());
        }
    }

    /// A reader got a record: it must be the one with this number, and it must stay.
    pub fn read(&mut self, shard: ShardId, offset: Offset, key: &[u8], data: &[u8]) {
        self.compared += 1;
        let ledger = self.shards.entry(shard).or_default();
        let Some(handed) = ledger.handed_out.get(&offset) else {
            return self.fail(format!("shard {shard}: {offset} was read and never sent"));
        };
        if data != data_of(handed.id) || key != key_of(handed.id).as_bytes() {
            return self.fail(format!(
                "shard {shard}: {offset} came back as something else"
            ));
        }
        ledger.must_exist.insert(offset);
    }

    /// The newest record of a shard that was acknowledged or seen.
    pub fn newest_promised(&self, shard: ShardId) -> Option<Offset> {
        let ledger = self.shards.get(&shard)?;
        ledger.must_exist.last().copied()
    }

    /// A whole shard was read: everything promised must have been there.
    pub fn whole(&mut self, shard: ShardId, seen: &BTreeSet<Offset>, promise: Promise) {
        let is_told = self.damaged.contains(&shard);
        if self.forgives || is_told && self.strikes_spread {
            return;
        }
        let excused = self.excused.remove(&shard).unwrap_or_default();
        let Some(ledger) = self.shards.get(&shard) else {
            return;
        };
        let is_due = |offset: &Offset| promise.until.is_some_and(|until| *offset <= until);
        if !ledger.must_exist.difference(seen).any(is_due) {
            return;
        }
        let mut behind: u64 = ledger.handed_out.values().map(|h| h.bytes).sum();
        let mut gone = Vec::new();
        for (offset, handed) in &ledger.handed_out {
            behind -= handed.bytes;
            if is_due(offset) && ledger.must_exist.contains(offset) && !seen.contains(offset) {
                let expired = handed.arrival < promise.cutoff
                    || excused.contains(offset)
                    || is_told && self.struck.contains(&(shard, *offset))
                    || promise.bytes.is_some_and(|cap| behind >= cap);
                gone.push((*offset, expired));
            }
        }
        if let Some((offset, _)) = gone.iter().find(|(_, expired)| !expired) {
            let newest = ledger.handed_out.keys().next_back().copied();
            let what = format!(
                "shard {shard}: {offset} was acknowledged or seen and is gone ({} gone, {} read, \
                 newest number {newest:?})",
                gone.len(),
                seen.len()
            );
            return self.fail(what);
        }
        let ledger = self.shards.get_mut(&shard).expect("it was there above");
        for (offset, _) in gone {
            ledger.must_exist.remove(&offset);
        }
    }

    /// These records may be gone when the next life looks.
    pub fn excuse(&mut self, records: impl IntoIterator<Item = (ShardId, Offset)>) {
        for (shard, offset) in records {
            self.excused.entry(shard).or_default().insert(offset);
        }
    }

    /// All records of these shards may be gone then.
    pub fn excuse_all(&mut self, shards: impl IntoIterator<Item = ShardId>) {
        for shard in shards {
            let known = self.shards.get(&shard).map(|ledger| &ledger.must_exist);
            let all = known.into_iter().flatten().copied();
            self.excused.entry(shard).or_default().extend(all);
        }
    }

    /// These records lie in frames that were struck; `spreads` if something else was struck too.
    pub fn strike(&mut self, records: impl IntoIterator<Item = (ShardId, Offset)>, spreads: bool) {
        self.struck.extend(records);
        self.strikes_spread |= spreads;
    }

    /// Whether damage can be held against what was struck.
    pub fn knows_what_was_struck(&self) -> bool {
        !self.forgives && !self.strikes_spread
    }

    /// The first record behind `offset` that was acknowledged or seen.
    pub fn next_promised(&self, shard: ShardId, offset: Offset) -> Option<Offset> {
        let ledger = self.shards.get(&shard)?;
        let behind = (Bound::Excluded(offset), Bound::Unbounded);
        ledger.must_exist.range(behind).next().copied()
    }

    /// From now on records may be lost, for bytes were destroyed that no mark covered.
    pub fn forgive_losses(&mut self) {
        self.forgives = true;
    }

    /// A read ended with the typed error of damage: allowed once something was damaged on purpose.
    pub fn damaged(&mut self, shard: ShardId, on_purpose: bool, what: &str) {
        if !on_purpose {
            return self.fail(format!("damage that nobody made: {what}"));
        }
        self.damaged.insert(shard);
    }
}
