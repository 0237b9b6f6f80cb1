//! Bytes that rot while the server is stopped.
//!
//! Each test damages a copy of what a server wrote: `weir check` names the file, the place and the
//! numbers, and the server gives an error there and never a wrong record.

mod gone;
mod killed_repair;
mod repair;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use weir_protocol::batch::BatchHeader;
use weir_protocol::model::{Offset, ShardId, ShardIndex};
use weir_protocol::wire::hello::CORE_ANY;
use weir_protocol::wire::request::ReadFrom;

use crate::harness::{Ran, Reader, Setup, Shape, Victim, Wire, fill, parse, run, temporary, weir};

const BLOCK: u64 = 4_096;
const SHARDS: u32 = 2;
const BATCHES: u64 = 400;
const SEGMENT: u64 = 256 << 10;

/// A folder that a server wrote `BATCHES` batches into, over several segments.
fn write(setup: &Setup) -> Victim {
    let victim = setup.start();
    let mut wire = connect(&victim);
    let stream = wire.create("rot", SHARDS);
    let shape = Shape {
        records: 1..=9,
        bytes: 20..=900,
    };
    for batch in 0..BATCHES {
        let mut bytes = Vec::new();
        let shard = ShardId::new(stream.id, ShardIndex((batch % 2) as u32));
        fill(&mut bytes, shard, stream.map_version, batch, &shape);
        wire.append(&bytes, 1).expect("the batch is taken");
    }
    victim
}

fn setup(folder: &Path) -> Setup {
    Setup::new(folder)
        .with("--segment-bytes", "256KiB")
        .with("--auth", "off")
}

fn connect(victim: &Victim) -> Wire {
    Wire::connect(victim.wire, CORE_ANY).expect("the server takes connections")
}

fn check(data: &Path) -> Ran {
    let folder = data.display().to_string();
    let command = &mut weir(["check", &folder, "--json"]);
    run(command, [], Duration::from_secs(30))
}

/// The damages of a report that says damage.
#[track_caller]
fn damages(data: &Path) -> Vec<Value> {
    let ran = check(data).refused(5, "is damaged in");
    let report: Value = serde_json::from_slice(&ran.stdout).expect("the report is JSON");
    assert_eq!(report["sound"], false);
    report["damage"].as_array().expect("a list").clone()
}

/// The damage that covers byte `at` of `file`.
#[track_caller]
fn damage_at(data: &Path, file: &str, at: u64) -> Value {
    let all = damages(data);
    let covers = |damage: &&Value| {
        let from = damage["at"].as_u64().expect("a number");
        let bytes = damage["bytes"].as_u64().expect("a number");
        damage["file"] == file && from <= at && at < from + bytes
    };
    let found = all.iter().find(covers);
    found
        .unwrap_or_else(|| panic!("byte {at} of {file} is in none of {all:#?}"))
        .clone()
}

/// A batch where it lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: u64,
    header: BatchHeader,
}

/// The batches of a slot that count, as their own headers tell.
fn batches_in(path: &Path) -> Vec<Place> {
    let bytes = fs::read(path).expect("the segment can be read");
    let found = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"WRB1"));
    found
        .filter_map(|at| {
            let header = BatchHeader::decode(&bytes[at..]).ok()?;
            Some(Place {
                at: at as u64,
                header,
            })
        })
        .collect()
}

fn slots(data: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(data.join("log-0000")).expect("the log is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").display().to_string();
        found.push((format!("log-0000/{name}"), path));
    }
    found.sort();
    found
}

/// The slots that hold batches: sealed or not, as their last block tells.
fn slots_with_batches(data: &Path, sealed: bool) -> Vec<(String, PathBuf, Vec<Place>)> {
    let all = slots(data).into_iter();
    let with = all.map(|(name, path)| {
        let batches = batches_in(&path);
        (name, path, batches)
    });
    with.filter(|(_, path, batches)| {
        let bytes = fs::read(path).expect("the segment can be read");
        let last = bytes.len() - BLOCK as usize;
        !batches.is_empty() && bytes[last..].starts_with(b"WRT1") == sealed
    })
    .collect()
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path);
    let file = file.expect("the file opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)
        .expect("the byte is there");
    byte[0] ^= 0x10;
    file.write_all_at(&byte, at).expect("the byte is written");
}

/// Every file of a folder: its bytes, and when they were last changed.
fn picture(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let about = fs::metadata(&path).expect("it is there");
        if about.is_dir() {
            all.insert(
                path.clone(),
                (Vec::new(), about.mtime(), about.mtime_nsec()),
            );
            all.extend(picture(&path));
        } else {
            let bytes = fs::read(&path).expect("it can be read");
            all.insert(path, (bytes, about.mtime(), about.mtime_nsec()));
        }
    }
    all
}

