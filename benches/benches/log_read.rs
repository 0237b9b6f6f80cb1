//! Reads of one shard: from the tail in memory, and from sealed segments.
//!
//! Every byte read is copied once, as a session copies it into its socket's buffer.

use std::time::Duration;

use benches::{BenchLog, LogOnACore, LogOptions, batch, is_quick, shard};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weir_log::AppendError;
use weir_protocol::batch::BatchView;
use weir_protocol::model::Offset;
use weir_reactor::Reactor;

const MIB: usize = 1 << 20;
const READ_BYTES: usize = MIB;

/// Fills the shard with about `bytes` in durable batches.
async fn fill(bench: BenchLog, bytes: usize) {
    let batch = batch(100, 1000);
    let view = BatchView::decode(&batch).unwrap();
    for _ in 0..bytes / batch.len() {
        let end = loop {
            match bench.log.append(&view) {
                Ok(appended) => break appended.end,
                Err(AppendError::Busy) => bench.log.room().await,
                Err(error) => panic!("the log refused a batch: {error}"),
            }
        };
        bench.log.wait_durable(end).await.unwrap();
    }
}

/// Reads until `count` reads of about 1 MiB are done, from the front again at `end`. Gives the time
/// for exactly that many MiB.
async fn read(bench: BenchLog, end: Offset, count: u64) -> Duration {
    let mut copy: Vec<u8> = Vec::with_capacity(2 * READ_BYTES);
    let (mut from, mut bytes) = (Offset::ZERO, 0_usize);
    let started = bench.reactor.monotonic();
    for _ in 0..count {
        let batches = bench.log.read(shard(), from, READ_BYTES).await.unwrap();
        copy.clear();
        batches
            .chunks()
            .for_each(|chunk| copy.extend_from_slice(chunk));
        std::hint::black_box(&copy);
        bytes += batches.bytes;
        from = batches.next;
        if batches.is_empty() || from >= end {
            from = Offset::ZERO;
        }
    }
    let took = bench.reactor.monotonic().since(started);
    assert!(bytes > 0, "there is something to read");
    took.mul_f64(count as f64 * READ_BYTES as f64 / bytes as f64)
}

/// Where reads of the sealed part end: one past the newest record of a full tail of segments.
fn tip(core: &LogOnACore) -> Offset {
    core.run(|bench| async move { bench.log.tip(shard()).unwrap().durable_next })
}

fn reads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log_read");
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Bytes(READ_BYTES as u64));

    let held = if is_quick() { 2 * MIB } else { 32 * MIB };
    let options = LogOptions {
        segment_bytes: 64 * MIB as u64,
        reserve_segments: 0,
        tail_bytes: 2 * held,
        retain_bytes: u64::MAX,
    };
    let core = LogOnACore::start(options);
    core.run(move |bench| fill(bench, held));
    let end = tip(&core);
    group.bench_function(BenchmarkId::new("tail", "1MiB"), |bencher| {
        bencher.iter_custom(|count| core.run(move |bench| read(bench, end, count)));
    });
    let counted = core.run(|bench| async move { bench.log.counters() });
    assert_eq!(
        counted.reads_unsealed + counted.reads_mapped + counted.reads_cold,
        0
    );
    drop(core);

    let segment_bytes = if is_quick() { MIB } else { 16 * MIB };
    let options = LogOptions {
        segment_bytes: segment_bytes as u64,
        reserve_segments: 8,
        tail_bytes: segment_bytes / 2,
        retain_bytes: u64::MAX,
    };
    let core = LogOnACore::start(options);
    core.run(move |bench| fill(bench, 2 * segment_bytes));
    let end = tip(&core);
    core.run(move |bench| fill(bench, 2 * segment_bytes));
    group.bench_function(BenchmarkId::new("sealed", "1MiB"), |bencher| {
        bencher.iter_custom(|count| core.run(move |bench| read(bench, end, count)));
    });
    let counted = core.run(|bench| async move { bench.log.counters() });
    assert!(
        counted.reads_mapped + counted.reads_cold > 0,
        "sealed segments were read"
    );
    group.finish();
}

criterion_group!(benches, reads);
criterion_main!(benches);
