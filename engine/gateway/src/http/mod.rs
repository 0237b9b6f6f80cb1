//! HTTP/1.1 on a shard core: hyper over the reactor's sockets.
//!
//! Owns: one connection's life, from its first byte to its last, its deadlines and its bounds.
//! Never: what requests mean. The admin port uses it too.

mod body;
mod pulse;
mod socket_io;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ::http::{Request, Response};
use http_body::Body;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use weir_reactor::{Reactor, Socket};

pub use body::{AnswerBody, LeasedBody};
pub(crate) use body::{Ceiling, CollectError, EventBody, Lease, collect, discard};
use pulse::Pulse;
use socket_io::SocketIo;

/// Most headers of one request; more are answered with 431.
const HEADERS_MAX: usize = 100;
/// Longest head of one request in bytes; a longer one is answered with 431. Presigned requests
/// carry their signature and session token in the path.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Longest stretch of input that hyper holds for one connection, in bytes.
const INPUT_BYTES_MAX: usize = 512 * 1024;

/// Serves one connection until the client closes it, a deadline passes, or `stop` completes; then
/// the request in flight is still answered.
///
/// A request's body is not bounded here: `service` reads it and decides.
pub async fn serve_http1<R, S, B, F>(
    socket: S,
    reactor: R,
    service: impl Fn(Request<Incoming>) -> F,
    stop: impl Future<Output = ()>,
) where
    R: Reactor,
    S: Socket,
    B: Body<Data = Bytes, Error = Infallible> + 'static,
    F: Future<Output = Response<B>>,
{
    let pulse = Rc::new(Pulse::new(reactor.clone()));
    let io = SocketIo::new(socket.clone(), pulse.clone());
    let service = service_fn(|request| {
        let answer = service(request);
        let pulse = &pulse;
        async move {
            pulse.request_began();
            let answer = answer.await;
            pulse.request_answered();
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .auto_date_header(false)
        // A client that sends no more may still want its answer.
        .half_close(true)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(INPUT_BYTES_MAX)
        .serve_connection(io, service);

    let mut connection = pin!(connection);
    let mut overdue = pin!(pulse.overdue());
    let mut stop = pin!(stop);
    let mut stopping = false;
    poll_fn(|context| {
        if !stopping && stop.as_mut().poll(context).is_ready() {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        if overdue.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        // A client that breaks the protocol or the connection concerns nobody else: hyper answered
        // what could be answered.
        connection.as_mut().poll(context).map(|_result| ())
    })
    .await;
    socket.shutdown();
}

#[cfg(test)]
mod tests;
