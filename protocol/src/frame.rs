//! The commit frame: where batches lie in a log, one frame for each write.
//!
//! A frame never leaves the log: it is stamped when its write is submitted, is not sent to
//! clients, and is not copied when a segment is rewritten. `docs/format.md` draws the bytes.

use thiserror::Error;

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::checksum;
use crate::limits::{BLOCK_BYTES, FRAME_BATCHES_MAX, FRAME_BYTES_MAX};
use crate::model::{Count, LogId, Offset, Position, ShardId, ShardIndex, StreamId};

/// First four bytes of a commit frame, "WRF1".
pub const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"WRF1");
/// The frame layout that this code writes.
pub const FRAME_VERSION: u16 = 1;
/// Flag: no frame follows in this segment.
pub const FLAG_LAST: u16 = 1;

/// Places of the header's fields, each chained from the one before.
pub mod field {
    /// `u32` [`super::FRAME_MAGIC`].
    pub const MAGIC: usize = 0;
    /// `u16` layout version.
    pub const VERSION: usize = MAGIC + 4;
    /// `u16` flags; unknown ones are refused.
    pub const FLAGS: usize = VERSION + 2;
    /// `u64` random number of the data folder: no client can forge a frame in its payload.
    pub const FOLDER: usize = FLAGS + 2;
    /// `u32` log id.
    pub const LOG: usize = FOLDER + 8;
    /// `u32` number of batches.
    pub const BATCHES: usize = LOG + 4;
    /// `u64` segment generation.
    pub const GENERATION: usize = BATCHES + 4;
    /// `u64` server incarnation.
    pub const INCARNATION: usize = GENERATION + 8;
    /// `u64` log position of the frame's first byte.
    pub const POSITION: usize = INCARNATION + 8;
    /// `u64` log position below which everything was durable when this frame was submitted.
    pub const DURABLE_MARK: usize = POSITION + 8;
    /// `u32` length of the frame in bytes, header to padding.
    pub const FRAME_BYTES: usize = DURABLE_MARK + 8;
    /// `u32` length of all batches in bytes; the directory follows them.
    pub const BATCHES_BYTES: usize = FRAME_BYTES + 4;
    /// `u32` CRC-32C of the directory.
    pub const DIRECTORY_CRC: usize = BATCHES_BYTES + 4;
    /// `u32` CRC-32C of the header bytes before this field.
    pub const HEADER_CRC: usize = DIRECTORY_CRC + 4;
    /// Length of the header.
    pub const END: usize = HEADER_CRC + 4;
}

/// Length of a frame header in bytes.
pub const FRAME_HEADER_BYTES: usize = field::END;
/// Length of a directory entry in bytes: `u64` stream, `u32` shard, `u32` batch length, `u64`
/// first offset, `u32` records, `u32` the batch's header checksum.
pub const DIRECTORY_ENTRY_BYTES: usize = 32;

const _: () = assert!(FRAME_HEADER_BYTES == 72);

/// Length of a frame around `batches` batches of `batches_bytes` in all, padding included.
pub const fn frame_bytes(batches: usize, batches_bytes: usize) -> usize {
    let used = FRAME_HEADER_BYTES + batches_bytes + batches * DIRECTORY_ENTRY_BYTES;
    used.next_multiple_of(BLOCK_BYTES as usize)
}

/// What a frame says of one of its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The batch's shard.
    pub shard: ShardId,
    /// Length of the batch in bytes.
    pub bytes: u32,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Number of its records.
    pub records: Count,
    /// Its header checksum.
    pub header_crc: u32,
}

impl DirectoryEntry {
    /// Writes the entry's bytes to `out`, which has exactly [`DIRECTORY_ENTRY_BYTES`].
    pub fn encode(&self, out: &mut [u8]) {
        assert_eq!(out.len(), DIRECTORY_ENTRY_BYTES);
        out[0..8].copy_from_slice(&self.shard.stream.get().to_le_bytes());
        out[8..12].copy_from_slice(&self.shard.index.0.to_le_bytes());
        out[12..16].copy_from_slice(&self.bytes.to_le_bytes());
        out[16..24].copy_from_slice(&self.first_offset.get().to_le_bytes());
        out[24..28].copy_from_slice(&self.records.0.to_le_bytes());
        out[28..32].copy_from_slice(&self.header_crc.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            shard: ShardId::new(
                StreamId::new(u64_at(bytes, 0)),
                ShardIndex(u32_at(bytes, 8)),
            ),
            bytes: u32_at(bytes, 12),
            first_offset: Offset::new(u64_at(bytes, 16))?,
            records: Count(u32_at(bytes, 24)),
            header_crc: u32_at(bytes, 28),
        })
    }
}

