//! R2: kill -9 under load at any moment, in recovery too, on changing core counts.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::chance::Chance;
use crate::judge::Hearing;
use crate::load::{IN_FLIGHT, Load, Moment, Plan};
use crate::rig::{Done, Order};
use crate::server::{Place, Server};
use crate::{folder, wire};

/// Lives on one folder; then a new one, so that disk and ledger stay small.
const LIVES: u64 = 10;
const SHARDS: u32 = 6;
/// Bytes per second of each connection: four or so keep a small machine busy.
const RATE: u64 = 12_000_000;

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    kills: u64,
    in_recovery: u64,
    acknowledged: u64,
    records: u64,
    unpromised: u64,
}

pub(crate) fn run(order: &Order) -> Result<Done> {
    prove(order.seed)?;
    let mut all = Tally::default();
    let mut seed = order.seed;
    while all.kills < order.count && !order.is_over() {
        let lives = LIVES.min(order.count - all.kills);
        let tally = series(seed, lives, order, false).with_context(|| {
            format!("replay: ./scripts/soak kill --seed {seed} --count {lives}")
        })?;
        all.kills += tally.kills;
        all.in_recovery += tally.in_recovery;
        all.acknowledged += tally.acknowledged;
        all.records += tally.records;
        all.unpromised += tally.unpromised;
        seed += 1;
    }
    let note = format!(
        "{} kills in recovery, {} batches acknowledged, {} records judged, {} batches durable before \
         their answer, 0 lost; proven on early acknowledgements",
        all.in_recovery, all.acknowledged, all.records, all.unpromised
    );
    Ok(Done::new(all.kills, note).on(&folder::filesystem(Path::new(folder::PLACE))))
}

/// A server that acknowledges before it flushes must be found out.
fn prove(seed: u64) -> Result<()> {
    let order = Order {
        seed,
        count: 4,
        until: None,
    };
    match series(seed, 4, &order, true) {
        Ok(_) => bail!("acknowledged before flushed, and four kills do not show it"),
        Err(wrong) if format!("{wrong:#}").contains("lost: ") => Ok(()),
        Err(wrong) => Err(wrong.context("while the rig was proven on a planted bug")),
    }
}

fn series(seed: u64, lives: u64, order: &Order, early: bool) -> Result<Tally> {
    let folder = folder::temporary("kill")?;
    let place = Place {
        data: folder.path().join("data"),
        log: folder.path().join("server.log"),
    };
    let ledger = folder.path().join("ledger");
    std::fs::write(&ledger, "")?;
    let mut chance = Chance::new(seed);
    let mut judge = Hearing::open(&ledger, None)?;
    let mut tally = Tally::default();
    let (server, ports) = Server::start(&place, chance.between(1, 2))?;
    wire::create(ports.wire, SHARDS)?;
    server.kill()?;
    for life in 1..=lives {
        if order.is_over() {
            break;
        }
        let cores = chance.between(1, 2);
        if chance.one_in(4) {
            let starting = Server::spawn(&place, cores)?;
            thread::sleep(Duration::from_millis(chance.between(1, 60)));
            starting.kill()?;
            tally.in_recovery += 1;
        }
        let (server, ports) = Server::start(&place, cores)?;
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
        thread::sleep(Duration::from_millis(chance.between(50, 2_000)));
        server.kill()?;
        let sent = load.join()?;
        ensure!(sent.refused == 0, "{} batches were refused", sent.refused);
        tally.acknowledged += sent.acknowledged;
        tally.kills += 1;
    }
    // Once more, and all of it from the start: what was judged before is still where it was.
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
    Ok(tally)
}
