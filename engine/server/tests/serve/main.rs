//! The server as a user meets it: the built program, a folder of its own, loopback.
//!
//! - `command_line`: every `weir stream` command, exit codes, refusals
//! - `wire`: the binary protocol by hand: pipelining, waiting reads, nonsense, wrong cores
//! - `life`: ready, admin pages, SIGTERM, kill and restart
//! - `strangers`: connections that show nothing
//! - `tls`: certificates: ours, the operator's, new ones, wrong ones

#![allow(
    clippy::disallowed_methods,
    reason = "tests have a clock and sockets of their own"
)]

mod command_line;
mod life;
mod server;
mod strangers;
mod tls;
mod wire;
