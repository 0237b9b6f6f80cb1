//! F14: a crash in recovery, repeated. A folder whose server was killed under load is copied; one
//! copy recovers in peace, the other is killed in recovery over and over. Both must come to the same
//! records at the same numbers.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::chance::{Chance, hash};
use crate::http::Client;
use crate::judge::{Hearing, STREAM, Verdict};
use crate::liar::base64;
use crate::load::{IN_FLIGHT, Ledger, Load, Moment, Plan, content};
use crate::rig::{Done, Order};
use crate::server::{Place, Ports, Server};
use crate::{folder, wire};

/// Kills of one folder.
const KILLS: u64 = 100;
/// In the serial of a batch that no load has.
const UNANSWERED: u64 = 0xfe << 40;
const SHARDS: u32 = 6;
/// Bytes per second of each connection.
const RATE: u64 = 12_000_000;

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    kills: u64,
    /// Of these, how many came after recovery: the server was ready already.
    late: u64,
    records: u64,
}

pub(crate) fn run(order: &Order) -> Result<Done> {
    prove(order.seed)?;
    let mut all = Tally::default();
    let mut seed = order.seed;
    while all.kills < order.count && !order.is_over() {
        let kills = KILLS.min(order.count - all.kills);
        let tally = story(seed, kills, order, None).with_context(|| {
            format!("replay: ./scripts/soak recovery --seed {seed} --count {kills}")
        })?;
        all.kills += tally.kills;
        all.late += tally.late;
        all.records += tally.records;
        seed += 1;
    }
    ensure!(
        all.late * 2 < all.kills || all.kills < 20,
        "{} of {} kills came after recovery: they prove nothing",
        all.late,
        all.kills
    );
    let note = format!(
        "{} of the kills after it was ready, {} records at the same numbers as after one undisturbed \
         recovery; proven on a record more, and on another one",
        all.late, all.records
    );
    Ok(Done::new(all.kills, note).on(&folder::filesystem(Path::new(folder::PLACE))))
}

/// What is wrong on purpose with one of the two recoveries. The ledger does not tell of it: nothing that
/// was answered is missing, so only the comparison can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    /// One comes to a batch that the other does not have.
    OneMore,
    /// Each comes to a batch that the other does not have, at the same number.
    Another,
}

/// Two recoveries that come to different records, or to as many others, must be found out.
fn prove(seed: u64) -> Result<()> {
    let order = Order {
        seed,
        count: 2,
        until: None,
    };
    for planted in [Planted::OneMore, Planted::Another] {
        match story(seed, 2, &order, Some(planted)) {
            Ok(_) => {
                bail!("{planted:?}: two recoveries came to different records, and nothing shows it")
            }
            Err(wrong) if format!("{wrong:#}").contains("another state") => {}
            Err(wrong) => {
                return Err(wrong.context(format!("while the rig was proven on {planted:?}")));
            }
        }
    }
    Ok(())
}

/// A batch of one record in shard 0 that was sent, and whose answer the ledger never hears.
fn unanswered(ports: Ports, ledger: &Path, number: u64) -> Result<()> {
    let data = content(UNANSWERED | number, 0, 48);
    let key = "key";
    let hashes = (hash(key.as_bytes()), hash(&data));
    let mut notes = Ledger::open(ledger)?;
    notes.lines = format!(
        "sent {:x} 0 {:x}:{:x}\n",
        UNANSWERED | number,
        hashes.0,
        hashes.1
    );
    notes.flush(0)?;
    let record = json!({
        "StreamName": STREAM, "PartitionKey": key, "ExplicitHashKey": "0", "Data": base64(&data),
    });
    Client::connect(ports.http)?.must("PutRecord", &record)?;
    Ok(())
}

fn story(seed: u64, kills: u64, order: &Order, planted: Option<Planted>) -> Result<Tally> {
    let folder = folder::temporary("recovery")?;
    let place = |name: &str| Place {
        data: folder.path().join(name),
        log: folder.path().join("server.log"),
    };
    let (disturbed, undisturbed) = (place("disturbed"), place("undisturbed"));
    let ledger = folder.path().join("ledger");
    std::fs::write(&ledger, "")?;
    let mut chance = Chance::new(seed);
    let cores = chance.between(1, 2);
    let (server, ports) = Server::start(&disturbed, cores)?;
    wire::create(ports.wire, SHARDS)?;
    let load = Load::start(&Plan {
        address: ports.wire,
        ledger: ledger.clone(),
        life: 1,
        seed,
        rate: RATE,
        in_flight: IN_FLIGHT,
        moment: Moment::default(),
        early: false,
    })?;
    load.began()?;
    thread::sleep(Duration::from_millis(chance.between(300, 1_500)));
    server.kill()?;
    let sent = load.join()?;
    ensure!(sent.refused == 0, "{} batches were refused", sent.refused);
    folder::copy(&disturbed.data, &undisturbed.data)?;

    let began = Instant::now();
    let (server, ports) = Server::start(&undisturbed, cores)?;
    let ready_ms = began.elapsed().as_millis() as u64;
    if planted.is_some() {
        unanswered(ports, &ledger, 1)?;
    }
    let expected = Hearing::open(&ledger, None)?.check(ports.http, true)?;
    server.kill()?;

    let mut tally = Tally {
        records: expected.records,
        ..Tally::default()
    };
    for _ in 0..kills {
        if order.is_over() {
            break;
        }
        // Cores may differ each time: a log is recovered by whoever is there.
        let starting = Server::spawn(&disturbed, chance.between(1, 2))?;
        thread::sleep(Duration::from_millis(chance.between(1, ready_ms.max(2))));
        tally.late += u64::from(!starting.kill_in_recovery()?);
        tally.kills += 1;
    }
    let (server, ports) = Server::start(&disturbed, cores)?;
    if planted == Some(Planted::Another) {
        unanswered(ports, &ledger, 2)?;
    }
    let found = Hearing::open(&ledger, None)?.check(ports.http, true)?;
    server.kill()?;
    agree(expected, found)?;
    Ok(tally)
}

fn agree(expected: Verdict, found: Verdict) -> Result<()> {
    ensure!(
        (expected.records, expected.digest) == (found.records, found.digest),
        "another state: undisturbed {expected:?}, after kills in recovery {found:?}"
    );
    Ok(())
}
