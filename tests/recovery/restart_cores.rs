//! The same folder on one core, then two, then one: everything readable, appends go on, numbers go
//! on without a gap after a clean stop.

use std::thread;
use std::time::Duration;

use weir_protocol::wire::hello::CORE_ANY;
use weir_protocol::wire::request::Request;

use super::ledger::Ledger;
use crate::harness::{
    Load, Plan, Reader, Setup, Shape, Wire, alone, bytes_on_disk, name, temporary, wait_for,
};

const SHARDS: u32 = 6;

#[test]
fn another_core_count_keeps_every_record_and_goes_on() {
    let _machine = alone();
    let folder = temporary("restart-cores");
    let setup = Setup::new(folder.path());
    let mut ledger = Ledger::new(SHARDS as usize);
    let mut epochs = Vec::new();
    for (life, cores) in [1, 2, 1, 2].into_iter().enumerate() {
        let victim = setup.start_on(cores);
        let mut wire = Wire::connect(victim.wire, CORE_ANY).unwrap();
        let stream = match life {
            0 => wire.create("cores", SHARDS),
            _ => wire.describe("cores"),
        };
        assert_eq!(stream.cores, cores);
        let owners: Vec<_> = stream.shards.iter().map(|shard| shard.core).collect();
        let used = (0..cores).filter(|core| owners.contains(core)).count();
        assert_eq!(used, cores as usize, "every core owns shards: {owners:?}");
        ledger.audit_all(&mut Reader::new(victim.wire), &stream);

        let load = Load::start(&Plan {
            address: victim.wire,
            stream: stream.clone(),
            number: life as u64,
            connections: 2,
            in_flight: 4,
            shape: Shape {
                records: 1..=50,
                bytes: 20..=2_000,
            },
            bytes_per_second: Some(40_000_000),
        });
        load.wait_until_it_began();
        thread::sleep(Duration::from_millis(700));
        let noted = load.stop();
        assert!(noted.broken.is_empty(), "{:?}", noted.broken);
        epochs.extend(noted.stored.iter().map(|placed| placed.first.epoch().get()));
        ledger.note(noted);
        let audit = ledger.audit(&mut Reader::new(victim.wire), &stream);
        assert_eq!(audit.unacknowledged, 0);
        victim.stop();
    }
    assert!(
        epochs.iter().all(|epoch| *epoch == 0),
        "a clean stop raises no epoch"
    );
}

/// A core that reads what another core's log holds must not hold its bytes for ever.
#[test]
fn another_core_count_gives_bytes_back() {
    let _machine = alone();
    let folder = temporary("restart-space");
    let setup = Setup::new(folder.path());
    let victim = setup.start_on(1);
    let stream = Wire::connect(victim.wire, CORE_ANY)
        .unwrap()
        .create("gone", SHARDS);
    let load = Load::start(&Plan {
        address: victim.wire,
        stream,
        number: 1,
        connections: 2,
        in_flight: 4,
        shape: Shape {
            records: 50..=50,
            bytes: 1_000..=1_000,
        },
        bytes_per_second: Some(80_000_000),
    });
    load.wait_until_it_began();
    thread::sleep(Duration::from_secs(3));
    let written = load.stop().bytes;
    victim.stop();
    let victim = setup.start_on(2);
    let delete = Request::Delete(name("gone"));
    let deleted = Wire::connect(victim.wire, CORE_ANY)
        .unwrap()
        .call(&delete, |response| format!("{response:?}"));
    assert_eq!(deleted.unwrap(), "Deleted");
    let bound = 64 << 20;
    assert!(written > 2 * bound, "the bound shows something");
    wait_for(
        "the bytes of the deleted stream",
        Duration::from_secs(20),
        || (bytes_on_disk(&setup.data()) < bound).then_some(()),
    );
    victim.stop();
}
