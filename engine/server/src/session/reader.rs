//! Receives requests, admits appends in their order, and sets the rest off.

use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use weir_protocol::wire::frame::{Correlation, WireFrame};
use weir_protocol::wire::request::Request;
use weir_protocol::wire::response::Response;
use weir_reactor::{Lane, Monotonic, Reactor, Socket};

use super::connection::Connection;
use super::receive::ReceiveBuffer;
use super::{append, control, error, read};

/// Bytes that one connection may have dealt with before others of its core have their turn.
const TURN_BYTES: usize = 512 * 1024;

/// Runs until the other side sends no more, or sends nonsense.
pub(crate) async fn run<R: Reactor, S: Socket>(connection: &Rc<Connection<R, S>>) {
    let mut buffer = ReceiveBuffer::new(Rc::clone(&connection.sessions.intake));
    let mut turn = 0;
    loop {
        if connection.is_at_caps() {
            buffer.put_down();
        }
        if !connection.may_take().await {
            break;
        }
        let watch = &connection.watch;
        let has_moved = buffer.has_moved();
        if !buffer.is_partial() {
            watch.partial_since.set(None);
        } else if has_moved || watch.partial_since.get().is_none() {
            watch.begins_frame();
        }
        watch.is_receiving.set(true);
        let received = receive(connection, &mut buffer).await;
        watch.is_receiving.set(false);
        let Some(count) = received else { break };
        let now = connection.engine.monotonic();
        watch.comes_on(count, now);
        if !take_frames(connection, &mut buffer, now).await {
            break;
        }
        turn += count;
        if turn >= TURN_BYTES {
            turn = 0;
            connection.engine.reactor().yield_now().await;
        }
    }
    connection.end_receiving();
}

/// Receives more; `None` at the end, the client's or ours.
async fn receive<R: Reactor, S: Socket>(
    connection: &Connection<R, S>,
    buffer: &mut ReceiveBuffer,
) -> Option<usize> {
    let received = pin!(buffer.receive(&connection.socket));
    let given_up = pin!(connection.watch.given_up());
    match select(received, given_up).await {
        Either::Left((Ok(count @ 1..), _)) => Some(count),
        _ => None,
    }
}

/// Deals with every whole frame in the buffer; false if the connection cannot go on.
async fn take_frames<R: Reactor, S: Socket>(
    connection: &Rc<Connection<R, S>>,
    buffer: &mut ReceiveBuffer,
    now: Monotonic,
) -> bool {
    loop {
        let length = match buffer.frame() {
            Ok(None) => return true,
            Ok(Some((frame, length))) => {
                if !connection.may_take().await || !take(connection, &frame, length, now).await {
                    return false;
                }
                length
            }
            Err(failure) => {
                let counters = &connection.sessions.counters;
                counters.malformed.set(counters.malformed.get() + 1);
                tracing::debug!(error = %failure, "a connection sent bytes that are no frame");
                connection.refuse(Correlation(0), error::no_frame(&failure));
                return false;
            }
        };
        buffer.consume(length);
    }
}

async fn take<R: Reactor, S: Socket>(
    connection: &Rc<Connection<R, S>>,
    frame: &WireFrame<'_>,
    length: usize,
    now: Monotonic,
) -> bool {
    let to = frame.correlation;
    let request = match Request::decode(frame) {
        Ok(request) => request,
        Err(failure) => {
            let counters = &connection.sessions.counters;
            counters.malformed.set(counters.malformed.get() + 1);
            tracing::debug!(error = %failure, "a connection sent a malformed request");
            connection.refuse(to, error::malformed(&failure));
            // A bad name is the user's mistake; all else is a client we do not understand.
            return matches!(
                failure,
                weir_protocol::wire::request::Malformed::Name(_)
                    | weir_protocol::wire::request::Malformed::Kind { .. }
            );
        }
    };
    if connection.sessions.is_stopping() {
        connection.refuse(to, error::stopping());
        return true;
    }
    match request {
        Request::Append { count, batches } => {
            return append::append(connection, to, count, batches, length, now).await;
        }
        Request::Ping => connection.answer(frame.kind, to, &Response::Pong),
        Request::Read(request) => {
            connection.begin(length);
            let connection = Rc::clone(connection);
            let engine = connection.engine.clone();
            engine.reactor().spawn(Lane::Read, async move {
                read::read(&connection, request, to, now).await;
                connection.end(length);
                connection.written.notify();
            });
        }
        other => {
            connection.begin(length);
            let kind = frame.kind;
            let change = control::Control::from(other);
            let connection = Rc::clone(connection);
            let engine = connection.engine.clone();
            engine.reactor().spawn(Lane::Network, async move {
                let response = control::run(&connection.engine, change).await;
                connection.answer(kind, to, &response);
                connection.end(length);
                let took = connection.engine.monotonic().since(now);
                connection
                    .sessions
                    .counters
                    .control
                    .borrow_mut()
                    .record(took);
            });
        }
    }
    true
}
