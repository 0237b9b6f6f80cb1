//! From a partition key, or an explicit hash key, to the shard that takes it.

use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weir_protocol::limits::MIB;
use weir_protocol::model::{HashKey, StreamMode, StreamName};
use weir_reactor::{CorePlan, choose_cpus, start_cores};
use weir_stream::{
    CreateStream, Engine, EngineMemory, FolderOptions, QuotaSwitch, Stream, StreamSettings,
    open_folder,
};

/// A prime, so that keys and shards do not fall into step.
const KEYS: usize = 1009;

/// Streams as an engine publishes them, from a folder that lives for a moment.
fn streams(shards: &[u32]) -> Vec<Arc<Stream>> {
    let folder = tempfile::tempdir().unwrap();
    let options = FolderOptions {
        path: folder.path().to_owned(),
        cores: 1,
        segment_bytes: Some(4 * u64::from(MIB)),
        memory: EngineMemory::default(),
        reserve_bytes: 0,
        quota: QuotaSwitch::Off,
        state_delay: Duration::ZERO,
        account: "000000000000".into(),
        region: "us-east-1".into(),
    };
    let mut opened = open_folder(&options).unwrap();
    let seed = Arc::new(Mutex::new(opened.cores.pop()));
    let plan = CorePlan {
        cpus: choose_cpus(1).unwrap(),
        folder: options.path,
    };
    let shards = shards.to_vec();
    let running = start_cores(&plan, move |reactor| {
        let seed = seed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let shards = shards.clone();
        async move {
            let engine = Engine::start(reactor, seed.unwrap()).await.unwrap();
            let mut streams = Vec::new();
            for count in shards {
                let create = CreateStream {
                    name: StreamName::new(&format!("shards-{count}")).unwrap(),
                    shards: count,
                    mode: StreamMode::OnDemand,
                    retention_ms: None,
                    retain_bytes: None,
                    settings: StreamSettings::default(),
                };
                streams.push(engine.create_stream(create).await.unwrap());
            }
            engine.close().await;
            streams
        }
    });
    let streams = running.unwrap().join().pop().flatten().unwrap();
    opened.control.stop();
    streams
}

fn route(criterion: &mut Criterion) {
    let partition_keys: Vec<String> = (0..KEYS).map(|n| format!("customer-{n:06}")).collect();
    let hash_keys: Vec<HashKey> = partition_keys
        .iter()
        .map(|key| HashKey::of_partition_key(key))
        .collect();
    for stream in streams(&[1, 16, 1000]) {
        let count = stream.shards.len();
        let mut group = criterion.benchmark_group("shard_routing");
        group.throughput(Throughput::Elements(1));
        let id = BenchmarkId::new("partition_key", format!("{count}_shards"));
        let mut keys = partition_keys.iter().cycle();
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                let key = HashKey::of_partition_key(black_box(keys.next().unwrap()));
                black_box(stream.route(key).index)
            });
        });
        let id = BenchmarkId::new("explicit_hash_key", format!("{count}_shards"));
        let mut keys = hash_keys.iter().cycle();
        group.bench_function(id, |bencher| {
            bencher.iter(|| black_box(stream.route(black_box(*keys.next().unwrap())).index));
        });
        group.finish();
    }
}

criterion_group!(benches, route);
criterion_main!(benches);
