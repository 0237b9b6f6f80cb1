//! SIGTERM under load: what is in flight is answered, exit code 0, and the next life finds a folder
//! that was closed in order.

use std::thread;
use std::time::{Duration, Instant};

use weir_protocol::wire::hello::CORE_ANY;

use super::ledger::Ledger;
use crate::harness::{Load, Noted, Plan, Reader, Setup, Shape, Victim, Wire, alone, temporary};

fn load(victim: &Victim, stream: &str, number: u64) -> Load {
    let described = Wire::connect(victim.wire, CORE_ANY)
        .unwrap()
        .describe(stream);
    Load::start(&Plan {
        address: victim.wire,
        stream: described,
        number,
        connections: 2,
        in_flight: 8,
        shape: Shape {
            records: 1..=50,
            bytes: 20..=1_000,
        },
        bytes_per_second: None,
    })
}

fn note(ledger: &mut Ledger, mut noted: Noted) {
    // A server that stops may say so.
    noted
        .refused
        .retain(|code, _| *code != weir_protocol::wire::error::ErrorCode::Stopping);
    ledger.note(noted);
}

#[test]
fn sigterm_under_load_ends_clean_and_the_numbers_go_on() {
    let _machine = alone();
    let folder = temporary("graceful");
    let setup = Setup::new(folder.path());
    let mut ledger = Ledger::new(4);
    let victim = setup.start_on(2);
    Wire::connect(victim.wire, CORE_ANY)
        .unwrap()
        .create("drain", 4);
    let running = load(&victim, "drain", 1);
    running.wait_until_it_began();
    thread::sleep(Duration::from_millis(500));

    let asked = Instant::now();
    let ended = victim.terminate();
    let took = asked.elapsed();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(!ended.said.contains("panicked"), "{}", ended.said);
    assert!(took < Duration::from_secs(15), "draining took {took:?}");
    note(&mut ledger, running.join());

    let victim = setup.start_on(2);
    let stream = Wire::connect(victim.wire, CORE_ANY)
        .unwrap()
        .describe("drain");
    let audit = ledger.audit(&mut Reader::new(victim.wire), &stream);
    println!("{} records after SIGTERM in {took:?}", audit.records);
    let running = load(&victim, "drain", 2);
    running.wait_until_it_began();
    let noted = running.stop();
    // After an unclean end the epoch would have risen.
    let unclean = noted
        .stored
        .iter()
        .find(|placed| placed.first.epoch().get() != 0);
    assert_eq!(unclean, None, "the folder was closed in order");
    note(&mut ledger, noted);
    ledger.audit_all(&mut Reader::new(victim.wire), &stream);
    victim.stop();
}

#[test]
fn sigint_ends_an_idle_server_at_once() {
    let folder = temporary("sigint");
    let victim = Setup::new(folder.path()).start();
    assert_eq!(victim.admin_page("/readyz").0, 200);
    assert_eq!(victim.admin_page("/healthz").0, 200);
    let asked = Instant::now();
    victim.signal("INT");
    victim.stop();
    let took = asked.elapsed();
    assert!(
        took < Duration::from_secs(5),
        "an idle server took {took:?} to stop"
    );
}
