//! The traits that separate the engine from the machine.
//!
//! Generic, not `dyn`: the append path is compiled against the real reactor with nothing between.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Unit of direct I/O: positions, lengths and buffers are multiples of it.
pub const BLOCK_BYTES: usize = 4096;

/// A moment of the clock that never goes back, in nanoseconds since an unknown start. It counts
/// while the machine is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// Time from `earlier` to this moment, zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment plus `duration`.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_nanos() as u64))
    }
}

/// One start of the machine's monotonic clock: its times can be compared only within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootId(Option<u64>);

impl BootId {
    /// As it was noted; 0 for one that is not known.
    pub fn from_bits(bits: u64) -> Self {
        Self((bits != 0).then_some(bits))
    }

    /// To be noted.
    pub fn to_bits(self) -> u64 {
        self.0.unwrap_or(0)
    }

    /// Whether both are known and one: else nothing is known of the time between.
    pub fn is_same(self, other: Self) -> bool {
        self.0.is_some() && self.0 == other.0
    }
}

/// What a task is about; each lane has its share of the core and its latency class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Connections: requests in, answers out.
    Network,
    /// The log's writes and everything that waits for them.
    Commit,
    /// Reads of bytes that are not in memory.
    Read,
    /// Work that nobody waits for: zeroing, sealing, settling, retention.
    Background,
}

/// One core's view of the machine. Cloning is cheap; a clone stays on its core.
pub trait Reactor: Clone + 'static {
    /// The data folder.
    type Disk: Disk;

    /// The data folder.
    fn disk(&self) -> &Self::Disk;

    /// Wall-clock time in milliseconds since 1970. May jump in both directions.
    fn wall_ms(&self) -> u64;

    /// Time that never goes back.
    fn monotonic(&self) -> Monotonic;

    /// Which start of the machine that time is of.
    fn boot(&self) -> BootId;

    /// Sixty-four random bits.
    fn random(&self) -> u64;

    /// Completes after `duration` of monotonic time.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static;

    /// Runs `task` on this core, detached, until it completes or the reactor ends.
    fn spawn(&self, lane: Lane, task: impl Future<Output = ()> + 'static);

    /// Lets other tasks of this core run.
    fn yield_now(&self) -> impl Future<Output = ()> + 'static;
}

/// A file found in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the folder.
    pub name: String,
    /// Its length in bytes; 0 for a folder.
    pub bytes: u64,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// Room on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes this server may still take.
    pub free: u64,
    /// Bytes the file system has in all.
    pub total: u64,
}

/// A data folder. Paths are relative to it, with `/` between folders.
pub trait Disk: Clone + 'static {
    /// An open file of fixed length.
    type File: File;

    /// Makes a folder if it is not there; durable when it returns.
    fn make_folder(&self, path: &str) -> impl Future<Output = io::Result<()>>;

    /// What a folder holds, sorted by name.
    fn list(&self, path: &str) -> impl Future<Output = io::Result<Vec<Entry>>>;

    /// Makes a file of `bytes` zeros whose blocks have been written, so that later direct writes
    /// cost one device flush each. Works off the core; durable, name and all, when it returns. A
    /// failed call leaves no file behind. `ErrorKind::StorageFull` when there is no room.
    fn create_written(&self, path: &str, bytes: u64) -> impl Future<Output = io::Result<()>>;

    /// Makes a file of `bytes` whose blocks are reserved and read as zeros but were never written:
    /// at once, but each first write into a block costs about twice as much. Durable, name and
    /// all, when it returns.
    fn create_reserved(&self, path: &str, bytes: u64) -> impl Future<Output = io::Result<()>>;

    /// Opens a file for direct reads and durable direct writes.
    fn open(&self, path: &str) -> impl Future<Output = io::Result<Self::File>>;

    /// Unlinks a file; durable when it returns. Works off the core.
    fn remove(&self, path: &str) -> impl Future<Output = io::Result<()>>;

    /// Room on the disk.
    fn space(&self) -> impl Future<Output = io::Result<Space>>;
}

