//! `weir repair`: what is given up is what cannot be read and nothing else, and the server goes on.
//!
//! Each story damages a folder, gives up what `weir check` names, and then reads all that is left by
//! every kind of iterator and by a subscription, appends, and starts once more.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use weir_protocol::model::ShardIndex;

use super::{
    BLOCK, SEGMENT, SHARDS, batches_in, check, damages, flip, picture, setup, slots_with_batches,
    write,
};
use crate::harness::{Http, Ran, Setup, Victim, mix, run, temporary, wait_for, weir};

/// A record as a client sees it; its place in its shard is its number, for one epoch wrote them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    sequence: String,
    arrival: f64,
    data: String,
}

impl Record {
    /// Its sequence number, to be compared.
    pub(super) fn number(&self) -> (usize, &str) {
        wide(&self.sequence)
    }
}

pub(super) type Truth = Vec<Vec<Record>>;
/// Shard and number of records that were given up.
type Lost = BTreeSet<(u32, u64)>;

pub(super) fn repair(data: &Path, arguments: &[&str]) -> Ran {
    let folder = data.display().to_string();
    let arguments = [&["repair", folder.as_str()], arguments].concat();
    run(&mut weir(arguments), [], Duration::from_mins(1))
}

pub(super) fn report(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.stdout).expect("the report is JSON")
}

