//! What an operator gave up is stepped over by every reader, and by nothing else is passed over.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tests_sim::ledger::{Durable, SimLedger};
use weir_log::{
    AppendError, FolderIdentity, GivenUp, LedgerState, Log, LogParts, LogSettings, ReadError,
    RecoveryError, Retention, ShardTip, recover,
};
use weir_protocol::batch::{BatchBuilder, BatchHeader, BatchView, ProducerMark};
use weir_protocol::model::{LogId, Offset, ShardId, ShardIndex, StreamId, Timestamp};
use weir_reactor::Reactor;
use weir_reactor::sim::{Dice, RunLimit, Sim, SimDisk, SimOptions, SimReactor};

const SEGMENT_BYTES: u64 = 128 * 1024;
const IDENTITY: FolderIdentity = FolderIdentity {
    folder: 7,
    segment_bytes: SEGMENT_BYTES,
};
/// First block of a segment: where its kind stands, and which is the settled one.
const KIND: (usize, u8) = (6, 2);

fn shard(index: u32) -> ShardId {
    ShardId::new(StreamId::new(1), ShardIndex(index))
}

fn retention(millis: u64) -> Retention {
    Retention {
        millis,
        none_before: Timestamp::ZERO,
        bytes: None,
    }
}

/// Opens what a life before left, if one did. Shard 0 is kept, shard 1 for 20 s.
async fn open(
    reactor: &SimReactor,
    durable: &Durable,
    incarnation: u64,
    given_up: &[GivenUp],
) -> Result<Log<SimReactor>, RecoveryError> {
    let known = durable.borrow().clone();
    let recovered = recover(reactor, IDENTITY, LogId(0), incarnation, &known).await?;
    let tip_of = |index: u32| {
        let found = recovered.shards.iter().find(|t| t.shard == shard(index));
        found
            .cloned()
            .unwrap_or_else(|| ShardTip::empty(shard(index)))
    };
    let shards = vec![
        (tip_of(0), Retention::FOREVER),
        (tip_of(1), retention(20_000)),
    ];
    let parts = LogParts {
        seed: recovered.seed,
        foreign: Vec::new(),
        adopted: Vec::new(),
        shards,
        elsewhere: Vec::new(),
        given_up: given_up.to_vec(),
    };
    let settings = LogSettings {
        incarnation,
        frame_bytes: 16 * 1024,
        tail_bytes: 128 * 1024,
        ..LogSettings::default()
    };
    let ledger = SimLedger::new(reactor.clone(), Rc::clone(durable), 0);
    let log = Log::open(reactor.clone(), IDENTITY, settings, parts, Rc::new(ledger)).await;
    Ok(log.expect("nothing stands in the way"))
}

