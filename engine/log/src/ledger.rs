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
    /// Newest generation that was told of when its segment was begun; 0 if none was. One above
    /// `known_generation` was being written.
    pub begun: u64,
    /// The last life closed every log: nothing was being written.
    pub closed: bool,
}

impl LedgerState {
    /// The generation of a segment that was begun and not recorded since, unless it was given up: some
    /// file must hold it.
    pub fn being_written(&self) -> Option<u64> {
        let is_open = self.begun > self.known_generation && !self.set_aside.contains(&self.begun);
        is_open.then_some(self.begun)
    }

    /// Applies a change, as one transaction does.
    pub fn apply(&mut self, change: &LedgerChange) {
        self.known_generation = self.known_generation.max(change.known_generation);
        self.begun = self.begun.max(change.begun);
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
    /// Generation of a segment that was begun, its header durable; 0 leaves what was begun before.
    pub begun: u64,
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
