//! The promises of the simulated machine, each with its test.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use super::{Crash, Dice, Faults, RunLimit, Sim, SimOptions, SimReactor};
use crate::blocking::{BlockingDisk, BlockingFile};
use crate::seam::{BLOCK_BYTES, Disk, File, Lane, Reactor, Socket};

const FILE_BYTES: u64 = 64 << 10;

fn machine(seed: u64) -> Sim {
    Sim::new(seed, SimOptions::default())
}

fn done<T: 'static>(sim: &Sim, main: impl Future<Output = T> + 'static) -> T {
    sim.run(RunLimit::done(), main).expect("runs until done")
}

async fn write(
    reactor: &SimReactor,
    path: &str,
    at: u64,
    fill: u8,
    bytes: usize,
) -> std::io::Result<()> {
    let file = reactor.disk().open(path).await?;
    let mut buffer = file.buffer(bytes);
    buffer.as_mut().fill(fill);
    file.write(Rc::new(buffer), at).await
}

/// A machine with one file of ones, flushed.
fn with_file(seed: u64) -> Sim {
    let sim = machine(seed);
    let reactor = sim.reactor();
    done(&sim, async move {
        reactor.disk().make_folder("log").await.unwrap();
        reactor
            .disk()
            .create_written("log/segment", FILE_BYTES)
            .await
            .unwrap();
        write(&reactor, "log/segment", 0, 1, FILE_BYTES as usize)
            .await
            .unwrap();
    });
    sim
}

#[test]
fn sleepers_wake_in_order_of_time() {
    for seed in 0..50 {
        let sim = machine(seed);
        let reactor = sim.reactor();
        let woken = Rc::new(RefCell::new(Vec::new()));
        let record = Rc::clone(&woken);
        done(&sim, async move {
            for seconds in [3, 1, 2] {
                let (sleeper, record) = (reactor.clone(), Rc::clone(&record));
                reactor.spawn(Lane::Background, async move {
                    sleeper.sleep(Duration::from_secs(seconds)).await;
                    record.borrow_mut().push(seconds);
                });
            }
            let before = reactor.monotonic();
            reactor.sleep(Duration::from_secs(10)).await;
            let slept = reactor.monotonic().since(before);
            assert!(slept >= Duration::from_secs(10) && slept < Duration::from_secs(11));
        });
        assert_eq!(*woken.borrow(), [1, 2, 3]);
    }
}

#[test]
fn order_of_ready_tasks_varies_by_seed() {
    let order = |seed| {
        let sim = machine(seed);
        let reactor = sim.reactor();
        done(&sim, async move {
            let order = Rc::new(RefCell::new(Vec::new()));
            for number in 0..6 {
                let order = Rc::clone(&order);
                reactor.spawn(
                    Lane::Network,
                    async move { order.borrow_mut().push(number) },
                );
            }
            reactor.sleep(Duration::from_millis(1)).await;
            order.take()
        })
    };
    let orders: std::collections::BTreeSet<Vec<i32>> = (0..50).map(order).collect();
    assert!(orders.len() > 10, "only {} orders seen", orders.len());
    assert!(
        orders.contains(&vec![0, 1, 2, 3, 4, 5]),
        "first come, first served is one of them"
    );
}

