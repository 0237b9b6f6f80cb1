//! R3: the file system is shut down under load, as when the power goes, and mounted again.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::chance::Chance;
use crate::disk::{self, Mounted};
use crate::judge::Hearing;
use crate::load::{IN_FLIGHT, Load, Moment, Plan};
use crate::rig::{Done, Order};
use crate::server::{Place, Server};
use crate::{folder, wire};

/// Cuts of one file system; then a new one, so that it does not fill up.
const CUTS: u64 = 10;
const SHARDS: u32 = 4;
/// Bytes per second of each connection.
const RATE: u64 = 5_000_000;

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    cuts: u64,
    in_recovery: u64,
    acknowledged: u64,
    records: u64,
    unpromised: u64,
}

pub(crate) fn ext4(order: &Order) -> Result<Done> {
    run(order, "ext4")
}

pub(crate) fn xfs(order: &Order) -> Result<Done> {
    run(order, "xfs")
}

fn run(order: &Order, kind: &str) -> Result<Done> {
    prove(order.seed, kind)?;
    let mut all = Tally::default();
    let mut seed = order.seed;
    while all.cuts < order.count && !order.is_over() {
        let cuts = CUTS.min(order.count - all.cuts);
        let tally = series(seed, cuts, kind, order, false).with_context(|| {
            format!("replay: ./scripts/soak cut-{kind} --seed {seed} --count {cuts}")
        })?;
        all.cuts += tally.cuts;
        all.in_recovery += tally.in_recovery;
        all.acknowledged += tally.acknowledged;
        all.records += tally.records;
        all.unpromised += tally.unpromised;
        seed += 1;
    }
    let note = format!(
        "{} cuts in recovery beside, {} batches acknowledged, {} records judged, {} batches durable \
         before their answer, 0 lost; proven on early acknowledgements",
        all.in_recovery, all.acknowledged, all.records, all.unpromised
    );
    Ok(Done::new(all.cuts, note).on(kind))
}

/// A server that acknowledges before it flushes must be found out.
fn prove(seed: u64, kind: &str) -> Result<()> {
    let order = Order {
        seed,
        count: 4,
        until: None,
    };
    match series(seed, 4, kind, &order, true) {
        Ok(_) => bail!("acknowledged before flushed, and four cuts do not show it"),
        Err(wrong) if format!("{wrong:#}").contains("lost: ") => Ok(()),
        Err(wrong) => Err(wrong.context("while the rig was proven on a planted bug")),
    }
}

fn series(seed: u64, cuts: u64, kind: &str, order: &Order, early: bool) -> Result<Tally> {
    let folder = folder::temporary("cut")?;
    let (image, at) = (folder.path().join("image"), folder.path().join("mount"));
    let ledger = folder.path().join("ledger");
    let place = Place {
        data: at.join("data"),
        log: folder.path().join("server.log"),
    };
    std::fs::write(&ledger, "")?;
    disk::make(&image, kind)?;
    let mut chance = Chance::new(seed);
    let mut judge = Hearing::open(&ledger, None)?;
    let mut tally = Tally::default();
    for life in 0..cuts {
        if order.is_over() {
            break;
        }
        let cores = chance.between(1, 2);
        if life > 0 && chance.one_in(4) {
            let mounted = Mounted::mount(&image, &at, kind)?;
            let starting = Server::spawn(&place, cores)?;
            thread::sleep(Duration::from_millis(chance.between(1, 60)));
            mounted.cut()?;
            starting.kill()?;
            mounted.unmount()?;
            tally.in_recovery += 1;
        }
        let mounted = Mounted::mount(&image, &at, kind)?;
        let (server, ports) = Server::start(&place, cores)?;
        if life == 0 {
            wire::create(ports.wire, SHARDS)?;
        }
        let verdict = judge.check(ports.http, false)?;
        tally.records += verdict.records;
        tally.unpromised += verdict.unpromised;
        let load = Load::start(&Plan {
            address: ports.wire,
            ledger: ledger.clone(),
            life,
            seed,
            rate: RATE,
            in_flight: IN_FLIGHT,
            moment: Moment::default(),
            early,
        })?;
        load.began()?;
        thread::sleep(Duration::from_millis(chance.between(20, 400)));
        mounted.cut()?;
        server.kill()?;
        tally.acknowledged += load.join()?.acknowledged;
        mounted.unmount()?;
        tally.cuts += 1;
    }
    // Once more, and all of it from the start: what was judged before is still where it was.
    let mounted = Mounted::mount(&image, &at, kind)?;
    let (server, ports) = Server::start(&place, 2)?;
    let verdict = judge.check(ports.http, false)?;
    tally.records += verdict.records;
    tally.unpromised += verdict.unpromised;
    let verdict = judge.check(ports.http, true)?;
    ensure!(
        (verdict.records, verdict.unpromised) == (tally.records, 0),
        "{} records were judged before, {verdict:?} now",
        tally.records
    );
    server.kill()?;
    mounted.unmount()?;
    Ok(tally)
}
