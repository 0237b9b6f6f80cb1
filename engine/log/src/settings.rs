//! What a data folder fixes for ever, and what one life of the server chooses.

use weir_protocol::limits::{FRAME_BYTES_MAX, KIB, MIB};

/// Segment size of a new folder unless asked otherwise, in bytes.
pub const SEGMENT_BYTES_DEFAULT: u64 = 128 * MIB as u64;
/// Least segment size in bytes. Tests use it to roll often; a batch that does not fit an empty
/// segment is refused when it is appended.
pub const SEGMENT_BYTES_MIN: u64 = 64 * KIB as u64;

/// Most segment size in bytes: footers keep file offsets in 32 bits.
pub const SEGMENT_BYTES_MAX: u64 = 2048 * MIB as u64;

/// What a data folder's format file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderIdentity {
    /// Random number drawn when the folder was made. It is in every frame, so that no client can
    /// plant a valid frame in its payload.
    pub folder: u64,
    /// Bytes of every segment file.
    pub segment_bytes: u64,
}

/// What one life of the server chooses for a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// Rises with each start of the server, durably, before anything is written.
    pub incarnation: u64,
    /// Bytes of recent frames kept in memory.
    pub tail_bytes: usize,
    /// Bytes at which a frame is closed; a longer batch gets a frame of its own.
    pub frame_bytes: usize,
    /// Writes in flight at most.
    pub in_flight: usize,
    /// Segments kept ready for the next roll.
    pub free_segments_min: usize,
    /// Free segments kept at most; the surplus is unlinked.
    pub free_segments_max: usize,
    /// Segments written ahead before the log opens.
    pub reserve_segments: usize,
    /// Bytes of the disk that new segments leave free.
    pub disk_reserve_bytes: u64,
    /// Bytes of footers kept in memory.
    pub footer_cache_bytes: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            incarnation: 1,
            tail_bytes: 64 * MIB as usize,
            frame_bytes: 512 * KIB as usize,
            in_flight: 4,
            free_segments_min: 2,
            free_segments_max: 8,
            reserve_segments: 0,
            disk_reserve_bytes: 0,
            footer_cache_bytes: 16 * MIB as usize,
        }
    }
}

/// Frames waiting for the disk, beyond the ones in flight: what appends may run ahead.
pub(crate) const CLOSED_FRAMES_MAX: usize = 8;

const _: () = assert!(FRAME_BYTES_MAX >= MIB);
const _: () = assert!(
    SEGMENT_BYTES_MAX <= u32::MAX as u64,
    "a footer's file offset fits"
);
