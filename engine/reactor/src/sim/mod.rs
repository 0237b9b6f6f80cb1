//! The simulated machine: one seed decides the order of tasks, every latency, every fault and what
//! a crash leaves behind. Same seed, same calls: same run, bit for bit.
//!
//! Owns: virtual time, the disk image, the sockets between simulated ends. Never: a thread, a real
//! clock, a real file.
//!
//! A [`Sim`] outlives crashes; a [`SimReactor`] is one life of the process. See `sim/tests.rs` for
//! the promises, each with its test.

mod blocking;
mod dice;
mod disk;
mod executor;
mod faults;
mod folder;
mod image;
mod machine;
mod network;
mod reactor;
#[cfg(test)]
mod tests;

pub use blocking::{PlainFaults, SimBlockingFile};
pub use dice::Dice;
pub use disk::SimDisk;
pub use faults::Faults;
pub use folder::{NoMap, SimBuffer, SimFile, SimFolder};
pub use machine::{Crash, RunLimit, Sim, SimOptions};
pub use network::SimSocket;
pub use reactor::SimReactor;
