//! The words and the bytes of Weir: names, numbers, limits, the stored batch, the commit frame and
//! the wire format.
//!
//! Owns: every layout that a client and a server, or two versions of a server, must agree on.
//! Never: I/O, clocks, randomness, async. Any bytes decode to a value or to a typed error.
//!
//! Start reading at [`batch`]: what a producer writes is what the disk keeps and what a consumer
//! gets. [`frame`] is the envelope that says where batches lie in a log; [`wire`] is how they
//! travel.
#![warn(missing_docs)]

pub mod batch;
pub mod bytes;
pub mod checksum;
pub mod frame;
pub mod limits;
pub mod model;
pub mod wire;

#[cfg(test)]
mod layout_tests;
