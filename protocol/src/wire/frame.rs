//! Cuts a byte stream into frames.
//!
//! A frame is a fixed header, a control part that its checksum covers, and a bulk part of batches,
//! which carry checksums of their own. Lengths are checked against the caps before anything is
//! allocated.

use thiserror::Error;

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::checksum;
use crate::limits::{WIRE_CONTROL_BYTES_MAX, WIRE_FRAME_BYTES_MAX};

/// Places of the header's fields, each chained from the one before.
pub mod field {
    /// `u32` length of the frame in bytes, this header included.
    pub const FRAME_BYTES: usize = 0;
    /// `u16` what the frame is.
    pub const KIND: usize = FRAME_BYTES + 4;
    /// `u16` flags; none exist yet, others are refused.
    pub const FLAGS: usize = KIND + 2;
    /// `u64` chosen by the client, repeated in the answer.
    pub const CORRELATION: usize = FLAGS + 2;
    /// `u32` length of the control part; the bulk part is the rest.
    pub const CONTROL_BYTES: usize = CORRELATION + 8;
    /// `u32` CRC-32C of the header bytes before this field and of the control part.
    pub const CRC: usize = CONTROL_BYTES + 4;
    /// Length of the header.
    pub const END: usize = CRC + 4;
}

/// Length of a wire frame's header in bytes.
pub const WIRE_HEADER_BYTES: usize = field::END;

const _: () = assert!(WIRE_HEADER_BYTES == 24);

/// Pairs an answer with its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Correlation(pub u64);

/// A frame whose control part is whole and verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireFrame<'a> {
    /// What the frame is.
    pub kind: u16,
    /// The number that pairs request and answer.
    pub correlation: Correlation,
    /// The control part.
    pub control: &'a [u8],
    /// Batches, one after the other.
    pub bulk: &'a [u8],
}

/// Why bytes are not a wire frame. The connection cannot go on after any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireFrameError {
    /// A frame longer than the cap, or shorter than its own header.
    #[error("wire frame of {bytes} bytes, expected {WIRE_HEADER_BYTES} to {WIRE_FRAME_BYTES_MAX}")]
    Length {
        /// The length found.
        bytes: u32,
    },
    /// A control part longer than the frame or the cap.
    #[error("control part of {bytes} bytes in a wire frame of {frame_bytes}")]
    ControlLength {
        /// The length of the control part.
        bytes: u32,
        /// The length of the frame.
        frame_bytes: u32,
    },
    /// Flags that this code does not know.
    #[error("wire frame flags {found:#06x}, expected 0x0000")]
    Flags {
        /// The flags found.
        found: u16,
    },
    /// The checksum does not match.
    #[error("wire frame checksum {found:#010x}, computed {computed:#010x}")]
    Checksum {
        /// The checksum in the header.
        found: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
}

/// Length of the frame that starts at the front of `bytes`; `None` while fewer than a header's
/// bytes are there. Checks both lengths against the caps: call it before making room.
pub fn frame_length(bytes: &[u8]) -> Result<Option<usize>, WireFrameError> {
    if bytes.len() < WIRE_HEADER_BYTES {
        return Ok(None);
    }
    let frame_bytes = u32_at(bytes, field::FRAME_BYTES);
    if frame_bytes > WIRE_FRAME_BYTES_MAX || (frame_bytes as usize) < WIRE_HEADER_BYTES {
        return Err(WireFrameError::Length { bytes: frame_bytes });
    }
    let control = u32_at(bytes, field::CONTROL_BYTES);
    if control > WIRE_CONTROL_BYTES_MAX || control > frame_bytes - WIRE_HEADER_BYTES as u32 {
        return Err(WireFrameError::ControlLength {
            bytes: control,
            frame_bytes,
        });
    }
    let flags = u16_at(bytes, field::FLAGS);
    if flags != 0 {
        return Err(WireFrameError::Flags { found: flags });
    }
    Ok(Some(frame_bytes as usize))
}

