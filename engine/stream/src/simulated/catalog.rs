//! The catalog on a disk that stops in the middle, or rots.

use weir_log::LedgerChange;
use weir_protocol::model::{
    LogId, Offset, ShardId, ShardIndex, StreamId, StreamMode, StreamStatus, Timestamp,
};
use weir_reactor::sim::{Crash, Dice, SimDisk};

use super::{asked, machine, name, options};
use crate::boot::look_at_catalog_first;
use crate::catalog::given_up::{Fate, Found, GivenUpRecords, GivenUpRows, GivenUpSegment};
use crate::catalog::model::Model;
use crate::catalog::store::{Catalog, CatalogError, Namespace};
use crate::format;

fn open(disk: &SimDisk) -> Result<Catalog<SimDisk>, CatalogError> {
    let namespace = Namespace {
        account: "1".to_owned(),
        region: "r".to_owned(),
    };
    Catalog::open(disk, namespace)
}

/// Names and segments in the catalog.
fn contents(catalog: &Catalog<SimDisk>) -> (Vec<String>, Vec<u64>) {
    let contents = catalog.read(1).unwrap();
    let names = contents
        .named
        .iter()
        .map(|stream| stream.name.to_string())
        .collect();
    (names, catalog.ledger(LogId(0)).unwrap().segments)
}

/// One change each: create, note a segment, drop a stream, drop a segment.
fn step(catalog: &Catalog<SimDisk>, step: u32) -> Result<(), CatalogError> {
    let mut read = catalog.read(1)?;
    let model = Model::new(&mut read, 1);
    let ledger = |added: Vec<u64>, removed: Vec<u64>| LedgerChange {
        log: LogId(0),
        known_generation: u64::from(step),
        begun: 0,
        added,
        removed,
    };
    let generation = u64::from(step);
    match step % 4 {
        0 | 1 => {
            let create = asked(&format!("s{step}"), 20, StreamMode::OnDemand);
            let created = model.create(&create, StreamStatus::Active, Timestamp::ZERO);
            let (stream, next) = created.unwrap();
            catalog.put_stream(&stream, next)
        }
        2 => catalog.apply(&ledger(vec![generation, generation + 1], vec![])),
        _ => {
            catalog.remove_stream(&name(&format!("s{}", step - 2)))?;
            catalog.apply(&ledger(vec![], vec![generation - 1]))
        }
    }
}

#[test]
fn a_power_cut_leaves_whole_transactions() {
    // How many operations of the disk the whole script takes is found out by running it.
    for stop_after in (0..400).step_by(3) {
        let sim = machine(stop_after);
        let disk = sim.disk();
        Catalog::create(&disk, [7; 32]).unwrap();
        let mut acknowledged = contents(&open(&disk).unwrap());
        disk.stop_plain_operations_after(Some(stop_after));
        let mut undecided = None;
        if let Ok(catalog) = open(&disk) {
            for number in 0..8 {
                let done = step(&catalog, number);
                if done.is_err() {
                    undecided = Some(number);
                    break;
                }
                acknowledged = contents(&catalog);
            }
            std::mem::forget(catalog);
        }
        sim.crash(Crash::PowerCut);
        let reopened = open(&disk).unwrap();
        let found = contents(&reopened);
        if found != acknowledged {
            // The change under way may be there, whole: a step has at most two transactions.
            let number = undecided.expect("nothing was under way, so nothing may differ");
            let after_half = match number % 4 {
                3 => {
                    let gone = format!("s{}", number - 2);
                    let mut half = acknowledged.clone();
                    half.0.retain(|name| *name != gone);
                    half
                }
                _ => acknowledged.clone(),
            };
            let mut whole = after_half.clone();
            let generation = u64::from(number);
            match number % 4 {
                0 | 1 => {
                    whole.0.push(format!("s{number}"));
                    whole.0.sort();
                }
                2 => whole.1.extend([generation, generation + 1]),
                _ => whole.1.retain(|g| *g != generation - 1),
            }
            assert!(
                found == after_half || found == whole,
                "{found:?} after {acknowledged:?}"
            );
        }
        // It takes changes again.
        step(&reopened, 100).unwrap();
    }
}

#[test]
fn a_new_folder_is_whole_or_new_again() {
    for stop_after in 0..60 {
        let sim = machine(stop_after);
        let disk = sim.disk();
        disk.stop_plain_operations_after(Some(stop_after));
        Catalog::create(&disk, [7; 32]).ok();
        let identity = weir_log::FolderIdentity {
            folder: 1,
            segment_bytes: 1 << 20,
        };
        format::write(&disk, identity).ok();
        sim.crash(Crash::PowerCut);
        if Catalog::exists(&disk).unwrap() {
            assert_eq!(contents(&open(&disk).unwrap()), (vec![], vec![]));
        } else {
            Catalog::create(&disk, [7; 32]).unwrap();
        }
        if format::read(&disk).unwrap().is_none() {
            format::write(&disk, identity).unwrap();
        }
        assert_eq!(format::read(&disk).unwrap(), Some(identity));
    }
}

#[test]
fn a_failed_write_is_found_out_by_opening_again() {
    let sim = machine(3);
    let disk = sim.disk();
    Catalog::create(&disk, [7; 32]).unwrap();
    let mut catalog = open(&disk).unwrap();
    step(&catalog, 0).unwrap();
    disk.stop_plain_operations_after(Some(2));
    assert!(step(&catalog, 1).is_err());
    disk.stop_plain_operations_after(None);
    catalog.reopen(1).unwrap();
    step(&catalog, 4).unwrap();
    let (names, _) = contents(&catalog);
    assert!(
        names.contains(&"s0".to_owned()) && names.contains(&"s4".to_owned()),
        "{names:?}"
    );
}