/// Some of everything: writes, faults, sockets, a crash.
fn busy_run(seed: u64) -> (u64, Vec<u8>) {
    let faults = Faults {
        write_errors: 500,
        slow_operations: 100,
        ..Faults::default()
    };
    let sim = Sim::new(
        seed,
        SimOptions {
            faults,
            ..SimOptions::default()
        },
    );
    let reactor = sim.reactor();
    let (near, far) = sim.connect();
    let ended = sim.run(RunLimit::Steps(2_000), async move {
        reactor
            .disk()
            .create_written("segment", FILE_BYTES)
            .await
            .unwrap();
        for task in 0..8_u64 {
            let (worker, near) = (reactor.clone(), near.clone());
            reactor.spawn(Lane::Commit, async move {
                for turn in 0..1_000 {
                    let at = (task + turn) % 16 * BLOCK_BYTES as u64;
                    let _ = write(&worker, "segment", at, (turn + 1) as u8, BLOCK_BYTES).await;
                    near.send(&[turn as u8; 100]).await.unwrap();
                    worker.yield_now().await;
                }
            });
        }
        let mut received = [0; 77];
        while far.receive(&mut received).await.unwrap() > 0 {}
    });
    assert!(ended.is_none());
    sim.crash(if seed.is_multiple_of(2) {
        Crash::Kill
    } else {
        Crash::PowerCut
    });
    (
        sim.trace_hash(),
        sim.disk().visible_bytes("segment").unwrap_or_default(),
    )
}

#[test]
fn same_seed_same_run() {
    let mut hashes = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let (hash, bytes) = busy_run(seed);
        assert_eq!((hash, bytes), busy_run(seed), "seed {seed}");
        hashes.insert(hash);
    }
    assert_eq!(hashes.len(), 20, "different seeds, different runs");
}

/// Crashes while one write of twos is in flight; how many sectors of it readers see, and how many
/// are durable.
fn torn_write(seed: u64, how: Crash) -> (Sim, usize, usize) {
    let sim = with_file(seed);
    let reactor = sim.reactor();
    let ended = sim.run(RunLimit::Steps(3), async move {
        write(&reactor, "log/segment", 0, 2, BLOCK_BYTES)
            .await
            .unwrap();
    });
    assert!(ended.is_none());
    sim.crash(how);
    let twos = |bytes: Vec<u8>| bytes.chunks(512).filter(|sector| sector[0] == 2).count();
    let disk = sim.disk();
    let visible = twos(disk.visible_bytes("log/segment").unwrap());
    let durable = twos(disk.durable_bytes("log/segment").unwrap());
    (sim, visible, durable)
}

#[test]
fn a_crash_tears_writes_in_flight() {
    for how in [Crash::Kill, Crash::PowerCut] {
        let mut seen = [false; 9];
        for seed in 0..200 {
            let (_, visible, durable) = torn_write(seed, how);
            seen[visible] = true;
            match how {
                Crash::Kill => assert_eq!(durable, 0),
                Crash::PowerCut => assert_eq!(durable, visible),
            }
        }
        assert_eq!(
            seen, [true; 9],
            "every count of sectors of 0..=8 is drawn by some seed"
        );
    }
}

#[test]
fn what_a_killed_process_left_in_caches_is_lost_by_a_power_cut_and_kept_by_a_flush() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..100 {
        let (sim, visible, _) = torn_write(seed, Crash::Kill);
        let flush = seed % 2 == 0;
        if flush {
            let reactor = sim.reactor();
            done(&sim, async move {
                let file = reactor.disk().open("log/segment").await.unwrap();
                file.flush().await.unwrap();
            });
        }
        sim.crash(Crash::PowerCut);
        let bytes = sim.disk().durable_bytes("log/segment").unwrap();
        let after = bytes.chunks(512).filter(|sector| sector[0] == 2).count();
        if flush {
            assert_eq!(after, visible);
            kept += after;
        } else {
            assert!(after <= visible);
            lost += visible - after;
        }
    }
    assert!(lost > 0 && kept > 0);
}

#[test]
fn an_acknowledged_write_survives_everything() {
    for seed in 0..100 {
        let sim = with_file(seed);
        let reactor = sim.reactor();
        done(&sim, async move {
            write(&reactor, "log/segment", 4096, 7, 8192).await.unwrap();
        });
        sim.crash(if seed % 2 == 0 {
            Crash::Kill
        } else {
            Crash::PowerCut
        });
        sim.crash(Crash::PowerCut);
        let bytes = sim.disk().durable_bytes("log/segment").unwrap();
        assert!(bytes[4096..4096 + 8192].iter().all(|&byte| byte == 7));
    }
}

