//! The server program: composes the engine's layers, and speaks to people and their shells.
//!
//! `weir serve` boots the cores and waits for a signal; `weir stream ...` is a client like any
//! other. Start reading at [`run`].

mod accept;
mod admin;
mod boot;
mod catalog_panic;
mod certificate;
mod check;
mod cli;
mod commands;
mod config;
mod core;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod ground;
mod keys;
mod logs;
mod memory_plan;
mod metrics;
mod repair;
mod session;
mod stop;
mod strangers;
pub mod units;
mod visitors;

pub use cli::failure::Failure;
pub use commands::run;