fn records_of(page: &Value) -> Vec<Record> {
    let records = page["Records"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    records
        .map(|record| Record {
            sequence: text(&record["SequenceNumber"]),
            arrival: record["ApproximateArrivalTimestamp"]
                .as_f64()
                .expect("a time"),
            data: text(&record["Data"]),
        })
        .collect()
}

/// Reads a shard from an iterator until nothing is behind.
#[track_caller]
fn read(http: &mut Http, shard: u32, kind: &Value) -> Vec<Record> {
    let mut ask = json!({"StreamName": "rot", "ShardId": ShardIndex(shard).to_string()});
    for (name, value) in kind.as_object().expect("an object") {
        ask[name] = value.clone();
    }
    let mut iterator = http.call("GetShardIterator", &ask)["ShardIterator"].clone();
    let mut all = Vec::new();
    loop {
        let page = http.call("GetRecords", &json!({ "ShardIterator": iterator }));
        all.extend(records_of(&page));
        if page["MillisBehindLatest"] == 0 {
            return all;
        }
        iterator = page["NextShardIterator"].clone();
    }
}

pub(super) fn read_all(victim: &Victim) -> Truth {
    let mut http = Http::connect(victim.http);
    let oldest = json!({"ShardIteratorType": "TRIM_HORIZON"});
    (0..SHARDS)
        .map(|shard| read(&mut http, shard, &oldest))
        .collect()
}

/// Sequence numbers that a subscription from the oldest record on brings, until `last` is there.
fn subscribe(victim: &Victim, consumer: &str, shard: u32, last: &str) -> Vec<String> {
    let mut http = Http::connect(victim.http);
    let stream = http.call("DescribeStreamSummary", &json!({"StreamName": "rot"}));
    let arn = &stream["StreamDescriptionSummary"]["StreamARN"];
    let asked = json!({"StreamARN": arn, "ConsumerName": consumer});
    let made = http.call("RegisterStreamConsumer", &asked);
    let arn = made["Consumer"]["ConsumerARN"].clone();
    wait_for("an active consumer", Duration::from_secs(10), || {
        let about = http.call("DescribeStreamConsumer", &json!({"ConsumerARN": arn}));
        (about["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE").then_some(())
    });
    let ask = json!({
        "ConsumerARN": arn,
        "ShardId": ShardIndex(shard).to_string(),
        "StartingPosition": {"Type": "TRIM_HORIZON"},
    });
    let mut socket = TcpStream::connect(victim.http).expect("the server takes connections");
    let patience = Some(Duration::from_secs(20));
    socket.set_read_timeout(patience).expect("it is a socket");
    let request = Http::request("SubscribeToShard", &ask);
    socket.write_all(&request).expect("the server reads");
    let mut raw = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        let found = sequences(&unchunked(&raw));
        if found.last().is_some_and(|newest| newest == last) {
            return found;
        }
        let length = socket.read(&mut piece).expect("events come");
        assert!(length > 0, "the subscription ended: {found:?}");
        raw.extend_from_slice(&piece[..length]);
    }
}

/// What a body in chunks holds so far.
fn unchunked(raw: &[u8]) -> Vec<u8> {
    let find = |from: usize, what: &[u8]| {
        let mut windows = raw[from..].windows(what.len());
        windows
            .position(|window| window == what)
            .map(|at| from + at)
    };
    let mut body = Vec::new();
    let Some(mut at) = find(0, b"\r\n\r\n").map(|end| end + 4) else {
        return body;
    };
    while let Some(end) = find(at, b"\r\n") {
        let length = std::str::from_utf8(&raw[at..end]).expect("a length");
        let length = usize::from_str_radix(length, 16).expect("a length");
        let until = (end + 2 + length).min(raw.len());
        body.extend_from_slice(&raw[end + 2..until]);
        at = until + 2;
        if at >= raw.len() {
            break;
        }
    }
    body
}

fn sequences(body: &[u8]) -> Vec<String> {
    let name = b"\"SequenceNumber\":\"";
    let starts = (0..body.len()).filter(|at| body[*at..].starts_with(name));
    starts
        .filter_map(|at| {
            let rest = &body[at + name.len()..];
            let end = rest.iter().position(|byte| *byte == b'"')?;
            Some(String::from_utf8_lossy(&rest[..end]).into_owned())
        })
        .collect()
}

/// A folder with records, stopped, and all that is in it.
pub(super) fn written(name: &str) -> (tempfile::TempDir, Setup, Truth) {
    let folder = temporary(name);
    let setup = setup(folder.path());
    let victim = write(&setup);
    let truth = read_all(&victim);
    victim.stop();
    (folder, setup, truth)
}

/// Gives up all that `weir check` names, as an operator would, and says which records that cost.
fn give_up_all(data: &Path) -> Lost {
    let before = picture(data);
    let dry = repair(data, &["--log", "0", "--dry-run", "--json"]);
    assert!(matches!(dry.code, Some(0 | 5)), "{dry:?}");
    assert!(before == picture(data), "a dry run changed something");
    repair(data, &["--log", "0", "--skip-damaged", "--json"]);
    let mut shards = Vec::new();
    let ran = check(data);
    for damage in report(&ran)["damage"].as_array().expect("a list") {
        for lost in damage["lost"].as_array().expect("a list") {
            let shard = lost["shard"].as_str().expect("a shard");
            shards.push(format!("rot/{shard}"));
        }
    }
    shards.sort_unstable();
    shards.dedup();
    for shard in &shards {
        repair(data, &["--shard", shard, "--skip-damaged", "--json"]).succeeded();
    }
    for (path, was) in &before {
        if path.is_file() && !path.ends_with("catalog") && !path.ends_with("lock") {
            let is = fs::read(path).expect("it is there");
            assert!(was.0 == is, "{} was changed", path.display());
        }
    }
    lost(data)
}

/// What a sound folder's check tells as given up.
#[track_caller]
fn lost(data: &Path) -> Lost {
    let told = report(&check(data).succeeded());
    assert_eq!(told["sound"], true);
    let mut lost = Lost::new();
    for given_up in told["given_up"].as_array().expect("a list") {
        let records = &given_up["records"];
        if records.is_null() {
            continue;
        }
        let shard = ShardIndex::parse(records["shard"].as_str().expect("a shard"));
        let from = records["from"].as_u64().expect("a number");
        let until = records["until"].as_u64().expect("a number");
        // A hole may reach to the next epoch.
        let numbers = from..until.min(from + 100_000);
        lost.extend(numbers.map(|number| (shard.expect("a shard").0, number)));
    }
    lost
}

fn left(truth: &Truth, lost: &Lost) -> Truth {
    let shards = (0..).zip(truth);
    shards
        .map(|(shard, records)| {
            let kept = (0..)
                .zip(records)
                .filter(|(at, _)| !lost.contains(&(shard, *at)));
            kept.map(|(_, record)| record.clone()).collect()
        })
        .collect()
}

pub(super) fn put(victim: &Victim, count: u64) {
    let mut http = Http::connect(victim.http);
    for number in 0..count {
        let data = ["bmV3", "bmV3ZXI="][(number % 2) as usize];
        let key = format!("key {number}");
        let record = json!({"StreamName": "rot", "Data": data, "PartitionKey": key});
        http.call("PutRecord", &record);
    }
}

/// Starts the server on a folder whose damage was given up: twice, with appends in between.
fn goes_on(setup: &Setup, truth: &Truth, lost: &Lost) {
    let kept = left(truth, lost);
    let victim = setup.start();
    assert_eq!(read_all(&victim), kept);
    let mut http = Http::connect(victim.http);
    for (shard, number) in lost {
        let Some(gone) = truth[*shard as usize].get(*number as usize) else {
            continue;
        };
        let behind: Vec<Record> = kept[*shard as usize]
            .iter()
            .filter(|record| wide(&record.sequence) > wide(&gone.sequence))
            .cloned()
            .collect();
        for kind in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"] {
            let ask = json!({"ShardIteratorType": kind, "StartingSequenceNumber": gone.sequence});
            assert_eq!(read(&mut http, *shard, &ask), behind, "{kind} {gone:?}");
        }
        let ask = json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": gone.arrival});
        let found = read(&mut http, *shard, &ask);
        assert!(found.ends_with(&behind), "AT_TIMESTAMP {gone:?}");
        if number % 7 == 0 {
            let latest = json!({"ShardIteratorType": "LATEST"});
            assert_eq!(read(&mut http, *shard, &latest), []);
        }
    }
    for (shard, records) in (0..).zip(&kept) {
        let Some(last) = records.last() else { continue };
        let found = subscribe(&victim, &format!("c{shard}"), shard, &last.sequence);
        let told: Vec<&String> = records.iter().map(|record| &record.sequence).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), told);
    }
    put(&victim, 40);
    let all = read_all(&victim);
    for ((now, then), old) in all.iter().zip(&kept).zip(truth) {
        assert!(now.len() > then.len() && now.starts_with(then));
        let newest = old.iter().map(|record| wide(&record.sequence)).max();
        let mut newer = now[then.len()..]
            .iter()
            .map(|record| wide(&record.sequence));
        assert!(
            newer.all(|number| Some(number) > newest),
            "a number came twice"
        );
    }
    let (status, page) = victim.admin_page("/metrics");
    assert_eq!(status, 200);
    let line = page.lines().find(|line| line.starts_with("weir_given_up{"));
    let count: f64 = line
        .and_then(|l| l.rsplit(' ').next()?.parse().ok())
        .expect("a count");
    assert!(count > 0.0 || lost.is_empty(), "{line:?}");
    victim.stop();
    check(&setup.data()).succeeded();
    let victim = setup.start();
    assert_eq!(read_all(&victim), all);
    victim.stop();
    check(&setup.data()).succeeded();
}

