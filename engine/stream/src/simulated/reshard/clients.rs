//! Those who append, read and reshard a stream, without knowing of each other.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::batch::BatchView;
use weir_protocol::model::{Count, HashKey, ShardIndex, StreamStatus};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::Reactor;
use weir_reactor::sim::SimReactor;

use super::judge::{Found, Judge};
use crate::engine::Engine;
use crate::error::{AppendError, ControlError};
use crate::request::ReadRequest;
use crate::reshard::{Reshard, ReshardRules};
use crate::simulated::batch;
use crate::stream::{Shard, Stream};

/// Reads a shard to its end; closed ones must end where they were closed.
pub(super) async fn read_whole(
    engine: &Engine<SimReactor>,
    stream: &Stream,
    shard: &Shard,
) -> Vec<Found> {
    let mut found = Vec::new();
    let mut from = ReadFrom::TrimHorizon;
    loop {
        let request = ReadRequest {
            shard: stream.shard_id(shard.index),
            from,
            bytes_max: 64 << 10,
            wait_ms: 0,
            polling: false,
        };
        let read = engine.read(request).await.expect("the shard can be read");
        let mut rest = &read.batches[..];
        while !rest.is_empty() {
            let batch = BatchView::decode(rest).expect("what is read are batches");
            for (record, nth) in batch.records().zip(0..) {
                let data = String::from_utf8(record.data.to_vec()).expect("data is text");
                found.push(Found {
                    offset: batch.header.first_offset + Count(nth),
                    arrival: batch.header.arrival,
                    key: String::from_utf8(record.key.to_vec()).expect("keys are text"),
                    number: data
                        .trim_end_matches('x')
                        .parse()
                        .expect("data is a number"),
                });
            }
            rest = &rest[batch.as_bytes().len()..];
        }
        let is_closed = shard.closed.is_some();
        if read.at_end || (read.count == 0 && read.next >= read.tip) {
            assert_eq!(read.at_end, is_closed, "{shard:?} {read:?}");
            return found;
        }
        from = ReadFrom::Offset(read.next);
    }
}

pub(super) fn present(engine: &Engine<SimReactor>) -> Arc<Stream> {
    let streams = engine.streams();
    streams.by_name("logs").expect("the stream stays").clone()
}

/// Appends records of one key, one after the other, for ever.
pub(super) async fn write(
    engines: Vec<Engine<SimReactor>>,
    judge: Rc<RefCell<Judge>>,
    key: String,
) {
    let reactor = engines[0].reactor().clone();
    loop {
        let number = {
            let mut judge = judge.borrow_mut();
            let next = judge.next.entry(key.clone()).or_default();
            *next += 1;
            *next
        };
        let padding = "x".repeat((reactor.random() % 4_000) as usize);
        let text = format!("{number}{padding}");
        let engine = &engines[(reactor.random() % engines.len() as u64) as usize];
        let mut told: Option<u32> = None;
        loop {
            let stream = present(engine);
            judge.borrow_mut().sees(&stream);
            if told.is_some_and(|told| stream.map_version < told) {
                let what = "a writer was told of a map before every core had it";
                judge.borrow_mut().fail(what.to_owned());
            }
            let batch = batch(&stream, &key, &[&text]);
            let shard = batch.shard.index;
            match engine.append(vec![batch]).await.remove(0) {
                Ok(stored) => {
                    let place = (shard, stored.first_offset);
                    let record = (key.clone(), number);
                    judge.borrow_mut().acknowledged.insert(record, place);
                    break;
                }
                Err(AppendError::ShardClosed { map_version, .. }) => {
                    told = Some(map_version);
                    judge.borrow_mut().told_of_new_maps += 1;
                }
                Err(AppendError::LogFailed | AppendError::ReadOnly) => break,
                Err(AppendError::Stopping) => return,
                Err(error) => {
                    judge.borrow_mut().fail(format!("append refused: {error}"));
                    return;
                }
            }
        }
        if reactor.random().is_multiple_of(3) {
            let pause = Duration::from_micros(reactor.random() % 3_000);
            reactor.sleep(pause).await;
        }
    }
}

/// Reads from the tip of one shard after the other, through ends to children.
pub(super) async fn follow(
    engine: Engine<SimReactor>,
    judge: Rc<RefCell<Judge>>,
    first: ShardIndex,
) {
    let (mut shard, mut from) = (first, ReadFrom::TrimHorizon);
    loop {
        let request = ReadRequest {
            shard: present(&engine).shard_id(shard),
            from,
            bytes_max: 10_000,
            wait_ms: 1_000,
            polling: false,
        };
        let Ok(read) = engine.read(request).await else {
            return;
        };
        from = ReadFrom::Offset(read.next);
        if read.at_end {
            let stream = present(&engine);
            let Some(child) = stream.children(shard).next() else {
                let what = format!("{shard} ended and its children are not known yet");
                return judge.borrow_mut().fail(what);
            };
            (shard, from) = (child.index, ReadFrom::TrimHorizon);
        }
    }
}

/// Splits, merges and counts at random, for ever.
pub(super) async fn reshard(engines: Vec<Engine<SimReactor>>, judge: Rc<RefCell<Judge>>) {
    let reactor = engines[0].reactor().clone();
    let below = |bound: usize| (reactor.random() % bound as u64) as usize;
    loop {
        reactor
            .sleep(Duration::from_millis(reactor.random() % 15))
            .await;
        let engine = &engines[below(engines.len())];
        let stream = present(engine);
        judge.borrow_mut().sees(&stream);
        let mut open: Vec<&Shard> = stream.open_shards().collect();
        open.sort_by_key(|shard| shard.range.start);
        let any = below(open.len());
        let asked = match below(3) {
            0 if open.len() < 12 => {
                let range = open[any].range;
                let width = range.end.get() - range.start.get();
                let at = range.start.get() + 2 + u128::from(reactor.random()) % (width / 2).max(1);
                Reshard::Split {
                    shard: open[any].index,
                    at: HashKey::new(at),
                }
            }
            1 if open.len() > 1 => {
                let low = any.min(open.len() - 2);
                let (shard, adjacent) = if below(2) == 0 { (0, 1) } else { (1, 0) };
                Reshard::Merge {
                    shard: open[low + shard].index,
                    adjacent: open[low + adjacent].index,
                }
            }
            _ => {
                let least = open.len().div_ceil(2);
                let most = (open.len() * 2).min(12);
                Reshard::Count {
                    target: (least + below(most.saturating_sub(least) + 1)) as u32,
                }
            }
        };
        match engine
            .reshard_stream(&stream.name, asked, ReshardRules::Aws)
            .await
        {
            Ok(stream) if stream.status != StreamStatus::Updating => {
                judge.borrow_mut().fail("a reshard began unseen".to_owned());
            }
            // The map moved on meanwhile, or a split was drawn at a border.
            Ok(_)
            | Err(
                ControlError::NotActive { .. }
                | ControlError::ShardClosed { .. }
                | ControlError::ScaledUpTooFar { .. }
                | ControlError::ScaledDownTooFar { .. }
                | ControlError::SplitKey { .. },
            ) => {}
            Err(ControlError::Stopping) => return,
            Err(error) => {
                judge.borrow_mut().fail(format!("reshard refused: {error}"));
                return;
            }
        }
    }
}