#[test]
fn a_look_changes_nothing_and_a_killed_folder_is_sound() {
    let folder = temporary("check");
    let setup = setup(folder.path());
    let victim = write(&setup);
    let running = check(&setup.data()).refused(1, "is in use by process");
    assert!(running.stdout.is_empty());
    victim.kill();
    // What a start that was cut short leaves, too.
    fs::write(setup.data().join("log-0000/slot-000099"), [0; 4096]).expect("it is written");
    let before = picture(&setup.data());
    let ran = check(&setup.data()).succeeded();
    let report: Value = serde_json::from_slice(&ran.stdout).expect("the report is JSON");
    assert_eq!(report["sound"], true);
    let log = &report["logs"][0];
    assert_eq!(log["batches"], BATCHES);
    assert_eq!(log["half_made"], 1);
    assert!(log["sealed"].as_u64() > Some(1), "{report:#}");
    assert!(log["torn"]["at"].as_u64() > Some(0), "{report:#}");
    assert_eq!(log["torn"]["rot_is_told_below"], log["durable_mark"]);
    assert!(
        before == picture(&setup.data()),
        "the check changed something"
    );

    // What cannot be known is not said: the records behind the last mark may have rotted away.
    let window = "\nlog 0 was not closed: rot in its newest frames, at log position ";
    let said = told(&setup);
    assert!(
        said.contains("\nsound: nothing damaged was found\n"),
        "{said}"
    );
    assert!(said.contains(window), "{said}");

    setup.start().stop();
    let said = told(&setup);
    assert!(
        said.ends_with("\nsound: nothing damaged was found\n"),
        "{said}"
    );
    assert!(said.contains("catalog: 1 stream, 2 shards"), "{said}");
}

/// What a check without damage tells a person.
#[track_caller]
fn told(setup: &Setup) -> String {
    let folder = setup.data().display().to_string();
    let ran = run(&mut weir(["check", &folder]), [], Duration::from_secs(30)).succeeded();
    ran.text()
}

#[test]
fn folders_that_cannot_be_looked_at_are_refused() {
    let folder = temporary("check-not");
    check(folder.path()).refused(1, "it is not a folder of Weir's");
    check(&folder.path().join("no")).refused(1, "it is not there, or no folder");
    run(&mut weir(["check"]), [], Duration::from_secs(10)).refused(2, "<DIR>");
}

#[test]
fn every_kind_of_damage_in_a_sealed_segment_is_named() {
    let folder = temporary("check-sealed");
    let setup = setup(folder.path());
    write(&setup).stop();
    check(&setup.data()).succeeded();
    let sealed = slots_with_batches(&setup.data(), true);
    let (name, path, batches) = &sealed[0];
    let intact = fs::read(path).expect("the segment can be read");
    let restore = || fs::write(path, &intact).expect("the segment is put back");
    let batch = batches[batches.len() / 2];

    // A bit of a payload: exactly this batch and its numbers.
    flip(path, batch.at + 100);
    let damage = damage_at(&setup.data(), name, batch.at + 100);
    assert_eq!(damage["at"], batch.at);
    assert!(
        damage["what"]
            .as_str()
            .unwrap()
            .contains("payload checksum"),
        "{damage}"
    );
    let lost = &damage["lost"][0];
    assert_eq!(lost["stream"], "rot");
    assert_eq!(lost["shard"], batch.header.shard.index.to_string());
    assert_eq!(lost["from"], batch.header.first_offset.get());
    assert_eq!(lost["until"], batch.header.next_offset().get());
    assert_eq!(damages(&setup.data()).len(), 1);
    restore();

    // Header of the segment, a frame's header, footer and trailer.
    let frame = batch.at / BLOCK * BLOCK;
    let trailer = intact.len() as u64 - BLOCK;
    for at in [20, frame + 30, trailer - BLOCK + 10, trailer + 40] {
        flip(path, at);
        damage_at(&setup.data(), name, at);
        restore();
        check(&setup.data()).succeeded();
    }

    // A block of zeros, and two blocks in each other's place.
    let mut zeroed = intact.clone();
    zeroed[frame as usize..(frame + BLOCK) as usize].fill(0);
    fs::write(path, &zeroed).expect("it is written");
    let damage = damage_at(&setup.data(), name, frame);
    assert!(
        damage["what"]
            .as_str()
            .unwrap()
            .contains("no frame starts here"),
        "{damage}"
    );
    damage_at(&setup.data(), name, batch.at);
    let other = batches[batches.len() / 4].at / BLOCK * BLOCK;
    assert_ne!(frame, other);
    let mut swapped = intact.clone();
    for i in 0..BLOCK as usize {
        swapped.swap(frame as usize + i, other as usize + i);
    }
    fs::write(path, &swapped).expect("it is written");
    damage_at(&setup.data(), name, frame);
    damage_at(&setup.data(), name, other);

    // A file that was cut, and one that is gone.
    fs::write(path, &intact[..intact.len() / 2]).expect("it is written");
    damage_at(&setup.data(), name, intact.len() as u64 / 2);
    fs::remove_file(path).expect("it is removed");
    let gone = damages(&setup.data());
    let says = |what: &str| {
        gone.iter()
            .any(|d| d["what"].as_str().unwrap().contains(what))
    };
    assert!(says("no file holds it"), "{gone:#?}");
    restore();
    check(&setup.data()).succeeded();
}

