//! What a log counts, in plain numbers.

/// Counts since the log was opened, unless a field says otherwise. A core counts without atomics:
/// whoever wants the numbers asks the core.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogCounters {
    /// Records made durable.
    pub records: u64,
    /// Bytes of batches made durable.
    pub batch_bytes: u64,
    /// Batches made durable.
    pub batches: u64,
    /// Commit frames written.
    pub frames: u64,
    /// Bytes of frames written, padding included.
    pub frame_bytes: u64,
    /// Sum of all commit times, in nanoseconds.
    pub commit_nanos: u64,
    /// Longest commit time, in nanoseconds.
    pub commit_nanos_max: u64,
    /// Write faults.
    pub faults: u64,
    /// Reads answered from the tail in memory.
    pub reads_tail: u64,
    /// Disk reads of unsealed segments.
    pub reads_unsealed: u64,
    /// Reads answered from a mapping.
    pub reads_mapped: u64,
    /// Disk reads of sealed segments.
    pub reads_cold: u64,
    /// Batches found damaged when read.
    pub damaged: u64,
    /// Segments rolled into without written blocks, because none was ready.
    pub unwritten_rolls: u64,
    /// Segments sealed.
    pub sealed: u64,
    /// Segments given back by retention, deletion or settling.
    pub retired: u64,
    /// Bytes of live batches that settling rewrote.
    pub settled_bytes: u64,
    /// Segments free and ready, now.
    pub free_segments: u64,
    /// Sealed segments kept, now.
    pub sealed_segments: u64,
    /// Bytes of segment files on disk, now.
    pub disk_bytes: u64,
    /// Bytes of frames in memory, now.
    pub tail_bytes: u64,
    /// What an operator gave up, now: ranges of the shards homed here, and whole segments.
    pub given_up: u64,
}
