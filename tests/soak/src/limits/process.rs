//! What a process may have: descriptors, the length of a file, locked memory.

use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{SHARDS, Told, room};
use crate::disk::does;
use crate::scene::{Scene, page, time_until, wait_until};
use crate::server::{Server, Setup};
use crate::wire;

/// Bytes per second of each connection.
const RATE: u64 = 2_000_000;
const PATIENCE: Duration = Duration::from_mins(1);
/// Descriptors of a server that is to run short of them.
const DESCRIPTORS: usize = 400;
/// Who wants more of a processor than this while nothing can be accepted spins.
const BUSY_MAX: f64 = 0.8;

/// A process that spins must be seen to.
pub(crate) fn prove() -> Result<()> {
    let mut spinner = Command::new("sh")
        .args(["-c", "while :; do :; done"])
        .spawn()?;
    let busy = busy(spinner.id(), Duration::from_millis(500));
    spinner.kill()?;
    spinner.wait()?;
    let busy = busy?;
    ensure!(busy > BUSY_MAX, "a process that spins looks {busy:.2} busy");
    Ok(())
}

/// The part of one processor that a process takes or stands in line for: on a busy machine one that
/// spins gets little, and would take all.
fn busy(process: u32, during: Duration) -> Result<f64> {
    let nanoseconds = || -> Result<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            // A thread may end in between.
            let spent = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            let mut fields = spent.split_whitespace();
            for field in [fields.next(), fields.next()] {
                sum += field.map_or(Ok(0), str::parse)?;
            }
        }
        Ok(sum)
    };
    let (began, before) = (Instant::now(), nanoseconds()?);
    thread::sleep(during);
    let spent = nanoseconds()?.saturating_sub(before);
    Ok(spent as f64 / began.elapsed().as_nanos() as f64)
}

fn limited(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Clients take all descriptors there are: nobody new is let in and nothing spins, those inside are
/// served, segments are begun, and when they go, others may come.
pub(super) fn descriptors(seed: u64) -> Result<Told> {
    let mut scene = Scene::new("descriptors", seed)?;
    let limit = format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}");
    let setup = Setup::new(scene.chance.between(1, 2)).through(limited(&["prlimit", &limit]));
    let (mut server, ports) = Server::start_as(&scene.place, &setup)?;
    wire::create(ports.wire, SHARDS)?;
    let load = scene.load(ports, RATE)?;
    load.began()?;
    let port = [ports.http, ports.wire, ports.admin][scene.chance.between(0, 2) as usize];
    let mut crowd = Vec::new();
    for _ in 0..2 * DESCRIPTORS {
        // The kernel takes them in for the server, until its queue is full.
        if let Ok(socket) = TcpStream::connect_timeout(&port, Duration::from_millis(200)) {
            crowd.push(socket);
        }
    }
    let before = load.heard().acknowledged();
    let busy_shared = busy(server.process_id(), Duration::from_millis(1_500))?;
    // Long enough for some segments to be begun and sealed.
    wait_until("writes during the shortage", PATIENCE, || {
        room::alive(&mut server, &scene.place)?;
        Ok(load.heard().acknowledged() > before + 1_500 || load.heard().refused() > 0)
    })?;
    let (refused, reasons) = (load.heard().refused(), load.heard().reasons());
    ensure!(
        refused == 0,
        "the crowd stops writes: {refused} {reasons:?}"
    );
    scene.stop(load)?;
    let busy_alone = busy(server.process_id(), Duration::from_secs(1))?;
    ensure!(
        busy_alone <= BUSY_MAX,
        "nothing can be accepted, and {busy_alone:.2} of a processor is wanted"
    );
    let crowd_size = crowd.len();
    drop(crowd);
    let resumed = time_until("somebody new", PATIENCE, || {
        Ok(page(ports.admin, "/healthz").is_ok_and(|(status, _)| status == 200))
    })?;
    scene.judge(ports)?;
    server.kill()?;
    let (server, ports) = Server::start_as(&scene.place, &setup)?;
    scene.judge_all(ports)?;
    server.kill()?;
    Ok(Told {
        tally: scene.tally,
        resumed: vec![resumed],
        note: format!(
            "{crowd_size} connections for {DESCRIPTORS} descriptors, {busy_shared:.2} of a processor with \
             the load, {busy_alone:.2} without"
        ),
    })
}

