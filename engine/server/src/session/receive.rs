//! The bytes received and not yet understood.
//!
//! A buffer is held while bytes lie in it: what waits for its first byte holds none, and of a begun
//! frame that rests only what came. A frame's length is believed by and by, however long it says it
//! is. For frames like the last one a receive ends where the frame ends, and nothing is copied.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use weir_protocol::wire::frame::{self, WireFrame, WireFrameError};
use weir_reactor::Socket;

use super::intake::{Cover, Intake, Line, SMALL_BYTES};

/// As long as receives fill the buffer, the next is twice as long, up to this.
const EASY_BYTES_MAX: usize = 256 * 1024;
/// The longest buffer for a frame of which nothing came.
const EXPECTED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A frame is believed to be so many times longer than what came of it.
const BELIEVED: usize = 4;
/// The rest of a begun frame is awaited without a buffer if so little of it is here.
const PARKED_BYTES_MAX: usize = 4 * 1024;

pub(crate) struct ReceiveBuffer {
    intake: Rc<Intake>,
    /// What bytes are received into; empty while none is held.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// A begun frame's bytes, while no buffer is held; they are those up to `end`.
    parked: Vec<u8>,
    cover: Cover,
    line: Option<Line>,
    /// How much the next receive may bring, all in all.
    room: usize,
    last: usize,
    has_moved: bool,
}

impl ReceiveBuffer {
    pub(crate) fn new(intake: Rc<Intake>) -> Self {
        Self {
            intake,
            bytes: Vec::new(),
            start: 0,
            end: 0,
            parked: Vec::new(),
            cover: Cover::Nothing,
            line: None,
            room: SMALL_BYTES,
            last: 0,
            has_moved: false,
        }
    }

    /// Receives more; how many bytes came, 0 at the end.
    pub(crate) async fn receive<S: Socket>(&mut self, socket: &S) -> io::Result<usize> {
        poll_fn(|context| self.poll_receive(socket, context)).await
    }

    fn poll_receive<S: Socket>(
        &mut self,
        socket: &S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let limit = ready!(self.poll_room(context));
        let room = limit - self.end;
        match socket.poll_receive(context, &mut self.bytes[self.end..limit]) {
            Poll::Pending => {
                self.rest();
                Poll::Pending
            }
            Poll::Ready(received) => {
                let count = received?;
                let parked = std::mem::take(&mut self.parked);
                self.bytes[..parked.len()].copy_from_slice(&parked);
                self.end += count;
                self.last = count;
                if count == room && self.room < EASY_BYTES_MAX {
                    self.room *= 2;
                }
                Poll::Ready(Ok(count))
            }
        }
    }