/// Orders sequence numbers, which no number type holds.
fn wide(sequence: &str) -> (usize, &str) {
    (sequence.len(), sequence)
}

#[test]
fn a_sound_folder_has_nothing_to_give_up() {
    let (_folder, setup, truth) = written("repair-sound");
    let data = setup.data();
    let before = picture(&data);
    for target in [["--shard", "rot/1"], ["--log", "0"]] {
        let ran = repair(&data, &[target[0], target[1], "--skip-damaged"]).succeeded();
        assert!(ran.text().contains("nothing to give up"), "{}", ran.text());
    }
    assert!(before == picture(&data), "the repair changed something");

    // Words that are not understood, and places that are not there.
    repair(&data, &["--shard", "rot/1"]).refused(2, "--skip-damaged is missing");
    repair(&data, &["--skip-damaged"]).refused(2, "nothing is named");
    repair(&data, &["--shard", "rot", "--skip-damaged"]).refused(2, "names no shard");
    let no = |arguments: &[&str], said: &str| {
        let arguments = [arguments, &["--skip-damaged"]].concat();
        repair(&data, &arguments).refused(1, said);
    };
    no(&["--shard", "tor/1"], "stream \"tor\" does not exist");
    no(
        &["--shard", "rot/7"],
        "stream rot has no shardId-000000000007",
    );
    no(&["--log", "9"], "the folder has no log 9");
    let nowhere = data.join("no");
    repair(&nowhere, &["--log", "0", "--dry-run"]).refused(1, "it is not there, or no folder");
    let victim = setup.start();
    no(&["--log", "0"], "is in use by process");
    assert_eq!(read_all(&victim), truth);
    victim.stop();
}

