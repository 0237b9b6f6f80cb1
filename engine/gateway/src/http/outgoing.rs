//! An answer's body on its way out: polled only when there is room for more.
//!
//! Owns: how much of one answer is handed over and not sent, the deadline for it, and the end of
//! answers that have none when the server stops. Never: what the bytes are.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use hyper::body::Bytes;
use std::convert::Infallible;
use thiserror::Error;
use weir_reactor::Reactor;

use super::connection_io::Spoken;
use super::pulse::InWork;
use super::room::{Room, Standing};

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
            let room = Arc::new(Room::new(length.is_none(), work.pulse().taken()));
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
        match room.look(context.waker()) {
            Standing::Free => {}
            Standing::Held => return Poll::Pending,
            Standing::GivenUp => return Poll::Ready(Some(Err(NotTaken))),
        }
        // What was begun is sent to its end.
        if room.is_endless() && this.rest.is_empty() && this.work.pulse().is_stopping() {
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
        let bytes = next_piece(&mut this.rest, has_tail);
        let piece = room.hold(bytes, this.work.pulse().now().0);
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
