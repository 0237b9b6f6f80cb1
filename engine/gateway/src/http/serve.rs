//! One connection's life, from its first byte to its last.
//!
//! Owns: the choice of the protocol, its bounds, the graceful end. Never: what requests mean.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ::http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use ::http::{Request, Response};
use futures_util::future::{Either, select};
use http_body::Body;
use hyper::body::{Bytes, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use weir_reactor::{Reactor, Socket};

use super::connection_io::{ConnectionIo, Spoken, Stream};
use super::crowd::Place;
use super::dozing::Dozing;
use super::hall::Hall;
use super::outgoing::Outgoing;
use super::pulse::{Overdue, Pulse};
use super::socket_io::SocketIo;
use super::tls::{Tls, TlsStream};
use crate::caller::Caller;

/// Longest head of one request in bytes; a longer one is answered with 431. Presigned requests
/// carry their signature and session token in the path.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Longest stretch of input that hyper holds for one connection of HTTP/1.1, in bytes: of one that
/// sends calls and takes no answers it holds all of it, and no budget counts it.
const INPUT_BYTES_MAX: usize = 128 * 1024;
/// Requests of one HTTP/2 connection at a time; Java sizes its pool by it.
const STREAMS_MAX: u32 = 256;
/// Bytes that one request may send before it is read, and all of a connection together.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Bytes of one answer that HTTP/2 may hold: as many as are handed over at once.
const STREAM_SEND_BYTES: usize = 256 * 1024;
/// Requests cancelled before they were looked at, and streams that broke the protocol, after which
/// a connection ends.
const RESETS_UNSEEN_MAX: usize = 64;
const RESETS_OURS_MAX: usize = 256;
/// A TLS handshake must be done this long after the connection began; a virtual machine of Java that
/// starts on a part of a core needs seconds for its own.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long a client may take to leave after it was told to.
const LEAVE_MAX: Duration = Duration::from_secs(10);

/// Serves one connection, HTTP/1.1 or HTTP/2 by what the client begins with, until the client
/// closes it, a deadline passes, or `stop` completes; then the requests in flight are still
/// answered, and answers without an end are ended.
///
/// A request's body is not bounded here: `service` reads it and decides.
pub async fn serve<R, S, B, F>(
    socket: S,
    hall: &Hall<R>,
    caller: Rc<Caller>,
    service: impl Fn(Request<Incoming>) -> F,
    stop: impl Future<Output = ()>,
) where
    R: Reactor,
    S: Socket,
    B: Body<Data = Bytes, Error = Infallible> + Unpin + 'static,
    F: Future<Output = Response<B>> + 'static,
{
    let pulse = Rc::new(Pulse::new(hall, caller));
    let stream = Stream::Plain(SocketIo::new(socket, pulse.clone()));
    serve_stream(stream, pulse, service, pin!(stop)).await;
}

/// As [`serve`], behind TLS. What the client speaks is seen by what it says, whatever was
/// negotiated: some assume HTTP/2.
pub async fn serve_tls<R, S, B, F>(
    socket: S,
    tls: &Tls,
    hall: &Hall<R>,
    caller: Rc<Caller>,
    service: impl Fn(Request<Incoming>) -> F,
    stop: impl Future<Output = ()>,
) where
    R: Reactor,
    S: Socket,
    B: Body<Data = Bytes, Error = Infallible> + Unpin + 'static,
    F: Future<Output = Response<B>> + 'static,
{
    let pulse = Rc::new(Pulse::new(hall, caller));
    let mut stop = pin!(stop);
    let Ok(stream) = TlsStream::new(SocketIo::new(socket, pulse.clone()), tls) else {
        return;
    };
    let mut stream = Box::new(stream);
    let greeted = {
        let handshake = poll_fn(|context| stream.poll_handshake(context));
        let late = pin!(pulse.sleep(HANDSHAKE_MAX));
        let given_up = select(late, stop.as_mut());
        match select(handshake, given_up).await {
            Either::Left((greeted, _)) => greeted,
            Either::Right((Either::Left(_), _)) => Err(io::ErrorKind::TimedOut.into()),
            Either::Right((Either::Right(_), _)) => Err(io::ErrorKind::Interrupted.into()),
        }
    };
    if let Err(error) = greeted {
        if error.kind() == io::ErrorKind::TimedOut {
            hall.timed_out().count();
        }
        tracing::debug!(%error, "a handshake failed");
        return stream.shutdown();
    }
    serve_stream(Stream::Tls(stream), pulse, service, stop).await;
}

async fn serve_stream<R, S, B, F>(
    stream: Stream<S, R>,
    pulse: Rc<Pulse<R>>,
    service: impl Fn(Request<Incoming>) -> F,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) where
    R: Reactor,
    S: Socket,
    B: Body<Data = Bytes, Error = Infallible> + Unpin + 'static,
    F: Future<Output = Response<B>> + 'static,
{
    let io = ConnectionIo::new(stream, pulse.clone());
    let spoken = {
        let overdue = pin!(pulse.overdue());
        let given_up = select(overdue, stop.as_mut());
        match select(pin!(io.sniff()), given_up).await {
            Either::Left((Ok(spoken), _)) => spoken,
            Either::Left((Err(_), _)) | Either::Right(_) => return io.shutdown(),
        }
    };
    match spoken {
        Spoken::Http1 => serve_http1(&io, &pulse, service, stop).await,
        Spoken::Http2 => Box::pin(serve_http2(&io, &pulse, service, stop)).await,
    }
    io.shutdown();
}

/// A place among the connections that are awake, unless the connection ends before there is one.
async fn find_place<R: Reactor>(
    pulse: &Pulse<R>,
    spoken: Spoken,
    stop: Pin<&mut impl Future<Output = ()>>,
) -> Option<Place> {
    let overdue = pin!(pulse.overdue());
    let given_up = select(overdue, stop);
    match select(pin!(pulse.wake_up(spoken)), given_up).await {
        Either::Left((place, _)) => Some(place),
        Either::Right(_) => None,
    }
}

/// Serves HTTP/1.1. hyper is there while the client says something: what it keeps for a connection
/// is ten times what the connection needs to wait.
async fn serve_http1<R, S, B, F>(
    io: &ConnectionIo<S, R>,
    pulse: &Rc<Pulse<R>>,
    service: impl Fn(Request<Incoming>) -> F,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) where
    R: Reactor,
    S: Socket,
    B: Body<Data = Bytes, Error = Infallible> + Unpin + 'static,
    F: Future<Output = Response<B>>,
{
    loop {
        let Some(place) = find_place(pulse, Spoken::Http1, stop.as_mut()).await else {
            return;
        };
        let awake = serve_awake(io, pulse, &service, stop.as_mut());
        // A box, so that who sleeps has no room for it.
        if Box::pin(awake).await == Left::Ended {
            return;
        }
        pulse.fall_asleep(place);
        let overdue = pin!(pulse.overdue());
        let given_up = select(overdue, stop.as_mut());
        match select(pin!(io.stirs()), given_up).await {
            Either::Left(_) => {}
            Either::Right(_) => return,
        }
    }
}

/// Serves HTTP/1.1 until the connection ends or has nothing to do.
async fn serve_awake<R, S, B, F>(
    io: &ConnectionIo<S, R>,
    pulse: &Rc<Pulse<R>>,
    service: impl Fn(Request<Incoming>) -> F,
    stop: Pin<&mut impl Future<Output = ()>>,
) -> Left
where
    R: Reactor,
    S: Socket,
    B: Body<Data = Bytes, Error = Infallible> + Unpin + 'static,
    F: Future<Output = Response<B>>,
{
    let service = service_fn(|request| {
        pulse.head_ended();
        let work = pulse.request();
        let answer = service(request);
        // hyper keeps room for it as long as the connection lasts: a box is there while a request is.
        Box::pin(async move {
            Ok::<_, Infallible>(
                answer
                    .await
                    .map(|body| Outgoing::new(body, work, Spoken::Http1)),
            )
        })
    });
    let mut connection = http1::Builder::new()
        .auto_date_header(false)
        // A client that sends no more may still want its answer.
        .half_close(true)
        // A hundred headers are the most, and hyper's own bound: naming it would cost an allocation
        // a request.
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(INPUT_BYTES_MAX)
        .serve_connection(io.clone(), service);
    let end = |connection: Pin<&mut _>| http1::Connection::graceful_shutdown(connection);
    let connected = Pin::new(&mut connection);
    let left = drive(connected, end, io, pulse, stop, Spoken::Http1).await;
    if left == Left::Asleep {
        io.take_back(connection.into_parts().read_buf);
    }
    left
}

async fn serve_http2<R, S, B, F>(
    io: &ConnectionIo<S, R>,
    pulse: &Rc<Pulse<R>>,
    service: impl Fn(Request<Incoming>) -> F,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) where
    R: Reactor,
    S: Socket,
    B: Body<Data = Bytes, Error = Infallible> + Unpin + 'static,
    F: Future<Output = Response<B>> + 'static,
{
    let Some(_place) = find_place(pulse, Spoken::Http2, stop.as_mut()).await else {
        return;
    };
    let service = service_fn(|request| {
        let work = pulse.begin_request();
        let answer = service(request);
        async move {
            Ok::<_, Infallible>(
                in_http2(answer.await).map(|b| Outgoing::new(b, work, Spoken::Http2)),
            )
        }
    });
    let connection = http2::Builder::new(LocalExecutor(Rc::clone(pulse)))
        .auto_date_header(false)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_send_buf_size(STREAM_SEND_BYTES)
        .max_pending_accept_reset_streams(RESETS_UNSEEN_MAX)
        .max_local_error_reset_streams(RESETS_OURS_MAX)
        .serve_connection(io.clone(), service);
    let end = |connection: Pin<&mut _>| http2::Connection::graceful_shutdown(connection);
    drive(pin!(connection), end, io, pulse, stop, Spoken::Http2).await;
}

/// How hyper was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// The connection is over.
    Ended,
    /// Nothing is under way, and hyper holds nothing but bytes that it did not look at.
    Asleep,
}

