//! F14: a crash in recovery, repeated. A folder whose server was killed under load is copied; one
//! copy recovers in peace, the other is killed in recovery over and over. Both must come to the same
//! records at the same numbers.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::chance::Chance;
use crate::judge::{Hearing, Verdict};
use crate::load::{IN_FLIGHT, Load, Moment, Plan};
use crate::rig::{Done, Order};
use crate::server::{Place, Server};
use crate::{folder, wire};

/// Kills of one folder.
const KILLS: u64 = 100;
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
        let tally = story(seed, kills, order, false).with_context(|| {
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
         recovery; proven on slots zeroed in between",
        all.late, all.records
    );
    Ok(Done::new(all.kills, note).on(&folder::filesystem(Path::new(folder::PLACE))))
}

/// A recovery that takes away what the one before it kept must be found out.
fn prove(seed: u64) -> Result<()> {
    let order = Order {
        seed,
        count: 2,
        until: None,
    };
    match story(seed, 2, &order, true) {
        Ok(_) => bail!("records were taken away between two recoveries, and nothing shows it"),
        // Rot that is known as such is an answer of its own, not a record that is not there.
        Err(wrong)
            if ["lost: ", "GetRecords: 5"]
                .iter()
                .any(|sign| format!("{wrong:#}").contains(sign)) =>
        {
            Ok(())
        }
        Err(wrong) => Err(wrong.context("while the rig was proven on a planted bug")),
    }
}

fn story(seed: u64, kills: u64, order: &Order, planted: bool) -> Result<Tally> {
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
        let mut starting = Server::spawn(&disturbed, chance.between(1, 2))?;
        thread::sleep(Duration::from_millis(chance.between(1, ready_ms.max(2))));
        tally.late += u64::from(starting.is_ready());
        starting.kill()?;
        tally.kills += 1;
    }
    if planted {
        lose_a_write(&disturbed.data)?;
    }
    let (server, ports) = Server::start(&disturbed, cores)?;
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

/// Zeros a piece of every slot, where flushed frames lie: as a recovery would that writes where it
/// must not.
fn lose_a_write(data: &Path) -> Result<()> {
    const AT: u64 = 64 << 10;
    for slot in folder::files(data)? {
        let name = slot.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b"slot-") {
            let file = File::options().write(true).open(&slot)?;
            file.write_all_at(&vec![0; 64 << 10], AT)?;
        }
    }
    Ok(())
}
