//! Durable appends through the log's group commit, on a real core and disk.

use std::time::Duration;

use benches::{BenchLog, LogOnACore, LogOptions, batch, is_quick};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weir_log::AppendError;
use weir_protocol::batch::BatchView;
use weir_protocol::model::Position;
use weir_reactor::Reactor;

const MIB: usize = 1 << 20;

fn options() -> LogOptions {
    if is_quick() {
        return LogOptions {
            segment_bytes: 4 * MIB as u64,
            reserve_segments: 0,
            tail_bytes: 4 * MIB,
            retain_bytes: 8 * MIB as u64,
        };
    }
    LogOptions {
        segment_bytes: 128 * MIB as u64,
        reserve_segments: 24,
        tail_bytes: 64 * MIB,
        retain_bytes: 256 * MIB as u64,
    }
}

/// Takes a batch in, after waiting for room as often as needed.
async fn append(bench: &BenchLog, view: &BatchView<'_>) -> Position {
    loop {
        match bench.log.append(view) {
            Ok(appended) => return appended.end,
            Err(AppendError::Busy) => bench.log.room().await,
            Err(error) => panic!("the log refused a batch: {error}"),
        }
    }
}

/// `count` batches, each durable before the next.
async fn one_by_one(bench: BenchLog, bytes: Vec<u8>, count: u64) -> Duration {
    let view = BatchView::decode(&bytes).unwrap();
    let started = bench.reactor.monotonic();
    for _ in 0..count {
        let end = append(&bench, &view).await;
        bench.log.wait_durable(end).await.unwrap();
    }
    bench.reactor.monotonic().since(started)
}

/// `count` batches as fast as the log takes them, until the last is durable.
async fn flat_out(bench: BenchLog, bytes: Vec<u8>, count: u64) -> Duration {
    let view = BatchView::decode(&bytes).unwrap();
    let started = bench.reactor.monotonic();
    let mut end = Position(0);
    for _ in 0..count {
        end = append(&bench, &view).await;
    }
    bench.log.wait_durable(end).await.unwrap();
    bench.reactor.monotonic().since(started)
}

fn appends(criterion: &mut Criterion) {
    let core = LogOnACore::start(options());
    let mut group = criterion.benchmark_group("log_append");
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(2));
    for (records, data_bytes, name) in [(1, 1000, "1x1000B"), (500, 1000, "500x1000B")] {
        let bytes = batch(records, data_bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new(name, "durable_each"), |bencher| {
            bencher.iter_custom(|count| {
                let bytes = bytes.clone();
                core.run(move |bench| one_by_one(bench, bytes, count))
            });
        });
        group.bench_function(BenchmarkId::new(name, "flat_out"), |bencher| {
            bencher.iter_custom(|count| {
                let bytes = bytes.clone();
                core.run(move |bench| flat_out(bench, bytes, count))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, appends);
criterion_main!(benches);