#[test]
fn a_creation_cut_by_a_crash_is_whole_or_absent() {
    let mut there = 0;
    for seed in 0..100 {
        let sim = machine(seed);
        let reactor = sim.reactor();
        sim.run(RunLimit::Steps(1), async move {
            reactor
                .disk()
                .create_written("segment", FILE_BYTES)
                .await
                .unwrap();
        });
        sim.crash(Crash::PowerCut);
        if let Ok(bytes) = sim.disk().durable_bytes("segment") {
            assert_eq!(bytes.len() as u64, FILE_BYTES);
            there += 1;
        }
    }
    assert!((20..80).contains(&there), "{there} of 100");
}

#[test]
fn names_are_listed_and_errors_are_typed() {
    let sim = with_file(1);
    let reactor = sim.reactor();
    done(&sim, async move {
        let disk = reactor.disk();
        let root = disk.list("").await.unwrap();
        assert_eq!(
            (root.len(), root[0].is_folder, root[0].name.as_str()),
            (1, true, "log")
        );
        let inside = disk.list("log").await.unwrap();
        assert_eq!(
            (inside[0].name.as_str(), inside[0].bytes),
            ("segment", FILE_BYTES)
        );
        assert_eq!(
            disk.list("no").await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        let twice = disk.create_reserved("log/segment", 4096).await.unwrap_err();
        assert_eq!(twice.kind(), ErrorKind::AlreadyExists);
        let large = disk.create_written("log/large", 2 << 30).await.unwrap_err();
        assert_eq!(large.kind(), ErrorKind::StorageFull);
        let before = disk.space().await.unwrap();
        disk.remove("log/segment").await.unwrap();
        assert_eq!(disk.space().await.unwrap().free, before.free + FILE_BYTES);
        assert!(disk.open("log/segment").await.is_err());
    });
}

#[test]
fn armed_faults_strike_where_they_are_told() {
    let sim = with_file(1);
    sim.faults().fail_next_writes = 1;
    sim.faults().only_under = Some("other".into());
    let attempt = |fails: bool| {
        let reactor = sim.reactor();
        done(&sim, async move {
            let result = write(&reactor, "log/segment", 0, 3, BLOCK_BYTES).await;
            assert_eq!(result.is_err(), fails, "{result:?}");
        });
    };
    attempt(false);
    sim.faults().only_under = Some("log".into());
    attempt(true);
    attempt(false);
    sim.faults().fail_all_writes = true;
    attempt(true);
    sim.faults().fail_all_writes = false;
    // The open is operation 0, the write operation 1.
    sim.faults().fail_operation = Some(1);
    attempt(true);
    attempt(false);
}

#[test]
fn damage_is_read_until_written_over() {
    let sim = with_file(1);
    let disk = sim.disk();
    disk.rot_bit("log/segment", 5_000, 7).unwrap();
    disk.zero_sector("log/segment", 9_000).unwrap();
    disk.make_unreadable("log/segment", 12_288..12_289).unwrap();
    let reactor = sim.reactor();
    done(&sim, async move {
        let file = reactor.disk().open("log/segment").await.unwrap();
        let bytes = file.read(4096, 8192).await.unwrap();
        assert_eq!(bytes[5_000 - 4096], 1 | 0x80);
        assert_eq!(
            bytes
                .chunks(512)
                .filter(|sector| sector.iter().all(|&byte| byte == 0))
                .count(),
            1
        );
        assert_eq!(
            file.read(12_288, 4096).await.unwrap_err().raw_os_error(),
            Some(libc::EIO)
        );
        write(&reactor, "log/segment", 12_288, 4, BLOCK_BYTES)
            .await
            .unwrap();
        assert_eq!(file.read(12_288, 4096).await.unwrap(), vec![4; 4096]);
    });
}

#[test]
fn the_wall_clock_jumps_alone_and_a_power_cut_resets_the_monotonic_one() {
    let sim = machine(1);
    let reactor = sim.reactor();
    let (wall, steady) = (reactor.wall_ms(), reactor.monotonic());
    sim.jump_wall_clock(-3_600_000);
    assert_eq!(reactor.wall_ms(), wall - 3_600_000);
    assert_eq!(reactor.monotonic(), steady);
    sim.crash(Crash::Kill);
    assert!(sim.reactor().monotonic() > steady);
    sim.crash(Crash::PowerCut);
    assert_eq!(sim.reactor().monotonic().0, 0);
}

#[test]
fn plain_files_are_durable_after_sync_only() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..50 {
        let sim = machine(seed);
        let disk = sim.disk();
        let file = disk.create("catalog").unwrap();
        file.write_at(100, b"first").unwrap();
        file.sync().unwrap();
        file.write_at(100, b"other").unwrap();
        sim.crash(Crash::Kill);
        assert!(
            file.write_at(0, b"ghost").is_err(),
            "a handle of a former life changes nothing"
        );
        assert_eq!(&disk.visible_bytes("catalog").unwrap()[100..], b"other");
        sim.crash(Crash::PowerCut);
        match &disk.durable_bytes("catalog").unwrap()[100..] {
            b"first" => old += 1,
            b"other" => new += 1,
            torn => panic!("a sector tore: {torn:?}"),
        }
    }
    assert!(old > 0 && new > 0);
}