#[test]
fn a_rotten_batch_is_stepped_over() {
    let (_folder, setup, truth) = written("repair-batch");
    let data = setup.data();
    let sealed = slots_with_batches(&data, true);
    let mut rotten = Lost::new();
    for (_, path, batches) in &sealed[..3] {
        for batch in [&batches[0], &batches[1], &batches[batches.len() - 1]] {
            flip(path, batch.at + 90);
            let header = &batch.header;
            let numbers = header.first_offset.get()..header.next_offset().get();
            rotten.extend(numbers.map(|number| (header.shard.index.0, number)));
        }
    }
    // Said by name, before anything is done.
    let dry = repair(
        &data,
        &["--shard", "rot/0", "--shard", "rot/1", "--dry-run"],
    )
    .succeeded();
    assert!(
        dry.text()
            .contains("GIVEN UP rot/shardId-000000000001, numbers "),
        "{}",
        dry.text()
    );
    assert!(
        dry.text().contains("dry run: nothing was written"),
        "{}",
        dry.text()
    );
    assert!(!damages(&data).is_empty());
    assert_eq!(give_up_all(&data), rotten);
    goes_on(&setup, &truth, &rotten);
}

#[test]
fn blocks_of_zeros_are_stepped_over() {
    let (_folder, setup, truth) = written("repair-zeros");
    let data = setup.data();
    let (_, path, batches) = &slots_with_batches(&data, true)[1];
    let mut bytes = fs::read(path).expect("the segment can be read");
    let from = (batches[batches.len() / 3].at / BLOCK * BLOCK) as usize;
    bytes[from..from + 5 * BLOCK as usize].fill(0);
    fs::write(path, &bytes).expect("it is written");
    let lost = give_up_all(&data);
    assert!((1..120).contains(&lost.len()), "{lost:?}");
    goes_on(&setup, &truth, &lost);
}

#[test]
fn what_can_be_made_anew_costs_no_record() {
    let (_folder, setup, truth) = written("repair-anew");
    let data = setup.data();
    let sealed = slots_with_batches(&data, true);
    // A footer of an older segment, a trailer, and a header.
    flip(&sealed[0].1, SEGMENT - 2 * BLOCK + 10);
    flip(&sealed[1].1, SEGMENT - BLOCK + 40);
    flip(&sealed[2].1, 20);
    let refused = repair(&data, &["--shard", "rot/0", "--skip-damaged"]);
    refused.refused(5, "stayed damaged");
    repair(&data, &["--log", "0", "--skip-damaged"]).succeeded();
    // The trailer is the next start's to mend.
    let all = damages(&data);
    let passing = all
        .iter()
        .all(|d| d["what"].as_str().unwrap().contains("makes it anew"));
    assert!(passing, "{all:#?}");
    setup.start().stop();
    assert_eq!(lost(&data), Lost::new());
    goes_on(&setup, &truth, &Lost::new());
}

#[test]
fn segments_that_are_gone_or_cut_are_passed_over() {
    let (_folder, setup, truth) = written("repair-gone");
    let data = setup.data();
    let sealed = slots_with_batches(&data, true);
    assert!(sealed.len() > 3, "{} sealed segments", sealed.len());
    let held = |of: usize| {
        let headers = batches_in(&sealed[of].1)
            .into_iter()
            .map(|batch| batch.header);
        headers
            .flat_map(|h| {
                let numbers = h.first_offset.get()..h.next_offset().get();
                numbers.map(move |number| (h.shard.index.0, number))
            })
            .collect::<Lost>()
    };
    let mut gone = held(1);
    gone.extend(held(3));
    fs::remove_file(&sealed[1].1).expect("it is removed");
    let cut = &fs::read(&sealed[3].1).expect("it can be read")[..SEGMENT as usize / 2];
    fs::write(&sealed[3].1, cut).expect("it is written");
    let Err(ended) = setup.try_start_on(1) else {
        panic!("it starts");
    };
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    let lost = give_up_all(&data);
    assert_eq!(lost, gone);
    goes_on(&setup, &truth, &lost);
    let still = fs::read(&sealed[3].1).expect("it is there");
    assert!(still == cut, "the file that was set aside was changed");
}

/// What the handbook says of a log segment that was cut short: with its length it gets back what its
/// first part holds.
#[test]
fn a_cut_segment_that_gets_its_length_back_loses_less() {
    let (_folder, setup, truth) = written("repair-length");
    let data = setup.data();
    let (_, path, batches) = &slots_with_batches(&data, true)[2];
    let file = fs::File::options()
        .write(true)
        .open(path)
        .expect("it opens");
    file.set_len(SEGMENT / 2 + 77).expect("it is cut");
    file.set_len(SEGMENT).expect("it gets its length back");
    setup.start().stop();
    let lost = give_up_all(&data);
    let held: u64 = batches.iter().map(|b| u64::from(b.header.records.0)).sum();
    assert!(
        !lost.is_empty() && (lost.len() as u64) < held * 2 / 3,
        "{} of {held}",
        lost.len()
    );
    goes_on(&setup, &truth, &lost);
}

