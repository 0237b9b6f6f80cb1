//! What the connections of these tests ask, and who answers.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::{Bytes, Incoming};
use weir_reactor::sim::{SimReactor, SimSocket};
use weir_reactor::{Reactor, Socket, Spares};

use crate::caller::Caller;
use crate::http::{
    AnswerBody, BODY_BYTES_MAX, Ceiling, Hall, LeasedBody, Tls, collect, discard, serve, serve_tls,
};

const CEILING_BYTES: usize = 64 * 1024 * 1024;

/// Who need not show anything.
pub(super) fn known() -> Rc<Caller> {
    let caller = Caller::new([127, 0, 0, 1].into());
    caller.becomes_known();
    Rc::new(caller)
}

/// What happened to the answers without an end.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Events that were asked for.
    pub(super) events: Cell<usize>,
    pub(super) dropped: Cell<usize>,
    /// Bytes of all answers are given back.
    pub(super) all_given_back: Cell<bool>,
    /// What the answers are counted against.
    pub(super) ceiling: RefCell<Option<Rc<Ceiling>>>,
}

impl Seen {
    /// Whether nothing is held but `bytes` at most.
    pub(super) fn holds_at_most(&self, bytes: usize) -> bool {
        let ceiling = self.ceiling.borrow();
        let ceiling = ceiling.as_ref().expect("a connection was served");
        ceiling.held_bytes() <= bytes
    }
}

/// An answer without an end: an event after each pause.
struct Events {
    reactor: SimReactor,
    event: Bytes,
    pause: Duration,
    waiting: Pin<Box<dyn Future<Output = ()>>>,
    seen: Rc<Seen>,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.waiting.as_mut().poll(context));
        self.waiting = Box::pin(self.reactor.sleep(self.pause));
        self.seen.events.set(self.seen.events.get() + 1);
        Poll::Ready(Some(Ok(Frame::data(self.event.clone()))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.seen.dropped.set(self.seen.dropped.get() + 1);
    }
}

/// Answers with what the path names: `/events/BYTES/PAUSE_MS` or `/bytes/BYTES`; else with the
/// body's length, or with what was wrong with it.
async fn answer(
    request: Request<Incoming>,
    reactor: SimReactor,
    ceiling: Rc<Ceiling>,
    seen: Rc<Seen>,
) -> Response<AnswerBody> {
    let whole = |bytes: Vec<u8>| AnswerBody::Whole(LeasedBody::new(bytes, &ceiling));
    let path = request.uri().path().to_owned();
    let words: Vec<_> = path.split('/').skip(1).collect();
    if let ["events", bytes, pause] = words[..] {
        let pause = Duration::from_millis(pause.parse().unwrap());
        return Response::new(AnswerBody::Events(Box::pin(Events {
            waiting: Box::pin(reactor.sleep(pause)),
            reactor,
            event: vec![b'e'; bytes.parse().unwrap()].into(),
            pause,
            seen,
        })));
    }
    if let ["bytes", bytes] = words[..] {
        return Response::new(whole(vec![b'x'; bytes.parse().unwrap()]));
    }
    let mut body = request.into_body();
    let text = match collect(&mut body, BODY_BYTES_MAX, &reactor, &ceiling).await {
        Ok((bytes, _lease)) => format!("{} bytes", bytes.len()),
        Err(error) => {
            discard(body, &reactor).await;
            error.to_string()
        }
    };
    let mut response = Response::new(whole(text.into_bytes()));
    let close = ::http::HeaderValue::from_static("close");
    if path == "/close" {
        response.headers_mut().insert("connection", close);
    }
    response
}

/// Serves one connection, then the rest of its tasks.
pub(super) async fn serve_seen(
    socket: SimSocket,
    reactor: SimReactor,
    stop: impl Future<Output = ()>,
    seen: Rc<Seen>,
) {
    let ceiling = Ceiling::new(CEILING_BYTES, Spares::default());
    seen.ceiling.replace(Some(ceiling.clone()));
    let service = |request| answer(request, reactor.clone(), ceiling.clone(), seen.clone());
    serve(socket, &Hall::new(reactor.clone()), known(), service, stop).await;
    look(&reactor, &ceiling, &seen).await;
}

/// The same behind TLS.
pub(super) async fn serve_seen_tls(
    socket: SimSocket,
    tls: &Tls,
    reactor: SimReactor,
    stop: impl Future<Output = ()>,
    seen: Rc<Seen>,
) {
    let ceiling = Ceiling::new(CEILING_BYTES, Spares::default());
    seen.ceiling.replace(Some(ceiling.clone()));
    let service = |request| answer(request, reactor.clone(), ceiling.clone(), seen.clone());
    let hall = Hall::new(reactor.clone());
    serve_tls(socket, tls, &hall, known(), service, stop).await;
    look(&reactor, &ceiling, &seen).await;
}

async fn look(reactor: &SimReactor, ceiling: &Ceiling, seen: &Seen) {
    // Requests of HTTP/2 are tasks of their own: they learn that the connection is over.
    reactor.yield_now().await;
    reactor.yield_now().await;
    seen.all_given_back.set(ceiling.held_bytes() == 0);
}

pub(super) async fn serve_one(
    socket: SimSocket,
    reactor: SimReactor,
    stop: impl Future<Output = ()>,
) {
    serve_seen(socket, reactor, stop, Rc::default()).await;
}

/// Everything that comes until the other side closes.
pub(super) async fn receive_all(socket: SimSocket, into: Rc<RefCell<Vec<u8>>>) {
    let mut piece = vec![0; 4096];
    while let Ok(count @ 1..) = socket.receive(&mut piece).await {
        into.borrow_mut().extend_from_slice(&piece[..count]);
    }
}

/// A simulated socket as the HTTP/2 client wants it.
pub(super) struct ClientIo(pub(super) SimSocket);

impl tokio::io::AsyncRead for ClientIo {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = into.initialize_unfilled();
        let count = ready!(self.0.poll_receive(context, room))?;
        into.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for ClientIo {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.finish();
        Poll::Ready(Ok(()))
    }
}