/// The header of a commit frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether no frame follows in this segment.
    pub last: bool,
    /// Random number of the data folder.
    pub folder: u64,
    /// The log it belongs to.
    pub log: LogId,
    /// Number of batches; none in a frame that only carries the mark.
    pub batches: u32,
    /// Generation of the segment.
    pub generation: u64,
    /// Incarnation of the server that wrote it.
    pub incarnation: u64,
    /// Log position of its first byte.
    pub position: Position,
    /// Log position below which everything was durable when it was submitted.
    pub durable_mark: Position,
    /// Length in bytes, header to padding.
    pub frame_bytes: u32,
    /// Length of all its batches.
    pub batches_bytes: u32,
    /// CRC-32C of its directory.
    pub directory_crc: u32,
}

/// Why bytes are not a commit frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The block does not start as a frame does.
    #[error("no frame starts here")]
    Magic,
    /// A layout or flags this code does not know, under a valid checksum.
    #[error("frame version {version} with flags {flags:#06x}, this build reads {FRAME_VERSION}")]
    Version {
        /// The version found.
        version: u16,
        /// The flags found.
        flags: u16,
    },
    /// The header's checksum does not match.
    #[error("frame header checksum {found:#010x}, computed {computed:#010x}")]
    HeaderChecksum {
        /// The checksum in the header.
        found: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// Lengths that contradict each other or the limits.
    #[error("frame of {frame_bytes} bytes cannot hold {batches} batches of {batches_bytes} bytes")]
    Lengths {
        /// Length of the frame.
        frame_bytes: u32,
        /// Number of batches.
        batches: u32,
        /// Length of all batches.
        batches_bytes: u32,
    },
    /// Fewer bytes than the frame has.
    #[error("frame of {expected} bytes cut at {found}")]
    Truncated {
        /// Bytes found.
        found: usize,
        /// Bytes the frame has.
        expected: usize,
    },
    /// The directory's checksum does not match, or its lengths do not tile the batches.
    #[error("frame directory is damaged")]
    Directory,
}

