//! What a control group gives: memory, processor, speed of the disk.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::control_group::{DISK, Group, MEMORY, PROCESSOR};
use super::flood::Flood;
use super::{SHARDS, Told, room};
use crate::disk::{self, Mounted};
use crate::scene::{Scene, page, time_until, wait_until};
use crate::server::{Server, Setup};
use crate::wire;

/// Bytes per second of each connection.
const RATE: u64 = 2_000_000;
const PATIENCE: Duration = Duration::from_mins(2);
/// What the server is told to keep to, and what a group gives it that gives enough: page cache and
/// kernel memory are charged to the group too, but can be taken back.
/// For each core, so that no share of it is at its least.
const MEMORY_BYTES: u64 = 384 << 20;
const GROUP_BYTES: u64 = 512 << 20;
/// What a slow disk may add: work that waits, and what the allocator keeps of it.
const GROWTH_BYTES: u64 = 48 << 20;
const FLOOD: Duration = Duration::from_secs(4);
/// How long the planted mistake is looked for.
const FLOOD_OF_PROOF: Duration = Duration::from_secs(40);

fn megabytes(bytes: u64) -> u64 {
    bytes >> 20
}

/// Memory of its own that a process has resident.
fn memory(server: &Server) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process_id()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kibibytes: u64 = number.context("no RssAnon")?.trim().parse()?;
    Ok(kibibytes << 10)
}

fn set_memory(group: &Group, bytes: u64) -> Result<()> {
    let bytes = bytes.to_string();
    group.set(("memory.limit_in_bytes", &bytes), ("memory.max", &bytes))
}

/// A server that takes more memory than it is allowed must be seen, and one that is killed before it wrote
/// what it acknowledged.
pub(super) fn prove(seed: u64) -> Result<()> {
    const TELLS: [&str; 2] = ["of its own where", "the kernel killed"];
    let of_memory = flooded(seed, Some("8GiB"), FLOOD_OF_PROOF);
    let Err(wrong) = of_memory else {
        bail!("a server was told of 8 GiB, and takes no more than others");
    };
    let said = format!("{wrong:#}");
    if !TELLS.iter().any(|tell| said.contains(tell)) {
        return Err(wrong.context("while the rig was proven on a server told of more memory"));
    }
    let Err(wrong) = killed(seed, true) else {
        bail!("acknowledged before it was written, and the judge does not see it");
    };
    if !format!("{wrong:#}").contains("lost: ") {
        return Err(wrong.context("while the rig was proven on early acknowledgements"));
    }
    Ok(())
}

/// More memory than the server is told to take: a flood is refused in time, and nobody is killed.
pub(super) fn enough_memory(seed: u64) -> Result<Told> {
    flooded(seed, None, FLOOD)
}

/// `told`: what a server is told that it may take, where that is not what it is judged by.
fn flooded(seed: u64, told: Option<&str>, flooded_for: Duration) -> Result<Told> {
    let group = Group::new(MEMORY)?;
    let mut scene = Scene::new("memory", seed)?;
    let cores = scene.chance.between(1, 2);
    set_memory(&group, cores * GROUP_BYTES)?;
    let allowed = cores * MEMORY_BYTES;
    let memory_flag = told.map_or_else(|| format!("{}MiB", megabytes(allowed)), str::to_owned);
    let setup = Setup::new(cores).with("--memory", &memory_flag);
    let bound = setup.clone().through(group.entry());
    let (mut server, ports) = Server::start_as(&scene.place, &bound)?;
    wire::create(ports.wire, SHARDS)?;
    let load = scene.load(ports, RATE)?;
    load.began()?;
    let flood = Flood::start(ports.http)?;
    let (until, mut most) = (Instant::now() + flooded_for, 0);
    while Instant::now() < until && most <= allowed {
        if server.ended()?.is_some_and(|how| how.signal() == Some(9)) {
            bail!("the kernel killed it at {} MiB of its own", megabytes(most));
        }
        room::alive(&mut server, &scene.place)?;
        // One that ends just now has none.
        most = most.max(memory(&server).unwrap_or(0));
        thread::sleep(Duration::from_millis(2));
    }
    let answers = flood.stop()?;
    ensure!(
        most <= allowed,
        "{} MiB of its own where {} are allowed",
        megabytes(most),
        megabytes(allowed)
    );
    ensure!(
        answers.contains_key("200"),
        "nothing was taken: {answers:?}"
    );
    let killed = group.count("memory.oom_control", "memory.events", "oom_kill")?;
    ensure!(killed == 0, "the kernel killed {killed}");
    scene.stop(load)?;
    scene.judge(ports)?;
    server.kill()?;
    let (server, ports) = Server::start_as(&scene.place, &setup)?;
    scene.judge_all(ports)?;
    server.kill()?;
    Ok(Told {
        tally: scene.tally,
        resumed: Vec::new(),
        note: format!(
            "at most {} MiB of its own with --memory {} MiB on {cores} cores; the flood was answered {answers:?}",
            megabytes(most),
            megabytes(allowed)
        ),
    })
}