/// Memory for direct I/O: starts and ends on a block.
pub trait Buffer: AsRef<[u8]> + AsMut<[u8]> + 'static {
    /// Cuts the buffer to its first `bytes`, a multiple of [`BLOCK_BYTES`].
    fn truncate(&mut self, bytes: usize);
}

/// An open file of fixed length. Positions and lengths are multiples of [`BLOCK_BYTES`].
pub trait File: 'static {
    /// Memory to write from.
    type Buffer: Buffer;
    /// Memory that a read filled.
    type Bytes: AsRef<[u8]> + 'static;
    /// The file mapped into memory.
    type Map: Map;

    /// Length in bytes.
    fn bytes(&self) -> u64;

    /// Memory to write from, of any contents; `bytes` is a multiple of [`BLOCK_BYTES`].
    fn buffer(&self, bytes: usize) -> Self::Buffer;

    /// Writes all of `buffer` at `at`. `Ok` means flushed to the device; an error means that any
    /// part of it may or may not be there. The memory must stay as it is until it returns; if the
    /// future is dropped early, the write may still happen.
    fn write(&self, buffer: Rc<Self::Buffer>, at: u64) -> impl Future<Output = io::Result<()>>;

    /// Reads exactly `bytes` at `at`.
    fn read(&self, at: u64, bytes: usize) -> impl Future<Output = io::Result<Self::Bytes>>;

    /// Flushes to the device whatever earlier writes, also of a process that died, left in caches.
    fn flush(&self) -> impl Future<Output = io::Result<()>>;

    /// Maps the whole file for reading; `None` where this disk has no maps (the simulated one).
    /// Only for files that nobody writes while the map lives.
    fn map(&self) -> impl Future<Output = io::Result<Option<Self::Map>>>;

    /// Drops the file's pages from the page cache, so that direct writes do not collide with them.
    /// To be called before a mapped file is written again.
    fn forget_pages(&self) -> impl Future<Output = io::Result<()>>;
}

/// A file mapped for reading. Dropping it may happen on any thread.
pub trait Map: Send + Sync + 'static {
    /// Whether every page of `range` was populated by [`Map::populate`] and is in memory now. Only
    /// then may [`Map::slice`] be called.
    fn is_resident(&self, range: Range<usize>) -> bool;

    /// Bytes that were found resident.
    fn slice(&self, range: Range<usize>) -> &[u8];

    /// Has a helper thread bring `range` into memory. A damaged page is an error here, where a touch
    /// would kill the process.
    fn populate(&self, range: Range<usize>) -> impl Future<Output = io::Result<()>>;
}

/// One direction-less end of a byte stream between two machines. A clone shares the connection:
/// one reads while the other writes. Each direction remembers one waker, that of the last poll.
pub trait Socket: Clone + 'static {
    /// Receives into `into`, at least one byte; 0 when the other side sends no more. `into` must
    /// not be empty; it is written only when the poll is ready.
    fn poll_receive(&self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Sends some of `bytes`, which must not be empty.
    fn poll_send(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Sends some of `slices`, one after the other. At least one of them must not be empty.
    fn poll_send_vectored(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_send(context, first.expect("a send needs bytes"))
    }

    /// Ends both directions: pending and later calls return.
    fn shutdown(&self);

    /// Receives into `into`, at least one byte; 0 when the other side sends no more.
    fn receive(&self, into: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        poll_fn(|context| self.poll_receive(context, into))
    }

    /// Sends all of `bytes`.
    fn send(&self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
        async move {
            let mut sent = 0;
            while sent < bytes.len() {
                match poll_fn(|context| self.poll_send(context, &bytes[sent..])).await? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    more => sent += more,
                }
            }
            Ok(())
        }
    }
}
