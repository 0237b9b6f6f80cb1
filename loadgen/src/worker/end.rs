//! When a part of the run, a second of it, and all of it is over.

use weir_protocol::wire::error::ErrorCode;

use super::{SECOND_NS, Worker};
use crate::client::ClientError;
use crate::clock::nanoseconds;
use crate::lane::Lane;
use crate::tally::{Part, Piece, Tally};

impl Worker<'_> {
    /// Whether nothing is owed any more. What is still due when the timeout has passed after the
    /// end is given up: the server takes less than was asked for.
    pub(super) fn is_drained(&mut self, now: u64) -> bool {
        let give_up = now >= self.end.saturating_add(nanoseconds(self.common.timeout));
        for lane in &mut self.lanes {
            if give_up {
                self.unsent += lane.due.len() as u64;
                lane.due.clear();
            }
        }
        if give_up {
            for _ in 0..self.give_up_moves() {
                self.tally.refuse(ErrorCode::ShardClosed);
            }
        }
        let owes = |lane: &Lane| {
            lane.connection.in_flight() > 0 || !lane.due.is_empty() || !lane.again.is_empty()
        };
        self.held == 0 && !self.lanes.iter().any(owes)
    }

    pub(super) fn look_for_silence(&mut self, now: u64) -> Result<(), ClientError> {
        for lane in &mut self.lanes {
            if lane.connection.in_flight() == 0 {
                lane.heard = now;
            } else if now.saturating_sub(lane.heard) > nanoseconds(self.common.timeout) {
                return Err(ClientError::Silent(self.common.timeout));
            }
        }
        Ok(())
    }

    /// Ends the piece when its second, or its part of the run, is over.
    pub(super) fn turn_pieces(&mut self, now: u64) {
        let part = if now < self.warmup_end {
            Part::Warmup
        } else if now < self.end {
            Part::Measured
        } else {
            Part::Drain
        };
        if part != self.part {
            if part == Part::Drain {
                let oldest = self.lanes.iter().filter_map(|lane| lane.due.front()).min();
                self.backlog_age = oldest.map_or(0, |oldest| now.saturating_sub(*oldest));
            }
            self.hand_over(now);
            self.part = part;
            self.piece_index = 0;
        } else if now - self.piece_start >= SECOND_NS && part != Part::Drain {
            self.hand_over(now);
        }
    }

    pub(super) fn hand_over(&mut self, now: u64) {
        let piece = Piece {
            part: self.part,
            index: self.piece_index,
            length: now - self.piece_start,
            tally: std::mem::replace(&mut self.tally, Tally::new()),
        };
        self.piece_index += 1;
        self.piece_start = now;
        // Nobody takes pieces any more when the run is being given up.
        let _ = self.pieces.send(piece);
    }
}