impl FrameHeader {
    /// Writes the header to the front of `out`. Panics if `out` is shorter than a header.
    pub fn encode(&self, out: &mut [u8]) {
        let flags = if self.last { FLAG_LAST } else { 0 };
        out[field::MAGIC..field::MAGIC + 4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        out[field::VERSION..field::VERSION + 2].copy_from_slice(&FRAME_VERSION.to_le_bytes());
        out[field::FLAGS..field::FLAGS + 2].copy_from_slice(&flags.to_le_bytes());
        out[field::FOLDER..field::FOLDER + 8].copy_from_slice(&self.folder.to_le_bytes());
        out[field::LOG..field::LOG + 4].copy_from_slice(&self.log.0.to_le_bytes());
        out[field::BATCHES..field::BATCHES + 4].copy_from_slice(&self.batches.to_le_bytes());
        out[field::GENERATION..field::GENERATION + 8]
            .copy_from_slice(&self.generation.to_le_bytes());
        out[field::INCARNATION..field::INCARNATION + 8]
            .copy_from_slice(&self.incarnation.to_le_bytes());
        out[field::POSITION..field::POSITION + 8].copy_from_slice(&self.position.0.to_le_bytes());
        out[field::DURABLE_MARK..field::DURABLE_MARK + 8]
            .copy_from_slice(&self.durable_mark.0.to_le_bytes());
        out[field::FRAME_BYTES..field::FRAME_BYTES + 4]
            .copy_from_slice(&self.frame_bytes.to_le_bytes());
        out[field::BATCHES_BYTES..field::BATCHES_BYTES + 4]
            .copy_from_slice(&self.batches_bytes.to_le_bytes());
        out[field::DIRECTORY_CRC..field::DIRECTORY_CRC + 4]
            .copy_from_slice(&self.directory_crc.to_le_bytes());
        let crc = checksum::crc(&out[..field::HEADER_CRC]);
        out[field::HEADER_CRC..field::HEADER_CRC + 4].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the header at the front of a block.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        if bytes.len() < FRAME_HEADER_BYTES || u32_at(bytes, field::MAGIC) != FRAME_MAGIC {
            return Err(FrameError::Magic);
        }
        let found = u32_at(bytes, field::HEADER_CRC);
        let computed = checksum::crc(&bytes[..field::HEADER_CRC]);
        if found != computed {
            return Err(FrameError::HeaderChecksum { found, computed });
        }
        let version = u16_at(bytes, field::VERSION);
        let flags = u16_at(bytes, field::FLAGS);
        if version != FRAME_VERSION || flags & !FLAG_LAST != 0 {
            return Err(FrameError::Version { version, flags });
        }
        let header = Self {
            last: flags & FLAG_LAST != 0,
            folder: u64_at(bytes, field::FOLDER),
            log: LogId(u32_at(bytes, field::LOG)),
            batches: u32_at(bytes, field::BATCHES),
            generation: u64_at(bytes, field::GENERATION),
            incarnation: u64_at(bytes, field::INCARNATION),
            position: Position(u64_at(bytes, field::POSITION)),
            durable_mark: Position(u64_at(bytes, field::DURABLE_MARK)),
            frame_bytes: u32_at(bytes, field::FRAME_BYTES),
            batches_bytes: u32_at(bytes, field::BATCHES_BYTES),
            directory_crc: u32_at(bytes, field::DIRECTORY_CRC),
        };
        if header.lengths_agree() {
            Ok(header)
        } else {
            Err(header.lengths_error())
        }
    }

    fn lengths_agree(&self) -> bool {
        self.batches <= FRAME_BATCHES_MAX
            && self.batches_bytes <= FRAME_BYTES_MAX
            && self.frame_bytes <= FRAME_BYTES_MAX
            && self.frame_bytes as usize
                == frame_bytes(self.batches as usize, self.batches_bytes as usize)
    }

    fn lengths_error(&self) -> FrameError {
        FrameError::Lengths {
            frame_bytes: self.frame_bytes,
            batches: self.batches,
            batches_bytes: self.batches_bytes,
        }
    }

    /// Reads the directory of this frame from its bytes: checksum, and lengths that tile the
    /// batches.
    pub fn directory(&self, frame: &[u8]) -> Result<Vec<DirectoryEntry>, FrameError> {
        let start = FRAME_HEADER_BYTES + self.batches_bytes as usize;
        let end = start + self.batches as usize * DIRECTORY_ENTRY_BYTES;
        if frame.len() < end {
            return Err(FrameError::Truncated {
                found: frame.len(),
                expected: end,
            });
        }
        let directory = &frame[start..end];
        if checksum::crc(directory) != self.directory_crc {
            return Err(FrameError::Directory);
        }
        let entries: Option<Vec<_>> = directory
            .chunks_exact(DIRECTORY_ENTRY_BYTES)
            .map(DirectoryEntry::decode)
            .collect();
        let entries = entries.ok_or(FrameError::Directory)?;
        let total: u64 = entries.iter().map(|e| u64::from(e.bytes)).sum();
        if total == u64::from(self.batches_bytes) {
            Ok(entries)
        } else {
            Err(FrameError::Directory)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            last: true,
            folder: 1,
            log: LogId(2),
            batches: 0,
            generation: 3,
            incarnation: 4,
            position: Position(4096),
            durable_mark: Position(5),
            frame_bytes: 4096,
            batches_bytes: 0,
            directory_crc: 0,
        }
    }

    #[test]
    fn a_header_survives_its_bytes_and_shows_every_flipped_bit() {
        let mut bytes = vec![0; FRAME_HEADER_BYTES];
        header().encode(&mut bytes);
        assert_eq!(FrameHeader::decode(&bytes), Ok(header()));
        assert_eq!(header().directory(&bytes), Ok(Vec::new()));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let mut bytes = vec![0; FRAME_HEADER_BYTES];
        for (frame_bytes, batches, batches_bytes) in [
            (8192, 0, 0),
            (4096, 1, 4096),
            (u32::MAX, 1, 1),
            (4096, u32::MAX, 0),
        ] {
            FrameHeader {
                batches,
                frame_bytes,
                batches_bytes,
                ..header()
            }
            .encode(&mut bytes);
            let expected = FrameError::Lengths {
                frame_bytes,
                batches,
                batches_bytes,
            };
            assert_eq!(FrameHeader::decode(&bytes), Err(expected));
        }
    }
}
