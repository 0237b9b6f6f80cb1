//! Frames of AWS's event stream encoding (`application/vnd.amazon.eventstream`).
//!
//! Owns: the bytes around a payload. Never: what payloads say; that is [`crate::subscription`].
//!
//! A frame, all numbers big-endian: `u32` length of the frame, `u32` length of the headers, `u32`
//! CRC-32 of those eight bytes; the headers; the payload; `u32` CRC-32 of everything before it. A
//! header: `u8` length of its name, the name, `u8` type (7 for text), `u16` length of its value,
//! the value. The CRC is the one of IEEE 802.3, not the log's.

#![expect(clippy::big_endian_bytes, reason = "AWS's encoding is big-endian")]

use crc_fast::CrcAlgorithm;

const PRELUDE_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;
const HEADER_TEXT: u8 = 7;
/// Room for the prelude, the headers of any frame of ours, and the last checksum.
pub(crate) const FRAME_ROOM: usize = 256;

/// What a frame is; it decides the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// An event of this type.
    Event(&'static str),
    /// A failure of this type; the stream ends with it.
    Exception(&'static str),
}

/// Begins a frame in an empty buffer. The payload is to be appended; [`close`] ends the frame.
pub(crate) fn open(kind: FrameKind, mut bytes: Vec<u8>) -> Vec<u8> {
    assert!(bytes.is_empty(), "a frame begins at the beginning");
    bytes.extend_from_slice(&[0; PRELUDE_BYTES]);
    let (message, name, value) = match kind {
        FrameKind::Event(value) => ("event", ":event-type", value),
        FrameKind::Exception(value) => ("exception", ":exception-type", value),
    };
    put_header(&mut bytes, name, value);
    put_header(&mut bytes, ":content-type", "application/x-amz-json-1.1");
    put_header(&mut bytes, ":message-type", message);
    let headers = bytes.len() - PRELUDE_BYTES;
    bytes[4..8].copy_from_slice(&(headers as u32).to_be_bytes());
    bytes
}

fn put_header(bytes: &mut Vec<u8>, name: &str, value: &str) {
    assert!(name.len() < 128 && value.len() < 1024, "ours are short");
    bytes.push(name.len() as u8);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(HEADER_TEXT);
    bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
    bytes.extend_from_slice(value.as_bytes());
}

/// Ends a frame that [`open`] began.
pub(crate) fn close(mut bytes: Vec<u8>) -> Vec<u8> {
    let total = u32::try_from(bytes.len() + CHECKSUM_BYTES);
    let total = total.expect("an event has a few mebibytes");
    bytes[..4].copy_from_slice(&total.to_be_bytes());
    let prelude_crc = crc(&bytes[..8]);
    bytes[8..12].copy_from_slice(&prelude_crc.to_be_bytes());
    let frame_crc = crc(&bytes);
    bytes.extend_from_slice(&frame_crc.to_be_bytes());
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) as u32
}

#[cfg(test)]
pub(crate) mod decode {
    //! Frames read back, for tests.

    use super::{CHECKSUM_BYTES, HEADER_TEXT, PRELUDE_BYTES, crc};

    /// One frame.
    #[derive(Debug, PartialEq, Eq)]
    pub(crate) struct Frame {
        pub(crate) headers: Vec<(String, String)>,
        pub(crate) payload: Vec<u8>,
    }

    impl Frame {
        pub(crate) fn header(&self, name: &str) -> Option<&str> {
            let found = self.headers.iter().find(|(n, _)| n == name);
            found.map(|(_, value)| value.as_str())
        }
    }

    fn number(bytes: &[u8]) -> usize {
        bytes.iter().fold(0, |n, b| (n << 8) | *b as usize)
    }

    /// The frame at the front of `bytes` and what follows; `None` if something is wrong with it.
    pub(crate) fn frame(bytes: &[u8]) -> Option<(Frame, &[u8])> {
        let prelude = bytes.get(..PRELUDE_BYTES)?;
        let (total, headers_bytes) = (number(&prelude[..4]), number(&prelude[4..8]));
        if number(&prelude[8..]) != crc(&prelude[..8]) as usize {
            return None;
        }
        let (frame, rest) = bytes.split_at_checked(total)?;
        let (body, checksum) = frame.split_at_checked(total.checked_sub(CHECKSUM_BYTES)?)?;
        if number(checksum) != crc(body) as usize {
            return None;
        }
        let (mut headers, payload) = body.get(PRELUDE_BYTES..)?.split_at_checked(headers_bytes)?;
        let mut found = Vec::new();
        while let Some((length, after)) = headers.split_first() {
            let (name, after) = after.split_at_checked(*length as usize)?;
            let (kind, after) = after.split_first()?;
            assert_eq!(*kind, HEADER_TEXT);
            let (length, after) = after.split_at_checked(2)?;
            let (value, after) = after.split_at_checked(number(length))?;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            found.push((text(name), text(value)));
            headers = after;
        }
        let frame = Frame {
            headers: found,
            payload: payload.to_vec(),
        };
        Some((frame, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
        let mut bytes = open(kind, Vec::new());
        bytes.extend_from_slice(payload);
        close(bytes)
    }

    #[test]
    fn the_checksum_is_that_of_ieee() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn an_initial_response_byte_by_byte() {
        let bytes = frame(FrameKind::Event("initial-response"), b"{}");
        let headers: &[u8] = b"\x0b:event-type\x07\x00\x10initial-response\
            \x0d:content-type\x07\x00\x1aapplication/x-amz-json-1.1\
            \x0d:message-type\x07\x00\x05event";
        let total = 16 + headers.len() + 2;
        assert_eq!(bytes[..4], [0, 0, 0, total as u8]);
        assert_eq!(bytes[4..8], [0, 0, 0, headers.len() as u8]);
        assert_eq!(bytes[12..12 + headers.len()], *headers);
        assert_eq!(bytes[12 + headers.len()..total - 4], *b"{}");
        assert_eq!(bytes.len(), total);
    }

    #[test]
    fn failures_are_named() {
        let bytes = frame(FrameKind::Exception("ResourceInUseException"), b"{}");
        let (frame, rest) = decode::frame(&bytes).unwrap();
        assert!(rest.is_empty());
        assert_eq!(frame.header(":message-type"), Some("exception"));
        assert_eq!(
            frame.header(":exception-type"),
            Some("ResourceInUseException")
        );
        assert_eq!(frame.header(":event-type"), None);
    }

    proptest! {
        #[test]
        fn frames_come_back_and_no_bit_may_flip(
            payload in proptest::collection::vec(any::<u8>(), 0..2_000),
            at in any::<prop::sample::Index>(),
            bit in 0_u32..8,
        ) {
            let mut bytes = frame(FrameKind::Event("SubscribeToShardEvent"), &payload);
            let (found, rest) = decode::frame(&bytes).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert_eq!(found.header(":event-type"), Some("SubscribeToShardEvent"));
            prop_assert_eq!(&found.payload, &payload);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode::frame(&bytes).is_none());
        }
    }
}