/// Gives up two ranges and two segments, on a disk that stops at each of its operations.
#[test]
fn a_repair_that_is_cut_short_gave_up_all_or_nothing() {
    let found = Found {
        when_ms: 5,
        file: "log-0000/slot-000001".to_owned(),
        at: 4_096,
        bytes: 500,
        what: "payload checksum".to_owned(),
    };
    let records = |index, from| GivenUpRecords {
        shard: ShardId::new(StreamId::new(1), ShardIndex(index)),
        from: Offset::new(from).unwrap(),
        until: Offset::new(from + 7).unwrap(),
        found: found.clone(),
    };
    let segment = |generation, fate| GivenUpSegment {
        log: LogId(0),
        generation,
        fate,
        least_next: Vec::new(),
        found: vec![found.clone()],
    };
    let rows = GivenUpRows {
        records: vec![records(0, 10), records(1, 3)],
        segments: vec![segment(2, Fate::SetAside), segment(3, Fate::MadeAnew)],
    };
    let (mut before, mut after, mut done) = (0, 0, 0);
    for stop_after in 0..80 {
        let sim = machine(stop_after);
        let disk = sim.disk();
        Catalog::create(&disk, [7; 32]).unwrap();
        let sealed = LedgerChange {
            log: LogId(0),
            known_generation: 4,
            begun: 0,
            added: vec![1, 2, 3, 4],
            removed: vec![],
        };
        open(&disk).unwrap().apply(&sealed).unwrap();
        disk.stop_plain_operations_after(Some(stop_after));
        let catalog = open(&disk);
        let written = catalog.as_ref().is_ok_and(|c| c.give_up(&rows).is_ok());
        done += u32::from(written);
        std::mem::forget(catalog);
        sim.crash(Crash::PowerCut);
        let reopened = open(&disk).unwrap();
        reopened.read(1).unwrap();
        let ledger = reopened.ledger(LogId(0)).unwrap();
        let given_up = reopened.given_up().unwrap();
        if given_up.is_empty() {
            assert!(!written, "what was written is gone");
            assert_eq!(ledger.segments, [1, 2, 3, 4]);
            assert!(ledger.set_aside.is_empty() && ledger.made_anew.is_empty());
            before += 1;
        } else {
            assert_eq!(given_up, rows);
            assert_eq!(ledger.segments, [1, 3, 4]);
            assert_eq!((ledger.set_aside, ledger.made_anew), (vec![2], vec![3]));
            after += 1;
            reopened.forget_given_up(&rows).unwrap();
            assert!(reopened.given_up().unwrap().is_empty());
        }
    }
    println!("{before} before, {after} after, {done} acknowledged");
    assert!(
        before > 0 && done > 0,
        "{before} before, {after} after, {done} acknowledged"
    );
}

/// All that the catalog says.
fn said(disk: &SimDisk) -> String {
    let catalog = open(disk).unwrap();
    let said = (catalog.read(1).unwrap(), catalog.ledger(LogId(0)).unwrap());
    format!("{said:?}")
}

/// Bits, sectors and pages of the file rot, lie elsewhere, or are as they once were: a start refuses it
/// in one sentence, or reads what was written. Of the header's sector, which says where the rest lies,
/// there is no telling that it is an older one that still fits.
#[test]
fn a_rotten_catalog_is_refused_or_says_what_it_said() {
    const PAGE: usize = 4_096;
    let sim = machine(11);
    let disk = sim.disk();
    Catalog::create(&disk, [7; 32]).unwrap();
    let mut once = Vec::new();
    for number in 0..12 {
        step(&open(&disk).unwrap(), number).unwrap();
        once.push(disk.visible_bytes("catalog").unwrap());
    }
    let intact = once.pop().unwrap();
    let expected = said(&disk);
    // Most of the file is never used.
    let used: Vec<usize> = (0..intact.len() / PAGE)
        .filter(|page| {
            intact[page * PAGE..(page + 1) * PAGE]
                .iter()
                .any(|byte| *byte != 0)
        })
        .collect();
    let (mut refused, mut served) = (0, 0);
    let mut dice = Dice::new(11);
    for round in 0..600 {
        let mut pick = || used[dice.below(used.len() as u64) as usize] * PAGE;
        let (at, other) = (pick(), pick());
        let sector = at + 512 * dice.below(8) as usize;
        let mut rotten = intact.clone();
        match round % 5 {
            0 => rotten[at + dice.below(PAGE as u64) as usize] ^= 1 << dice.below(8),
            1 => rotten[sector..sector + 512].fill(0),
            2 => rotten[at..at + PAGE].fill(0xa5),
            3 => rotten.copy_within(other..other + PAGE, at),
            _ if sector == 0 => continue,
            _ => {
                let old = &once[dice.below(once.len() as u64) as usize];
                if let Some(old) = old.get(sector..sector + 512) {
                    rotten[sector..sector + 512].copy_from_slice(old);
                }
            }
        }
        disk.put_file("catalog", &rotten).unwrap();
        match look_at_catalog_first(&disk, &options(1)) {
            Ok(()) => {
                assert_eq!(
                    said(&disk),
                    expected,
                    "round {round}, byte {at}, from {other}"
                );
                served += 1;
            }
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.starts_with("the catalog of data cannot be read: "),
                    "{text}"
                );
                assert!(
                    !text.contains('\n') && text.contains("nothing was changed"),
                    "{text}"
                );
                refused += 1;
            }
        }
    }
    println!("{refused} refused, {served} served");
    assert!(
        refused > 60 && served > 60,
        "{refused} refused, {served} served"
    );
}