/// Less memory than the server is told to take: the kernel kills it, as by `kill -9`.
pub(super) fn too_little_memory(seed: u64) -> Result<Told> {
    killed(seed, false)
}

/// `early`: what was sent counts as acknowledged.
fn killed(seed: u64, early: bool) -> Result<Told> {
    let group = Group::new(MEMORY)?;
    let bytes = 48 << 20;
    set_memory(&group, bytes)?;
    let mut scene = Scene::new("little-memory", seed)?;
    scene.early = early;
    let setup = Setup::new(scene.chance.between(1, 2)).with("--memory", "512MiB");
    let bound = setup.clone().through(group.entry());
    let (mut server, ports) = Server::start_as(&scene.place, &bound)?;
    wire::create(ports.wire, SHARDS)?;
    let load = scene.load(ports, RATE)?;
    load.began()?;
    // It may be killed before the flood has begun.
    let flood = Flood::start(ports.http);
    let mut ended = None;
    wait_until("the end of a server without memory", PATIENCE, || {
        ended = server.ended()?;
        Ok(ended.is_some())
    })?;
    if let Ok(flood) = flood {
        flood.stop()?;
    }
    let status = ended.context("it ended")?;
    ensure!(
        status.signal() == Some(9),
        "it was not killed but ended with {status}"
    );
    let sent = load.join()?;
    scene.count(sent);
    let (server, ports) = Server::start_as(&scene.place, &setup)?;
    scene.judge(ports)?;
    let load = scene.load(ports, RATE)?;
    load.began()?;
    scene.stop(load)?;
    scene.judge_all(ports)?;
    server.kill()?;
    Ok(Told {
        tally: scene.tally,
        resumed: Vec::new(),
        note: format!("killed at {} MiB", megabytes(bytes)),
    })
}

/// A tenth of a processor: all takes longer, and that is all.
pub(super) fn little_processor(seed: u64) -> Result<Told> {
    let group = Group::new(PROCESSOR)?;
    let mut scene = Scene::new("processor", seed)?;
    let setup = Setup::new(scene.chance.between(1, 2));
    let bound = setup.clone().through(group.entry());
    let (mut server, ports) = Server::start_as(&scene.place, &bound)?;
    wire::create(ports.wire, SHARDS)?;
    let load = scene.load(ports, 4 * RATE)?;
    load.began()?;
    let free = acknowledged_in(&load, Duration::from_millis(500));
    group.set(("cpu.cfs_quota_us", "10000"), ("cpu.max", "10000 100000"))?;
    thread::sleep(Duration::from_millis(500));
    let before = memory(&server)?;
    let slow = acknowledged_in(&load, Duration::from_secs(3));
    let asked = Instant::now();
    let (status, _) = page(ports.admin, "/healthz")?;
    let health = asked.elapsed();
    ensure!(status == 200, "/healthz says {status}");
    let after = memory(&server)?;
    room::alive(&mut server, &scene.place)?;
    ensure!(
        slow > 0.0,
        "with a tenth of a processor nothing is acknowledged"
    );
    let held = group.count("cpu.stat", "cpu.stat", "nr_throttled")?;
    ensure!(held > 0, "the group never held it up");
    bounded(before, after)?;
    group.set(("cpu.cfs_quota_us", "-1"), ("cpu.max", "max 100000"))?;
    let stood = load.heard().acknowledged();
    let resumed = time_until("writes at full speed", PATIENCE, || {
        Ok(load.heard().acknowledged() > stood + 20)
    })?;
    bearable(&load)?;
    scene.stop(load)?;
    scene.judge(ports)?;
    server.kill()?;
    let (server, ports) = Server::start_as(&scene.place, &setup)?;
    scene.judge_all(ports)?;
    server.kill()?;
    Ok(Told {
        tally: scene.tally,
        resumed: vec![resumed],
        note: format!(
            "{free:.0} batches/s before, {slow:.0} with a tenth and {held} times held up, /healthz after {} ms, {} MiB of its own \
             before and {} after",
            health.as_millis(),
            megabytes(before),
            megabytes(after)
        ),
    })
}

