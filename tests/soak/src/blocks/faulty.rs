//! A disk that fails or crawls under a loaded server: what was acknowledged stays, the other log goes
//! on, memory does not grow, and once the disk is well so is the server.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::device::Device;
use super::fuse;
use crate::chance::Chance;
use crate::disk::{self, Memory, Mounted};
use crate::judge::Hearing;
use crate::load::{IN_FLIGHT, Load, Moment, Plan, Sent};
use crate::rig::{Done, Order};
use crate::server::{MEMORY_BYTES, Place, Ports, Server};
use crate::{folder, process, wire};

/// A server of one core writes one log.
const CORES: u64 = 2;
const SHARDS: u32 = 6;
/// Bytes per second of each connection, of which there are four.
const RATE: u64 = 2_000_000;
/// More than a disk of 2 MB/s takes.
const RATE_ABOVE_A_SLOW_DISK: u64 = 4_000_000;
/// All together more than a server lets wait.
const MANY_IN_FLIGHT: usize = 1_000;
/// For whatever must happen after a fault.
const PATIENCE: Duration = Duration::from_secs(20);
/// The program itself, its rings and its stacks, beside what `--memory` counts.
const PROGRAM_BYTES: u64 = 128 << 20;

/// What is wrong with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    /// One frame of log 0 is not written.
    FrameOnce,
    /// No frame of log 0 is written any more.
    FrameForEver,
    /// One write of anything is not done.
    WriteOnce,
    /// One flush fails.
    FlushOnce,
    /// A flush takes five seconds.
    Stall,
    /// 2 MB/s.
    Slow,
    /// Some reads fail while a killed server recovers.
    Reads,
}

const STORIES: [Story; 7] = [
    Story::FrameOnce,
    Story::FrameForEver,
    Story::WriteOnce,
    Story::FlushOnce,
    Story::Stall,
    Story::Slow,
    Story::Reads,
];

fn story(seed: u64) -> Story {
    STORIES[(seed % STORIES.len() as u64) as usize]
}

/// All stories on one file system, then on the other.
fn kind(seed: u64) -> &'static str {
    let round = seed / STORIES.len() as u64;
    ["ext4", "xfs"][(round % 2) as usize]
}

#[derive(Debug, Default)]
struct Tally {
    acknowledged: u64,
    refused: u64,
    records: u64,
    faults: u64,
    peak_bytes: u64,
    slowest: Duration,
}

impl Tally {
    fn settle(&mut self, sent: Sent) {
        self.acknowledged += sent.acknowledged;
        self.refused += sent.refused;
    }
}

pub(crate) fn run(order: &Order) -> Result<Done> {
    prove(order.seed)?;
    let mut all = Tally::default();
    let mut count = 0;
    while count < order.count && !order.is_over() {
        let seed = order.seed + count;
        let tally = tell(seed, false).with_context(|| {
            format!("replay: ./scripts/soak faulty-disk --seed {seed} --count 1")
        })?;
        all.acknowledged += tally.acknowledged;
        all.refused += tally.refused;
        all.records += tally.records;
        all.faults += tally.faults;
        all.peak_bytes = all.peak_bytes.max(tally.peak_bytes);
        all.slowest = all.slowest.max(tally.slowest);
        count += 1;
    }
    let note = format!(
        "{} faults, {} batches acknowledged, {} refused, {} records judged, 0 lost; at most {} MiB held \
         with a ceiling of {}; appends again within {} ms of the disk being well; proven on a \
         server that does not hear of failed writes",
        all.faults,
        all.acknowledged,
        all.refused,
        all.records,
        all.peak_bytes >> 20,
        MEMORY_BYTES >> 20,
        all.slowest.as_millis(),
    );
    Ok(Done::new(count, note).on("both"))
}