/// Runs hyper's connection to its end, ours or the client's, or one of HTTP/1.1 until it has nothing to do.
async fn drive<R: Reactor, S: Socket, C: Future>(
    mut connection: Pin<&mut C>,
    end: impl Fn(Pin<&mut C>),
    io: &ConnectionIo<S, R>,
    pulse: &Pulse<R>,
    stop: Pin<&mut impl Future<Output = ()>>,
    spoken: Spoken,
) -> Left {
    let is_http1 = spoken == Spoken::Http1;
    let mut stop = pin!(Dozing::new(stop));
    let overdue = pin!(pulse.overdue());
    let mut overdue = pin!(Dozing::new(overdue));
    let mut leave = pin!(async { pulse.sleep(LEAVE_MAX).await });
    let (mut stopping, mut leaving, mut was_at_rest) = (false, false, None);
    poll_fn(|context| {
        if !stopping && stop.as_mut().poll(context).is_ready() {
            stopping = true;
            pulse.stop();
            end(connection.as_mut());
        }
        if leaving {
            if leave.as_mut().poll(context).is_ready() {
                return Poll::Ready(Left::Ended);
            }
        } else if let Poll::Ready(why) = overdue.as_mut().poll(context) {
            // Only HTTP/2 can say so before it closes: then no request is lost.
            if why == Overdue::Stuck || is_http1 {
                return Poll::Ready(Left::Ended);
            }
            leaving = true;
            end(connection.as_mut());
            context.waker().wake_by_ref();
        }
        // hyper does not look at the input while an answer is under way; an answer without an end
        // would outlive its client.
        if is_http1 && pulse.is_streaming() && io.poll_gone(context).is_ready() {
            return Poll::Ready(Left::Ended);
        }
        // A client that breaks the protocol or the connection concerns nobody else: hyper answered
        // what could be answered.
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(Left::Ended);
        }
        let can_sleep = is_http1 && !stopping && io.is_flushed();
        let at_rest = pulse.at_rest_after().filter(|_| can_sleep);
        if at_rest.is_some() && pulse.crowd().are_many() {
            if at_rest == was_at_rest {
                return Poll::Ready(Left::Asleep);
            }
            // Once more: what a request left unread of its body, hyper drains, or ends the connection
            // for it, when it is polled next.
            context.waker().wake_by_ref();
        }
        was_at_rest = at_rest;
        Poll::Pending
    })
    .await
}

/// HTTP/2 has no word for the end of the connection, and its answers always say their length.
fn in_http2<B: Body>(mut answer: Response<B>) -> Response<B> {
    let length = answer.body().size_hint().exact();
    let headers = answer.headers_mut();
    headers.remove(CONNECTION);
    if length == Some(0) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    answer
}

/// Runs the requests of an HTTP/2 connection as tasks of this core.
struct LocalExecutor<R: Reactor>(Rc<Pulse<R>>);

impl<R: Reactor> Clone for LocalExecutor<R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<R: Reactor, F: Future<Output = ()> + 'static> Executor<F> for LocalExecutor<R> {
    fn execute(&self, request: F) {
        self.0.spawn(request);
    }
}