#[test]
fn plain_files_behave_like_an_array() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let sim = machine(seed);
        let file = sim.disk().create("catalog").unwrap();
        let mut model = Vec::new();
        for step in 0..40_u8 {
            let at = dice.below(3_000) as usize;
            match dice.below(6) {
                0 => {
                    file.set_bytes(at as u64).unwrap();
                    model.resize(at, 0);
                }
                1 => file.sync().unwrap(),
                _ => {
                    let data = vec![step + 1; dice.below(1_500) as usize];
                    file.write_at(at as u64, &data).unwrap();
                    let end = at + data.len();
                    model.resize(model.len().max(end), 0);
                    model[at..end].copy_from_slice(&data);
                }
            }
            let mut read = vec![0xee; model.len()];
            assert_eq!(file.bytes().unwrap(), model.len() as u64, "seed {seed}");
            file.read_at(0, &mut read).unwrap();
            assert!(read == model, "seed {seed}, step {step}");
            let from = at.min(model.len());
            file.read_at(from as u64, &mut read[from..]).unwrap();
            assert!(read == model, "seed {seed}, step {step}, from {from}");
        }
    }
}

#[test]
fn sockets_carry_every_byte_in_order() {
    for seed in 0..30 {
        let sim = machine(seed);
        let reactor = sim.reactor();
        let (near, far) = sim.connect();
        sim.faults().single_bytes = 1_000;
        done(&sim, async move {
            let sent: Vec<u8> = (0..100_000_u32)
                .map(|number| (number % 251) as u8)
                .collect();
            let expected = sent.clone();
            let sender = near.clone();
            reactor.spawn(Lane::Network, async move {
                sender.send(&sent).await.unwrap();
                sender.finish();
            });
            let mut received = Vec::new();
            let mut piece = [0; 4_000];
            loop {
                let bytes = far.receive(&mut piece).await.unwrap();
                if bytes == 0 {
                    break;
                }
                received.extend_from_slice(&piece[..bytes]);
            }
            assert!(received == expected);
            // Half closed: the other direction still works.
            far.send(b"thanks").await.unwrap();
            assert!(near.receive(&mut piece).await.unwrap() > 0);
            far.shutdown();
            assert_eq!(far.receive(&mut piece).await.unwrap(), 0);
            assert!(far.send(b"more").await.is_err());
        });
    }
}

#[test]
#[should_panic(expected = "stuck: seed 5")]
fn a_run_that_can_not_end_names_its_seed() {
    let sim = machine(5);
    done(&sim, std::future::pending::<()>());
}

