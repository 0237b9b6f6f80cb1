//! Batches as producers make them.

use weir_protocol::batch::{BatchBuilder, ProducerMark};
use weir_protocol::model::{ShardId, ShardIndex, StreamId};
use weir_protocol::wire::frame::Correlation;
use weir_protocol::wire::request::Request;

/// The shard that all of this is about.
pub fn shard() -> ShardId {
    ShardId::new(StreamId::new(1), ShardIndex(0))
}

/// A batch of `records` with `data_bytes` of data each under keys of eight bytes.
pub fn batch(records: u32, data_bytes: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..data_bytes).map(|at| (at * 31) as u8).collect();
    let mut out = Vec::new();
    let mut builder = BatchBuilder::new(&mut out, shard(), 1, ProducerMark::default());
    for record in 0..records {
        let pushed = builder.push(&format!("key{record:05}"), &data);
        assert!(pushed.is_ok(), "the fixture fits a batch");
    }
    builder.finish();
    out
}

/// An append request around one batch.
pub fn append_request(batches: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Request::Append { count: 1, batches }.encode(Correlation(1), &mut out);
    out
}

/// Whether each bench is to run once only, as `cargo test` wants it: fixtures may be small then.
pub fn is_quick() -> bool {
    !std::env::args().any(|argument| argument == "--bench")
}
