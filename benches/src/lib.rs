//! What the benches share: batches to work on, and a log on a real core.
//!
//! Owns: fixtures. Never: numbers that are reported; those come from criterion.

mod batches;
mod log_on_a_core;

pub use batches::{append_request, batch, is_quick, shard};
pub use log_on_a_core::{BenchLog, LogOnACore, LogOptions};
