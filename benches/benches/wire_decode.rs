//! From received bytes to requests, batches and answers.

use std::hint::black_box;

use benches::{append_request, batch};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weir_protocol::model::{Count, Offset};
use weir_protocol::wire::frame::{self, Correlation};
use weir_protocol::wire::hello::{ClientHello, HelloStatus, ServerHello, WIRE_VERSION};
use weir_protocol::wire::request::{ReadFrom, ReadRequest, Request, kind};
use weir_protocol::wire::response::{ReadAnswer, Response};
use weir_protocol::wire::session::ClientSession;

const SHAPES: [(u32, usize, &str); 2] = [(1, 1000, "1x1000B"), (500, 1000, "500x1000B")];

/// What a server does with an append before it looks at the batch: the bulk is not touched, so a
/// frame costs the same however long it is.
fn append_request_decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire_decode/append");
    for (records, data_bytes, name) in SHAPES {
        let bytes = append_request(&batch(records, data_bytes));
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                let (frame, length) = frame::decode(black_box(&bytes)).unwrap().unwrap();
                assert_eq!(length, bytes.len());
                black_box(Request::decode(&frame).unwrap());
            });
        });
    }
    group.finish();
}

/// A read through a client's session: asked, answered as a server does, received, understood. The
/// batches are copied twice, once on each side.
fn session_read(criterion: &mut Criterion) {
    let welcome = ServerHello {
        version: WIRE_VERSION,
        status: HelloStatus::Welcome,
        features: 0,
        core: 0,
        cores: 1,
        frame_bytes_max: 0,
        in_flight_bytes_max: 0,
    };
    let mut group = criterion.benchmark_group("wire_decode/session_read");
    for (records, data_bytes, name) in SHAPES {
        let batches = batch(records, data_bytes);
        let answer = Response::Records(ReadAnswer {
            next: Offset::ZERO + Count(records),
            tip: Offset::ZERO + Count(records),
            behind_ms: 0,
            at_end: false,
            count: 1,
            batches: &batches,
        });
        let mut session = ClientSession::new(ClientHello::new(0));
        session.received(&welcome.encode());
        let mut bytes = Vec::new();
        group.throughput(Throughput::Bytes(batches.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                let asked = session.request(&Request::Read(tail_read()), ());
                let sent = session.outgoing().len();
                session.sent(sent);
                bytes.clear();
                answer.encode(kind::READ, asked, &mut bytes);
                session.received(&bytes);
                let (.., response) = session.poll().unwrap().unwrap();
                black_box(response);
            });
        });
    }
    group.finish();
}

fn tail_read() -> ReadRequest {
    ReadRequest {
        shard: benches::shard(),
        from: ReadFrom::Latest,
        bytes_max: 1 << 20,
        wait_ms: 0,
    }
}

/// The smallest frame: what a frame costs at all.
fn ping(criterion: &mut Criterion) {
    let mut bytes = Vec::new();
    Request::Ping.encode(Correlation(1), &mut bytes);
    let mut group = criterion.benchmark_group("wire_decode");
    group.throughput(Throughput::Elements(1));
    group.bench_function("ping", |bencher| {
        bencher.iter(|| {
            let (frame, _) = frame::decode(black_box(&bytes)).unwrap().unwrap();
            black_box(Request::decode(&frame).unwrap());
        });
    });
    group.finish();
}

criterion_group!(benches, append_request_decode, session_read, ping);
criterion_main!(benches);
