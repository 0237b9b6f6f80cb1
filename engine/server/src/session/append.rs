//! An append request: every batch is admitted here, in order, without a hop and without a copy but
//! the log's own.

use std::rc::Rc;

use weir_protocol::batch::{BATCH_HEADER_BYTES, field};
use weir_protocol::bytes::u32_at;
use weir_protocol::wire::error::{ErrorCode, WireError};
use weir_protocol::wire::frame::Correlation;
use weir_reactor::{Monotonic, Reactor, Socket};
use weir_stream::AppendError;

use super::connection::Connection;
use super::error::refused_batch;
use super::outbox::{Admission, AppendAnswer};

/// Admits the batches and queues the answer; false if they do not tile their frame, after which
/// nothing the client sends can be trusted.
pub(crate) async fn append<R: Reactor, S: Socket>(
    connection: &Rc<Connection<R, S>>,
    to: Correlation,
    count: u32,
    batches: &[u8],
    frame_bytes: usize,
    started: Monotonic,
) -> bool {
    if !tiles(count, batches) {
        let text = format!(
            "{count} batches do not fill the {} bytes of the request",
            batches.len()
        );
        connection.refuse(to, WireError::new(ErrorCode::Malformed, text));
        return false;
    }
    connection.begin(frame_bytes);
    let mut admissions = Vec::with_capacity(count as usize);
    let mut rest = batches;
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(batch_bytes(rest).expect("the batches tile the frame"));
        admissions.push(admit(connection, batch).await);
        rest = after;
    }
    let is_first = connection.outbox.borrow_mut().push_append(AppendAnswer {
        correlation: to,
        batches: admissions,
        request_bytes: frame_bytes,
        started,
    });
    // Behind another append, the writer waits for that one and looks further by itself.
    if is_first {
        connection.written.notify();
    }
    true
}

async fn admit<R: Reactor, S: Socket>(
    connection: &Rc<Connection<R, S>>,
    batch: &[u8],
) -> Admission {
    loop {
        match connection.engine.append_here(batch) {
            Ok(appended) => {
                return Admission::Admitted {
                    first_offset: appended.first_offset,
                    arrival: appended.arrival,
                    end: appended.end,
                };
            }
            // Not receiving meanwhile is what slows the client down.
            Err(AppendError::Busy) => connection.engine.room().await,
            // The shard is about to be closed, or not: a few milliseconds, and the client is told of
            // the new map. Its order is kept because nothing else is taken meanwhile.
            Err(AppendError::Resharding { shard }) => connection.engine.released(shard).await,
            Err(error) => return refused_batch(&error),
        }
    }
}

/// Length of the batch at the front, as its header claims; `None` if it is longer than `bytes`.
fn batch_bytes(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < BATCH_HEADER_BYTES {
        return None;
    }
    let length = BATCH_HEADER_BYTES + u32_at(bytes, field::PAYLOAD_BYTES) as usize;
    (length <= bytes.len()).then_some(length)
}

/// Whether `bytes` are exactly `count` batches, going by their claimed lengths.
fn tiles(count: u32, mut bytes: &[u8]) -> bool {
    for _ in 0..count {
        match batch_bytes(bytes) {
            Some(length) => bytes = &bytes[length..],
            None => return false,
        }
    }
    bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::batch::{BatchBuilder, ProducerMark};
    use weir_protocol::model::{ShardId, ShardIndex, StreamId};

    #[test]
    fn batches_must_fill_their_frame() {
        let mut bytes = Vec::new();
        for data in ["one", "", "three"] {
            let shard = ShardId::new(StreamId::new(1), ShardIndex(0));
            let mut batch = BatchBuilder::new(&mut bytes, shard, 1, ProducerMark::default());
            batch.push("key", data.as_bytes()).unwrap();
            batch.finish();
        }
        assert!(tiles(3, &bytes));
        assert!(!tiles(2, &bytes) && !tiles(4, &bytes));
        for length in 0..bytes.len() {
            assert!(!tiles(3, &bytes[..length]), "{length} bytes");
        }
    }
}
