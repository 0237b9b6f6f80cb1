//! The whole crate on the simulated machine: catalog, logs, control plane, several cores on one
//! thread.

mod catalog;
mod cores;
mod expiry;
mod gone;
mod life;
mod reshard;
mod settings;
mod unfollowed;

use std::path::PathBuf;
use std::time::Duration;

use weir_protocol::batch::{BatchBuilder, BatchView, ProducerMark};
use weir_protocol::model::{HashKey, Offset, ShardIndex, StreamMode, StreamName};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::sim::{Sim, SimOptions, SimReactor};
use weir_reactor::{Lane, Reactor};

use crate::boot::{ControlStop, Opened, open_in};
use crate::engine::Engine;
use crate::error::OpenFolderError;
use crate::folder::{EngineMemory, FolderOptions, QuotaSwitch};
use crate::request::{CreateStream, ReadRequest, ShardBatch};
use crate::settings::StreamSettings;
use crate::stream::Stream;

fn options(cores: usize) -> FolderOptions {
    FolderOptions {
        path: PathBuf::from("data"),
        cores,
        segment_bytes: Some(256 << 10),
        memory: EngineMemory::default(),
        reserve_bytes: 0,
        quota: QuotaSwitch::Mode,
        state_delay: Duration::from_millis(5),
        account: "000000000000".to_owned(),
        region: "us-east-1".to_owned(),
    }
}

fn machine(seed: u64) -> Sim {
    Sim::new(seed, SimOptions::default())
}

/// A server without sessions: one engine per core, all on the simulated core.
struct Server {
    engines: Vec<Engine<SimReactor>>,
    stop: ControlStop,
}

impl Server {
    async fn start(
        reactor: SimReactor,
        disk: weir_reactor::sim::SimDisk,
        options: FolderOptions,
    ) -> Result<Self, OpenFolderError> {
        let opened = open_in(&reactor, &disk, &options).await?;
        let Opened {
            cores,
            control,
            stop,
            report: _,
        } = opened;
        reactor.spawn(Lane::Background, control.run());
        let mut engines = Vec::new();
        for seed in cores {
            engines.push(Engine::start(reactor.clone(), seed).await.unwrap());
        }
        Ok(Self { engines, stop })
    }

    async fn stop(self) {
        for engine in &self.engines {
            engine.close().await;
        }
        assert!(self.stop.ask());
        // The control task ends without an answer.
        self.engines[0]
            .reactor()
            .sleep(Duration::from_secs(1))
            .await;
    }
}

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

fn asked(stream: &str, shards: u32, mode: StreamMode) -> CreateStream {
    CreateStream {
        name: name(stream),
        shards,
        mode,
        retention_ms: None,
        retain_bytes: None,
        settings: StreamSettings::default(),
    }
}

/// Creates a stream and waits until it is active.
async fn create(engine: &Engine<SimReactor>, create: CreateStream) -> std::sync::Arc<Stream> {
    let stream = engine.create_stream(create).await.unwrap();
    while !engine.streams().by_id(stream.id).unwrap().is_usable() {
        engine.reactor().sleep(Duration::from_millis(1)).await;
    }
    engine.streams().by_id(stream.id).unwrap().clone()
}

/// One batch for the shard that takes `key`.
fn batch(stream: &Stream, key: &str, records: &[&str]) -> ShardBatch {
    let shard = stream.route(HashKey::of_partition_key(key));
    let shard = stream.shard_id(shard.index);
    let mark = ProducerMark {
        producer: 0,
        sequence: 0,
    };
    let mut bytes = Vec::new();
    let mut builder = BatchBuilder::new(&mut bytes, shard, stream.map_version, mark);
    for record in records {
        builder.push(key, record.as_bytes()).unwrap();
    }
    builder.finish();
    ShardBatch { shard, bytes }
}

/// Everything a shard holds from `from` on: offsets and data.
async fn read_all(
    engine: &Engine<SimReactor>,
    stream: &Stream,
    index: ShardIndex,
    from: ReadFrom,
) -> Vec<(Offset, String)> {
    let shard = stream.shard_id(index);
    let mut at = from;
    let mut records = Vec::new();
    loop {
        let request = ReadRequest {
            shard,
            from: at,
            bytes_max: 64 << 10,
            wait_ms: 0,
            polling: false,
        };
        let read = engine.read(request).await.unwrap();
        if read.count == 0 && read.next >= read.tip {
            return records;
        }
        let mut rest = &read.batches[..];
        while !rest.is_empty() {
            let batch = BatchView::decode(rest).unwrap();
            let mut offset = batch.header.first_offset;
            for record in batch.records() {
                if offset >= read.from {
                    records.push((offset, String::from_utf8(record.data.to_vec()).unwrap()));
                }
                offset = offset + weir_protocol::model::Count(1);
            }
            rest = &rest[batch.as_bytes().len()..];
        }
        at = ReadFrom::Offset(read.next);
    }
}
