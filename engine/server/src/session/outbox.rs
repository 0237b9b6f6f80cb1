//! What waits to be sent on one connection.
//!
//! Answers to appends leave in the order the appends came, each once its batches are durable;
//! other answers leave as they come. Answers are encoded into one buffer, so that one send carries
//! all that a turn produced.

use std::collections::VecDeque;

use weir_gateway::Permit;
use weir_protocol::model::{Offset, Position, Timestamp};
use weir_protocol::wire::error::ErrorCode;
use weir_protocol::wire::frame::Correlation;
use weir_protocol::wire::response::{AppendOutcome, encode_appended};
use weir_reactor::{Monotonic, Spares};

/// What admission made of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It will be stored once the log is durable up to `end`.
    Admitted {
        first_offset: Offset,
        arrival: Timestamp,
        end: Position,
    },
    /// Nothing of it is stored.
    Refused {
        code: ErrorCode,
        owner: u32,
        map_version: u32,
    },
}

/// Whether an append is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Durable,
    Lost,
    Pending,
}

/// An append whose answer is due.
#[derive(Debug)]
pub(crate) struct AppendAnswer {
    pub(crate) correlation: Correlation,
    pub(crate) batches: Vec<Admission>,
    /// Length of the request's frame.
    pub(crate) request_bytes: usize,
    pub(crate) started: Monotonic,
}

impl AppendAnswer {
    /// The position that must be durable before the answer can leave; `None` if no batch was
    /// admitted.
    pub(crate) fn end(&self) -> Option<Position> {
        let ends = self.batches.iter().filter_map(|batch| match batch {
            Admission::Admitted { end, .. } => Some(*end),
            Admission::Refused { .. } => None,
        });
        ends.max()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    appends: VecDeque<AppendAnswer>,
    ready: Vec<u8>,
    /// Bytes that the writer took and has not sent yet.
    sending: usize,
    /// What covers the records among `ready`, and among what is being sent.
    permits: Vec<[Permit; 2]>,
    sending_permits: Vec<[Permit; 2]>,
}

/// An append that was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) request_bytes: usize,
    pub(crate) started: Monotonic,
}

impl Outbox {
    /// Queues the answer of an append; true if it is the first that waits.
    pub(crate) fn push_append(&mut self, answer: AppendAnswer) -> bool {
        self.appends.push_back(answer);
        self.appends.len() == 1
    }

    /// Where an answer that can leave at once is written.
    pub(crate) fn ready(&mut self) -> &mut Vec<u8> {
        &mut self.ready
    }

    /// Makes room for an answer of `bytes`.
    pub(crate) fn make_room(&mut self, bytes: usize, spares: &Spares) {
        if self.ready.is_empty() && self.ready.capacity() < bytes {
            spares.give(std::mem::replace(&mut self.ready, spares.take(bytes)));
        }
        self.ready.reserve(bytes);
    }

    /// `permits`, the connection's and the core's, cover what was just written until it is sent.
    pub(crate) fn attach(&mut self, permits: [Permit; 2]) {
        self.permits.push(permits);
    }

    /// Lets go of an empty buffer that is longer than `bytes`.
    pub(crate) fn let_go(&mut self, bytes: usize) {
        if self.ready.is_empty() && self.ready.capacity() > bytes {
            self.ready = Vec::new();
        }
    }

    /// The position that the first waiting append needs.
    pub(crate) fn awaited(&self) -> Option<Position> {
        self.appends.front().and_then(AppendAnswer::end)
    }

    /// Encodes the answers of all appends at the front that are decided. One append that is not
    /// holds those behind it.
    pub(crate) fn collect(
        &mut self,
        decide: impl Fn(Position) -> Decision,
        mut answered: impl FnMut(Answered),
    ) {
        while let Some(front) = self.appends.front() {
            let decision = front.end().map_or(Decision::Durable, &decide);
            if decision == Decision::Pending {
                return;
            }
            let outcomes = front
                .batches
                .iter()
                .map(|batch| outcome(batch, decision, &decide));
            encode_appended(outcomes, front.correlation, &mut self.ready);
            answered(Answered {
                request_bytes: front.request_bytes,
                started: front.started,
            });
            self.appends.pop_front();
        }
    }

    /// Swaps out what is to be sent now, for an empty buffer; false if there is nothing.
    pub(crate) fn take(&mut self, sending: &mut Vec<u8>) -> bool {
        if self.ready.is_empty() {
            return false;
        }
        assert!(sending.is_empty(), "what was taken before was sent");
        std::mem::swap(&mut self.ready, sending);
        self.sending = sending.len();
        std::mem::swap(&mut self.permits, &mut self.sending_permits);
        true
    }

    /// What was taken has been sent.
    pub(crate) fn sent(&mut self) {
        self.sending = 0;
        self.sending_permits.clear();
    }

    /// Bytes encoded and not sent yet.
    pub(crate) fn bytes(&self) -> usize {
        self.ready.len() + self.sending
    }

