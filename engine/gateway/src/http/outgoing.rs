//! An answer's body on its way out: polled only when there is room for more.
//!
//! Owns: how much of one answer is handed over and not sent, the deadline for it, and the end of
//! answers that have none when the server stops. Never: what the bytes are.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Bytes;
use std::convert::Infallible;
use thiserror::Error;
use weir_reactor::{Monotonic, Reactor};

use super::connection_io::Spoken;
use super::pulse::InWork;

/// Bytes of an answer that are handed over at once. Shorter answers of HTTP/1.1 are handed over and
/// forgotten, for there the socket itself tells of a client that takes nothing.
const PIECE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of an answer of HTTP/2 that are handed over last, and apart: a stream whose last bytes are
/// handed over can no longer be ended alone, and what waits then must be little.
const TAIL_BYTES: usize = 16 * 1024;

/// The client takes none of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the client takes none of its answer")]
pub(super) struct NotTaken;

/// Room for one piece of an answer. The piece itself tells when it is gone, and it may be
/// dropped anywhere as far as the compiler knows: hence the atomics.
#[derive(Debug)]
pub(super) struct Room {
    is_endless: bool,
    /// Since when the piece is held, in the clock's nanoseconds; 0 when there is none.
    held_since: AtomicU64,
    given_up: AtomicBool,
    waker: AtomicWaker,
    /// Counts the pieces of the connection that were taken.
    taken: Arc<AtomicU64>,
}

impl Room {
    pub(super) fn is_endless(&self) -> bool {
        self.is_endless
    }

    pub(super) fn held_since(&self) -> Option<Monotonic> {
        match self.held_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(Monotonic(since)),
        }
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.wake();
    }
}

/// Bytes that were handed over; dropped when the socket has them all.
struct Piece {
    bytes: Bytes,
    room: Arc<Room>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.room.held_since.store(0, Ordering::Relaxed);
        if !self.room.given_up.load(Ordering::Relaxed) {
            self.room.taken.fetch_add(1, Ordering::Relaxed);
        }
        self.room.wake();
    }
}

/// An answer's body, with its request in work until it is dropped.
pub(super) struct Outgoing<B, R: Reactor> {
    body: B,
    /// Polled from the body and not handed over.
    rest: Bytes,
    spoken: Spoken,
    room: Option<Arc<Room>>,
    work: InWork<R>,
}

impl<B: Body<Data = Bytes, Error = Infallible>, R: Reactor> Outgoing<B, R> {
    pub(super) fn new(body: B, work: InWork<R>, spoken: Spoken) -> Self {
        let length = body.size_hint().exact();
        let unwatched = match spoken {
            Spoken::Http1 => PIECE_BYTES_MAX as u64,
            Spoken::Http2 => 0,
        };
        let is_watched = length.is_none_or(|bytes| bytes > unwatched);
        let room = is_watched.then(|| {
            let room = Arc::new(Room {
                is_endless: length.is_none(),
                held_since: AtomicU64::new(0),
                given_up: AtomicBool::new(false),
                waker: AtomicWaker::new(),
                taken: work.pulse().taken(),
            });
            work.watch(&room);
            room
        });
        Self {
            body,
            rest: Bytes::new(),
            spoken,
            room,
            work,
        }
    }
}

/// Takes a piece off `rest`, which is not empty.
fn next_piece(rest: &mut Bytes, has_tail: bool) -> Bytes {
    let length = rest.len();
    if !has_tail {
        return rest.split_to(length.min(PIECE_BYTES_MAX));
    }
    if length <= TAIL_BYTES {
        return std::mem::take(rest);
    }
    let piece = rest.split_to(PIECE_BYTES_MAX.min(length - TAIL_BYTES));
    if rest.len() <= TAIL_BYTES {
        // The whole answer's memory does not wait for its last bytes.
        *rest = Bytes::copy_from_slice(rest);
    }
    piece
}

impl<B, R> Body for Outgoing<B, R>
where
    B: Body<Data = Bytes, Error = Infallible> + Unpin,
    R: Reactor,
{
    type Data = Bytes;
    type Error = NotTaken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NotTaken>>> {
        let this = &mut *self;
        let Some(room) = &this.room else {
            let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
            return Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})));
        };
        room.waker.register(context.waker());
        if room.given_up.load(Ordering::Relaxed) {
            return Poll::Ready(Some(Err(NotTaken)));
        }
        if room.held_since().is_some() {
            return Poll::Pending;
        }
        // What was begun is sent to its end.
        if room.is_endless && this.rest.is_empty() && this.work.pulse().is_stopping() {
            return Poll::Ready(None);
        }
        while this.rest.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(context)) else {
                return Poll::Ready(None);
            };
            let Ok(frame) = frame;
            match frame.into_data() {
                Ok(bytes) => this.rest = bytes,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let has_tail = this.spoken == Spoken::Http2 && this.body.is_end_stream();
        let piece = Piece {
            bytes: next_piece(&mut this.rest, has_tail),
            room: Arc::clone(room),
        };
        // The clock's zero is long ago.
        room.held_since
            .store(this.work.pulse().now().0.max(1), Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        if !self.rest.is_empty() {
            let rest = self.rest.len() as u64;
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper + rest);
            }
            hint.set_lower(hint.lower() + rest);
        }
        hint
    }
}