    /// Takes the buffer that the next receive needs; where the receive may end in it.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let limit = match &self.line {
            Some(line) => line.bytes,
            None => self.limit(),
        };
        if Intake::buffer_bytes(limit) <= self.bytes.len() {
            return Poll::Ready(limit);
        }
        if self.line.is_none() {
            let bytes = Intake::buffer_bytes(limit);
            if let Some(cover) = self.intake.cover(bytes) {
                self.hold(limit, cover);
                return Poll::Ready(limit);
            }
            if self.end < self.bytes.len() {
                return Poll::Ready(self.bytes.len());
            }
            // A short piece will do until it is known how long the frame is.
            let enough = if self.end < SMALL_BYTES {
                SMALL_BYTES
            } else {
                bytes
            };
            self.line = Some(self.intake.line(enough));
        }
        let line = self.line.as_mut().expect("it was made above");
        let cover = ready!(line.poll(context));
        let bytes = line.bytes;
        self.line = None;
        let limit = limit.min(bytes);
        self.hold(limit, cover);
        Poll::Ready(limit)
    }

    /// Where the next receive should end.
    fn limit(&mut self) -> usize {
        let begun = if self.parked.is_empty() {
            &self.bytes[..self.end]
        } else {
            &self.parked[..]
        };
        let believed = SMALL_BYTES.max(self.end * BELIEVED);
        // The length was checked when the frame at the front was looked for.
        let length = match frame::frame_length(begun) {
            Ok(Some(length)) => length,
            _ => 0,
        };
        if length > self.room && length <= believed {
            // A frame may be followed by a thousand like it.
            self.room = length;
        }
        let expected = self.room.min(EXPECTED_BYTES_MAX);
        let limit = expected.max(length.min(believed));
        assert!(self.end < limit, "whole frames were taken before");
        limit
    }

    fn hold(&mut self, limit: usize, cover: Cover) {
        let mut bytes = self.intake.take(limit);
        if self.parked.is_empty() {
            bytes[..self.end].copy_from_slice(&self.bytes[..self.end]);
        }
        let former = std::mem::replace(&mut self.bytes, bytes);
        self.intake.give(former);
        self.cover = cover;
    }

    /// Nothing comes: holds no more than what is here, if that is little.
    fn rest(&mut self) {
        let fits = self.end * BELIEVED <= self.bytes.len();
        if self.end > PARKED_BYTES_MAX && !(fits && self.intake.is_short()) {
            return;
        }
        let cover = if self.end == 0 {
            Cover::Nothing
        } else {
            match self.intake.cover(self.end.min(SMALL_BYTES)) {
                Some(cover) => cover,
                None => return,
            }
        };
        if self.parked.is_empty() {
            self.parked = self.bytes[..self.end].to_vec();
        }
        if self.end == 0 && self.last < self.room / 8 {
            self.room = SMALL_BYTES.max(self.room / 2);
        }
        self.intake.give(std::mem::take(&mut self.bytes));
        self.cover = cover;
    }

    /// Holds nothing if there is nothing to hold.
    pub(crate) fn put_down(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.intake.give(std::mem::take(&mut self.bytes));
            self.cover = Cover::Nothing;
        }
    }

    /// The frame at the front with its length, if it is whole.
    pub(crate) fn frame(&self) -> Result<Option<(WireFrame<'_>, usize)>, WireFrameError> {
        frame::decode(&self.bytes[self.start..self.end])
    }

    /// The frame at the front was dealt with.
    pub(crate) fn consume(&mut self, length: usize) {
        self.start += length;
        self.has_moved = true;
        assert!(
            self.start <= self.end,
            "a frame lies within what was received"
        );
    }

    /// Whether a frame has begun and is not whole.
    pub(crate) fn is_partial(&self) -> bool {
        self.start < self.end
    }

    /// Whether a frame was dealt with since the last call.
    pub(crate) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }
}

