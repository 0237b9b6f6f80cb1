//! Files that are gone while the server is stopped: it does not start as if they had held nothing.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use weir_protocol::model::{Offset, ShardId, ShardIndex};
use weir_protocol::wire::request::ReadFrom;

use super::repair::{Record, Truth, put, read_all, repair};
use super::{BATCHES, BLOCK, Place, check, connect, damages, setup, slots_with_batches, write};
use crate::harness::{Reader, Setup, Shape, Victim, Wire, fill, temporary};

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
        let newest = then.iter().map(Record::number).max();
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

/// A folder whose one segment holds some MiB, killed; the segment, and its batches.
fn killed(name: &str) -> (tempfile::TempDir, Setup, Truth, PathBuf, Vec<Place>) {
    let folder = temporary(name);
    let setup = Setup::new(folder.path()).with("--auth", "off");
    let victim = write(&setup);
    let truth = read_all(&victim);
    victim.kill();
    let open = slots_with_batches(&setup.data(), false);
    let (_, path, batches) = open
        .into_iter()
        .next()
        .expect("a segment was being written");
    assert_eq!(batches.len() as u64, BATCHES);
    (folder, setup, truth, path, batches)
}

fn zero(path: &Path, bytes: u64) {
    let file = fs::File::options().write(true).open(path);
    let file = file.expect("the file opens");
    let zeros = vec![0; bytes as usize];
    file.write_all_at(&zeros, 0).expect("zeros are written");
}

/// Kill -9, and 1 MiB of zeros at the head of the segment that was being written: the whole of it was
/// taken for a slot that was never used, "sound", and the rest of its records was written over.
#[test]
fn a_mebibyte_of_zeros_costs_no_more_than_what_lay_there() {
    let (_folder, setup, truth, path, batches) = killed("gone-head");
    zero(&path, 1 << 20);
    let left: Vec<_> = batches
        .iter()
        .filter(|b| b.at >= (1 << 20) + (64 << 10))
        .collect();
    assert!(left.len() > 50, "{} batches lie behind it", left.len());
    let said = damages(&setup.data());
    assert!(!said.is_empty());

    let mut before = [0; 2];
    for _ in 0..2 {
        let victim = setup.start();
        let stream = connect(&victim).describe("rot");
        let mut reader = Reader::new(victim.wire);
        put(&victim, 40);
        for (shard, before) in (0..).zip(&mut before) {
            let oldest = ReadFrom::Offset(Offset::ZERO);
            let lost = reader.some(&stream, shard, oldest, 0, &mut |_| {});
            let error = lost.expect_err("what is gone is told").to_string();
            assert!(error.contains("damaged"), "{error}");
            let behind = left.iter().find(|b| b.header.shard.index.0 == shard);
            let first = behind.expect("it has some").header.first_offset;
            let mut found = 0;
            reader.all(&stream, shard, ReadFrom::Offset(first), |_| found += 1);
            let kept = truth[shard as usize].len() as u64 - first.get();
            assert!(
                found > kept.max(*before),
                "{found}, {kept} lie behind {}",
                first.get()
            );
            *before = found;
        }
        victim.stop();
    }
}

/// Kill -9, the first block of the segment zeros, and the file cut short: it was taken for one that was
/// being made, and unlinked with all that it held.
#[test]
fn a_cut_segment_without_its_header_is_not_removed() {
    let (_folder, setup, truth, path, _) = killed("gone-cut");
    zero(&path, BLOCK);
    let length = fs::metadata(&path).expect("it is there").len();
    let file = fs::File::options().write(true).open(&path);
    let file = file.expect("the file opens");
    file.set_len(length - (1 << 20)).expect("it is cut");
    let cut = fs::read(&path).expect("it is there");
    let name = path.file_name().expect("a name").display().to_string();
    for _ in 0..2 {
        refuses(&setup, 1, &name);
    }
    let said = damages(&setup.data());
    let is_told = |d: &serde_json::Value| d["file"].as_str().unwrap().ends_with(&name);
    assert!(said.iter().any(is_told), "{said:#?}");
    assert!(
        fs::read(&path).expect("it is there") == cut,
        "it was changed"
    );

    // With its length it has its records back.
    file.set_len(length).expect("it gets its length back");
    let victim = setup.start();
    assert!(read_all(&victim) == truth, "records are gone");
    victim.stop();
}

/// Kill -9, and the file of the segment that was being written gone, or nothing but zeros: no seal had
/// told the catalog of it, so nobody missed it.
#[test]
fn the_segment_that_was_being_written_is_missed() {
    let (_folder, setup, truth, path, _) = killed("gone-newest");
    let data = setup.data();
    misses(&setup, 1, &path, "log 0");
    let intact = fs::read(&path).expect("it is there");
    zero(&path, intact.len() as u64);
    refuses(&setup, 1, "log 0");
    fs::write(&path, &intact).expect("it is put back");
    let victim = setup.start();
    assert!(read_all(&victim) == truth, "records are gone");
    put(&victim, 40);
    let truth = read_all(&victim);
    victim.kill();

    // The way out: what is gone is given up, and no number is given out twice.
    let gone = slots_with_batches(&data, false);
    fs::remove_file(&gone[0].1).expect("it is removed");
    refuses(&setup, 1, "log 0");
    repair(&data, &["--log", "0", "--skip-damaged"]).succeeded();
    let victim = setup.start();
    put(&victim, 40);
    let now = read_all(&victim);
    for (now, then) in now.iter().zip(&truth) {
        let kept = now.iter().zip(then).take_while(|(a, b)| a == b).count();
        let newest = then.last().map(Record::number);
        let twice = now[kept..].iter().any(|r| Some(r.number()) <= newest);
        assert!(!twice && now.len() > kept, "numbers were given out twice");
    }
    victim.stop();
    setup.start().stop();
    check(&data).succeeded();
}

/// Two cores, killed before either had sealed anything: the catalog knows of both logs all the same.
#[test]
fn a_log_that_never_sealed_is_missed() {
    let folder = temporary("gone-unsealed");
    let setup = Setup::new(folder.path()).with("--auth", "off");
    write_a_little(&setup, 2, 6).kill();
    for (log, said) in [("log-0001", "log 1"), ("log-0000", "log 0")] {
        misses(&setup, 2, &setup.data().join(log), said);
    }
    setup.start_on(2).stop();
    check(&setup.data()).succeeded();
}
