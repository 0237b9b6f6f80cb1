//! One connection's part of the load, and what all parts share.
//!
//! Owns: which shard is next, and what is due and not sent yet. Never: when to send.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use weir_protocol::wire::error::ErrorCode;

use crate::args::Extent;
use crate::client::connection::{Connection, Flight};
use crate::clock::Clock;
use crate::payload::{Send, Template};
use crate::verify::Target;
use crate::witness::{Fate, Ledger};

/// What all threads share.
pub(crate) struct Common<'a> {
    pub(crate) template: Template,
    /// By slot.
    pub(crate) targets: &'a [Target],
    pub(crate) in_flight: usize,
    pub(crate) warmup: Duration,
    pub(crate) extent: Extent,
    pub(crate) timeout: Duration,
    pub(crate) clock: Clock,
    /// Set by the first thread that fails.
    pub(crate) stop: AtomicBool,
}

/// One connection and its part of the work.
pub(crate) struct Lane {
    pub(crate) writer: u32,
    pub(crate) connection: Connection,
    /// The shards it writes to, in turn.
    pub(crate) slots: Vec<usize>,
    pub(crate) turn: usize,
    pub(crate) ledger: Ledger,
    /// Intended sends that are due and wait for the window or the socket, open loop only.
    pub(crate) due: VecDeque<u64>,
    /// Last sign of life while something was in flight.
    pub(crate) heard: u64,
}

impl Lane {
    /// Makes `frame` the connection's next one.
    pub(crate) fn frame(&mut self, common: &Common<'_>, frame: &mut [u8], intended: u64, now: u64) {
        let slot = self.slots[self.turn];
        self.turn = (self.turn + 1) % self.slots.len();
        if self.connection.in_flight() == 0 {
            self.heard = now;
        }
        let batch = self.ledger.send(slot);
        let flight = Flight::new(slot, batch, intended, now);
        let target = &common.targets[slot];
        let send = Send {
            correlation: self.connection.launch(flight),
            shard: target.shard,
            key: &target.key,
            batch,
            intended: common.clock.wall(intended),
        };
        common.template.patch(frame, self.writer, &send);
    }
}

/// Whether a refusal says that nothing was stored.
pub(crate) fn fate_of(code: ErrorCode) -> Fate {
    match code {
        ErrorCode::LogFailed | ErrorCode::Internal | ErrorCode::Stopping => Fate::Unknown,
        _ => Fate::Refused,
    }
}