/// A disk that writes 1 MB a second.
pub(super) fn slow_disk(seed: u64) -> Result<Told> {
    let group = Group::new(DISK)?;
    let mut scene = Scene::new("slow-disk", seed)?;
    let (image, at) = (
        scene.folder.path().join("image"),
        scene.folder.path().join("mount"),
    );
    disk::make(&image, "ext4")?;
    let mounted = Mounted::mount(&image, &at, "ext4")?;
    scene.place.data = at.join("data");
    let name = mounted.device().file_name().context("it has a name")?;
    let numbers = std::path::Path::new("/sys/block").join(name).join("dev");
    let numbers = fs::read_to_string(&numbers)?.trim().to_owned();
    let limit = |bytes: Option<u64>| {
        let first = format!("{numbers} {}", bytes.unwrap_or(0));
        let second = bytes.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
        group.set(
            ("blkio.throttle.write_bps_device", &first),
            ("io.max", &format!("{numbers} wbps={second}")),
        )
    };
    let setup = Setup::new(scene.chance.between(1, 2));
    let bound = setup.clone().through(group.entry());
    let (mut server, ports) = Server::start_as(&scene.place, &bound)?;
    wire::create(ports.wire, SHARDS)?;
    let load = scene.load(ports, RATE)?;
    load.began()?;
    let free = acknowledged_in(&load, Duration::from_millis(500));
    limit(Some(1 << 20))?;
    thread::sleep(Duration::from_millis(500));
    let before = memory(&server)?;
    let slow = acknowledged_in(&load, Duration::from_secs(4));
    let after = memory(&server)?;
    room::alive(&mut server, &scene.place)?;
    if slow > free / 2.0 {
        bail!("the group does not slow the disk: {free:.0} batches/s before, {slow:.0} now");
    }
    ensure!(slow > 0.0, "on a slow disk nothing is acknowledged");
    bounded(before, after)?;
    limit(None)?;
    let stood = load.heard().acknowledged();
    let resumed = time_until("writes at full speed", PATIENCE, || {
        Ok(load.heard().acknowledged() > stood + 20)
    })?;
    bearable(&load)?;
    scene.stop(load)?;
    scene.judge(ports)?;
    server.kill()?;
    let (server, ports) = Server::start_as(&scene.place, &setup)?;
    scene.judge_all(ports)?;
    server.kill()?;
    mounted.unmount()?;
    Ok(Told {
        tally: scene.tally,
        resumed: vec![resumed],
        note: format!(
            "{free:.0} batches/s before, {slow:.0} at 1 MiB/s, {} MiB of its own before and {} after",
            megabytes(before),
            megabytes(after)
        ),
    })
}

fn acknowledged_in(load: &crate::load::Load, during: Duration) -> f64 {
    let (began, before) = (Instant::now(), load.heard().acknowledged());
    thread::sleep(during);
    (load.heard().acknowledged() - before) as f64 / began.elapsed().as_secs_f64()
}

/// Slow work waits on the client's side, not in the server's memory.
fn bounded(before: u64, after: u64) -> Result<()> {
    ensure!(
        after <= before + GROWTH_BYTES,
        "memory grows: {} MiB before, {} after",
        megabytes(before),
        megabytes(after)
    );
    Ok(())
}

/// What was refused may be tried again.
fn bearable(load: &crate::load::Load) -> Result<()> {
    let reasons = load.heard().reasons();
    ensure!(
        reasons
            .iter()
            .all(|reason| ["Overloaded", "Throttled"].contains(&reason.as_str())),
        "slow, and therefore {reasons:?}"
    );
    Ok(())
}
