//! What is counted while the load runs: one piece a second from each thread, added up at the end.

use weir_protocol::wire::error::ErrorCode;

use crate::histogram::Times;

/// Which part of a run a piece belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Checked, not measured.
    Warmup,
    /// What rates are counted over.
    Measured,
    /// Answers to what was sent before the end: measured in latency, not in rate.
    Drain,
}

/// What one thread saw in at most a second. Batches, and times in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) stored: u64,
    /// Refused by shards that were closed, and to be sent again.
    pub(crate) rerouted: u64,
    /// By error code, less one.
    pub(crate) refused: [u64; ErrorCode::ALL.len()],
    /// From the intended send to the answer, stored batches only.
    pub(crate) latency: Times,
    /// From the real send to the answer, stored batches only.
    pub(crate) service: Times,
    /// From the intended send to when the generator came to it.
    pub(crate) lag: Times,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            sent: 0,
            stored: 0,
            rerouted: 0,
            refused: [0; ErrorCode::ALL.len()],
            latency: Times::new(),
            service: Times::new(),
            lag: Times::new(),
        }
    }

    pub(crate) fn refuse(&mut self, code: ErrorCode) {
        self.refused[usize::from(code.code()) - 1] += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.stored += other.stored;
        self.rerouted += other.rerouted;
        for (sum, more) in self.refused.iter_mut().zip(&other.refused) {
            *sum += more;
        }
        self.latency.merge(&other.latency);
        self.service.merge(&other.service);
        self.lag.merge(&other.lag);
    }

    /// Batches refused with `code`.
    pub(crate) fn refused_with(&self, code: ErrorCode) -> u64 {
        self.refused[usize::from(code.code()) - 1]
    }

    /// Batches refused because the server meters or bounds itself, which is its right.
    pub(crate) fn throttled(&self) -> u64 {
        self.refused_with(ErrorCode::Throttled) + self.refused_with(ErrorCode::Overloaded)
    }

    /// Batches refused for any other reason.
    pub(crate) fn failed(&self) -> u64 {
        self.refused.iter().sum::<u64>() - self.throttled()
    }
}

/// A second's tally of one thread, as it is handed over.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) part: Part,
    /// Which piece of its part, from 0.
    pub(crate) index: u64,
    /// How long it is, in nanoseconds.
    pub(crate) length: u64,
    pub(crate) tally: Tally,
}
