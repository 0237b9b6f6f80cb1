//! What goes wrong with plain files.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;

use super::super::{Crash, RunLimit, Sim, SimBlockingFile, SimDisk, SimOptions};
use super::PlainFaults;
use crate::blocking::{BlockingDisk, BlockingFile};
use crate::seam::{Lane, Reactor};

const SECTORS: usize = 4;
const BYTES: usize = SECTORS * 512;

/// A machine with one synced file of ones.
fn with_file(seed: u64) -> (Sim, SimDisk, SimBlockingFile) {
    let sim = Sim::new(seed, SimOptions::default());
    let disk = sim.disk();
    let file = disk.create("catalog").unwrap();
    file.write_at(0, &[1; BYTES]).unwrap();
    file.sync().unwrap();
    (sim, disk, file)
}

/// The first byte of each sector, as a reader sees it.
fn visible(disk: &SimDisk) -> Vec<u8> {
    let bytes = disk.visible_bytes("catalog").unwrap();
    bytes.iter().step_by(512).copied().collect()
}

#[test]
fn a_life_can_end_amid_a_write() {
    for how in [Crash::Kill, Crash::PowerCut] {
        let mut found = BTreeSet::new();
        for seed in 0..200 {
            let (sim, disk, file) = with_file(seed);
            disk.set_plain_faults(PlainFaults {
                ends_amid: Some(1),
                ..PlainFaults::default()
            });
            let reactor = sim.reactor();
            let ran = sim.run(RunLimit::done(), async move {
                file.write_at(0, &[2; 512]).unwrap();
                assert!(file.write_at(0, &[3; BYTES]).is_err());
                assert!(file.sync().is_err() && file.bytes().is_err(), "it is dead");
                reactor.sleep(Duration::from_secs(1)).await;
                panic!("nothing runs behind the end");
            });
            assert_eq!(ran, None);
            sim.crash(how);
            found.insert(visible(&disk));
            let file = disk.open("catalog").unwrap();
            file.write_at(0, &[4; BYTES]).unwrap();
            file.sync().unwrap();
        }
        assert!(found.contains(&vec![3; SECTORS]), "{how:?}: {found:?}");
        assert!(found.contains(&vec![2, 3, 3, 3]), "{how:?}: {found:?}");
        let is_lost = found.contains(&vec![1; SECTORS]);
        assert_eq!(is_lost, how == Crash::PowerCut, "{how:?}: {found:?}");
    }
}

#[test]
fn names_change_whole_or_not_at_all_when_a_life_ends() {
    let (mut before, mut after) = (0, 0);
    for seed in 0..50 {
        let (sim, disk, _) = with_file(seed);
        disk.set_plain_faults(PlainFaults {
            ends_amid: Some(0),
            ..PlainFaults::default()
        });
        disk.rename("catalog", "other").unwrap_err();
        sim.crash(Crash::PowerCut);
        let paths = disk.paths();
        before += u32::from(paths == ["catalog"]);
        after += u32::from(paths == ["other"]);
    }
    assert_eq!(before + after, 50);
    assert!(before > 0 && after > 0);
}

/// The kernel calls pages clean that it could not write: the next sync has nothing to do, and says
/// that all is well.
#[test]
fn what_a_failed_sync_was_for_is_lost_although_the_next_one_succeeds() {
    let (mut seen, mut lost) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..400 {
        let (sim, disk, file) = with_file(seed);
        file.write_at(0, &[2; BYTES]).unwrap();
        disk.set_plain_faults(PlainFaults {
            sync_errors: 10_000,
            ..PlainFaults::default()
        });
        file.sync().unwrap_err();
        disk.set_plain_faults(PlainFaults::default());
        let read = visible(&disk);
        file.sync().unwrap();
        assert_eq!(visible(&disk), read);
        sim.crash(Crash::PowerCut);
        let durable = visible(&disk);
        assert!(durable.iter().zip(&read).all(|(is, was)| is <= was));
        lost.insert(durable);
        seen.insert(read);
    }
    assert!(lost.contains(&vec![1; SECTORS]) && lost.contains(&vec![2; SECTORS]));
    assert!(lost.len() > 5, "{lost:?}");
    assert!(seen.contains(&vec![2; SECTORS]) && seen.contains(&vec![1; SECTORS]));
}

/// What is written again is to be flushed again.
#[test]
fn what_a_failed_sync_lost_can_be_written_again() {
    for seed in 0..50 {
        let (sim, disk, file) = with_file(seed);
        file.write_at(0, &[2; BYTES]).unwrap();
        disk.set_plain_faults(PlainFaults {
            sync_errors: 10_000,
            ..PlainFaults::default()
        });
        file.sync().unwrap_err();
        disk.set_plain_faults(PlainFaults::default());
        file.write_at(0, &[3; BYTES]).unwrap();
        file.sync().unwrap();
        sim.crash(Crash::PowerCut);
        assert_eq!(visible(&disk), [3; SECTORS]);
    }
}

#[test]
fn each_kind_of_operation_fails_by_itself() {
    let (_sim, disk, file) = with_file(1);
    let set = |change: fn(&mut PlainFaults)| {
        let mut faults = PlainFaults::default();
        change(&mut faults);
        disk.set_plain_faults(faults);
    };
    set(|faults| faults.read_errors = 10_000);
    let read = || file.read_at(0, &mut [0; 8]);
    assert_eq!(read().unwrap_err().raw_os_error(), Some(libc::EIO));
    disk.open("catalog").unwrap_err();
    file.write_at(0, &[2; 8]).unwrap();
    file.sync().unwrap();
    set(|faults| faults.write_errors = 10_000);
    read().unwrap();
    let error = file.write_at(0, &[3; BYTES]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    disk.create("new").unwrap_err();
    file.sync().unwrap();
    set(|faults| faults.full_errors = 10_000);
    let full = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::StorageFull);
    full(disk.create("more").unwrap_err());
    full(file.write_at(BYTES as u64, &[1]).unwrap_err());
    full(file.set_bytes(BYTES as u64 + 1).unwrap_err());
    // What is there can be written over, and cut.
    file.write_at(0, &[4; BYTES]).unwrap();
    file.set_bytes(512).unwrap();
    set(|_| ());
    disk.create("more").unwrap();
}

/// A database that is dropped closes its file in good order: a crash must not look like that.
#[test]
fn what_is_dropped_by_a_crash_changes_nothing() {
    struct Closes(SimBlockingFile);
    impl Drop for Closes {
        fn drop(&mut self) {
            self.0.write_at(0, &[9; BYTES]).ok();
            self.0.sync().ok();
        }
    }
    for how in [Crash::Kill, Crash::PowerCut] {
        let (sim, disk, file) = with_file(2);
        let reactor = sim.reactor();
        let open = Closes(file);
        sim.run(RunLimit::Steps(10), async move {
            let sleeper = reactor.clone();
            reactor.spawn(Lane::Background, async move {
                let _open = open;
                sleeper.sleep(Duration::from_hours(1)).await;
            });
            reactor.sleep(Duration::from_hours(1)).await;
        });
        sim.crash(how);
        assert_eq!(visible(&disk), [1; SECTORS]);
    }
}
