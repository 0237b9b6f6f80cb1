//! The crate on a real disk, on real cores: open, append, read, stop, open again.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_protocol::batch::{BatchBuilder, BatchView, ProducerMark};
use weir_protocol::model::{HashKey, StreamMode, StreamName};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::{CorePlan, CoreReactor, Reactor, choose_cpus, start_cores};
use weir_stream::{
    CreateStream, Engine, EngineMemory, FolderOptions, OpenFolder, OpenFolderError, QuotaSwitch,
    ReadRequest, ShardBatch, Stream, StreamSettings, open_folder,
};

fn options(folder: &Path, cores: usize) -> FolderOptions {
    FolderOptions {
        path: folder.to_owned(),
        cores,
        segment_bytes: Some(4 << 20),
        memory: EngineMemory::default(),
        reserve_bytes: 0,
        quota: QuotaSwitch::Mode,
        state_delay: Duration::from_millis(5),
        account: "000000000000".to_owned(),
        region: "us-east-1".to_owned(),
    }
}

/// Opens the folder, runs `first` on one core while the others serve it, and stops in good order.
fn serve<T, F>(folder: &Path, cores: usize, first: fn(Engine<CoreReactor>) -> F) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let OpenFolder {
        cores: seeds,
        control,
        report,
    } = open_folder(&options(folder, cores)).unwrap();
    assert!(report.len() <= 4, "{report:?}");
    let plan = CorePlan {
        cpus: choose_cpus(cores).unwrap(),
        folder: folder.to_owned(),
    };
    let seeds = Arc::new(Mutex::new(seeds));
    let is_over = Arc::new(Mutex::new(false));
    let running = start_cores(&plan, move |reactor: CoreReactor| {
        let seed = seeds.lock().unwrap().pop().expect("one seed for each core");
        let is_over = Arc::clone(&is_over);
        async move {
            let engine = Engine::start(reactor.clone(), seed).await.unwrap();
            let mut answer = None;
            if engine.core() == 0 {
                answer = Some(first(engine.clone()).await);
                *is_over.lock().unwrap() = true;
            }
            while !*is_over.lock().unwrap() {
                reactor.sleep(Duration::from_millis(5)).await;
            }
            engine.close().await;
            answer
        }
    });
    let answers = running.unwrap().join();
    control.stop();
    answers
        .into_iter()
        .flatten()
        .flatten()
        .next()
        .expect("core 0 answered")
}

fn batch(stream: &Stream, key: &str, data: &[u8]) -> ShardBatch {
    let shard = stream.shard_id(stream.route(HashKey::of_partition_key(key)).index);
    let mark = ProducerMark {
        producer: 0,
        sequence: 0,
    };
    let mut bytes = Vec::new();
    let mut builder = BatchBuilder::new(&mut bytes, shard, stream.map_version, mark);
    builder.push(key, data).unwrap();
    builder.finish();
    ShardBatch { shard, bytes }
}

async fn write(engine: Engine<CoreReactor>) {
    let create = CreateStream {
        name: StreamName::new("logs").unwrap(),
        shards: 4,
        mode: StreamMode::OnDemand,
        retention_ms: None,
        retain_bytes: None,
        settings: StreamSettings::default(),
    };
    let id = engine.create_stream(create).await.unwrap().id;
    while !engine.streams().by_id(id).unwrap().is_usable() {
        engine.reactor().sleep(Duration::from_millis(1)).await;
    }
    let stream = Arc::clone(engine.streams().by_id(id).unwrap());
    // Enough to fill several segments.
    for round in 0_u32..40 {
        let batches = (0_u32..40).map(|i| {
            let number = round * 40 + i;
            let mut data = number.to_le_bytes().to_vec();
            data.resize(10_000, round as u8);
            batch(&stream, &format!("key-{number}"), &data)
        });
        for stored in engine.append(batches.collect()).await {
            stored.unwrap();
        }
    }
    assert_eq!(read(engine).await, 1_600);
}

/// Reads all shards and counts the records, each of which must be there once.
async fn read(engine: Engine<CoreReactor>) -> usize {
    let streams = engine.streams();
    let stream = streams.by_name("logs").unwrap();
    let mut numbers = Vec::new();
    for shard in &stream.shards {
        let shard = stream.shard_id(shard.index);
        let mut from = ReadFrom::TrimHorizon;
        loop {
            let (bytes_max, wait_ms, polling) = (1 << 20, 0, false);
            let request = ReadRequest {
                shard,
                from,
                bytes_max,
                wait_ms,
                polling,
            };
            let read = engine.read(request).await.unwrap();
            let mut rest = &read.batches[..];
            while !rest.is_empty() {
                let batch = BatchView::decode(rest).unwrap();
                numbers.extend(
                    batch
                        .records()
                        .map(|r| u32::from_le_bytes(r.data[..4].try_into().unwrap())),
                );
                rest = &rest[batch.as_bytes().len()..];
            }
            if read.next >= read.tip {
                break;
            }
            from = ReadFrom::Offset(read.next);
        }
    }
    let found = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), found, "a record came twice");
    found
}

#[test]
fn a_folder_serves_again_with_other_cores() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    serve(folder.path(), 1, write);
    for cores in [1, 2, 1] {
        assert_eq!(serve(folder.path(), cores, read), 1_600, "{cores} cores");
    }
}

#[test]
fn a_folder_in_use_or_of_a_newer_format_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let opened = open_folder(&options(folder.path(), 1)).unwrap();
    let refused = open_folder(&options(folder.path(), 1)).unwrap_err();
    assert!(
        matches!(refused, OpenFolderError::Locked { .. }),
        "{refused:?}"
    );
    assert!(
        refused
            .to_string()
            .contains(&std::process::id().to_string()),
        "{refused}"
    );
    opened.control.stop();
    drop(opened.cores);
    std::fs::write(folder.path().join("FORMAT"), "weir folder format 9\n").unwrap();
    let refused = open_folder(&options(folder.path(), 1)).unwrap_err();
    let found = matches!(
        refused,
        OpenFolderError::NewerFormat {
            found: 9,
            known: 1,
            ..
        }
    );
    assert!(found, "{refused:?}");
    std::fs::write(folder.path().join("FORMAT"), "hello\n").unwrap();
    let refused = open_folder(&options(folder.path(), 1)).unwrap_err();
    assert!(
        matches!(refused, OpenFolderError::Format { .. }),
        "{refused:?}"
    );
}

#[test]
fn a_damaged_catalog_is_refused_not_replaced() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let opened = open_folder(&options(folder.path(), 1)).unwrap();
    opened.control.stop();
    let catalog = folder.path().join("catalog");
    let bytes = std::fs::read(&catalog).unwrap();
    std::fs::write(&catalog, vec![0xa5; bytes.len()]).unwrap();
    let refused = open_folder(&options(folder.path(), 1)).unwrap_err();
    assert!(
        matches!(refused, OpenFolderError::Catalog { .. }),
        "{refused:?}"
    );
    std::fs::write(&catalog, b"").unwrap();
    let refused = open_folder(&options(folder.path(), 1)).unwrap_err();
    assert!(
        matches!(refused, OpenFolderError::Catalog { .. }),
        "{refused:?}"
    );
}