/// A server that acknowledges what it could not write must be found out: one that is told it could.
fn prove(seed: u64) -> Result<()> {
    let first = STORIES.len() as u64;
    // A seed whose story is that of a log that can write nothing.
    let seed = seed - seed % first + 1;
    match tell(seed, true) {
        Ok(_) => bail!("acknowledged and never written, and the judge does not see it"),
        Err(wrong) if format!("{wrong:#}").contains("lost: ") => Ok(()),
        Err(wrong) => Err(wrong.context("while the rig was proven on a planted bug")),
    }
}

/// One server on one disk.
struct Stage {
    device: Device,
    at: PathBuf,
    place: Place,
    ledger: PathBuf,
    seed: u64,
    /// Failed writes of frames are answered as if they were done.
    silent: bool,
}

impl Stage {
    fn mount(&self) -> Result<Mounted> {
        Mounted::mount(&self.device.image(), &self.at, kind(self.seed))
    }

    fn load(&self, ports: Ports, life: u64, rate: u64) -> Result<Load> {
        let load = Load::start(&Plan {
            address: ports.wire,
            ledger: self.ledger.clone(),
            life,
            seed: self.seed,
            rate,
            in_flight: match rate {
                RATE_ABOVE_A_SLOW_DISK => MANY_IN_FLIGHT,
                _ => IN_FLIGHT,
            },
            moment: Moment::default(),
            early: false,
        })?;
        load.began()?;
        Ok(load)
    }
}

