//! Bodies in and out, with their bytes counted against one ceiling per core.
//!
//! Owns: the longest body, the deadline for one, and the memory of all. At the ceiling a request is
//! refused; nothing grows.

use std::convert::Infallible;
use std::fmt;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use thiserror::Error;
use weir_reactor::{Lent, Monotonic, Reactor, Spares};

use super::lease::Lease;
use crate::pace::Pace;
use crate::read_budget::Permit;
use crate::sync::AtomicUsize;

/// Longest body in bytes: a legal call has 10 MiB of records, 13.4 MiB in base64, and its names.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A client that sends nothing of its body for this long is given up.
const STALL_MAX: Duration = Duration::from_secs(30);
/// A body must be there this long after its head, however it trickles.
const BODY_MAX: Duration = Duration::from_mins(5);
/// Bytes of a refused body that are still taken off the connection, and for how long: a client that
/// is busy sending would otherwise see a reset instead of the refusal.
const DISCARD_BYTES_MAX: usize = 64 * 1024 * 1024;
const DISCARD_MAX: Duration = Duration::from_secs(5);
/// Room made for a body before any of it is there, at most: a head costs a client nothing, and one
/// connection may have hundreds.
const BELIEVED_BYTES: usize = 16 * 1024;
/// Counts the bytes of bodies that this core holds.
#[derive(Debug)]
pub(crate) struct Ceiling {
    /// An answer's bytes are let go of by hyper, which may be anywhere as far as the compiler
    /// knows: hence the atomic.
    held: Arc<AtomicUsize>,
    most: usize,
    /// Where the bytes are; those that wait there are not counted.
    spares: Spares,
}

impl Ceiling {
    pub(crate) fn new(most: usize, spares: Spares) -> Rc<Self> {
        Rc::new(Self {
            held: Arc::default(),
            most,
            spares,
        })
    }

    /// Takes `bytes`, until the lease is dropped; `None` at the ceiling.
    pub(crate) fn lease(&self, bytes: usize) -> Option<Lease> {
        let mut lease = self.take(0);
        lease.grow(bytes).map(|()| lease)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.load(crate::sync::Ordering::Relaxed)
    }

    /// Takes `bytes` that exist already, past the ceiling if need be: then the next request is
    /// refused.
    pub(crate) fn take(&self, bytes: usize) -> Lease {
        Lease::take(&self.held, self.most, bytes)
    }
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum CollectError {
    /// Longer than it may be.
    #[error("the body is longer than it may be")]
    TooLong,
    /// The core holds as many bytes as it may.
    #[error("the server holds as many bytes of requests as it may")]
    NoMemory,
    /// Nothing came for too long, or it came too slowly.
    #[error("the body did not come in time")]
    Stalled,
    /// The connection ended, or its framing is broken.
    #[error("the body ends early")]
    Broken,
}

/// Reads a whole body of up to `bytes_max`.
pub(crate) async fn collect<R: Reactor>(
    body: &mut Incoming,
    bytes_max: usize,
    reactor: &R,
    ceiling: &Ceiling,
) -> Result<(Lent, Lease), CollectError> {
    let hint = body.size_hint();
    if hint.lower() > bytes_max as u64 {
        return Err(CollectError::TooLong);
    }
    // What a client announces is believed by and by: many requests of one connection may announce
    // much and send nothing.
    let announced = hint.exact().map_or(BELIEVED_BYTES, |bytes| bytes as usize);
    let room = announced.min(BELIEVED_BYTES);
    let mut bytes = ceiling.spares.lend(room);
    let mut lease = ceiling
        .lease(bytes.capacity())
        .ok_or(CollectError::NoMemory)?;
    let began = reactor.monotonic();
    let mut pace = Pace::new(began);
    while let Some(frame) = next_frame(body, reactor, began, &mut pace).await? {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = bytes.len() + data.len();
        if length > bytes_max {
            return Err(CollectError::TooLong);
        }
        if length > bytes.capacity() {
            // No more than what was announced, if that was: many bodies are somewhat longer than a
            // buffer, and a much larger one for each would soon be all there is.
            let wanted = hint.exact().map_or(length * 2, |bytes| bytes as usize);
            let room = wanted.min(bytes.capacity() * 4);
            let room = room.max(length).min(bytes_max);
            let mut larger = ceiling.spares.lend(room);
            lease
                .grow(larger.capacity())
                .ok_or(CollectError::NoMemory)?;
            larger.extend_from_slice(&bytes);
            bytes = larger;
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, lease))
}

/// The next part of the body; a timer is made only when it is not there yet.
async fn next_frame<R: Reactor>(
    body: &mut Incoming,
    reactor: &R,
    began: Monotonic,
    pace: &mut Pace,
) -> Result<Option<Frame<Bytes>>, CollectError> {
    if let Some(frame) = body.frame().now_or_never() {
        return counted(frame, pace);
    }
    let waits_since = reactor.monotonic();
    loop {
        let left = pace.left(reactor.monotonic());
        let frame = match select(body.frame(), pin!(reactor.sleep(left))).await {
            Either::Left((frame, _)) => Some(counted(frame, pace)?),
            Either::Right(((), _)) => None,
        };
        let now = reactor.monotonic();
        let is_silent = frame.is_none() && now.since(waits_since) >= STALL_MAX;
        if pace.is_too_slow(now) || is_silent || now.since(began) > BODY_MAX {
            return Err(CollectError::Stalled);
        }
        if let Some(frame) = frame {
            return Ok(frame);
        }
    }
}

fn counted(
    frame: Option<Result<Frame<Bytes>, hyper::Error>>,
    pace: &mut Pace,
) -> Result<Option<Frame<Bytes>>, CollectError> {
    let frame = frame.transpose().map_err(|_| CollectError::Broken)?;
    let data = frame.as_ref().and_then(Frame::data_ref);
    pace.came(data.map_or(0, Bytes::len));
    Ok(frame)
}

/// Takes a refused body off the connection, within bounds, so that the refusal arrives.
pub(crate) async fn discard<R: Reactor>(mut body: Incoming, reactor: &R) {
    let drain = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    select(pin!(drain), pin!(reactor.sleep(DISCARD_MAX))).await;
}

/// An answer's body; its bytes count until they are sent.
#[derive(Debug)]
pub struct LeasedBody {
    bytes: Bytes,
}

/// An answer's bytes and what covers them, dropped together when the last of them is sent.
struct Leased<L> {
    bytes: Lent,
    _lease: L,
}

impl<L> AsRef<[u8]> for Leased<L> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl LeasedBody {
    pub(crate) fn new(bytes: Vec<u8>, ceiling: &Ceiling) -> Self {
        if bytes.is_empty() {
            return Self {
                bytes: Bytes::new(),
            };
        }
        Self {
            bytes: leased(bytes, ceiling),
        }
    }

