//! R8: time on the real server. Its wall clock is steered by a library put before the C library's, the time since
//! boot by a time namespace, pauses are signals. Each jump is followed by a call that knows what must
//! come back; the judge looks after each life.

mod calls;
mod clock;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::calls::Caller;
use self::clock::Clock;
use crate::chance::Chance;
use crate::disk::does;
use crate::folder;
use crate::http::KEYS_FILE;
use crate::rig::{Done, Order};
use crate::scene::{Scene, Tally, wait_until};
use crate::server::{Ports, Server, Setup};
use crate::wire;

const HOUR_MS: i64 = 3_600_000;
const YEAR_MS: i64 = 365 * 24 * HOUR_MS;
/// Jumps of one life.
const JUMPS: u64 = 50;
/// Jumps of one folder.
const FOLDER_JUMPS: u64 = 200;
const SHARDS: u32 = 4;
/// Bytes per second of each connection, beside the calls.
const RATE: u64 = 200_000;
/// What starts a program on a machine that has been up for ten years, by its clocks.
const LONG_UP: [&str; 6] = [
    "unshare",
    "-T",
    "--boottime",
    "315360000",
    "--monotonic",
    "315360000",
];
/// In a short run, and in one of more than the gate's jumps.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_mins(1)];
const GATE_JUMPS: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(30);
/// Iterators live for five minutes.
const ITERATOR_MS: i64 = 300_000;

#[derive(Debug, Default, Clone, Copy)]
struct Told {
    jumps: u64,
    lives: u64,
    long_up: u64,
    calls: u64,
    tally: Tally,
}

pub(crate) fn run(order: &Order) -> Result<Done> {
    prove(order.seed)?;
    on_time(order.seed).context("records kept for a day")?;
    let mut all = Told::default();
    let mut seed = order.seed;
    while all.jumps < order.count && !order.is_over() {
        let jumps = FOLDER_JUMPS.min(order.count - all.jumps);
        let pause = PAUSES[usize::from(order.count > GATE_JUMPS && all.jumps == 0)];
        let told = story(seed, jumps, pause, order).with_context(|| {
            format!("replay: ./scripts/soak time --seed {seed} --count {jumps}")
        })?;
        all.jumps += told.jumps;
        all.lives += told.lives;
        all.long_up += told.long_up;
        all.calls += told.calls;
        all.tally.add(told.tally);
        seed += 1;
    }
    let note = format!(
        "{} lives, {} of them begun after ten years of uptime, {} calls of {} kinds, {} batches \
         acknowledged, {} records judged, 0 lost, expired early or out of order; a day's \
         records went after it and not before; proven on records that did expire early, and on all that stayed",
        all.lives,
        all.long_up,
        all.calls,
        Caller::KINDS,
        all.tally.acknowledged,
        all.tally.records,
    );
    Ok(Done::new(all.jumps, note).on(&folder::filesystem(Path::new(folder::PLACE))))
}

/// Both clocks say that a day has passed, which is not true: the server deletes, and the judge must say
/// that it was too early.
fn prove(seed: u64) -> Result<()> {
    let mut scene = Scene::new("time", seed)?;
    let mut clock = Clock::new(scene.folder.path())?;
    let (server, ports) = Server::start_as(&scene.place, &clock.rule(Setup::new(1)))?;
    wire::create(ports.wire, SHARDS)?;
    let load = scene.load(ports, RATE)?;
    load.began()?;
    scene.stop(load)?;
    scene.judge_all(ports)?;
    clock.jump(25 * HOUR_MS)?;
    clock.pass(25 * HOUR_MS)?;
    let found = wait_until("an early end of all records", PATIENCE, || {
        match scene.judge_all(ports) {
            Ok(()) => Ok(false),
            Err(wrong) if format!("{wrong:#}").contains("expired early") => Ok(true),
            Err(wrong) => Err(wrong),
        }
    });
    found.context("while the rig was proven on a planted bug")?;
    server.kill()
}

/// Minutes before a day has passed, by both clocks, records are there; minutes after it they are gone. By the
/// clock of another boot no day has passed.
fn on_time(seed: u64) -> Result<()> {
    /// Longer than this story takes.
    const NEAR_MS: i64 = 300_000;
    let mut scene = Scene::new("time", seed)?;
    let mut clock = Clock::new(scene.folder.path())?;
    let setup = clock.rule(Setup::new(1));
    let (server, ports) = Server::start_as(&scene.place, &setup)?;
    wire::create(ports.wire, SHARDS)?;
    let load = scene.load(ports, RATE)?;
    load.began()?;
    scene.stop(load)?;
    scene.judge_all(ports)?;
    // What is there too long must be named.
    match scene.judge_gone(ports) {
        Ok(()) => bail!("all is there, and the judge calls it gone"),
        Err(wrong) if format!("{wrong:#}").contains("expired late") => {}
        Err(wrong) => return Err(wrong),
    }
    server.kill()?;
    // The wall clock is a day ahead and the machine has been up for years: another boot's.
    clock.jump(25 * HOUR_MS)?;
    let elsewhere = setup.clone().through(LONG_UP);
    let (server, ports) = Server::start_as(&scene.place, &elsewhere)?;
    stays(&mut scene, ports).context("another boot, the wall clock 25 h ahead")?;
    server.kill()?;
    clock.jump(0)?;
    let (server, ports) = Server::start_as(&scene.place, &setup)?;
    let passed = 24 * HOUR_MS - NEAR_MS;
    clock.jump(passed)?;
    clock.pass(passed)?;
    stays(&mut scene, ports).context("minutes before its day has passed")?;
    clock.jump(passed + 2 * NEAR_MS)?;
    clock.pass(2 * NEAR_MS)?;
    wait_until("the end of what had its day", PATIENCE, || {
        match scene.judge_gone(ports) {
            Ok(()) => Ok(true),
            Err(wrong) if format!("{wrong:#}").contains("expired late") => Ok(false),
            Err(wrong) => Err(wrong),
        }
    })?;
    // What comes next is there.
    let load = scene.load(ports, RATE)?;
    load.began()?;
    scene.stop(load)?;
    scene.judge(ports)?;
    server.kill()
}

