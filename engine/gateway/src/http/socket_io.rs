//! What a connection's socket gave and nobody took yet, and what it takes.
//!
//! Owns: the receive buffer of one connection. Never: what the bytes are; see
//! [`super::connection_io`].

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use weir_reactor::{Reactor, Socket};

use super::crowd::Covered;
use super::pulse::Pulse;

/// What comes first is received into so many bytes: the connection may have to wait then.
const RECEIVE_BYTES_FIRST: usize = 512;
/// What comes next is received into so many bytes.
const RECEIVE_BYTES_MIN: usize = 8 * 1024;
/// A connection that fills its buffer gets a larger one, up to this, if the core's connections have
/// room for it.
const RECEIVE_BYTES_MAX: usize = 256 * 1024;

thread_local! {
    /// A buffer that a connection of this core put down: the next that receives takes it up.
    static PUT_DOWN: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A socket with a buffer before it. A connection that waits for its next byte holds none.
pub(super) struct SocketIo<S: Socket, R: Reactor> {
    socket: S,
    pulse: Rc<Pulse<R>>,
    buffer: Vec<u8>,
    /// What is received and not taken: `buffer[at..end]`.
    at: usize,
    end: usize,
    /// Length of the next buffer.
    receive_bytes: usize,
    /// What covers a buffer that is longer than the usual.
    covered: Option<Covered>,
    /// The client sends no more.
    ended: bool,
}

impl<S: Socket, R: Reactor> SocketIo<S, R> {
    pub(super) fn new(socket: S, pulse: Rc<Pulse<R>>) -> Self {
        Self {
            socket,
            pulse,
            buffer: Vec::new(),
            at: 0,
            end: 0,
            receive_bytes: RECEIVE_BYTES_FIRST,
            covered: None,
            ended: false,
        }
    }

    /// Bytes that are here and not taken.
    pub(super) fn held(&self) -> &[u8] {
        &self.buffer[self.at..self.end]
    }

    /// Takes the first `count` bytes of those held.
    pub(super) fn consume(&mut self, count: usize) {
        assert!(count <= self.end - self.at, "only held bytes are taken");
        self.at += count;
    }

    /// Completes when bytes are held; with none, the client sends no more.
    pub(super) fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.at == self.end && !self.ended {
            if self.buffer.len() != self.receive_bytes {
                self.take_up();
            }
            (self.at, self.end) = (0, 0);
            let received = self.socket.poll_receive(context, &mut self.buffer);
            if received.is_pending() {
                self.put_down();
            }
            let received = ready!(received)?;
            self.end = received;
            self.ended = received == 0;
            self.resize(received);
        }
        Poll::Ready(Ok(self.held()))
    }

    /// Completes when the client is gone, while nobody takes its bytes; what it sends is kept.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.ended {
            if self.buffer.is_empty() {
                self.take_up();
            }
            let room = &mut self.buffer[self.end..];
            if room.is_empty() {
                return Poll::Pending;
            }
            match self.socket.poll_receive(context, room) {
                Poll::Ready(Ok(count @ 1..)) => self.end += count,
                Poll::Ready(Ok(0) | Err(_)) => self.ended = true,
                Poll::Pending => {
                    if self.at == self.end {
                        self.put_down();
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    fn take_up(&mut self) {
        self.covered = None;
        if self.receive_bytes > RECEIVE_BYTES_MIN {
            self.covered = self.pulse.crowd().cover(self.receive_bytes);
            if self.covered.is_none() {
                self.receive_bytes = RECEIVE_BYTES_MIN;
            }
        }
        if self.buffer.len() == self.receive_bytes {
            return;
        }
        let kept = PUT_DOWN.take();
        self.buffer = if kept.len() == self.receive_bytes {
            kept
        } else {
            vec![0; self.receive_bytes]
        };
    }

    fn put_down(&mut self) {
        (self.at, self.end) = (0, 0);
        PUT_DOWN.set(std::mem::take(&mut self.buffer));
        self.covered = None;
    }

    /// The next buffer fits how much came: bulk needs few large receives, idling little memory.
    fn resize(&mut self, received: usize) {
        if self.receive_bytes == RECEIVE_BYTES_FIRST {
            self.receive_bytes = RECEIVE_BYTES_MIN;
        } else if received == self.receive_bytes {
            self.receive_bytes = (self.receive_bytes * 4).min(RECEIVE_BYTES_MAX);
        } else if received < RECEIVE_BYTES_MIN / 2 {
            self.receive_bytes = RECEIVE_BYTES_MIN;
        }
    }

    /// Sends some of `slices`.
    pub(super) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = match slices {
            [] => return Poll::Ready(Ok(0)),
            [one] => self.socket.poll_send(context, one),
            several => self.socket.poll_send_vectored(context, several),
        };
        match sent {
            Poll::Pending => self.pulse.send_waits(),
            Poll::Ready(_) => self.pulse.send_moves(),
        }
        sent
    }

    /// Ends both directions.
    pub(super) fn shutdown(&self) {
        self.socket.shutdown();
    }
}
