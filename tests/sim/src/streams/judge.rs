//! What clients of streams know: the second judge. It shares no code with the engine's readers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_protocol::model::{HashKey, Offset, ShardIndex, StreamId, Timestamp};
use weir_stream::{Shard, Stream};

use crate::judge::{RecordId, data_of};

/// A place in a stream.
pub(super) type Place = (ShardIndex, Offset);

/// A record as a reader got it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) offset: Offset,
    pub(super) arrival: Timestamp,
    pub(super) key: String,
    pub(super) data: Vec<u8>,
}

impl Found {
    /// Its number, as its data begins with it.
    fn id(&self) -> RecordId {
        let first = self.data.first_chunk::<8>();
        first.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) id: RecordId,
    pub(super) arrival: Timestamp,
    /// When it was sent, in virtual time: it arrived then or later.
    pub(super) sent: Duration,
}

/// One stream of the story.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) name: String,
    /// Keys of the records that were sent, and when.
    sent: BTreeMap<RecordId, (String, Duration)>,
    pub(super) kept: BTreeMap<Place, Kept>,
    ends: BTreeMap<ShardIndex, Offset>,
    map_version: u32,
    created: bool,
    deletion_asked: bool,
    deleted: bool,
    /// What the retention may be; the shortest that it ever may have been.
    retentions: Vec<u64>,
    shortest_ms: u64,
    /// Whether consumers may be there, and may not be there.
    consumers: BTreeMap<String, BTreeSet<bool>>,
}

/// Judges a story of streams. The first thing that goes wrong is kept.
#[derive(Debug, Default)]
pub(super) struct Judge {
    pub(super) streams: BTreeMap<StreamId, Ledger>,
    pub(super) acknowledged: u64,
    pub(super) compared: u64,
    pub(super) maps: u32,
    /// Bytes were destroyed on purpose: what is missing may be, what is there must be right.
    pub(super) forgives: bool,
    failure: Option<String>,
}

impl Judge {
    pub(super) fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// A creation was acknowledged.
    pub(super) fn created(&mut self, stream: &Stream, retention_ms: u64) {
        let ledger = self.streams.entry(stream.id).or_default();
        ledger.name = stream.name.to_string();
        ledger.created = true;
        ledger.retentions = vec![retention_ms];
        ledger.shortest_ms = retention_ms;
    }

    /// The stream is there, also if its creation was never acknowledged.
    pub(super) fn meets(&mut self, stream: &Stream) {
        let ledger = self.streams.entry(stream.id).or_default();
        if ledger.name.is_empty() {
            ledger.name = stream.name.to_string();
            ledger.retentions = vec![stream.retention_ms];
            ledger.shortest_ms = stream.retention_ms;
        }
    }

    pub(super) fn asks_to_delete(&mut self, stream: StreamId) {
        self.streams.entry(stream).or_default().deletion_asked = true;
    }

    pub(super) fn deleted(&mut self, stream: StreamId) {
        self.streams.entry(stream).or_default().deleted = true;
    }

    pub(super) fn asks_to_keep(&mut self, stream: StreamId, millis: u64) {
        let ledger = self.streams.entry(stream).or_default();
        ledger.retentions.push(millis);
        ledger.shortest_ms = ledger.shortest_ms.min(millis);
    }

    pub(super) fn keeps(&mut self, stream: StreamId, millis: u64) {
        self.streams.entry(stream).or_default().retentions = vec![millis];
    }

    pub(super) fn asks_for_consumer(&mut self, stream: StreamId, name: &str, there: bool) {
        let ledger = self.streams.entry(stream).or_default();
        let absent = || BTreeSet::from([false]);
        let possible = ledger.consumers.entry(name.to_owned());
        possible.or_insert_with(absent).insert(there);
    }

    pub(super) fn has_consumer(&mut self, stream: StreamId, name: &str, there: bool) {
        let ledger = self.streams.entry(stream).or_default();
        let possible = BTreeSet::from([there]);
        ledger.consumers.insert(name.to_owned(), possible);
    }

    pub(super) fn sends(&mut self, stream: StreamId, ids: &[RecordId], key: &str, now: Duration) {
        let ledger = self.streams.entry(stream).or_default();
        ledger
            .sent
            .extend(ids.iter().map(|id| (*id, (key.to_owned(), now))));
    }

    /// An append was acknowledged: its numbers must be new, and above all others of the shard.
    pub(super) fn acknowledged(
        &mut self,
        stream: StreamId,
        place: Place,
        arrival: Timestamp,
        ids: &[RecordId],
    ) {
        self.acknowledged += ids.len() as u64;
        for (id, nth) in ids.iter().zip(0..) {
            let offset = Offset::new(place.1.get() + nth).expect("offsets are small here");
            let kept = Kept {
                id: *id,
                arrival,
                sent: self.sent_at(stream, *id),
            };
            self.note(stream, (place.0, offset), kept);
        }
        let ledger = self.streams.entry(stream).or_default();
        if ledger.ends.get(&place.0).is_some_and(|end| place.1 >= *end) {
            self.fail(format!(
                "{stream:?}: {place:?} was given behind the shard's end"
            ));
        }
    }