/// Files may not be as long as a segment: the start says so.
pub(super) fn small_files(seed: u64) -> Result<Told> {
    let mut scene = Scene::new("small-files", seed)?;
    let setup = Setup::new(scene.chance.between(1, 2));
    let bytes = scene.chance.between(1, (4 << 20) - 1);
    let limit = format!("--fsize={bytes}:{bytes}");
    let bound = setup.clone().through(limited(&["prlimit", &limit]));
    let said = refused(&scene, &bound, "ulimit -f")?;
    goes_on(&mut scene, &setup)?;
    // A folder with records is left alone as well.
    refused(&scene, &bound, "ulimit -f")?;
    goes_on(&mut scene, &setup)?;
    Ok(Told {
        tally: scene.tally,
        resumed: Vec::new(),
        note: said,
    })
}

/// Files may not grow any more while it runs: writes are refused, reads go on, a restart without the
/// limit loses nothing.
pub(super) fn smaller_files(seed: u64) -> Result<Told> {
    let mut scene = Scene::new("smaller-files", seed)?;
    let setup = Setup::new(scene.chance.between(1, 2));
    let (mut server, ports) = Server::start_as(&scene.place, &setup)?;
    wire::create(ports.wire, SHARDS)?;
    let load = scene.load(ports, RATE)?;
    load.began()?;
    thread::sleep(Duration::from_millis(scene.chance.between(20, 500)));
    let limit = |bytes: &str| {
        let limit = format!("--fsize={bytes}");
        let process = format!("--pid={}", server.process_id());
        does("prlimit", &[process.as_ref(), limit.as_ref()])
    };
    limit(&scene.chance.between(1, 3 << 20).to_string())?;
    wait_until("refused writes", PATIENCE, || {
        room::alive(&mut server, &scene.place)?;
        Ok(load.heard().refused() > 0)
    })?;
    thread::sleep(Duration::from_millis(scene.chance.between(0, 1_000)));
    let reasons: Vec<_> = load.heard().reasons().into_iter().collect();
    scene.stop(load)?;
    scene.judge(ports).context("while files may not grow")?;
    let (status, _) = page(ports.admin, "/healthz")?;
    ensure!(status == 200, "/healthz says {status}");
    room::alive(&mut server, &scene.place)?;
    server.kill()?;
    goes_on(&mut scene, &setup)?;
    Ok(Told {
        tally: scene.tally,
        resumed: Vec::new(),
        note: format!("refused as {}", reasons.join(" and ")),
    })
}

/// Too few descriptors and too little locked memory, from the start.
pub(super) fn starts(seed: u64) -> Result<Told> {
    let mut scene = Scene::new("starts", seed)?;
    let setup = Setup::new(scene.chance.between(1, 2));
    let few = scene.chance.between(20, 220);
    let limit = format!("--nofile={few}:{few}");
    let bound = setup.clone().through(limited(&["prlimit", &limit]));
    refused(&scene, &bound, "ulimit -n")?;
    let little = scene.chance.between(0, 3 << 20);
    let limit = format!("--memlock={little}:{little}");
    // Whoever may lock any memory is bound by no limit.
    let words = ["setpriv", "--bounding-set=-ipc_lock", "prlimit", &limit];
    let bound = setup.clone().through(limited(&words));
    refused(&scene, &bound, "ulimit -l")?;
    goes_on(&mut scene, &setup)?;
    refused(&scene, &bound, "ulimit -l")?;
    goes_on(&mut scene, &setup)?;
    Ok(Told {
        tally: scene.tally,
        resumed: Vec::new(),
        note: "refused in one sentence each, with the way out".to_owned(),
    })
}

/// The server does not start, with exit code 1 and a sentence that holds `word`.
fn refused(scene: &Scene, setup: &Setup, word: &str) -> Result<String> {
    let (status, said) = Server::refused(&scene.place, setup)?;
    ensure!(status.code() == Some(1), "ended with {status}: {said}");
    let last = said.rsplit(" | ").next().unwrap_or_default().to_owned();
    ensure!(last.contains(word), "it does not name {word}: {said}");
    Ok(last)
}

/// It starts, takes records, and has all there were before.
fn goes_on(scene: &mut Scene, setup: &Setup) -> Result<()> {
    let (server, ports) = Server::start_as(&scene.place, setup)?;
    if wire::describe(ports.wire).is_err() {
        wire::create(ports.wire, SHARDS)?;
    }
    scene.judge(ports)?;
    let load = scene.load(ports, RATE)?;
    load.began()?;
    scene.stop(load)?;
    scene.judge_all(ports)?;
    server.kill()
}
