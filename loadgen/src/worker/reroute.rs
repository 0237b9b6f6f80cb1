//! The shard map changes under the load: slots go to the shards that have their keys now.
//!
//! Owns: the moves. A slot leaves its closed shard when the last answer from there has come and the
//! newer map is here; what was refused there is then sent again, first and in its order, so that
//! the records of a key rise from parents to children. Never: asking for the map, which is
//! [`crate::atlas`]'s.

use std::sync::Arc;

use mio::{Interest, Token};

use super::Worker;
use crate::client::ClientError;
use crate::client::connection::Connection;
use crate::client::control::Control;
use crate::lane::{Lane, Place};

impl Worker<'_> {
    /// Takes over the newest map if there is a newer one.
    pub(super) fn take_map(&mut self) -> Result<(), ClientError> {
        if self.common.atlas.version() <= self.map.version {
            return Ok(());
        }
        self.map = self.common.atlas.current();
        let map = Arc::clone(&self.map);
        for writer in 0..self.writers.len() {
            let known = self.writers[writer].places.len();
            self.writers[writer].ledger.grow(&map.targets);
            for slot in 0..known {
                let place = self.writers[writer].places[slot].as_ref();
                if place.is_some_and(|place| place.shard != Some(map.targets[slot].shard)) {
                    self.hold(writer, slot);
                }
            }
            for (slot, target) in map.targets.iter().enumerate().skip(known) {
                let places = &mut self.writers[writer].places;
                let beside = places[target.beside].as_ref();
                let place = beside.map(|beside| Place {
                    lane: beside.lane,
                    shard: None,
                    in_flight: 0,
                    is_moving: true,
                    refused: Vec::new(),
                });
                assert_eq!(places.len(), slot, "slots come in order");
                places.push(place);
            }
        }
        for writer in 0..self.writers.len() {
            for slot in 0..map.targets.len() {
                self.settle(writer, slot)?;
            }
        }
        for index in 0..self.lanes.len() {
            self.pump(index)?;
        }
        Ok(())
    }

    /// The shard of these slots was closed, as a map of `version` says.
    pub(super) fn shards_closed(
        &mut self,
        writer: usize,
        slots: &[usize],
        version: u32,
    ) -> Result<(), ClientError> {
        for slot in slots {
            let place = self.writers[writer].place(*slot);
            if !place.is_moving && place.refused.is_empty() {
                // Named twice, and settled the first time.
                continue;
            }
            self.hold(writer, *slot);
            let place = self.writers[writer].place(*slot);
            // A map that shows the shard open is older than the refusal, whatever its number.
            let least = if place.shard == Some(self.map.targets[*slot].shard) {
                version.max(self.map.version + 1)
            } else {
                version
            };
            if least > self.map.version && least > self.wanted_map {
                self.wanted_map = least;
                // Nobody listens any more when the run is being given up.
                let _ = self.want_map.send(least);
            }
            self.settle(writer, *slot)?;
        }
        Ok(())
    }

    /// Sends nothing of a slot until it is settled.
    fn hold(&mut self, writer: usize, slot: usize) {
        let place = self.writers[writer].place(slot);
        if !place.is_moving {
            place.is_moving = true;
            let lane = place.lane;
            let left = self.lanes[lane].leave(slot);
            self.held += left.len();
            self.writers[writer].place(slot).refused.extend(left);
        }
    }

    /// Sends a slot's batches to the shard that has its key, if nothing is in the way any more.
    fn settle(&mut self, writer: usize, slot: usize) -> Result<(), ClientError> {
        let target = self.map.targets[slot];
        let place = match &mut self.writers[writer].places[slot] {
            Some(place) if place.is_moving && place.in_flight == 0 => place,
            _ => return Ok(()),
        };
        if place.shard == Some(target.shard) {
            // The newer map is not here yet.
            return Ok(());
        }
        let mut refused = std::mem::take(&mut place.refused);
        refused.sort_unstable_by_key(|flight| flight.batch);
        let from = place.lane;
        let lane = self.lane_to(writer, target.core, from)?;
        let ledger = &mut self.writers[writer].ledger;
        let first = refused
            .first()
            .map_or(ledger.sent(slot), |flight| flight.batch);
        ledger.moved(slot, first, target.shard);
        let place = self.writers[writer].place(slot);
        (place.lane, place.shard, place.is_moving) = (lane, Some(target.shard), false);
        self.held -= refused.len();
        self.lanes[lane].again.extend(refused);
        self.lanes[lane].slots.push(slot);
        if lane != from && self.lanes[from].slots.is_empty() {
            // What was due there is due here.
            let due = std::mem::take(&mut self.lanes[from].due);
            let lane = &mut self.lanes[lane].due;
            lane.extend(due);
            lane.make_contiguous().sort_unstable();
        }
        self.pump(lane)
    }

    /// The writer's connection to a core: the one it has, or a new one.
    fn lane_to(&mut self, writer: usize, core: u32, from: usize) -> Result<usize, ClientError> {
        let suits = |lane: &Lane| lane.writer == writer && lane.core == core && !lane.is_gone;
        if suits(&self.lanes[from]) {
            return Ok(from);
        }
        if let Some(index) = self.lanes.iter().position(suits) {
            return Ok(index);
        }
        let control = Control::connect(self.common.server, core, self.common.timeout)?;
        let mut lane = Lane::new(writer, core, Connection::new(control.into_socket())?);
        let index = self.lanes.len();
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.registry.as_ref().expect("the sockets are watched");
        registry.register(lane.connection.socket(), Token(index), both)?;
        self.lanes.push(lane);
        Ok(index)
    }

    /// Gives up what was refused by closed shards and never got to their children.
    pub(super) fn give_up_moves(&mut self) -> u64 {
        let again = self.lanes.iter_mut().map(|lane| &mut lane.again);
        let mut given_up: u64 = again.map(|again| again.drain(..).count() as u64).sum();
        for writer in &mut self.writers {
            for place in writer.places.iter_mut().flatten() {
                given_up += place.refused.drain(..).count() as u64;
            }
        }
        self.held = 0;
        given_up
    }
}