    /// Records, which were counted before they were read.
    pub(crate) fn of_records(bytes: Vec<u8>, permit: Permit, spares: &Spares) -> Self {
        Self {
            bytes: permitted(bytes, permit, spares),
        }
    }
}

/// Bytes that `permit` covers until the last of them is sent.
pub(crate) fn permitted(bytes: Vec<u8>, mut permit: Permit, spares: &Spares) -> Bytes {
    permit.cover(bytes.capacity());
    Bytes::from_owner(Leased {
        bytes: spares.lend_back(bytes),
        _lease: permit,
    })
}

/// Bytes of an answer that count until the last of them is sent.
pub(crate) fn leased(bytes: Vec<u8>, ceiling: &Ceiling) -> Bytes {
    let lease = ceiling.take(bytes.capacity());
    Bytes::from_owner(Leased {
        bytes: ceiling.spares.lend_back(bytes),
        _lease: lease,
    })
}

impl Body for LeasedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// A body that comes in pieces over minutes; it is polled only when the connection has room, and
/// dropped when the client is gone. Its producer bounds what it holds.
pub(crate) type EventBody = Pin<Box<dyn Body<Data = Bytes, Error = Infallible>>>;

/// An answer's body: there as a whole, or a stream of events.
pub enum AnswerBody {
    /// There as a whole; its bytes count against the core's ceiling.
    Whole(LeasedBody),
    /// A stream of events.
    Events(EventBody),
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(body) => f.debug_tuple("Whole").field(body).finish(),
            Self::Events(_) => f.write_str("Events"),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Events(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Events(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Events(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::lease::SMALL_BYTES_MAX;

    #[test]
    fn long_bodies_leave_room_for_small_ones() {
        const MIB: usize = 1024 * 1024;
        let ceiling = Ceiling::new(8 * MIB, Spares::default());
        let mut long = ceiling.lease(SMALL_BYTES_MAX).unwrap();
        assert!(long.grow(7 * MIB).is_some());
        assert!(ceiling.lease(SMALL_BYTES_MAX + 1).is_none());
        assert!(long.grow(7 * MIB + 1).is_none());
        let small: Vec<_> = (0..16)
            .map_while(|_| ceiling.lease(SMALL_BYTES_MAX))
            .collect();
        assert_eq!(small.len(), 16);
        assert!(ceiling.lease(1).is_none());
    }

    #[test]
    fn the_ceiling_refuses_and_takes_back() {
        let ceiling = Ceiling::new(100, Spares::default());
        let first = ceiling.lease(60).unwrap();
        assert!(ceiling.lease(60).is_none());
        let mut second = ceiling.lease(30).unwrap();
        assert!(second.grow(50).is_none());
        assert!(second.grow(40).is_some());
        assert_eq!(ceiling.held_bytes(), 100);
        let beyond = ceiling.take(50);
        drop(first);
        assert_eq!(ceiling.held_bytes(), 90);
        drop((second, beyond));
        assert_eq!(ceiling.held_bytes(), 0);
    }
}
