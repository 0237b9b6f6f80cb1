//! Files that are gone while the server is stopped: it does not start as if they had held nothing.

use std::fs;
use std::path::Path;

use weir_protocol::model::{ShardId, ShardIndex};

use super::repair::{Record, Truth, put, read_all, repair};
use super::{check, connect, damages, setup, write};
use crate::harness::{Setup, Shape, Victim, Wire, fill, temporary};

/// The server does not come up on `cores` cores, and names what is gone.
#[track_caller]
fn refuses(setup: &Setup, cores: u32, named: &str) {
    let Err(ended) = setup.try_start_on(cores) else {
        panic!("it starts as if nothing were gone");
    };
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains(named), "{}", ended.said);
}

/// Takes something out of the folder, and has the server refuse to start until it is back.
#[track_caller]
fn misses(setup: &Setup, cores: u32, gone: &Path, named: &str) {
    let aside = gone.with_added_extension("aside");
    fs::rename(gone, &aside).expect("it can be taken away");
    for _ in 0..2 {
        refuses(setup, cores, named);
    }
    let said = damages(&setup.data());
    let counts = |what: &str| what.contains("a server does not start without it");
    let is_told = said.iter().any(|d| counts(d["what"].as_str().unwrap()));
    assert!(is_told, "{said:#?}");
    fs::rename(&aside, gone).expect("it can be put back");
}

/// Numbers of `now` that are not above every number of `then`.
fn given_twice(now: &Truth, then: &Truth) -> usize {
    let twice = |(now, then): (&Vec<_>, &Vec<Record>)| {
        let newest = then.iter().map(|record| record.number()).max();
        let again = |record: &&Record| Some(record.number()) <= newest;
        now.iter().filter(again).count()
    };
    now.iter().zip(then).map(twice).sum()
}

/// A server on `cores` cores with a few records in each shard of a stream.
fn write_a_little(setup: &Setup, cores: u32, shards: u32) -> Victim {
    let victim = setup.start_on(cores);
    let mut wire = connect(&victim);
    let stream = wire.create("rot", shards);
    let shape = Shape {
        records: 1..=9,
        bytes: 20..=900,
    };
    for at in 0..4 * u64::from(shards) {
        let index = ShardIndex((at % u64::from(shards)) as u32);
        let shard = ShardId::new(stream.id, index);
        let mut bytes = Vec::new();
        fill(&mut bytes, shard, stream.map_version, at, &shape);
        // Each shard is appended to on its own core.
        let core = stream.shards[index.0 as usize].core;
        let mut wire = Wire::connect(victim.wire, core).expect("it connects");
        wire.append(&bytes, 1).expect("the batch is taken");
    }
    victim
}

/// One core stopped in good order, and the whole folder of its log gone: the server said that it was
/// ready, had no record, and gave their numbers out again.
#[test]
fn a_log_whose_folder_is_gone_is_missed() {
    let folder = temporary("gone-log");
    let setup = setup(folder.path());
    let victim = write(&setup);
    let truth = read_all(&victim);
    victim.stop();
    let (data, log) = (setup.data(), setup.data().join("log-0000"));
    misses(&setup, 1, &log, "log 0");
    let victim = setup.start();
    assert_eq!(read_all(&victim), truth);
    victim.stop();

    // The way out: the segments are given up, and no number is given out twice.
    fs::remove_dir_all(&log).expect("it is removed");
    repair(&data, &["--log", "0", "--skip-damaged"]).succeeded();
    let victim = setup.start();
    assert_eq!(read_all(&victim), vec![Vec::new(); truth.len()]);
    put(&victim, 40);
    let now = read_all(&victim);
    assert!(now.iter().any(|shard| !shard.is_empty()));
    assert_eq!(given_twice(&now, &truth), 0, "numbers were given out twice");
    victim.stop();
    check(&data).succeeded();
}

/// Two cores, stopped in good order: half of the shards are in the log that is gone.
#[test]
fn one_of_two_logs_whose_folder_is_gone_is_missed() {
    let folder = temporary("gone-half");
    let setup = setup(folder.path());
    write_a_little(&setup, 2, 6).stop();
    let log = setup.data().join("log-0001");
    misses(&setup, 2, &log, "log 1");
    // Other core counts read the same logs.
    misses(&setup, 1, &log, "log 1");
    setup.start_on(1).stop();
}
