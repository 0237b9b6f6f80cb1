//! Follows the frames of an HTTP/2 connection, to tell a client that is silent from one that
//! stopped in the middle of something.
//!
//! Owns: where a frame begins and ends. Never: what it means; hyper decodes it.

const HEADER_BYTES: usize = 9;
const TYPE_DATA: u8 = 0;
const TYPE_HEADERS: u8 = 1;
const TYPE_CONTINUATION: u8 = 9;
const FLAG_END_HEADERS: u8 = 4;

/// How the bytes seen so far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FramesSeen {
    /// Between two frames, outside of a request's head.
    Whole,
    /// In a frame that began with these bytes, or in a later one of the same bytes.
    Begun,
    /// In what earlier bytes began: a frame, or a request's head.
    Unfinished,
}

/// Where in the stream of frames a connection is.
#[derive(Debug)]
pub(super) struct FrameWatch {
    /// Bytes until the next frame's header.
    left: usize,
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that are here.
    known: usize,
    /// Whether the head of a request began and did not end.
    in_head: bool,
}

impl FrameWatch {
    /// A connection that begins with `preface` bytes before its first frame.
    pub(super) fn new(preface: usize) -> Self {
        Self {
            left: preface,
            header: [0; HEADER_BYTES],
            known: 0,
            in_head: false,
        }
    }

    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> FramesSeen {
        let mut finished = self.left == 0 && self.known == 0;
        let mut same_head = self.in_head;
        while !bytes.is_empty() {
            if self.left > 0 {
                let count = self.left.min(bytes.len());
                self.left -= count;
                bytes = &bytes[count..];
                finished |= self.left == 0;
                continue;
            }
            let count = (HEADER_BYTES - self.known).min(bytes.len());
            self.header[self.known..self.known + count].copy_from_slice(&bytes[..count]);
            self.known += count;
            bytes = &bytes[count..];
            if self.known == HEADER_BYTES {
                self.begin_frame();
                same_head &= self.in_head;
            }
        }
        let is_between = self.left == 0 && self.known == 0;
        if is_between && !self.in_head {
            FramesSeen::Whole
        } else if finished && !same_head {
            FramesSeen::Begun
        } else {
            FramesSeen::Unfinished
        }
    }

    /// Whether the bytes seen so far end inside a frame of a body.
    pub(super) fn is_in_body(&self) -> bool {
        self.left > 0 && self.known == 0 && self.header[3] == TYPE_DATA
    }

    fn begin_frame(&mut self) {
        let [a, b, c, kind, flags, ..] = self.header;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.known = 0;
        if matches!(kind, TYPE_HEADERS | TYPE_CONTINUATION) {
            self.in_head = flags & FLAG_END_HEADERS == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER_BYTES + usize::from(length), 7);
        frame
    }

    #[test]
    fn frames_end_where_they_end_in_any_pieces() {
        let mut bytes = vec![b'P'; 24];
        bytes.extend(frame(4, 0, 6));
        bytes.extend(frame(TYPE_HEADERS, FLAG_END_HEADERS, 40));
        bytes.extend(frame(0, 0, 200));
        bytes.extend(frame(6, 0, 0));
        for step in 1..bytes.len() {
            let mut watch = FrameWatch::new(24);
            let mut seen = FramesSeen::Whole;
            for piece in bytes.chunks(step) {
                seen = watch.follow(piece);
            }
            assert_eq!(seen, FramesSeen::Whole, "pieces of {step}");
            assert_eq!(watch.follow(&[0]), FramesSeen::Begun);
            assert_eq!(watch.follow(&[0]), FramesSeen::Unfinished);
        }
    }

    #[test]
    fn a_head_is_unfinished_until_its_last_frame() {
        let mut watch = FrameWatch::new(0);
        assert_eq!(watch.follow(&frame(TYPE_HEADERS, 0, 5)), FramesSeen::Begun);
        let more = frame(TYPE_CONTINUATION, 0, 5);
        assert_eq!(watch.follow(&more), FramesSeen::Unfinished);
        assert_eq!(watch.follow(&more), FramesSeen::Unfinished);
        let last = frame(TYPE_CONTINUATION, FLAG_END_HEADERS, 0);
        assert_eq!(watch.follow(&last), FramesSeen::Whole);
    }

    #[test]
    fn data_that_goes_on_is_progress() {
        let mut watch = FrameWatch::new(0);
        let data = frame(0, 0, 100);
        assert_eq!(watch.follow(&data[..50]), FramesSeen::Begun);
        let mut next = data[50..].to_vec();
        next.extend(&data[..50]);
        assert_eq!(watch.follow(&next), FramesSeen::Begun);
        assert_eq!(watch.follow(&data[50..60]), FramesSeen::Unfinished);
    }
}
