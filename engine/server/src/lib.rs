//! The server program: composes the engine's layers, and speaks to people and their shells.
//!
//! `weir serve` boots the cores and waits for a signal; `weir stream ...` is a client like any
//! other. Start reading at [`run`].

mod cli;
mod commands;
pub mod units;

pub use cli::failure::Failure;
pub use commands::run;
