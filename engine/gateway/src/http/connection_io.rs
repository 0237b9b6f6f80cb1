//! A connection's bytes as hyper wants them: polled, after its first bytes said which HTTP it is.
//!
//! Owns: the choice between HTTP/1.1 and HTTP/2. Never: what the bytes say after that.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::body::{Buf as _, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use weir_reactor::{Reactor, Socket};

use super::frame_watch::FrameWatch;
use super::pulse::Pulse;
use super::socket_io::SocketIo;
use super::tls::TlsStream;

/// What every HTTP/2 connection begins with; no HTTP/1.1 request does.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
}

/// One connection's bytes. A clone is the same connection: hyper has one, the deadlines another.
pub(super) struct ConnectionIo<S: Socket, R: Reactor> {
    inner: Rc<RefCell<Inner<S, R>>>,
}

impl<S: Socket, R: Reactor> Clone for ConnectionIo<S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: Rc::clone(&self.inner),
        }
    }
}

/// Plain bytes, from the socket itself or out of TLS.
pub(super) enum Stream<S: Socket, R: Reactor> {
    Plain(SocketIo<S, R>),
    Tls(Box<TlsStream<S, R>>),
}

impl<S: Socket, R: Reactor> Stream<S, R> {
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        match self {
            Self::Plain(stream) => stream.poll_held(context),
            Self::Tls(stream) => stream.poll_held(context),
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Self::Plain(stream) => stream.consume(count),
            Self::Tls(stream) => stream.consume(count),
        }
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(stream) => stream.poll_gone(context),
            Self::Tls(stream) => stream.poll_gone(context),
        }
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => stream.poll_send(context, slices),
            Self::Tls(stream) => stream.poll_send(context, slices),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => stream.poll_flush(context),
        }
    }

    /// Ends both directions, after TLS's word for it where there is one.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Tls(stream) = self {
            ready!(stream.poll_end(context))?;
        }
        self.shutdown();
        Poll::Ready(Ok(()))
    }

    fn shutdown(&self) {
        match self {
            Self::Plain(stream) => stream.shutdown(),
            Self::Tls(stream) => stream.shutdown(),
        }
    }
}

struct Inner<S: Socket, R: Reactor> {
    stream: Stream<S, R>,
    pulse: Rc<Pulse<R>>,
    /// The first bytes, looked at and not given to hyper yet: `first[given..seen]`.
    first: [u8; PREFACE.len()],
    given: usize,
    seen: usize,
    /// What hyper took and did not look at.
    returned: Bytes,
    /// Whether hyper wrote, or tried to, and did not flush since.
    is_writing: bool,
    /// Follows the frames of HTTP/2.
    watch: Option<FrameWatch>,
}

impl<S: Socket, R: Reactor> ConnectionIo<S, R> {
    pub(super) fn new(stream: Stream<S, R>, pulse: Rc<Pulse<R>>) -> Self {
        Self {
            inner: Rc::new(RefCell::new(Inner {
                stream,
                pulse,
                first: [0; PREFACE.len()],
                given: 0,
                seen: 0,
                returned: Bytes::new(),
                is_writing: false,
                watch: None,
            })),
        }
    }

    /// Reads as many bytes as it takes to tell what the client speaks. One that closes first
    /// speaks HTTP/1.1.
    pub(super) async fn sniff(&self) -> io::Result<Spoken> {
        poll_fn(|context| self.inner.borrow_mut().poll_sniff(context)).await
    }

    /// Completes when there is something to read, be it the end.
    pub(super) async fn stirs(&self) {
        poll_fn(|context| {
            let mut inner = self.inner.borrow_mut();
            if !inner.returned.is_empty() {
                return Poll::Ready(());
            }
            // What is wrong with the connection, the next read says again.
            inner.stream.poll_held(context).map(|_held| ())
        })
        .await;
    }

    /// Takes back what hyper has read and not looked at.
    pub(super) fn take_back(&self, bytes: Bytes) {
        // No bytes would still hold the buffer that they are not in.
        if !bytes.is_empty() {
            self.inner.borrow_mut().returned = bytes;
        }
    }

    /// Whether all that hyper wrote is with the socket.
    pub(super) fn is_flushed(&self) -> bool {
        !self.inner.borrow().is_writing
    }

    /// Completes when the client is gone, while hyper reads nothing.
    pub(super) fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        self.inner.borrow_mut().stream.poll_gone(context)
    }

    pub(super) fn shutdown(&self) {
        self.inner.borrow().stream.shutdown();
    }
}

impl<S: Socket, R: Reactor> Inner<S, R> {
    fn poll_sniff(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Spoken>> {
        while self.seen < PREFACE.len() {
            let held = ready!(self.stream.poll_held(context))?;
            let count = held.len().min(PREFACE.len() - self.seen);
            if count == 0 {
                return Poll::Ready(Ok(Spoken::Http1));
            }
            self.first[self.seen..self.seen + count].copy_from_slice(&held[..count]);
            self.stream.consume(count);
            self.seen += count;
            self.pulse.received();
            if self.first[..self.seen] != PREFACE[..self.seen] {
                return Poll::Ready(Ok(Spoken::Http1));
            }
        }
        self.watch = Some(FrameWatch::new(PREFACE.len()));
        Poll::Ready(Ok(Spoken::Http2))
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = if self.given < self.seen {
            &self.first[self.given..self.seen]
        } else if !self.returned.is_empty() {
            &self.returned[..]
        } else {
            ready!(self.stream.poll_held(context))?
        };
        let bytes = &bytes[..bytes.len().min(into.remaining())];
        into.put_slice(bytes);
        match &mut self.watch {
            Some(watch) => {
                let seen = watch.follow(bytes);
                self.pulse.frames_seen(seen, watch.is_in_body());
            }
            None if !bytes.is_empty() => self.pulse.received(),
            None => {}
        }
        let count = bytes.len();
        if self.given < self.seen {
            self.given += count;
        } else if !self.returned.is_empty() {
            self.returned.advance(count);
            if self.returned.is_empty() {
                self.returned = Bytes::new();
            }
        } else {
            self.stream.consume(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket, R: Reactor> Read for ConnectionIo<S, R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner.borrow_mut().poll_read(context, into)
    }
}

impl<S: Socket, R: Reactor> Write for ConnectionIo<S, R> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let mut inner = self.inner.borrow_mut();
        inner.is_writing = true;
        inner.stream.poll_send(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner.borrow_mut();
        ready!(inner.stream.poll_flush(context))?;
        inner.is_writing = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.borrow_mut().stream.poll_end(context)
    }
}
