//! What the log asks of the catalog: to remember which sealed segments count.
//!
//! No append, read or roll waits for it. A segment that the catalog has not heard of is found by
//! its header; a segment that it has dropped is free, whatever its header says.

use futures_util::future::LocalBoxFuture;
use weir_protocol::model::LogId;

use crate::error::LedgerFailed;

/// What the catalog knows of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerState {
    /// Highest generation of a log segment that was ever recorded: one at or below it that is not
    /// in `segments` was dropped.
    pub known_generation: u64,
    /// Generations of the sealed segments that count.
    pub segments: Vec<u64>,
    /// Generations that an operator gave up: they count no more, and whatever file holds one stays
    /// as it is.
    pub set_aside: Vec<u64>,
    /// Generations of log segments whose footer is to be made anew, if it does not verify.
    pub made_anew: Vec<u64>,
}

impl LedgerState {
    /// Applies a change, as one transaction does.
    pub fn apply(&mut self, change: &LedgerChange) {
        self.known_generation = self.known_generation.max(change.known_generation);
        self.segments.retain(|g| !change.removed.contains(g));
        for generation in &change.added {
            if !self.segments.contains(generation) {
                self.segments.push(*generation);
            }
        }
    }
}

/// One change, to be made durable as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerChange {
    /// The log.
    pub log: LogId,
    /// New highest recorded generation of a log segment; 0 leaves it.
    pub known_generation: u64,
    /// Generations that count from now on.
    pub added: Vec<u64>,
    /// Generations that do not count any more.
    pub removed: Vec<u64>,
}

/// The catalog, as a log sees it.
pub trait Ledger {
    /// Makes a change durable.
    fn record(&self, change: LedgerChange) -> LocalBoxFuture<'static, Result<(), LedgerFailed>>;
}
