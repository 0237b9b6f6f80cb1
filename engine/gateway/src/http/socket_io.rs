//! The reactor's socket as hyper wants it: polled instead of awaited.
//!
//! Owns: one receive and one send in flight, with the bytes they work on. hyper may drop a poll at
//! any time; the operation goes on, and its bytes are not lost.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use weir_reactor::{Reactor, Socket};

use super::pulse::Pulse;

/// An idle connection holds so many bytes for what comes next.
const RECEIVE_BYTES_MIN: usize = 8 * 1024;
/// A connection that fills its buffer gets a larger one, up to this.
const RECEIVE_BYTES_MAX: usize = 256 * 1024;
/// Bytes of an answer that are handed to the socket at once.
const SEND_BYTES_MAX: usize = 256 * 1024;

type Operation<T> = Pin<Box<dyn Future<Output = (Vec<u8>, io::Result<T>)>>>;

enum Receive {
    /// Bytes of the buffer from `at` on are not taken yet.
    Holding {
        buffer: Vec<u8>,
        at: usize,
    },
    Waiting(Operation<usize>),
}

enum Send {
    Free(Vec<u8>),
    Waiting(Operation<()>),
}

/// A socket with its operations in flight.
pub(super) struct SocketIo<S: Socket, R: Reactor> {
    socket: S,
    pulse: Rc<Pulse<R>>,
    receive: Receive,
    receive_bytes: usize,
    send: Send,
}

impl<S: Socket, R: Reactor> SocketIo<S, R> {
    pub(super) fn new(socket: S, pulse: Rc<Pulse<R>>) -> Self {
        Self {
            socket,
            pulse,
            receive: Receive::Holding {
                buffer: Vec::new(),
                at: 0,
            },
            receive_bytes: RECEIVE_BYTES_MIN,
            send: Send::Free(Vec::new()),
        }
    }

    fn start_receive(&mut self, mut buffer: Vec<u8>) {
        if buffer.len() != self.receive_bytes {
            buffer = vec![0; self.receive_bytes];
        }
        let socket = self.socket.clone();
        self.receive = Receive::Waiting(Box::pin(async move {
            let received = socket.receive(&mut buffer).await;
            (buffer, received)
        }));
    }

    /// The next buffer fits how much came: bulk needs few large receives, idling little memory.
    fn resize(&mut self, received: usize) {
        if received == self.receive_bytes {
            self.receive_bytes = (self.receive_bytes * 4).min(RECEIVE_BYTES_MAX);
        } else if received < RECEIVE_BYTES_MIN / 2 {
            self.receive_bytes = RECEIVE_BYTES_MIN;
        }
    }

    /// Completes when no send is in flight; then there is a buffer for the next.
    fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&mut Vec<u8>>> {
        if let Send::Waiting(operation) = &mut self.send {
            let (mut buffer, sent) = ready!(operation.as_mut().poll(context));
            buffer.clear();
            self.send = Send::Free(buffer);
            self.pulse.send_ended();
            sent?;
        }
        match &mut self.send {
            Send::Free(buffer) => Poll::Ready(Ok(buffer)),
            Send::Waiting(_) => unreachable!("the send was just awaited"),
        }
    }

    fn start_send(&mut self) {
        let Send::Free(buffer) = &mut self.send else {
            unreachable!("the caller awaited the send before")
        };
        let bytes = std::mem::take(buffer);
        let socket = self.socket.clone();
        self.pulse.send_began();
        self.send = Send::Waiting(Box::pin(async move {
            let sent = socket.send(&bytes).await;
            (bytes, sent)
        }));
    }
}

impl<S: Socket, R: Reactor> Unpin for SocketIo<S, R> {}

impl<S: Socket, R: Reactor> Read for SocketIo<S, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.receive {
                Receive::Holding { buffer, at } => {
                    let rest = &buffer[*at..];
                    if !rest.is_empty() {
                        let count = rest.len().min(into.remaining());
                        into.put_slice(&rest[..count]);
                        *at += count;
                        return Poll::Ready(Ok(()));
                    }
                    let buffer = std::mem::take(buffer);
                    this.start_receive(buffer);
                }
                Receive::Waiting(operation) => {
                    let (mut buffer, received) = ready!(operation.as_mut().poll(context));
                    let received = received?;
                    if received == 0 {
                        this.receive = Receive::Holding {
                            buffer: Vec::new(),
                            at: 0,
                        };
                        return Poll::Ready(Ok(()));
                    }
                    this.pulse.received();
                    this.resize(received);
                    let full = buffer.len() == received;
                    let count = received.min(into.remaining());
                    into.put_slice(&buffer[..count]);
                    if count < received {
                        if !full {
                            buffer.truncate(received);
                        }
                        this.receive = Receive::Holding { buffer, at: count };
                    } else {
                        let at = buffer.len();
                        this.receive = Receive::Holding { buffer, at };
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: Socket, R: Reactor> Write for SocketIo<S, R> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let buffer = ready!(self.poll_sent(context))?;
        for slice in slices {
            let room = SEND_BYTES_MAX - buffer.len();
            buffer.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let taken = buffer.len();
        if taken > 0 {
            self.start_send();
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(context).map_ok(|_buffer| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = ready!(self.poll_sent(context)).map(|_buffer| ());
        self.socket.shutdown();
        Poll::Ready(sent)
    }
}