/// Nothing goes while the server looks at its clocks a few times, which it does each second.
fn stays(scene: &mut Scene, ports: Ports) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        scene.judge_all(ports)?;
    }
    Ok(())
}

/// One folder: lives that each end with a kill and a look of the judge.
fn story(seed: u64, jumps: u64, pause: Duration, order: &Order) -> Result<Told> {
    let mut scene = Scene::new("time", seed)?;
    let keys = scene.folder.path().join("keys");
    std::fs::write(&keys, KEYS_FILE)?;
    let keys = keys.display().to_string();
    let mut clock = Clock::new(scene.folder.path())?;
    let mut chance = Chance::new(seed ^ 0x7173);
    let mut told = Told::default();
    let mut caller = None;
    while told.jumps < jumps && (told.jumps == 0 || !order.is_over()) {
        // Also years ahead, where the machine has been up for years too: it is another boot, which says
        // nothing of the time since the last life.
        clock.jump([0, -HOUR_MS, HOUR_MS, 10 * YEAR_MS][chance.between(0, 3) as usize])?;
        let mut setup = clock.rule(Setup::new(chance.between(1, 2)));
        if chance.one_in(2) {
            setup = setup.through(LONG_UP);
            told.long_up += 1;
        }
        let signed = setup.clone().with("--auth", "verify").with("--keys", &keys);
        let (mut server, ports) = Server::start_as(&scene.place, &signed)?;
        let is_new = caller.is_none();
        let caller = caller.get_or_insert_with(|| Caller::new(&mut scene, SHARDS));
        if is_new {
            wire::create(ports.wire, SHARDS)?;
            caller.prepare(ports, &clock)?;
        }
        let load = scene.load(ports, RATE)?;
        load.began()?;
        for _ in 0..JUMPS.min(jumps - told.jumps) {
            let offset = offset(told.jumps, &mut chance);
            caller
                .jump(ports, &mut clock, offset)
                .with_context(|| format!("jump {} to {offset} ms", told.jumps))?;
            told.jumps += 1;
            told.calls += 1;
            if let Some(status) = server.ended()? {
                bail!(
                    "the server ended, {status}: {}",
                    crate::server::last_lines(&scene.place.log)
                );
            }
        }
        if told.lives == 0 {
            // Longer than the load's connections wait for an answer: they go before.
            let (pause_now, load_after) = (pause, pause < PATIENCE / 2);
            let mut load = Some(load);
            if !load_after {
                scene.stop(load.take().context("it runs")?)?;
            }
            paused(&server, ports, &clock, caller, pause_now).context("a pause")?;
            if let Some(load) = load {
                scene.stop(load)?;
            }
        } else {
            scene.stop(load)?;
        }
        caller
            .age(ports, &mut clock, ITERATOR_MS)
            .context("iterators grow old")?;
        server.kill()?;
        let (server, ports) = Server::start_as(&scene.place, &setup)?;
        scene.judge(ports)?;
        server.kill()?;
        told.lives += 1;
    }
    clock.jump(0)?;
    let (server, ports) = Server::start_as(&scene.place, &clock.rule(Setup::new(2)))?;
    scene.judge_all(ports)?;
    server.kill()?;
    told.tally = scene.tally;
    Ok(told)
}

/// Where the wall clock goes: first the jumps of the fault model, then any.
fn offset(jump: u64, chance: &mut Chance) -> i64 {
    const FIRST: [i64; 5] = [HOUR_MS, -HOUR_MS, 10 * YEAR_MS, 10 * YEAR_MS - HOUR_MS, 0];
    if let Some(first) = FIRST.get(jump as usize) {
        return *first;
    }
    let (sign, size) = (chance.one_in(2), chance.between(0, 4));
    let most = [5_000, 400_000, 2 * HOUR_MS, 40 * 24 * HOUR_MS, 10 * YEAR_MS][size as usize]
        .unsigned_abs();
    let by = chance.between(0, most).cast_signed();
    // Weir keeps time since 1970; thirty years back is far enough.
    if sign { by } else { -by }
}

/// The process stands still, and goes on as if nothing had been.
fn paused(
    server: &Server,
    ports: Ports,
    clock: &Clock,
    caller: &Caller,
    pause: Duration,
) -> Result<()> {
    let process = server.process_id().to_string();
    let iterator = caller.iterator(ports, clock)?;
    does("kill", &["-STOP".as_ref(), process.as_ref()])?;
    thread::sleep(pause);
    does("kill", &["-CONT".as_ref(), process.as_ref()])?;
    let woken = Instant::now();
    Caller::is_good(ports, clock, &iterator)?;
    let took = woken.elapsed();
    ensure!(
        took < Duration::from_secs(5),
        "it took {took:?} to answer again"
    );
    Ok(())
}