#[test]
fn numbers_of_a_newest_segment_that_is_gone_are_not_given_out_again() {
    let folder = temporary("repair-newest");
    let setup = setup(folder.path());
    let data = setup.data();
    // Numbers of a second epoch are in the newest segment, and nothing else knows of them.
    write(&setup).kill();
    let victim = setup.start();
    put(&victim, 60);
    let truth = read_all(&victim);
    victim.stop();
    let sealed = slots_with_batches(&data, true);
    let ordinal = |path: &Path| {
        let bytes = fs::read(path).expect("the segment can be read");
        u64::from_le_bytes(bytes[32..40].try_into().expect("8 bytes"))
    };
    let newest = sealed.iter().max_by_key(|(_, path, _)| ordinal(path));
    let (_, path, batches) = newest.expect("there are some");
    let gone = |shard: u32| {
        let headers = batches.iter().map(|batch| batch.header);
        let of_it = headers.filter(|header| header.shard.index.0 == shard);
        of_it.map(|header| header.records.0 as usize).sum::<usize>()
    };
    assert!(gone(0) > 0 && gone(1) > 0);
    fs::remove_file(path).expect("it is removed");
    repair(&data, &["--log", "0", "--skip-damaged"]).succeeded();
    check(&data).succeeded();
    let shards = (0..).zip(&truth);
    let kept: Truth = shards
        .map(|(shard, records)| records[..records.len() - gone(shard)].to_vec())
        .collect();
    let victim = setup.start();
    assert_eq!(read_all(&victim), kept);
    put(&victim, 40);
    for (now, then) in read_all(&victim).iter().zip(&truth) {
        let (now, then) = (now.last().expect("some"), then.last().expect("some"));
        let is_new = wide(&now.sequence) > wide(&then.sequence);
        assert!(
            is_new,
            "a number was given out twice: {now:?} after {then:?}"
        );
    }
    victim.stop();
    check(&data).succeeded();
}

#[test]
fn rot_that_a_start_made_a_hole_of_is_stepped_over() {
    for started in [false, true] {
        let folder = temporary("repair-hole");
        let setup = setup(folder.path());
        let victim = write(&setup);
        let truth = read_all(&victim);
        victim.kill();
        let data = setup.data();
        let open = slots_with_batches(&data, false);
        let (_, path, batches) = open.last().expect("a segment was being written");
        // A batch, and the header of a frame.
        flip(path, batches[0].at + 80);
        flip(path, batches[batches.len() / 2].at / BLOCK * BLOCK + 30);
        if started {
            setup.start().stop();
        }
        let lost = give_up_all(&data);
        assert!(!lost.is_empty());
        let all = truth.iter().map(Vec::len).sum::<usize>();
        assert!(lost.len() < all / 2, "{} of {all}", lost.len());
        goes_on(&setup, &truth, &lost);
    }
}

/// Bytes of the catalog at random places: the server starts and serves, or says one sentence.
#[test]
fn a_start_on_a_rotten_catalog_is_one_sentence() {
    let (_folder, setup, truth) = written("repair-catalog");
    let path = setup.data().join("catalog");
    let intact = fs::read(&path).expect("the catalog can be read");
    let mut refused = 0;
    for seed in 0..40 {
        let mut rotten = intact.clone();
        let at = mix(seed) as usize % intact.len();
        let long = [1, 8, 64, 4_096][(seed % 4) as usize];
        let end = (at + long).min(intact.len());
        rotten[at..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
        fs::write(&path, &rotten).expect("it is written");
        match setup.try_start_on(1) {
            Ok(victim) => victim.stop(),
            Err(ended) => {
                assert_eq!(ended.code, Some(1), "byte {at}: {}", ended.said);
                assert!(ended.said.contains("the catalog of "), "{}", ended.said);
                assert!(ended.said.contains("weir check"), "{}", ended.said);
                for word in ["panicked", "stack backtrace"] {
                    assert!(!ended.said.contains(word), "byte {at}: {}", ended.said);
                }
                refused += 1;
            }
        }
    }
    assert!(refused > 3, "{refused} of 40 were refused");
    let ran = repair(&setup.data(), &["--log", "0", "--dry-run"]);
    assert!(
        matches!(ran.code, Some(0 | 1 | 5)) && !ran.stderr.contains("panicked"),
        "{ran:?}"
    );
    fs::write(&path, &intact).expect("it is put back");
    let victim = setup.start();
    assert_eq!(read_all(&victim), truth);
    victim.stop();
}
