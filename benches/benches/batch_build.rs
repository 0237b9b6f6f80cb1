//! A batch's way before the log: built by its producer, verified and walked by the server, stamped.

use std::hint::black_box;

use benches::{batch, shard};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weir_protocol::batch::{BatchBuilder, BatchView, ProducerMark, stamp};
use weir_protocol::limits::RECORD_BYTES_MAX;
use weir_protocol::model::{Offset, Timestamp};

const SHAPES: [(u32, usize, &str); 2] = [(1, 1000, "1x1000B"), (500, 1000, "500x1000B")];

/// Copies records in and checksums them.
fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch_build/build");
    for (records, data_bytes, name) in SHAPES {
        let data = vec![5; data_bytes];
        let mut out = batch(records, data_bytes);
        group.throughput(Throughput::Bytes(out.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                out.clear();
                let mark = ProducerMark::default();
                let mut builder = BatchBuilder::new(&mut out, shard(), 1, mark);
                for _ in 0..records {
                    builder.push("key00000", black_box(&data)).unwrap();
                }
                builder.finish();
                black_box(&out);
            });
        });
    }
    group.finish();
}

/// Verifies both checksums.
fn verify(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch_build/verify");
    for (records, data_bytes, name) in SHAPES {
        let bytes = batch(records, data_bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| black_box(BatchView::decode(black_box(&bytes)).unwrap()));
        });
    }
    group.finish();
}

/// Walks the records as admission does.
fn check_records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch_build/check_records");
    for (records, data_bytes, name) in SHAPES {
        let bytes = batch(records, data_bytes);
        let view = BatchView::decode(&bytes).unwrap();
        group.throughput(Throughput::Elements(u64::from(records)));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| black_box(&view).check_records(RECORD_BYTES_MAX).unwrap());
        });
    }
    group.finish();
}

/// Adds what only the server knows: 72 bytes, whatever the batch's length.
fn stamp_header(criterion: &mut Criterion) {
    let mut bytes = batch(1, 1000);
    let mut group = criterion.benchmark_group("batch_build");
    group.throughput(Throughput::Elements(1));
    group.bench_function("stamp", |bencher| {
        bencher.iter(|| {
            stamp(
                black_box(&mut bytes),
                Offset::ZERO,
                Timestamp::from_millis(1),
            )
        });
    });
    group.finish();
}

criterion_group!(benches, build, verify, check_records, stamp_header);
criterion_main!(benches);