    /// Nothing will be sent any more: the room of what was to be is free.
    pub(crate) fn give_up(&mut self) {
        self.permits.clear();
        self.sending_permits.clear();
    }

    /// Nothing waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.bytes() == 0
    }
}

fn outcome(
    batch: &Admission,
    all: Decision,
    decide: impl Fn(Position) -> Decision,
) -> AppendOutcome {
    match *batch {
        Admission::Admitted {
            first_offset,
            arrival,
            end,
        } => {
            // Where the last batch was lost, an earlier one of the same request may be durable.
            if all == Decision::Durable || decide(end) == Decision::Durable {
                AppendOutcome::Stored {
                    first_offset,
                    arrival,
                }
            } else {
                AppendOutcome::Refused {
                    code: ErrorCode::LogFailed,
                    owner: 0,
                    map_version: 0,
                }
            }
        }
        Admission::Refused {
            code,
            owner,
            map_version,
        } => AppendOutcome::Refused {
            code,
            owner,
            map_version,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_gateway::ReadBudget;
    use weir_protocol::wire::frame;
    use weir_protocol::wire::response::Response;

    fn admitted(end: u64) -> Admission {
        Admission::Admitted {
            first_offset: Offset::new(end).unwrap(),
            arrival: Timestamp::ZERO,
            end: Position(end),
        }
    }

    const REFUSED: Admission = Admission::Refused {
        code: ErrorCode::Throttled,
        owner: 0,
        map_version: 0,
    };

    fn answer(correlation: u64, batches: &[Admission]) -> AppendAnswer {
        AppendAnswer {
            correlation: Correlation(correlation),
            batches: batches.to_vec(),
            request_bytes: 1,
            started: Monotonic(0),
        }
    }

    /// What was encoded, as (correlation, one letter per batch).
    fn sent(outbox: &mut Outbox) -> Vec<(u64, String)> {
        let mut bytes = Vec::new();
        outbox.take(&mut bytes);
        outbox.sent();
        let mut rest = bytes.as_slice();
        let mut all = Vec::new();
        while let Some((frame, length)) = frame::decode(rest).unwrap() {
            let Response::Appended(outcomes) = Response::decode(&frame).unwrap() else {
                panic!("an append's answer");
            };
            let letters = outcomes.iter().map(|outcome| match outcome {
                AppendOutcome::Stored { .. } => 's',
                AppendOutcome::Refused {
                    code: ErrorCode::LogFailed,
                    ..
                } => 'f',
                AppendOutcome::Refused { .. } => 'r',
            });
            all.push((frame.correlation.0, letters.collect()));
            rest = &rest[length..];
        }
        all
    }

    fn durable(up_to: u64) -> impl Fn(Position) -> Decision {
        move |end| {
            if end.0 <= up_to {
                Decision::Durable
            } else {
                Decision::Pending
            }
        }
    }

    #[test]
    fn answers_leave_in_order_when_durable() {
        let mut outbox = Outbox::default();
        assert!(outbox.push_append(answer(1, &[admitted(10), REFUSED])));
        assert!(!outbox.push_append(answer(2, &[REFUSED])));
        outbox.push_append(answer(3, &[admitted(20)]));
        outbox.push_append(answer(4, &[admitted(30)]));
        assert_eq!(outbox.awaited(), Some(Position(10)));
        outbox.collect(durable(9), |_| panic!("nothing is durable"));
        assert_eq!(sent(&mut outbox), []);
        let mut count = 0;
        outbox.collect(durable(20), |_| count += 1);
        assert_eq!(count, 3);
        let expected = [
            (1, "sr".to_owned()),
            (2, "r".to_owned()),
            (3, "s".to_owned()),
        ];
        assert_eq!(sent(&mut outbox), expected);
        assert_eq!(outbox.awaited(), Some(Position(30)));
        assert!(!outbox.is_empty());
    }

    #[test]
    fn after_a_log_failure_only_what_was_lost_is_refused() {
        let mut outbox = Outbox::default();
        outbox.push_append(answer(1, &[admitted(10), admitted(20)]));
        let decide = |end: Position| {
            if end.0 <= 10 {
                Decision::Durable
            } else {
                Decision::Lost
            }
        };
        outbox.collect(decide, |_| {});
        assert_eq!(sent(&mut outbox), [(1, "sf".to_owned())]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn records_are_covered_until_they_are_sent() {
        let room = ReadBudget::new(100);
        let (mut outbox, mut sending) = (Outbox::default(), Vec::new());
        let write = |outbox: &mut Outbox| {
            outbox.ready().extend_from_slice(&[0; 40]);
            outbox.attach([room.spare(20).unwrap(), room.spare(0).unwrap()]);
        };
        write(&mut outbox);
        assert!(outbox.take(&mut sending));
        write(&mut outbox);
        assert_eq!((outbox.bytes(), room.held()), (80, 40));
        outbox.sent();
        assert_eq!((outbox.bytes(), room.held()), (40, 20));
        outbox.give_up();
        assert_eq!(room.held(), 0);
    }
}