impl Drop for ReceiveBuffer {
    fn drop(&mut self) {
        self.intake.give(std::mem::take(&mut self.bytes));
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

    /// Gives the bytes in pieces of one size, and then lets the server wait.
    #[derive(Clone)]
    struct Pieces(Rc<RefCell<(Vec<u8>, usize, usize)>>);

    fn pieces(bytes: &[u8], step: usize) -> Pieces {
        Pieces(Rc::new(RefCell::new((bytes.to_vec(), 0, step))))
    }

    impl Socket for Pieces {
        fn poll_receive(&self, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
            let mut state = self.0.borrow_mut();
            let (bytes, at, step) = &mut *state;
            let count = (bytes.len() - *at).min(into.len()).min(*step);
            if count == 0 {
                return Poll::Pending;
            }
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
        for step in [1, 1000, 16_384, 100_000, usize::MAX] {
            let socket = pieces(&bytes, step);
            let intake = Intake::new(0);
            let mut buffer = ReceiveBuffer::new(Rc::clone(&intake));
            let mut seen = Vec::new();
            while let Some(count) = buffer.receive(&socket).now_or_never() {
                assert!(count.unwrap() > 0);
                while let Some((frame, length)) = buffer.frame().unwrap() {
                    assert_eq!(frame.correlation.0 as usize, seen.len());
                    assert!(
                        frame
                            .bulk
                            .iter()
                            .rev()
                            .take(9)
                            .all(|b| *b as usize == seen.len())
                    );
                    seen.push(frame.bulk.len());
                    buffer.consume(length);
                }
            }
            assert_eq!(seen, lengths, "pieces of {step}");
            assert!(!buffer.is_partial());
            intake.let_go_of_unused();
            intake.let_go_of_unused();
            assert_eq!(
                intake.held_bytes(),
                0,
                "who waits for a first byte holds nothing"
            );
        }
    }

    /// A frame of so many bytes.
    fn frame_of(length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut frame = FrameWriter::start(&mut bytes, 1, Correlation(1));
        frame.bulk(&bytes);
        bytes.resize(length, 7);
        frame.finish(&mut bytes);
        bytes
    }

    /// Gives a connection more to receive.
    fn more(socket: &Pieces, bytes: &[u8]) {
        socket.0.borrow_mut().0.extend_from_slice(bytes);
    }

    /// Receives until nothing comes; how many whole frames came.
    fn receive_all(buffer: &mut ReceiveBuffer, socket: &Pieces) -> usize {
        let mut frames = 0;
        while let Some(count) = buffer.receive(socket).now_or_never() {
            assert!(count.unwrap() > 0);
            while let Some((_, length)) = buffer.frame().unwrap() {
                buffer.consume(length);
                frames += 1;
            }
        }
        frames
    }

    const LONGEST: usize = 16 * 1024 * 1024;

    #[test]
    fn what_is_announced_takes_no_memory_and_what_came_takes_little() {
        let whole = frame_of(LONGEST);
        for came in [1, 24, 4_000, 5_000, 100_000, 3_000_000, LONGEST - 1] {
            let intake = Intake::new(256 << 20);
            let mut buffer = ReceiveBuffer::new(Rc::clone(&intake));
            let socket = pieces(&whole[..came], usize::MAX);
            assert_eq!(receive_all(&mut buffer, &socket), 0);
            assert!(buffer.is_partial());
            let held = intake.held_bytes() - intake.kept_bytes();
            assert!(held <= SMALL_BYTES.max(came * 8), "{held} for {came}");
            assert!(came > PARKED_BYTES_MAX || held == came, "{held} for {came}");
            more(&socket, &whole[came..]);
            assert_eq!(receive_all(&mut buffer, &socket), 1, "{came}");
        }
    }

    #[test]
    fn begun_frames_are_bounded_hold_up_no_short_ones_and_all_end() {
        const MOST: usize = 32 << 20;
        let (whole, short) = (frame_of(LONGEST), frame_of(100));
        let intake = Intake::new(MOST);
        let mut begun: Vec<_> = (0..40)
            .map(|_| {
                let mut buffer = ReceiveBuffer::new(Rc::clone(&intake));
                let socket = pieces(&whole[..5_000_000], 50_000);
                assert_eq!(receive_all(&mut buffer, &socket), 0);
                (buffer, socket)
            })
            .collect();
        assert!(intake.has_waiting());
        let held = intake.held_bytes() - intake.kept_bytes();
        assert!(held <= MOST + LONGEST, "{held}");
        // A short one beside them is not held up.
        let mut buffer = ReceiveBuffer::new(Rc::clone(&intake));
        assert_eq!(receive_all(&mut buffer, &pieces(&short, 10)), 1);
        // Once the rest comes, all of them end, though in turn.
        for (_, socket) in &begun {
            more(socket, &whole[5_000_000..]);
        }
        let mut ended = 0;
        for _ in 0..40 {
            for (buffer, socket) in &mut begun {
                ended += receive_all(buffer, socket);
                assert!(intake.held_bytes() - intake.kept_bytes() <= MOST + LONGEST);
            }
        }
        assert_eq!(ended, 40);
        assert!(!intake.has_waiting());
        drop(begun);
        assert_eq!(intake.held_bytes(), intake.kept_bytes());
    }

    #[test]
    fn thousands_of_begun_frames_leave_room_for_whole_ones() {
        let (whole, short) = (frame_of(3_000), frame_of(100));
        let intake = Intake::new(0);
        let begun: Vec<_> = (0..1_000)
            .map(|_| {
                let mut buffer = ReceiveBuffer::new(Rc::clone(&intake));
                assert_eq!(receive_all(&mut buffer, &pieces(&whole[..50], 1)), 0);
                buffer
            })
            .collect();
        assert!(intake.held_bytes() < 1_000_000, "{}", intake.held_bytes());
        let mut buffer = ReceiveBuffer::new(Rc::clone(&intake));
        assert_eq!(receive_all(&mut buffer, &pieces(&short, 10)), 1);
        drop((begun, buffer));
    }
}
