//! The machine, behind one seam: clock, disk, network, randomness, cores and threads.
//!
//! Everything above this crate is written against [`Reactor`], [`Disk`], [`File`] and [`Socket`],
//! which exist twice: real (io_uring through glommio) and simulated ([`sim`]: one seed, virtual
//! time, torn writes, lost flushes, full disks). No other crate of the engine names glommio, libc,
//! a clock or a random source.

mod seam;

pub mod sim;

mod blocking;
mod clock;
mod cores;
mod folder_lock;
mod memory;
mod mmap;
mod net;
mod off_core;
mod populated;
pub mod preflight;
mod random;
mod signals;
mod spare;
mod sync;
mod thread;
mod uring;

pub use blocking::{BlockingDisk, BlockingFile, PlainDisk, PlainFile};
pub use clock::{boot, monotonic, thread_cpu_ns, wall_ms};
pub use cores::{
    CorePlan, Inbox, Mailbox, PlacementError, Reply, ReplyDropped, Retiring, Running, StartError,
    Waiting, choose_cpus, cpus_allowed, mailbox, oneshot, pin_this_thread, start_cores,
};
pub use folder_lock::{FolderLock, FolderLockError};
pub use memory::{physical_memory_bytes, resident_memory_bytes};
pub use mmap::CoreMap;
pub use net::{Acceptor, Listener};
pub use off_core::off_core;
pub use random::{random, random_bytes};
pub use seam::{
    BLOCK_BYTES, BootId, Buffer, Disk, Entry, File, Lane, Map, Monotonic, Reactor, Socket, Space,
};
pub use signals::{Signal, SignalCloser, SignalEvents};
pub use spare::{Lent, Spares};
pub use thread::{ThreadReceiver, ThreadSender, pause, start_thread, thread_queue};
pub use uring::{CoreBuffer, CoreBytes, CoreDisk, CoreFile, CoreReactor, TcpSocket};
