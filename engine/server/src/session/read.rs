//! A read request: a task of its own, so that one that waits for data holds up nobody.
//!
//! It owns a cursor, not memory. Room for the answer is set aside before bytes are read, the
//! connection's and the core's; a read that waited for data and finds no room then lets go of what it
//! got and reads again later.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use weir_gateway::{Permit, Wish};
use weir_protocol::limits::MIB;
use weir_protocol::wire::frame::Correlation;
use weir_protocol::wire::request::{ReadFrom, ReadRequest};
use weir_protocol::wire::response::{ReadAnswer, RecordsWriter};
use weir_reactor::{Monotonic, Reactor, Socket};
use weir_stream::{ReadError, ReadHere};

use super::connection::Connection;

/// Most bytes of batches in one answer, unless a single batch is longer.
const ANSWER_BYTES_MAX: u32 = 4 * MIB;

/// An answer without its batches is shorter.
const ANSWER_HEAD_BYTES: usize = 128;

/// Reads and queues the answer.
pub(crate) async fn read<R: Reactor, S: Socket>(
    connection: &Rc<Connection<R, S>>,
    asked: ReadRequest,
    to: Correlation,
    started: Monotonic,
) {
    let bytes_max = asked.bytes_max.clamp(1, ANSWER_BYTES_MAX);
    let deadline = started.plus(Duration::from_millis(u64::from(asked.wait_ms)));
    let mut request = weir_stream::ReadRequest {
        shard: asked.shard,
        from: asked.from,
        bytes_max,
        wait_ms: 0,
        polling: true,
    };
    let budget = &connection.sessions.records;
    let mut wish = Wish::up_to(bytes_max as usize);
    let (outcome, mut room, permit) = loop {
        let Some(room) = connection.reserve(bytes_max as usize).await else {
            return;
        };
        let permit = match budget.spare(wish.bytes()) {
            Some(permit) => permit,
            None => budget.reserve(wish).await,
        };
        request.bytes_max = bytes_max.min(permit.bytes() as u32);
        let outcome = connection.engine.read_here(&request).await;
        let left = deadline.since(connection.engine.monotonic());
        match outcome {
            // One batch is longer than what was taken for it: it is let go of, and read again.
            Ok(here) if here.batches.bytes > permit.bytes() => {
                wish = Wish::exactly(here.batches.bytes);
                drop((here, permit, room));
                request.polling = false;
                continue;
            }
            Ok(here) if here.batches.count == 0 && !here.at_end && !left.is_zero() => {
                if connection.is_ending() {
                    break (Ok(here), room, permit);
                }
                // From here on, whatever the request said: LATEST means the tip of its first look.
                request.from = ReadFrom::Offset(here.next);
            }
            outcome => break (outcome, room, permit),
        }
        drop((room, permit));
        // The call was counted above; waiting is not another one.
        request.polling = false;
        request.wait_ms = left.as_millis().max(1) as u32;
        let found = wait_for_data(connection, &request).await;
        request.wait_ms = 0;
        // Where there is no room for it now, it is let go and read again later.
        let Some(outcome) = found else { continue };
        let bytes = outcome.as_ref().map_or(0, |here| here.batches.bytes);
        if let (Some(room), Some(permit)) = (connection.room.spare(bytes), budget.spare(bytes)) {
            break (outcome, room, permit);
        }
    };
    if let Ok(here) = &outcome {
        // What is sent, however long it was waited for.
        let bytes = here.batches.bytes as u64;
        connection.engine.charge_read(asked.shard, bytes);
    }
    room.cover(outcome.as_ref().map_or(0, |here| here.batches.bytes));
    answer(connection, to, outcome, [room, permit]);
    let took = connection.engine.monotonic().since(started);
    connection.sessions.counters.read.borrow_mut().record(took);
}

/// Waits until there is something to read or the time is over; `None` if nobody wants it any more.
async fn wait_for_data<R: Reactor, S: Socket>(
    connection: &Rc<Connection<R, S>>,
    request: &weir_stream::ReadRequest,
) -> Option<Result<ReadHere<R>, ReadError>> {
    let waiting = std::pin::pin!(connection.engine.read_here(request));
    let ending = std::pin::pin!(async {
        loop {
            let seen = connection.watch.ending.count();
            if connection.is_ending() {
                return;
            }
            connection.watch.ending.after(seen).await;
        }
    });
    match select(waiting, ending).await {
        Either::Left((outcome, _)) => Some(outcome),
        Either::Right(((), _)) => None,
    }
}

fn answer<R: Reactor, S: Socket>(
    connection: &Rc<Connection<R, S>>,
    to: Correlation,
    outcome: Result<ReadHere<R>, ReadError>,
    permits: [Permit; 2],
) {
    if connection.has_send_failed() {
        return;
    }
    match outcome {
        Err(error) => connection.refuse(to, error.to_wire()),
        Ok(here) => {
            let mut outbox = connection.outbox.borrow_mut();
            let spares = connection.engine.spares();
            outbox.make_room(here.batches.bytes + ANSWER_HEAD_BYTES, spares);
            let out = outbox.ready();
            let writer = RecordsWriter::start(to, out);
            for chunk in here.batches.chunks() {
                out.extend_from_slice(chunk);
            }
            let answer = ReadAnswer {
                next: here.next,
                tip: here.tip,
                behind_ms: here.behind_ms,
                at_end: here.at_end,
                count: here.batches.count,
                batches: &[],
            };
            writer.finish(&answer, out);
            let [room, mut permit] = permits;
            permit.cover(here.batches.bytes);
            outbox.attach([room, permit]);
            drop(outbox);
            connection.written.notify();
        }
    }
}
