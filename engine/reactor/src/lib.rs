//! The machine, behind one seam: clock, disk, network, randomness, cores and threads.
//!
//! Everything above this crate is written against [`Reactor`], [`Disk`], [`File`] and [`Socket`],
//! which exist twice: real (io_uring through glommio) and simulated ([`sim`]: one seed, virtual
//! time, torn writes, lost flushes, full disks). No other crate of the engine names glommio, libc,
//! a clock or a random source.

mod blocking;
mod seam;
pub mod sim;

pub use blocking::{BlockingDisk, BlockingFile, PlainDisk, PlainFile};
pub use seam::{
    BLOCK_BYTES, Buffer, Disk, Entry, File, Lane, Map, Monotonic, Reactor, Socket, Space,
};
