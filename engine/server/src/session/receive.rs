//! The bytes received and not yet understood.
//!
//! Begins small, doubles while receives fill it, and grows to exactly one frame when a longer
//! frame's length was checked: then a receive ends where the frame ends, and nothing is copied.

use std::io;

use weir_protocol::wire::frame::{self, WireFrame, WireFrameError};
use weir_reactor::Socket;

const START_BYTES: usize = 16 * 1024;
const EASY_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct ReceiveBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl ReceiveBuffer {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; START_BYTES],
            start: 0,
            end: 0,
        }
    }

    /// Receives more; how many bytes came, 0 at the end.
    pub(crate) async fn receive<S: Socket>(&mut self, socket: &S) -> io::Result<usize> {
        self.make_room();
        let room = self.bytes.len() - self.end;
        let count = socket.receive(&mut self.bytes[self.end..]).await?;
        self.end += count;
        if count == room && self.bytes.len() < EASY_BYTES_MAX {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        Ok(count)
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        // The length was checked when the frame at the front was looked for.
        if let Ok(Some(length)) = frame::frame_length(&self.bytes[..self.end])
            && length > self.bytes.len()
        {
            // A frame may be followed by a thousand like it: keep the room it took.
            self.bytes.resize(length, 0);
        }
        assert!(
            self.end < self.bytes.len(),
            "whole frames were taken before"
        );
    }

    /// The frame at the front with its length, if it is whole.
    pub(crate) fn frame(&self) -> Result<Option<(WireFrame<'_>, usize)>, WireFrameError> {
        frame::decode(&self.bytes[self.start..self.end])
    }

    /// The frame at the front was dealt with.
    pub(crate) fn consume(&mut self, length: usize) {
        self.start += length;
        assert!(
            self.start <= self.end,
            "a frame lies within what was received"
        );
    }

    /// Whether a frame has begun and is not whole.
    pub(crate) fn is_partial(&self) -> bool {
        self.start < self.end
    }

    /// Gives memory back that a burst took, if nothing lies in it.
    pub(crate) fn trim(&mut self) {
        if self.start == self.end && self.bytes.len() > START_BYTES {
            *self = Self::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::task::{Context, Poll};

    use futures_util::FutureExt;
    use weir_protocol::wire::frame::{Correlation, FrameWriter};

    /// Gives the bytes in pieces of one size.
    #[derive(Clone)]
    struct Pieces(Rc<RefCell<(Vec<u8>, usize, usize)>>);

    impl Socket for Pieces {
        fn poll_receive(&self, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
            let mut state = self.0.borrow_mut();
            let (bytes, at, step) = &mut *state;
            let count = (bytes.len() - *at).min(into.len()).min(*step);
            into[..count].copy_from_slice(&bytes[*at..*at + count]);
            *at += count;
            Poll::Ready(Ok(count))
        }

        fn poll_send(&self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn shutdown(&self) {}
    }

    #[test]
    fn frames_of_any_length_come_whole_in_any_pieces() {
        let lengths = [0, 10, 300_000, 5, 70_000, 300_000, 300_000, 1, 16_360];
        let mut bytes = Vec::new();
        for (i, length) in lengths.iter().enumerate() {
            let mut frame = FrameWriter::start(&mut bytes, 1, Correlation(i as u64));
            frame.bulk(&bytes);
            bytes.resize(bytes.len() + length, i as u8);
            frame.finish(&mut bytes);
        }
        for step in [1000, 16_384, 100_000, usize::MAX] {
            let socket = Pieces(Rc::new(RefCell::new((bytes.clone(), 0, step))));
            let mut buffer = ReceiveBuffer::new();
            let mut seen = Vec::new();
            while buffer.receive(&socket).now_or_never().unwrap().unwrap() > 0 {
                while let Some((frame, length)) = buffer.frame().unwrap() {
                    assert_eq!(frame.correlation.0 as usize, seen.len());
                    seen.push(frame.bulk.len());
                    buffer.consume(length);
                }
            }
            assert_eq!(seen, lengths, "pieces of {step}");
            assert!(!buffer.is_partial());
            buffer.trim();
            assert_eq!(buffer.bytes.len(), START_BYTES);
        }
    }
}