/// Takes the frame at the front of `bytes`, with its length; `None` while it is not whole.
pub fn decode(bytes: &[u8]) -> Result<Option<(WireFrame<'_>, usize)>, WireFrameError> {
    let Some(length) = frame_length(bytes)? else {
        return Ok(None);
    };
    if bytes.len() < length {
        return Ok(None);
    }
    let control_end = WIRE_HEADER_BYTES + u32_at(bytes, field::CONTROL_BYTES) as usize;
    let control = &bytes[WIRE_HEADER_BYTES..control_end];
    let found = u32_at(bytes, field::CRC);
    let computed = checksum::extend(checksum::crc(&bytes[..field::CRC]), control);
    if found != computed {
        return Err(WireFrameError::Checksum { found, computed });
    }
    let frame = WireFrame {
        kind: u16_at(bytes, field::KIND),
        correlation: Correlation(u64_at(bytes, field::CORRELATION)),
        control,
        bulk: &bytes[control_end..length],
    };
    Ok(Some((frame, length)))
}

/// A frame being written in place at the end of a vector: first the control part, then
/// [`FrameWriter::bulk`], then [`FrameWriter::finish`].
#[derive(Debug)]
pub struct FrameWriter {
    start: usize,
    control_end: Option<usize>,
}

impl FrameWriter {
    /// Starts a frame at the end of `out`.
    pub fn start(out: &mut Vec<u8>, kind: u16, correlation: Correlation) -> Self {
        let start = out.len();
        out.resize(start + WIRE_HEADER_BYTES, 0);
        let header = &mut out[start..];
        header[field::KIND..field::KIND + 2].copy_from_slice(&kind.to_le_bytes());
        header[field::CORRELATION..field::CORRELATION + 8]
            .copy_from_slice(&correlation.0.to_le_bytes());
        Self {
            start,
            control_end: None,
        }
    }

    /// Ends the control part: what is appended from here on is bulk.
    pub fn bulk(&mut self, out: &[u8]) {
        self.control_end = Some(out.len());
    }

    /// Writes lengths and checksum. Panics if the frame is longer than the caps allow: its writer
    /// keeps them.
    pub fn finish(self, out: &mut [u8]) {
        let control_end = self.control_end.unwrap_or(out.len());
        let frame_bytes = out.len() - self.start;
        let control_bytes = control_end - self.start - WIRE_HEADER_BYTES;
        assert!(
            frame_bytes <= WIRE_FRAME_BYTES_MAX as usize,
            "a frame keeps the cap"
        );
        assert!(
            control_bytes <= WIRE_CONTROL_BYTES_MAX as usize,
            "a control part keeps the cap"
        );
        let (header, rest) = out[self.start..].split_at_mut(WIRE_HEADER_BYTES);
        header[field::FRAME_BYTES..field::FRAME_BYTES + 4]
            .copy_from_slice(&(frame_bytes as u32).to_le_bytes());
        header[field::CONTROL_BYTES..field::CONTROL_BYTES + 4]
            .copy_from_slice(&(control_bytes as u32).to_le_bytes());
        let crc = checksum::extend(checksum::crc(&header[..field::CRC]), &rest[..control_bytes]);
        header[field::CRC..field::CRC + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let mut out = b"before".to_vec();
        let mut frame = FrameWriter::start(&mut out, 7, Correlation(99));
        out.extend_from_slice(b"control");
        frame.bulk(&out);
        out.extend_from_slice(b"bulk");
        frame.finish(&mut out);
        out.split_off(6)
    }

    #[test]
    fn frames_survive_their_bytes_in_any_pieces() {
        let bytes = sample();
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), Ok(None), "{length} bytes");
        }
        let (frame, length) = decode(&bytes).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        assert_eq!((frame.kind, frame.correlation), (7, Correlation(99)));
        assert_eq!((frame.control, frame.bulk), (&b"control"[..], &b"bulk"[..]));
    }

    #[test]
    fn damage_outside_the_bulk_is_seen() {
        let bytes = sample();
        for bit in 0..(bytes.len() - 4) * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(decode(&damaged), Ok(Some(_))), "bit {bit}");
        }
    }

    #[test]
    fn a_length_over_the_cap_is_refused_from_the_header_alone() {
        let mut bytes = sample();
        bytes[..4].copy_from_slice(&(WIRE_FRAME_BYTES_MAX + 1).to_le_bytes());
        let error = WireFrameError::Length {
            bytes: WIRE_FRAME_BYTES_MAX + 1,
        };
        assert_eq!(frame_length(&bytes[..WIRE_HEADER_BYTES]), Err(error));
        bytes[..4].copy_from_slice(&23_u32.to_le_bytes());
        assert!(frame_length(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_to_a_value_or_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let _ = decode(&bytes);
        }
    }
}