    fn sent_at(&self, stream: StreamId, id: RecordId) -> Duration {
        let ledger = self.streams.get(&stream);
        let sent = ledger.and_then(|ledger| ledger.sent.get(&id));
        sent.map_or(Duration::ZERO, |(_, at)| *at)
    }

    /// A record has a place: it stays the only one there.
    fn note(&mut self, stream: StreamId, place: Place, kept: Kept) {
        let ledger = self.streams.entry(stream).or_default();
        let before = ledger.kept.entry(place).or_insert(kept).id;
        if before != kept.id && !self.forgives {
            self.fail(format!(
                "{stream:?}: {place:?} is record {before} and {}",
                kept.id
            ));
        }
    }

    /// A reader got a record.
    pub(super) fn reads(&mut self, stream: StreamId, shard: &Shard, found: &Found) {
        self.compared += 1;
        let id = found.id();
        let ledger = self.streams.entry(stream).or_default();
        let Some((key, sent)) = ledger.sent.get(&id).cloned() else {
            let what = format!("{} of {} was never sent", found.offset, shard.index);
            return self.fail(what);
        };
        if key != found.key || found.data != data_of(id) {
            let what = format!("{} of {} came back changed", found.offset, shard.index);
            return self.fail(what);
        }
        let is_behind_end = ledger
            .ends
            .get(&shard.index)
            .is_some_and(|end| found.offset >= *end);
        if is_behind_end {
            self.fail(format!(
                "{} of {} lies behind its end",
                found.offset, shard.index
            ));
        }
        if !shard.range.contains(HashKey::of_partition_key(&found.key)) {
            self.fail(format!(
                "{} does not take the key {}",
                shard.index, found.key
            ));
        }
        let kept = Kept {
            id,
            arrival: found.arrival,
            sent,
        };
        self.note(stream, (shard.index, found.offset), kept);
    }

    /// The first record of a read that began at `from`: none that is kept was passed over.
    pub(super) fn begins(
        &mut self,
        stream: StreamId,
        shard: ShardIndex,
        from: Offset,
        first: Offset,
        now: Duration,
    ) {
        if from > first || self.forgives {
            return;
        }
        let Some(ledger) = self.streams.get(&stream) else {
            return;
        };
        let mut between = ledger.kept.range((shard, from)..(shard, first));
        if let Some((place, _)) = between.find(|(_, kept)| !ledger.may_be_gone(kept, now)) {
            let what = format!("{stream:?}: a read from {from} began at {first}, not at {place:?}");
            self.fail(what);
        }
    }

    /// A map that some core works by: its open shards tile the hash keys, ends stay what they are.
    pub(super) fn sees(&mut self, stream: &Stream) {
        self.meets(stream);
        let ledger = self.streams.entry(stream.id).or_default();
        let mut open: Vec<&Shard> = stream.open_shards().collect();
        open.sort_by_key(|shard| shard.range.start);
        let mut expected = Some(0);
        let mut wrong = Vec::new();
        for shard in open {
            if expected != Some(shard.range.start.get()) {
                wrong.push(format!("a gap or an overlap before {}", shard.index));
            }
            expected = shard.range.end.get().checked_add(1);
        }
        if expected.is_some() {
            wrong.push("the top is not covered".to_owned());
        }
        for shard in &stream.shards {
            let Some(closed) = shard.closed else { continue };
            let known = *ledger.ends.entry(shard.index).or_insert(closed.next);
            if known != closed.next {
                wrong.push(format!(
                    "{} ended at {known}, now {}",
                    shard.index, closed.next
                ));
            }
        }
        let open_again = |shard: &&ShardIndex| {
            stream
                .shard(**shard)
                .is_some_and(|shard| shard.closed.is_none())
        };
        // Another core may still work by the map before.
        if stream.map_version >= ledger.map_version
            && let Some(shard) = ledger.ends.keys().find(open_again)
        {
            wrong.push(format!("{shard} was closed and is not"));
        }
        if stream.map_version > ledger.map_version {
            ledger.map_version = stream.map_version;
            self.maps += 1;
        }
        for what in wrong {
            self.fail(format!(
                "{}, map {}: {what}",
                stream.name, stream.map_version
            ));
        }
    }

