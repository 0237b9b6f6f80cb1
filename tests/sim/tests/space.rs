//! Dead segments come back, whatever they were when they died.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tests_sim::ledger::SimLedger;
use weir_log::{
    AppendError, FolderIdentity, LedgerState, Log, LogParts, LogSeed, LogSettings, Retention,
    ShardTip,
};
use weir_protocol::batch::{BatchBuilder, BatchView, ProducerMark};
use weir_protocol::model::{LogId, ShardId, ShardIndex, StreamId, Timestamp};
use weir_reactor::Reactor;
use weir_reactor::sim::{RunLimit, Sim, SimOptions, SimReactor};

const SEGMENT_BYTES: u64 = 128 * 1024;
const ROUNDS: u32 = 12;

fn shard() -> ShardId {
    ShardId::new(StreamId::new(1), ShardIndex(0))
}

async fn open(reactor: &SimReactor, ledger_fails_one_in: u64) -> Log<SimReactor> {
    let durable = Rc::new(RefCell::new(LedgerState::default()));
    let ledger = SimLedger::new(reactor.clone(), durable, ledger_fails_one_in);
    let retention = Retention {
        millis: 1_000,
        none_before: Timestamp::ZERO,
        bytes: None,
    };
    let identity = FolderIdentity {
        folder: 7,
        segment_bytes: SEGMENT_BYTES,
    };
    let parts = LogParts {
        seed: LogSeed::new(LogId(0)),
        foreign: Vec::new(),
        adopted: Vec::new(),
        shards: vec![(ShardTip::empty(shard()), retention)],
        elsewhere: Vec::new(),
        given_up: Vec::new(),
    };
    let settings = LogSettings {
        frame_bytes: 16 * 1024,
        ..LogSettings::default()
    };
    Log::open(reactor.clone(), identity, settings, parts, Rc::new(ledger))
        .await
        .expect("nothing stands in the way")
}

/// Writes one segment's worth and a little more.
async fn burst(log: &Log<SimReactor>) {
    for _ in 0..14 {
        let mut bytes = Vec::new();
        let mut batch = BatchBuilder::new(&mut bytes, shard(), 0, ProducerMark::default());
        batch.push("key", &[7; 10_000]).expect("a small batch");
        batch.finish();
        let view = BatchView::decode(&bytes).expect("just built");
        loop {
            match log.append(&view) {
                Ok(appended) => break log.wait_durable(appended.end).await.expect("no faults"),
                Err(AppendError::Busy) => log.room().await,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Segments kept and files on disk after bursts with pauses that outlast the retention.
fn after_bursts(ledger_fails_one_in: u64) -> (u64, u64) {
    let sim = Sim::new(11, SimOptions::default());
    let reactor = sim.reactor();
    sim.run(RunLimit::done(), async move {
        let log = open(&reactor, ledger_fails_one_in).await;
        for _ in 0..ROUNDS {
            burst(&log).await;
            for _ in 0..10 {
                reactor.sleep(Duration::from_millis(500)).await;
                log.expire(Timestamp::from_millis(reactor.wall_ms()));
            }
        }
        let counters = log.counters();
        (
            counters.sealed_segments,
            counters.disk_bytes / SEGMENT_BYTES,
        )
    })
    .expect("it ran to its end")
}

/// A dead segment stays while it is its log's newest, and goes when it is not any more: by expiry, or
/// by settling, which takes in what expiry has overlooked.
#[test]
fn segments_that_died_as_the_newest_come_back() {
    let (sealed, files) = after_bursts(0);
    assert!(
        sealed <= 1,
        "{sealed} sealed segments are kept, all but the newest are dead"
    );
    assert!(files <= 8, "{files} files");
}

/// The same when the catalog now and then does not take what it is told.
#[test]
fn a_failing_catalog_only_delays_it() {
    let (sealed, files) = after_bursts(3);
    assert!(sealed <= 2, "{sealed} sealed segments are kept");
    assert!(files <= 8, "{files} files");
}