/// Waits until something is so, for which nothing can be waited on.
fn until(what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let began = Instant::now();
    while !so()? {
        ensure!(
            began.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        thread::sleep(Duration::from_millis(2));
    }
    Ok(began.elapsed())
}

/// Every core acknowledges something more.
fn goes_on(load: &Load, cores: impl Fn(u32) -> bool) -> Result<Duration> {
    let before = load.progress();
    ensure!(before.len() as u64 == CORES, "not every core has shards");
    until("an acknowledgement", || {
        let now = load.progress();
        let mut asked = now.iter().filter(|(core, _)| cores(**core));
        // More than what was in flight.
        Ok(asked.all(|(core, count)| *count > before[core] + 20))
    })
}

fn tell(seed: u64, silent: bool) -> Result<Tally> {
    let told = play(story(seed), seed, silent);
    told.with_context(|| format!("{:?} on {}", story(seed), kind(seed)))
}

fn play(story: Story, seed: u64, silent: bool) -> Result<Tally> {
    let folder = folder::temporary("faulty")?;
    let memory = Memory::mount(folder.path())?;
    let folder = memory.path();
    disk::make(&folder.join(fuse::NAME), kind(seed))?;
    let at = folder.join("mount");
    let mut stage = Stage {
        device: Device::start(folder, &folder.join("device"), false)?,
        place: Place {
            data: at.join("data"),
            log: folder.join("server.log"),
        },
        at,
        ledger: folder.join("ledger"),
        seed,
        silent,
    };
    std::fs::write(&stage.ledger, "")?;
    let mut chance = Chance::new(seed);
    let mut judge = Hearing::open(&stage.ledger, None)?;
    let mut tally = Tally::default();
    let mounted = stage.mount()?;
    let (mut server, ports) = Server::start(&stage.place, CORES)?;
    wire::create(ports.wire, SHARDS)?;
    let rate = match story {
        Story::Slow | Story::Stall => RATE_ABOVE_A_SLOW_DISK,
        _ => RATE,
    };
    let load = stage.load(ports, 0, rate)?;
    goes_on(&load, |_| true)?;
    thread::sleep(Duration::from_millis(chance.between(1, 500)));
    tally.slowest = suffer(story, &mut stage, &load)?;
    server.alive()?;
    if silent {
        // While the disk still loses what comes: what is lost then is the end of the log, no hole in it.
        server.kill()?;
        tally.settle(load.join()?);
        stage.device.tell("heal")?;
        mounted.unmount()?;
        let _mounted = stage.mount()?;
        let (_server, ports) = Server::start(&stage.place, CORES)?;
        tally.records += judge.check(ports.http, false)?.records;
        return Ok(tally);
    }
    tally.faults = stage.device.tell("heal")?;
    tally.peak_bytes = process::peak(server.process_id())?;
    ensure!(
        tally.peak_bytes < MEMORY_BYTES + PROGRAM_BYTES,
        "the server held {} MiB",
        tally.peak_bytes >> 20
    );
    if matches!(story, Story::WriteOnce | Story::FlushOnce | Story::Reads) {
        server.kill()?;
        tally.settle(load.join()?);
    } else {
        // The file system is well: all can be read, also in a log that cannot be written any more.
        load.stop();
        tally.settle(load.join()?);
        tally.records += judge.check(ports.http, false)?.records;
        server.kill()?;
    }
    mounted.unmount()?;
    // A new life on a disk that is well: all is there, and every log is written again.
    let mut mounted = stage.mount()?;
    if story == Story::Reads {
        let many = chance.between(1, 4);
        tally.faults += recover_blindly(&mut stage, many)?;
        mounted.unmount()?;
        mounted = stage.mount()?;
    }
    let (server, ports) = Server::start(&stage.place, CORES)?;
    tally.records += judge.check(ports.http, false)?.records;
    let load = stage.load(ports, 1, RATE)?;
    goes_on(&load, |_| true)?;
    server.kill()?;
    tally.settle(load.join()?);
    let (server, ports) = Server::start(&stage.place, CORES)?;
    tally.records += judge.check(ports.http, false)?.records;
    server.kill()?;
    mounted.unmount()?;
    stage.device.stop()?;
    Ok(tally)
}

/// A recovery that cannot read all it must: whether the server stops or one of its logs does, it must
/// take nothing for torn that it could not read. How many reads failed.
fn recover_blindly(stage: &mut Stage, reads: u64) -> Result<u64> {
    let before = stage.device.tell(&format!("fail reads {reads}"))?;
    if let Ok((mut server, _)) = Server::start(&stage.place, CORES) {
        server.alive()?;
        server.kill()?;
    }
    let hits = stage.device.tell("heal")? - before;
    ensure!(hits > 0, "the server started and read nothing");
    Ok(hits)
}

/// Lets the fault happen, and waits until it is over; how long appends then took to go on.
fn suffer(story: Story, stage: &mut Stage, load: &Load) -> Result<Duration> {
    let order = match story {
        Story::FrameOnce => "fail frames 0 1",
        Story::FrameForEver if stage.silent => "lose frames 0 1000000",
        Story::FrameForEver => "fail frames 0 1000000",
        Story::WriteOnce => "fail writes 1",
        Story::FlushOnce => "fail flushes 1",
        Story::Stall => "stall 5000",
        Story::Slow => "rate 2000000",
        // Its fault comes in the next recovery.
        Story::Reads => "hits",
    };
    stage.device.tell(order)?;
    match story {
        Story::FrameOnce => {
            until("a fault", || Ok(stage.device.tell("hits")? == 1))?;
            goes_on(load, |_| true)
        }
        Story::FrameForEver => {
            // The third fault in ten minutes makes a log read-only.
            until("three faults", || Ok(stage.device.tell("hits")? >= 3))?;
            goes_on(load, |core| core != 0)
        }
        Story::WriteOnce | Story::FlushOnce => {
            // It may have hit the file system itself, which then takes nothing until it is mounted again.
            until("a fault", || Ok(stage.device.tell("hits")? == 1))
        }
        Story::Stall => {
            until("a stall", || Ok(stage.device.tell("hits")? == 1))?;
            thread::sleep(Duration::from_secs(5));
            goes_on(load, |_| true)
        }
        Story::Reads => goes_on(load, |_| true),
        Story::Slow => {
            thread::sleep(Duration::from_secs(4));
            goes_on(load, |_| true)?;
            stage.device.tell("heal")?;
            goes_on(load, |_| true)
        }
    }
}