#[test]
fn handles_of_a_former_life_wait_for_ever() {
    let sim = with_file(3);
    let reactor = sim.reactor();
    sim.crash(Crash::Kill);
    reactor.spawn(Lane::Network, async {
        panic!("a dead process runs nothing")
    });
    let ended = sim.run(RunLimit::Time(Duration::from_mins(1)), async move {
        let _ = write(&reactor, "log/segment", 0, 9, BLOCK_BYTES).await;
    });
    assert!(ended.is_none());
    assert_eq!(sim.disk().visible_bytes("log/segment").unwrap()[0], 1);
}

#[test]
fn a_misdirected_write_lands_once_and_elsewhere() {
    let (mut own, mut other) = (0, 0);
    for seed in 0..50 {
        let sim = with_file(seed);
        let reactor = sim.reactor();
        sim.faults().misdirect_next_writes = 1;
        done(&sim, async move {
            let disk = reactor.disk();
            disk.create_written("log/other", FILE_BYTES).await.unwrap();
            write(&reactor, "log/segment", 4096, 9, 4096).await.unwrap();
        });
        assert_eq!(sim.misdirected(), 1);
        let nines = |path: &str| {
            let bytes = sim.disk().durable_bytes(path).unwrap();
            let blocks = bytes.chunks(BLOCK_BYTES).enumerate();
            let found = blocks.filter(|(_, block)| block.iter().all(|&byte| byte == 9));
            found.map(|(index, _)| index).collect::<Vec<_>>()
        };
        match (&nines("log/segment")[..], &nines("log/other")[..]) {
            ([block], []) if *block != 1 => own += 1,
            ([], [_]) => other += 1,
            found => panic!("seed {seed}: {found:?}"),
        }
    }
    assert!(own > 0 && other > 0);
}

#[test]
fn what_a_failed_flush_gave_up_is_read_in_its_life_only_and_no_flush_brings_it_back() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..100 {
        let (sim, visible, _) = torn_write(seed, Crash::Kill);
        let reactor = sim.reactor();
        sim.faults().fail_next_flushes = 1;
        done(&sim, async move {
            let file = reactor.disk().open("log/segment").await.unwrap();
            assert!(file.flush().await.is_err());
            file.flush().await.unwrap();
        });
        let twos = |bytes: Vec<u8>| bytes.chunks(512).filter(|sector| sector[0] == 2).count();
        let disk = sim.disk();
        assert_eq!(twos(disk.visible_bytes("log/segment").unwrap()), visible);
        sim.crash(Crash::Kill);
        let after = twos(disk.visible_bytes("log/segment").unwrap());
        assert_eq!(after, twos(disk.durable_bytes("log/segment").unwrap()));
        lost += visible - after;
        kept += after;
    }
    assert!(lost > 0 && kept > 0);
}

#[test]
fn a_stalled_disk_takes_seconds_and_then_goes_on() {
    let sim = with_file(4);
    sim.faults().stalls = 10_000;
    let reactor = sim.reactor();
    let started = sim.elapsed();
    done(&sim, async move {
        write(&reactor, "log/segment", 0, 5, 4096).await.unwrap();
    });
    let took = sim.elapsed().checked_sub(started).unwrap();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(20));
}

#[test]
fn names_are_durable_unless_the_folder_flush_is_forgotten() {
    let survivors = |forgets: bool| {
        let there = (0..40).filter(|seed| {
            let sim = machine(*seed);
            if forgets {
                sim.disk().forget_folder_flushes();
            }
            let reactor = sim.reactor();
            done(&sim, async move {
                reactor
                    .disk()
                    .create_written("segment", FILE_BYTES)
                    .await
                    .unwrap();
            });
            sim.crash(Crash::PowerCut);
            sim.disk().durable_bytes("segment").is_ok()
        });
        there.count()
    };
    assert_eq!(survivors(false), 40);
    assert!((1..40).contains(&survivors(true)));
}