    /// The catalog after a start: what was acknowledged is there, what was deleted is not.
    pub(super) fn sees_catalog(&mut self, present: &[&Stream]) {
        let mut wrong = Vec::new();
        for (id, ledger) in &mut self.streams {
            let Some(found) = present.iter().find(|stream| stream.id == *id) else {
                if ledger.created && !ledger.deletion_asked {
                    wrong.push(format!("{} was created and is gone", ledger.name));
                }
                ledger.deleted = true;
                continue;
            };
            if ledger.deleted {
                wrong.push(format!("{} was deleted and is there", found.name));
            }
            if !ledger.retentions.is_empty() && !ledger.retentions.contains(&found.retention_ms) {
                let what = format!(
                    "retention is {}, expected {:?}",
                    found.retention_ms, ledger.retentions
                );
                wrong.push(format!("{}: {what}", found.name));
            }
            ledger.retentions = vec![found.retention_ms];
            for (name, possible) in &mut ledger.consumers {
                let is_there = found.consumer(name).is_some();
                if !possible.contains(&is_there) {
                    wrong.push(format!("{}: consumer {name} there: {is_there}", found.name));
                }
                *possible = BTreeSet::from([is_there]);
            }
        }
        for stream in present {
            self.meets(stream);
        }
        for what in wrong {
            self.fail(what);
        }
    }

    /// All that a stream holds was read: what is promised is there, once, in order, without a hole.
    pub(super) fn whole(
        &mut self,
        stream: &Stream,
        found: &BTreeMap<ShardIndex, Vec<Found>>,
        now: Duration,
    ) {
        let mut ids = BTreeMap::new();
        let mut last_of_key: BTreeMap<&str, (RecordId, Place)> = BTreeMap::new();
        let mut wrong = Vec::new();
        // Children have higher numbers than their parents.
        for (shard, records) in found {
            for pair in records.windows(2) {
                let (one, next) = (pair[0].offset, pair[1].offset);
                let follows = next.get() == one.get() + 1;
                let is_new_epoch = next.epoch() > one.epoch();
                if !follows && !is_new_epoch {
                    wrong.push(format!("{shard}: {next} follows {one}"));
                }
            }
            for record in records {
                let place = (*shard, record.offset);
                if let Some(before) = ids.insert(record.id(), place) {
                    wrong.push(format!(
                        "record {} is at {before:?} and {place:?}",
                        record.id()
                    ));
                }
                let last = last_of_key.insert(&record.key, (record.id(), place));
                if let Some((id, before)) = last.filter(|(id, _)| *id >= record.id()) {
                    let what = format!("{} at {place:?} behind {id} at {before:?}", record.id());
                    wrong.push(format!("key {}: {what}", record.key));
                }
            }
        }
        let ledger = self.streams.entry(stream.id).or_default();
        let mut gone = Vec::new();
        for (place, kept) in &ledger.kept {
            if ids.get(&kept.id) == Some(place) {
                continue;
            }
            if !ledger.may_be_gone(kept, now) {
                let age = now.saturating_sub(kept.sent);
                let read = found
                    .get(&place.0)
                    .map(|all| (all.len(), all.last().map(|l| l.offset)));
                let known = stream.shard(place.0).map(|shard| shard.closed);
                wrong.push(format!(
                    "{place:?}, record {}, is gone after {age:?} (read {read:?}, closed {known:?})",
                    kept.id
                ));
            }
            gone.push(*place);
        }
        for place in gone {
            ledger.kept.remove(&place);
        }
        if !self.forgives {
            for what in wrong {
                self.fail(format!("{}: {what}", stream.name));
            }
        }
    }

    /// Nothing that expired long ago is read any more.
    pub(super) fn nothing_is_late(
        &mut self,
        stream: &Stream,
        found: &BTreeMap<ShardIndex, Vec<Found>>,
        until: Duration,
    ) {
        let ledger = self.streams.entry(stream.id).or_default();
        let records = found
            .iter()
            .flat_map(|(shard, all)| all.iter().map(|r| (*shard, r.offset)));
        let mut late =
            records.filter(|place| ledger.kept.get(place).is_some_and(|k| k.sent < until));
        if let Some(place) = late.next() {
            self.fail(format!(
                "{}: {place:?} has expired and is read",
                stream.name
            ));
        }
    }
}

impl Ledger {
    /// Whether retention may have taken a record: by time that truly passed, whatever clocks say.
    fn may_be_gone(&self, kept: &Kept, now: Duration) -> bool {
        now.saturating_sub(kept.sent).as_millis() as u64 + 1 >= self.shortest_ms
    }

    /// A kept record, drawn.
    pub(super) fn any_kept(&self, shard: ShardIndex, draw: u64) -> Option<(Offset, Kept)> {
        let least = Offset::ZERO;
        let of_shard = self.kept.range((shard, least)..=(shard, Offset::MAX));
        let count = of_shard.clone().count() as u64;
        let mut of_shard = of_shard;
        let nth = draw.checked_rem(count)? as usize;
        of_shard.nth(nth).map(|(place, kept)| (place.1, *kept))
    }
}
