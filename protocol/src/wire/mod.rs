//! The binary protocol: a fixed hello, then frames in both directions.
//!
//! [`hello`] opens a connection; [`frame`] cuts bytes into frames; [`request`], [`response`] and
//! [`error`] give frames their meaning; [`session`] is a client without I/O on top of them.
//! `docs/wire.md` draws the bytes.

pub mod error;
pub mod frame;
pub mod hello;
pub mod request;
pub mod response;
pub mod session;

#[cfg(test)]
mod tests;
