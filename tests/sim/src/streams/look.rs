//! What is looked at between the stories' works: everything, and that all is alive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::model::{HashKey, ShardIndex, StreamName, StreamStatus};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::Reactor;
use weir_reactor::sim::SimReactor;
use weir_stream::{Engine, Stream};

use super::judge::Found;
use super::life::{LIVELY_WITHIN, Life};

type All = (Arc<Stream>, BTreeMap<ShardIndex, Vec<Found>>);

impl Life {
    pub(super) fn look_at_catalog(&self) {
        for engine in self.engines.iter() {
            let streams = engine.streams();
            let present: Vec<&Stream> = streams.in_name_order().map(|stream| &**stream).collect();
            let mut judge = self.world.judge.borrow_mut();
            judge.sees_catalog(&present);
            for stream in present {
                judge.sees(stream);
            }
        }
    }

    /// Reads every stream from its horizon to its tip and compares it with what was promised.
    pub(super) async fn look_at_everything(&self) {
        let streams = self.engine().streams();
        for stream in streams.in_name_order() {
            if let Some((stream, found)) = self.read_all(&stream.name).await {
                let now = self.reactor.elapsed();
                self.world.judge.borrow_mut().whole(&stream, &found, now);
            }
        }
    }

    /// All that a stream holds; `None` if it changed meanwhile or cannot be read.
    async fn read_all(&self, name: &StreamName) -> Option<All> {
        let engine = self.engine().clone();
        let stream = engine.streams().by_name(name.as_str())?.clone();
        let mut found = BTreeMap::new();
        for shard in &stream.shards {
            let mut records = Vec::new();
            let mut from = ReadFrom::TrimHorizon;
            let mut reads = 0;
            loop {
                let read = self.read(&engine, &stream, shard, from, 0).await;
                let Some(read) = read else {
                    // A shard that expired as a whole may be forgotten by its core already, which
                    // this one hears of a moment later.
                    self.reactor.sleep(Duration::from_millis(100)).await;
                    if !self.world.judge.borrow().forgives && Self::is_unchanged(&engine, &stream) {
                        self.fail(format!("{} cannot be read, without a fault", shard.index));
                    }
                    return None;
                };
                records.extend(read.records);
                if read.is_all {
                    break;
                }
                reads += 1;
                if ReadFrom::Offset(read.next) == from && reads > 10_000 {
                    self.fail(format!("a read of {} stands still", shard.index));
                    return None;
                }
                from = ReadFrom::Offset(read.next);
            }
            found.insert(shard.index, records);
        }
        let is_unchanged = Self::is_unchanged(&engine, &stream);
        is_unchanged.then_some((stream, found))
    }

    fn is_unchanged(engine: &Engine<SimReactor>, stream: &Stream) -> bool {
        let streams = engine.streams();
        let now = streams.by_id(stream.id);
        now.is_some_and(|now| now.is_usable() && now.shards == stream.shards)
    }

    /// Faults have ended: what is pending ends, every open shard takes a record and gives it back.
    pub(super) async fn be_lively(&self) {
        if self.world.judge.borrow().forgives {
            return;
        }
        let before = self.reactor.elapsed();
        let within = || self.reactor.elapsed().saturating_sub(before) < LIVELY_WITHIN;
        let settled = || {
            let streams = self.engine().streams();
            streams
                .in_name_order()
                .all(|stream| stream.status == StreamStatus::Active)
        };
        while !settled() {
            self.reactor.sleep(Duration::from_millis(20)).await;
            if !within() {
                return self.fail("a stream is not ACTIVE long after the faults ended".to_owned());
            }
        }
        let streams = self.engine().streams();
        for stream in streams.in_name_order() {
            for shard in stream.open_shards() {
                let key = Self::key_of(stream, shard.index);
                while !self.append(&stream.name, &key).await {
                    if !within() {
                        let what = format!("{} of {} takes nothing", shard.index, stream.name);
                        return self.fail(what);
                    }
                }
            }
        }
    }

    /// A key that `shard` takes, that no writer uses, or one of theirs if none is found soon.
    fn key_of(stream: &Stream, shard: ShardIndex) -> String {
        let mut keys = (0..200).map(|nth| format!("last-{nth}"));
        let fits = |key: &String| stream.route(HashKey::of_partition_key(key)).index == shard;
        keys.find(fits).unwrap_or_else(|| "last-0".to_owned())
    }

    /// Waits until everything has had its time, and looks whether it is gone.
    pub(super) async fn expire_all(&self) {
        let longest_ms = self.world.retentions.iter().copied().max().unwrap_or(0);
        if self.world.jumped_back.get() || longest_ms > 60_000 {
            return;
        }
        let until = self.reactor.elapsed();
        // Twice: after a jump ahead the clock waits for one retention before it catches up.
        let wait = Duration::from_millis(2 * longest_ms) + Duration::from_secs(30);
        self.reactor.sleep(wait).await;
        let streams = self.engine().streams();
        for stream in streams.in_name_order() {
            if let Some((stream, found)) = self.read_all(&stream.name).await {
                let mut judge = self.world.judge.borrow_mut();
                judge.nothing_is_late(&stream, &found, until);
            }
        }
    }
}
