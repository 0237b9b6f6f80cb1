//! The Kinesis Client Library 3, polling and with enhanced fan-out: a worker in a Java process over
//! a stream that is split and merged under load, on a server that is killed meanwhile.
//!
//! `KclSession` judges by itself: every acknowledged record processed, each key's in order, parents
//! before children, each ended shard's lease at its end. Here is only what kills the server.

use std::time::Duration;

use super::program::{Program, java, moto};
use crate::harness::{Setup, alone, temporary};

const PATIENCE: Duration = Duration::from_mins(4);

/// Long tests run where `./scripts/test --all` asks for them.
fn asked_for() -> bool {
    let asked = std::env::var_os("WEIR_TEST_ALL").is_some();
    if !asked {
        println!("skipped: a run of minutes, part of ./scripts/test --all");
    }
    asked
}

fn kcl(mode: &str) {
    if !asked_for() {
        return;
    }
    let _alone = alone();
    let folder = temporary(&format!("kcl-{mode}"));
    let mut setup = Setup::new(folder.path());
    let mut victim = setup.start_on(2);
    let address = victim.http.to_string();
    let (tables, tables_address) = moto(folder.path());
    let mut command = java("KclSession");
    command
        .args([mode, &format!("http://{address}"), &tables_address])
        .arg(folder.path().join("ledger.txt"));
    let mut worker = Program::start(&mut command, folder.path(), "kcl");
    while let Some(line) = worker.line(PATIENCE) {
        println!("{line}");
        if line == "kill" {
            victim.kill();
            setup = setup.with("--http", &address);
            victim = setup.start_on(2);
            worker.tell("the server is back");
        }
    }
    worker.ends_well(PATIENCE);
    drop(tables);
    victim.stop();
}

#[test]
fn polling() {
    kcl("POLLING");
}

#[test]
fn fan_out() {
    kcl("FANOUT");
}
