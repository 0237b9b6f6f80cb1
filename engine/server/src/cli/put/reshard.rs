//! The shard map changes under a `put`: what waits for closed shards goes to their children.
//!
//! Nothing moves while a batch is on its way to a shard that the new map has closed: it may be
//! stored, and what is behind it must not overtake it.

use std::time::{Duration, Instant};

use weir_protocol::model::{HashKey, ShardId};
use weir_protocol::wire::response::StreamDescription;

use super::queue::{Pushed, ShardQueue};
use super::{Putter, slot_of};
use crate::cli::client::Client;
use crate::cli::clock;
use crate::cli::failure::Failure;

/// Between two tries to get the map that the server spoke of.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A map that the server spoke of, until it is in use.
#[derive(Debug)]
pub(super) struct NewMap {
    map_version: u32,
    /// Fetched, and waiting for answers to what is on its way.
    fetched: Option<StreamDescription>,
    next_try: Instant,
    since: Instant,
}

impl Putter<'_> {
    /// The shard of `slot` was closed, as the map of this version says.
    pub(super) fn shard_closed(&mut self, slot: usize, map_version: u32) -> Result<(), Failure> {
        self.counts.resent += self.queues[slot].in_flight_count();
        self.queues[slot].close();
        let now = clock::now();
        let since = self.new_map.as_ref().map_or(now, |map| map.since);
        self.new_map = Some(NewMap {
            map_version,
            fetched: None,
            next_try: now,
            since,
        });
        self.take_up_map(now)
    }

    /// When the new map should be looked at again, if there is one.
    pub(super) fn map_deadline(&self) -> Option<Instant> {
        let map = self.new_map.as_ref()?;
        map.fetched.is_none().then_some(map.next_try)
    }

    /// Works by the new map if there is one, it can be had, and nothing is in the way.
    pub(super) fn take_up_map(&mut self, now: Instant) -> Result<(), Failure> {
        let Some(mut map) = self.new_map.take() else {
            return Ok(());
        };
        if map.fetched.is_none() && map.next_try <= now {
            let described = Client::connect(&self.arguments.server.server)
                .and_then(|mut client| client.describe(&self.arguments.name));
            match described {
                Ok(stream) if !self.is_ours(&stream) => {
                    return Err(Failure::could_not_run(format!(
                        "stream {} was deleted and created again",
                        self.arguments.name
                    )));
                }
                Ok(stream) if stream.map_version >= map.map_version => map.fetched = Some(stream),
                Ok(stream) if now.duration_since(map.since) > self.arguments.retry_for => {
                    return Err(Failure::could_not_run(format!(
                        "gave up: a shard was closed by map {}, and the server still shows map {}",
                        map.map_version, stream.map_version
                    )));
                }
                Err(failure) if now.duration_since(map.since) > self.arguments.retry_for => {
                    return Err(failure);
                }
                Ok(_) | Err(_) => map.next_try = now + RETRY_PAUSE,
            }
        }
        match map.fetched.take() {
            Some(stream) if !self.is_in_the_way(&stream) => self.work_by(&stream, now),
            fetched => {
                self.new_map = Some(NewMap { fetched, ..map });
                Ok(())
            }
        }
    }

    /// Whether this is the stream that lines were queued for, not one of its name that came later.
    pub(super) fn is_ours(&self, stream: &StreamDescription) -> bool {
        self.queues.iter().all(|queue| queue.id.stream == stream.id)
    }

    /// Whether a batch is on its way to a shard that this map has closed.
    fn is_in_the_way(&self, stream: &StreamDescription) -> bool {
        let departed = self
            .queues
            .iter()
            .filter(|queue| queue.departed().is_some());
        departed.into_iter().any(|queue| !is_open(stream, queue.id))
    }

    fn work_by(&mut self, stream: &StreamDescription, now: Instant) -> Result<(), Failure> {
        self.map_version = stream.map_version;
        self.ends.clear();
        for shard in stream.shards.iter().filter(|shard| !shard.closed) {
            let id = ShardId::new(stream.id, shard.index);
            let known = self.queues.iter().position(|queue| queue.id == id);
            let slot = known.unwrap_or_else(|| {
                self.queues.push(ShardQueue::new(id, shard.core));
                self.queues.len() - 1
            });
            self.ends.push((shard.range.end, slot));
        }
        self.ends.sort_unstable();
        let mut moved = Vec::new();
        for queue in &mut self.queues {
            if !queue.is_empty() && !is_open(stream, queue.id) {
                queue.close();
                queue.move_out(|key, data| moved.push((key.to_owned(), data.to_vec())));
            }
        }
        for (key, data) in moved {
            let slot = slot_of(&self.ends, HashKey::of_partition_key(&key));
            if self.queues[slot].push(&key, &data, now) == Pushed::Opened {
                self.lingers.push_back((now + self.arguments.linger, slot));
            }
        }
        (0..self.queues.len()).try_for_each(|slot| self.send_if_due(slot, now))
    }
}

fn is_open(stream: &StreamDescription, id: ShardId) -> bool {
    let mut shards = stream.shards.iter();
    shards.any(|shard| shard.index == id.index && !shard.closed)
}