#[test]
fn the_server_stops_at_a_damaged_batch_and_serves_what_is_around_it() {
    let folder = temporary("check-serve");
    let setup = setup(folder.path());
    write(&setup).stop();
    let sealed = slots_with_batches(&setup.data(), true);
    let (name, path, batches) = &sealed[0];
    let batch = batches[batches.len() / 2];
    flip(path, batch.at + 80);
    damage_at(&setup.data(), name, batch.at + 80);

    let victim = setup.start();
    let stream = connect(&victim).describe("rot");
    let shard = batch.header.shard.index.0;
    let mut reader = Reader::new(victim.wire);
    let mut from = Offset::ZERO;
    let mut each = |found: &crate::harness::Found<'_>| {
        parse(found.data).expect("only what was written is served");
    };
    let error = loop {
        match reader.some(&stream, shard, ReadFrom::Offset(from), 0, &mut each) {
            Ok((next, _)) => from = next,
            Err(error) => break error.to_string(),
        }
    };
    assert_eq!(from, batch.header.first_offset, "{error}");
    assert!(error.contains("damaged"), "{error}");
    let behind = ReadFrom::Offset(batch.header.next_offset());
    reader.all(&stream, shard, behind, each);
    victim.stop();
    assert_eq!(damages(&setup.data()).len(), 1);
}

#[test]
fn rot_in_the_segment_that_was_being_written_is_told_from_a_torn_tail() {
    let folder = temporary("check-unsealed");
    let setup = setup(folder.path());
    write(&setup).kill();
    let open = slots_with_batches(&setup.data(), false);
    let (name, path, batches) = open.last().expect("a segment was being written");
    let batch = batches[0];
    flip(path, batch.at + 80);
    let damage = damage_at(&setup.data(), name, batch.at + 80);
    assert_eq!(damage["lost"][0]["from"], batch.header.first_offset.get());
    assert_eq!(damages(&setup.data()).len(), 1);

    // A start makes a hole of it, which stays damage.
    setup.start().stop();
    let after = damages(&setup.data());
    let lost = after.iter().flat_map(|d| d["lost"].as_array().unwrap());
    let mut froms = lost.map(|lost| lost["from"].as_u64());
    assert!(
        froms.any(|from| from == Some(batch.header.first_offset.get())),
        "{after:#?}"
    );
}

#[test]
fn a_rotten_catalog_is_named() {
    let folder = temporary("check-catalog");
    let setup = setup(folder.path());
    write(&setup).stop();
    let path = setup.data().join("catalog");
    let intact = fs::read(&path).expect("the catalog can be read");
    let entry = b"\"retention_ms\"";
    let places: Vec<usize> = (0..intact.len() - entry.len())
        .filter(|at| intact[*at..].starts_with(entry))
        .collect();
    // Of the pages that hold the stream's entry one counts; the others are of earlier changes.
    for place in &places {
        flip(&path, *place as u64);
    }
    assert!(!places.is_empty());
    let all = damages(&setup.data());
    assert_eq!(all[0]["file"], "catalog", "{all:#?}");
    fs::write(&path, &intact[..intact.len() / 2]).expect("it is written");
    assert_eq!(damages(&setup.data())[0]["file"], "catalog");

    // Any page of noise is either told or of no account.
    let mut told = 0;
    for page in (0..intact.len()).step_by(BLOCK as usize) {
        let mut noise = intact.clone();
        noise[page..page + BLOCK as usize].fill(0xa5);
        fs::write(&path, &noise).expect("it is written");
        let ran = check(&setup.data());
        assert!(matches!(ran.code, Some(0 | 5)), "page {page}: {ran:?}");
        if ran.code == Some(5) {
            let report: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
            assert_eq!(report["damage"][0]["file"], "catalog");
            assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
            told += 1;
        }
    }
    assert!(told > 1, "{told} pages of noise were told");
    fs::write(&path, &intact).expect("it is put back");
    check(&setup.data()).succeeded();
    assert_eq!(intact.len() as u64 % BLOCK, 0);
    assert_eq!(
        fs::metadata(&slots(&setup.data())[0].1).unwrap().len(),
        SEGMENT
    );
}
