//! One connection's part of the load, one writer's part, and what all parts share.
//!
//! Owns: which shard is next, and what is due and not sent yet. Never: when to send.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use weir_protocol::model::ShardIndex;
use weir_protocol::wire::error::ErrorCode;

use crate::args::Extent;
use crate::atlas::Atlas;
use crate::client::connection::{Connection, Flight};
use crate::clock::Clock;
use crate::payload::{Send, Template};
use crate::shards::Map;
use crate::witness::{Fate, Ledger};

/// What all threads share.
pub(crate) struct Common {
    pub(crate) template: Template,
    pub(crate) atlas: Atlas,
    pub(crate) server: SocketAddr,
    pub(crate) in_flight: usize,
    pub(crate) warmup: Duration,
    pub(crate) extent: Extent,
    pub(crate) timeout: Duration,
    pub(crate) clock: Clock,
    /// Set by the first thread that fails.
    pub(crate) stop: AtomicBool,
}

/// Who the records are from: one connection at the start, one more for each core that its shards
/// move to.
pub(crate) struct Writer {
    pub(crate) number: u32,
    pub(crate) ledger: Ledger,
    /// By slot; `None` if it does not write there.
    pub(crate) places: Vec<Option<Place>>,
}

/// Where a writer sends the batches of one slot.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) lane: usize,
    /// `None` for a slot that is new and was not sent to yet.
    pub(crate) shard: Option<ShardIndex>,
    /// Batches without an answer.
    pub(crate) in_flight: u32,
    /// The shard was closed: nothing is sent until its last answers and the newer map are here.
    pub(crate) is_moving: bool,
    /// Batches to be sent again, to the shard that has the key then.
    pub(crate) refused: Vec<Flight>,
}

impl Place {
    /// In the shard of the start.
    pub(crate) fn at(shard: ShardIndex) -> Self {
        Self {
            lane: 0,
            shard: Some(shard),
            in_flight: 0,
            is_moving: false,
            refused: Vec::new(),
        }
    }
}

impl Writer {
    pub(crate) fn place(&mut self, slot: usize) -> &mut Place {
        self.places[slot].as_mut().expect("it writes to this slot")
    }
}

/// What a frame carries.
pub(crate) enum Next {
    /// The next batch of the lane's next slot, intended for this time.
    New(u64),
    /// One that was refused by a shard that was closed.
    Again(Flight),
}

/// One connection and its part of the work.
pub(crate) struct Lane {
    /// Which of the thread's writers.
    pub(crate) writer: usize,
    pub(crate) core: u32,
    pub(crate) connection: Connection,
    /// The slots it writes to, in turn.
    pub(crate) slots: Vec<usize>,
    pub(crate) turn: usize,
    /// Refused batches that come first, in their order.
    pub(crate) again: VecDeque<Flight>,
    /// Intended sends that are due and wait for the window or the socket, open loop only.
    pub(crate) due: VecDeque<u64>,
    /// Last sign of life while something was in flight.
    pub(crate) heard: u64,
    /// The server closed it after the last of its shards had moved away.
    pub(crate) is_gone: bool,
}

impl Lane {
    pub(crate) fn new(writer: usize, core: u32, connection: Connection) -> Self {
        Self {
            writer,
            core,
            connection,
            slots: Vec::new(),
            turn: 0,
            again: VecDeque::new(),
            due: VecDeque::new(),
            heard: 0,
            is_gone: false,
        }
    }

    /// Whether nothing is or will be sent here, as far as is known.
    pub(crate) fn is_unused(&self) -> bool {
        self.slots.is_empty() && self.again.is_empty() && self.connection.in_flight() == 0
    }

    /// Sends nothing more of a slot from here, and gives back what waited to be sent again.
    pub(crate) fn leave(&mut self, slot: usize) -> Vec<Flight> {
        if let Some(at) = self.slots.iter().position(|known| *known == slot) {
            self.slots.remove(at);
            if self.turn > at {
                self.turn -= 1;
            }
            if self.turn == self.slots.len() {
                self.turn = 0;
            }
        }
        let (left, kept) = self.again.drain(..).partition(|flight| flight.slot == slot);
        self.again = kept;
        left.into()
    }

    /// Makes `frame` the connection's next one.
    pub(crate) fn frame(
        &mut self,
        writer: &mut Writer,
        map: &Map,
        common: &Common,
        frame: &mut [u8],
        next: Next,
        now: u64,
    ) {
        if self.connection.in_flight() == 0 {
            self.heard = now;
        }
        let flight = match next {
            Next::New(intended) => {
                let slot = self.slots[self.turn];
                self.turn = (self.turn + 1) % self.slots.len();
                Flight::new(slot, writer.ledger.send(slot), intended, now)
            }
            Next::Again(flight) => {
                let unknown = Fate::Unknown;
                writer.ledger.note(flight.slot, flight.batch, unknown);
                flight.again()
            }
        };
        let target = &map.targets[flight.slot];
        let place = writer.place(flight.slot);
        debug_assert_eq!(place.shard, Some(target.shard), "sent by the map");
        place.in_flight += 1;
        let send = Send {
            correlation: self.connection.launch(flight),
            map_version: map.version,
            shard: target.shard,
            key: &target.key,
            batch: flight.batch,
            intended: common.clock.wall(flight.intended),
        };
        common.template.patch(frame, writer.number, &send);
    }
}

/// Whether a refusal says that nothing was stored.
pub(crate) fn fate_of(code: ErrorCode) -> Fate {
    match code {
        ErrorCode::LogFailed | ErrorCode::Internal | ErrorCode::Stopping => Fate::Unknown,
        _ => Fate::Refused,
    }
}