async fn append(log: &Log<SimReactor>, index: u32, records: u64, bytes: usize) -> (Offset, Offset) {
    let mut raw = Vec::new();
    let mut batch = BatchBuilder::new(&mut raw, shard(index), 0, ProducerMark::default());
    for _ in 0..records {
        batch.push("key", &vec![7; bytes]).expect("a small batch");
    }
    batch.finish();
    let view = BatchView::decode(&raw).expect("just built");
    loop {
        match log.append(&view) {
            Ok(appended) => {
                log.wait_durable(appended.end).await.expect("no faults");
                let first = appended.first_offset;
                return (first, first + view.header.records);
            }
            Err(AppendError::Busy) => log.room().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// All batches of a shard from a number on.
async fn read_all(
    log: &Log<SimReactor>,
    index: u32,
    from: Offset,
) -> Result<Vec<(Offset, Offset)>, ReadError> {
    let mut all = Vec::new();
    let mut from = from;
    loop {
        let batches = log.read(shard(index), from, 20_000).await?;
        for mut rest in batches.chunks() {
            while !rest.is_empty() {
                let view = BatchView::decode(rest).expect("only what verifies is served");
                all.push((view.header.first_offset, view.header.next_offset()));
                rest = &rest[view.as_bytes().len()..];
            }
        }
        if batches.next >= batches.durable_next {
            return Ok(all);
        }
        assert!(batches.next > from, "a read goes on");
        from = batches.next;
    }
}

/// Where each batch of a shard lies: file, byte.
fn places(disk: &SimDisk, index: u32) -> BTreeMap<Offset, (String, u64)> {
    let mut found = BTreeMap::new();
    for path in disk.paths().into_iter().filter(|p| p.contains("slot")) {
        let bytes = disk.durable_bytes(&path).expect("it is there");
        for at in (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"WRB1")) {
            if let Ok(header) = BatchHeader::decode(&bytes[at..])
                && header.shard == shard(index)
            {
                found.insert(header.first_offset, (path.clone(), at as u64));
            }
        }
    }
    found
}

/// Writes 90 batches to each of two shards, over many segments.
fn first_life(sim: &Sim, durable: &Durable, seed: u64) -> Vec<(Offset, Offset)> {
    let (reactor, durable) = (sim.reactor(), Rc::clone(durable));
    let written = sim.run(RunLimit::done(), async move {
        let mut dice = Dice::new(seed);
        let log = open(&reactor, &durable, 1, &[])
            .await
            .expect("a new folder");
        let mut written = Vec::new();
        for _ in 0..90 {
            let (records, bytes) = (dice.between(1, 5), dice.between(10, 2_000) as usize);
            written.push(append(&log, 0, records, bytes).await);
            append(&log, 1, records, bytes).await;
        }
        log.close().await;
        written
    });
    written.expect("it ran to its end")
}

async fn holds(log: &Log<SimReactor>, kept: &[(Offset, Offset)], told: &[(Offset, Offset)]) {
    let tip = log.tip(shard(0)).expect("it is here").durable_next;
    let is_kept = |batch: &(Offset, Offset)| kept.binary_search(batch).is_ok();
    let starts = told.iter().enumerate();
    // Every end of what was lost, and some numbers in between.
    let starts = starts.filter(|(i, batch)| i % 16 == 0 || !is_kept(batch));
    for from in starts.flat_map(|(_, (first, next))| [*first, *next]) {
        let behind: Vec<_> = kept.iter().copied().filter(|(_, n)| *n > from).collect();
        let found = read_all(log, 0, from).await;
        assert_eq!(found.as_ref(), Ok(&behind), "from {from} to {tip}");
    }
    let horizon = log.horizon(shard(0)).await.expect("it is found");
    assert_eq!(read_all(log, 0, horizon).await.as_deref(), Ok(kept));
}

fn a_story(seed: u64) {
    let sim = Sim::new(seed, SimOptions::default());
    let durable: Durable = Rc::new(RefCell::new(LedgerState::default()));
    let mut written = first_life(&sim, &durable, seed);
    let disk = sim.disk();
    let places = places(&disk, 0);

    // Neighbours, and batches far apart; at both ends, too.
    let mut dice = Dice::new(seed + 1_000);
    let most = dice.between(1, 9) as usize;
    let mut lost: Vec<usize> = (0..dice.between(1, 6))
        .map(|_| dice.below(90) as usize)
        .flat_map(|at| [at, (at + 1).min(89)])
        .take(most)
        .collect();
    if seed.is_multiple_of(3) {
        lost.extend([0, 89]);
    }
    for at in &lost {
        let (path, byte) = &places[&written[*at].0];
        disk.rot_bit(path, byte + 75, 2).expect("it is there");
    }
    let given_up: Vec<GivenUp> = lost
        .iter()
        .map(|at| GivenUp {
            shard: shard(0),
            from: written[*at].0,
            until: written[*at].1,
        })
        .collect();
    let is_lost = |at: usize| lost.contains(&at);
    let mut kept: Vec<_> = (0..90)
        .filter(|at| !is_lost(*at))
        .map(|at| written[at])
        .collect();

    let reactor = sim.reactor();
    let one_of_them = given_up[0];
    let lives = sim.run(RunLimit::done(), async move {
        // One that was not given up stays an error; the proof that the damage is there.
        let log = open(&reactor, &durable, 2, &given_up[1..])
            .await
            .expect("it opens");
        if !given_up[1..].contains(&one_of_them) {
            let read = read_all(&log, 0, Offset::ZERO).await;
            assert!(
                matches!(&read, Err(ReadError::Damaged { from, .. }) if *from == one_of_them.from),
                "{read:?}"
            );
        }
        log.close().await;
        let log = open(&reactor, &durable, 3, &given_up)
            .await
            .expect("it opens");
        assert!(log.counters().given_up > 0);
        holds(&log, &kept, &written).await;
        for _ in 0..20 {
            let new = append(&log, 0, 2, 900).await;
            kept.push(new);
            written.push(new);
        }
        holds(&log, &kept, &written).await;
        // Shard 1 expires, and what is left is settled without what was given up.
        for _ in 0..60 {
            reactor.sleep(Duration::from_millis(500)).await;
            log.expire(Timestamp::from_millis(reactor.wall_ms()));
        }
        assert!(log.counters().settled_bytes > 0, "nothing was settled");
        assert_eq!(log.counters().damaged, 0);
        holds(&log, &kept, &written).await;
        log.close().await;
        let log = open(&reactor, &durable, 4, &given_up)
            .await
            .expect("it opens");
        holds(&log, &kept, &written).await;
        log.close().await;
    });
    lives.expect("it ran to its end");
}

#[test]
fn every_reader_steps_over_what_was_given_up() {
    for seed in 0..24 {
        a_story(seed);
    }
}

/// A settled segment without its trailer stops the start; given up, it stays as it is, and its
/// numbers are passed over.
#[test]
fn a_segment_that_was_given_up_keeps_its_file() {
    let sim = Sim::new(5, SimOptions::default());
    let durable: Durable = Rc::new(RefCell::new(LedgerState::default()));
    let written = first_life(&sim, &durable, 5);
    let (reactor, disk) = (sim.reactor(), sim.disk());
    let lives = sim.run(RunLimit::done(), async move {
        let log = open(&reactor, &durable, 2, &[]).await.expect("it opens");
        for _ in 0..60 {
            reactor.sleep(Duration::from_millis(500)).await;
            log.expire(Timestamp::from_millis(reactor.wall_ms()));
        }
        log.close().await;
        let is_settled = |path: &String| {
            let bytes = disk.durable_bytes(path).expect("it is there");
            let generation = u64::from_le_bytes(bytes[24..32].try_into().expect("8 bytes"));
            let counts = durable.borrow().segments.contains(&generation);
            (bytes[KIND.0] == KIND.1 && counts).then_some(generation)
        };
        let slots = disk.paths().into_iter().filter(|p| p.contains("slot"));
        let mut settled = slots.filter_map(|path| Some((is_settled(&path)?, path)));
        let (generation, path) = settled.next().expect("a settled segment");
        disk.zero_sector(&path, SEGMENT_BYTES - 4_096)
            .expect("it is there");
        let before = disk.durable_bytes(&path).expect("it is there");
        let refused = open(&reactor, &durable, 3, &[]).await.map(|_| ());
        assert!(
            matches!(refused, Err(RecoveryError::Foreign { .. })),
            "{refused:?}"
        );
        {
            let mut known = durable.borrow_mut();
            known.segments.retain(|g| *g != generation);
            known.set_aside.push(generation);
        }
        for incarnation in 4..6 {
            let log = open(&reactor, &durable, incarnation, &[])
                .await
                .expect("it opens");
            assert_eq!(log.counters().given_up, 1);
            let found = read_all(&log, 0, Offset::ZERO)
                .await
                .expect("nothing stops it");
            let old: Vec<_> = found.iter().filter(|(f, _)| *f < written[89].1).collect();
            assert!(old.len() < written.len(), "the segment held something");
            let mut rest = written.iter();
            for batch in old {
                assert!(rest.any(|w| w == batch), "{batch:?} is out of order");
            }
            for _ in 0..60 {
                append(&log, 0, 3, 2_000).await;
            }
            log.close().await;
            let after = disk.durable_bytes(&path).expect("it is there");
            assert!(before == after, "the file was changed");
        }
        // Forgotten, for all that it can hold has expired: its file is used again, or goes if it is
        // too short to be used.
        durable.borrow_mut().set_aside.clear();
        let half = &before[..before.len() / 2];
        disk.remove_file(&path).expect("it is there");
        disk.put_file(&path, half).expect("it is written");
        let log = open(&reactor, &durable, 6, &[]).await.expect("it opens");
        assert_eq!(log.counters().given_up, 0);
        let is_half = disk.durable_bytes(&path).is_ok_and(|bytes| bytes == half);
        assert!(!is_half, "the file is still there");
        log.close().await;
    });
    lives.expect("it ran to its end");
}
