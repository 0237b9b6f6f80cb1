//! Sends answers: those of appends once they are durable, the others as they come, everything that
//! is ready in one go.

use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::select;
use weir_protocol::model::Position;
use weir_reactor::{Reactor, Socket};
use weir_stream::Engine;

use super::connection::Connection;
use super::outbox::Decision;

/// Bytes sent between two signs of life, so that a slow client is told from a dead one.
const SEND_BYTES: usize = 1024 * 1024;
/// A buffer of at least this is given back as soon as it is sent.
const LENT_BYTES: usize = 64 * 1024;
/// A buffer larger than this is let go of when all is answered.
const KEEP_BYTES: usize = 1024;

/// Runs until the reader ended and everything was sent, or sending failed.
pub(crate) async fn run<R: Reactor, S: Socket>(connection: &Rc<Connection<R, S>>) {
    let mut sending = Vec::new();
    loop {
        let seen = connection.written.count();
        collect(connection);
        if connection.outbox.borrow_mut().take(&mut sending) {
            connection.watch.is_sending.set(true);
            let sent = send(connection, &sending).await;
            connection.watch.is_sending.set(false);
            if !sent {
                connection.fail_sending();
                break;
            }
            sending.clear();
            if sending.capacity() >= LENT_BYTES {
                connection
                    .engine
                    .spares()
                    .give(std::mem::take(&mut sending));
            }
            connection.outbox.borrow_mut().sent();
            connection.freed.notify();
            continue;
        }
        if connection.has_send_failed() {
            break;
        }
        if connection.is_quiet() {
            connection.watch.is_busy.set(false);
            if connection.has_receive_ended() {
                break;
            }
            if connection.sessions.is_stopping() {
                connection.sessions.quieted.notify();
            }
            if sending.capacity() > KEEP_BYTES {
                sending = Vec::new();
            }
            connection.outbox.borrow_mut().let_go(KEEP_BYTES);
        }
        let awaited = connection.outbox.borrow().awaited();
        let woken = std::pin::pin!(connection.written.after(seen));
        match awaited {
            None => woken.await,
            Some(end) => {
                let durable = std::pin::pin!(connection.engine.wait_durable(end));
                select(durable, woken).await;
            }
        }
    }
    connection.watch.is_busy.set(false);
    connection.socket.shutdown();
    connection.end_writer();
    connection.sessions.quieted.notify();
}

async fn send<R: Reactor, S: Socket>(connection: &Rc<Connection<R, S>>, bytes: &[u8]) -> bool {
    for piece in bytes.chunks(SEND_BYTES) {
        if connection.socket.send(piece).await.is_err() {
            return false;
        }
        connection.watch.progress.set(connection.engine.monotonic());
    }
    true
}

/// Encodes the answers of appends that are decided.
fn collect<R: Reactor, S: Socket>(connection: &Rc<Connection<R, S>>) {
    if connection.outbox.borrow().awaited().is_none() && connection.outbox.borrow().is_empty() {
        return;
    }
    let now = connection.engine.monotonic();
    let mut durations = connection.sessions.counters.append.borrow_mut();
    let mut outbox = connection.outbox.borrow_mut();
    outbox.collect(
        |end| decide(&connection.engine, end),
        |answered| {
            durations.record(now.since(answered.started));
            connection.end(answered.request_bytes);
        },
    );
}

/// Whether everything below `end` is durable, without waiting. The durable mark alone does not
/// say: after a log failure it passes positions whose appends were lost.
fn decide<R: Reactor>(engine: &Engine<R>, end: Position) -> Decision {
    match engine.wait_durable(end).now_or_never() {
        None => Decision::Pending,
        Some(Ok(())) => Decision::Durable,
        Some(Err(_)) => Decision::Lost,
    }
}
