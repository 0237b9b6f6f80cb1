//! One recording: a server under load on a recorded disk, killed and started again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::device::Device;
use super::journal;
use crate::chance::{Chance, mix};
use crate::disk::{self, Mounted};
use crate::load::{IN_FLIGHT, Load, Moment, Plan};
use crate::preload::Preload;
use crate::server::{Place, Ports, Server, Setup};
use crate::wire;

const LIVES: u64 = 3;
const SHARDS: u32 = 4;
/// Bytes per second of each connection: a segment of these servers is full after a second or two.
const RATE: u64 = 2_000_000;
/// Bytes that a passing stream gets, so that it leaves segments half dead.
const PASSING_BYTES: usize = 3 << 20;

/// What a flush takes.
pub(super) const FLUSH_US: u64 = 1_000;

/// What is to be known of a recording beside its journal and its ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Recording {
    pub(super) kind: String,
    pub(super) seed: u64,
    /// The moments between which the rigs' stream was there.
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) passing: Vec<Passing>,
    pub(super) acknowledged: u64,
}

/// A stream that comes, and may go, while others are written: moments of what the server answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Passing {
    pub(super) name: String,
    pub(super) created: u64,
    /// Before the deletion was asked for, and after it was answered.
    pub(super) deleted: Option<(u64, u64)>,
}

/// What is wrong with the server of a recording that proves the rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plant {
    Nothing,
    /// It acknowledges before it flushes.
    EarlyAnswers,
    /// It flushes no folder.
    LooseNames,
}

/// Takes the flushes of folders away.
const LOOSE_NAMES: &str = include_str!("names.c");
/// Long enough for a server whose files come six seconds late to need one that has only just come.
const LOOSE_NAMES_LIFE: Duration = Duration::from_secs(8);

/// Where a recording's ledger is.
pub(super) fn ledger(folder: &Path) -> PathBuf {
    folder.join("ledger")
}

/// Where the disk is as it was before the recording.
pub(super) fn base(folder: &Path) -> PathBuf {
    folder.join("base")
}

impl Recording {
    /// Makes one in `folder`.
    pub(super) fn make(folder: &Path, kind: &str, seed: u64, plant: Plant) -> Result<Self> {
        let (disk, at) = (folder.join("device"), folder.join("recorded"));
        std::fs::write(ledger(folder), "")?;
        disk::make(&base(folder), kind)?;
        disk::copy(&base(folder), &folder.join(super::fuse::NAME))?;
        let mut device = Device::start(folder, &disk, true)?;
        // While a slow flush is under way, writes pile up behind it: those that a cut may tear.
        device.tell(&format!("flush {FLUSH_US}"))?;
        let mounted = Mounted::mount(&device.image(), &at, kind)?;
        let mut session = Session {
            place: Place {
                data: at.join("data"),
                log: folder.join("server.log"),
            },
            ledger: ledger(folder),
            journal: Arc::new(File::open(folder.join("journal"))?),
            chance: Chance::new(mix(seed)),
            plant,
            recording: Self {
                kind: kind.to_owned(),
                seed,
                from: 0,
                to: 0,
                passing: Vec::new(),
                acknowledged: 0,
            },
        };
        let lives = match plant {
            Plant::LooseNames => 1,
            Plant::Nothing | Plant::EarlyAnswers => LIVES,
        };
        for life in 0..lives {
            session.live(life).with_context(|| format!("life {life}"))?;
        }
        session.recording.to = journal::moment(&session.journal)?;
        mounted.unmount()?;
        device.stop()?;
        let text = serde_json::to_string_pretty(&session.recording)?;
        std::fs::write(folder.join("recording"), text)?;
        Ok(session.recording)
    }

    /// The one that was made in `folder`.
    pub(super) fn load(folder: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(folder.join("recording"));
        Ok(serde_json::from_str(&text.context("no recording")?)?)
    }
}

struct Session {
    place: Place,
    ledger: PathBuf,
    journal: Arc<File>,
    chance: Chance,
    plant: Plant,
    recording: Recording,
}

impl Session {
    fn start(&self, cores: u64) -> Result<(Server, Ports)> {
        if self.plant != Plant::LooseNames {
            return Server::start(&self.place, cores);
        }
        let folder = self.ledger.parent().context("the ledger is in a folder")?;
        let names = Preload::compile(folder, "names", LOOSE_NAMES)?;
        Server::start_as(&self.place, &names.before(Setup::new(1)))
    }

    fn live(&mut self, life: u64) -> Result<()> {
        let cores = self.chance.between(1, 2);
        if life > 0 && self.chance.one_in(2) {
            let starting = Server::spawn(&self.place, cores)?;
            thread::sleep(Duration::from_millis(self.chance.between(1, 100)));
            starting.kill()?;
        }
        let (server, ports) = self.start(cores)?;
        if life == 0 {
            wire::create(ports.wire, SHARDS)?;
            self.recording.from = journal::moment(&self.journal)?;
        }
        let load = Load::start(&Plan {
            address: ports.wire,
            ledger: self.ledger.clone(),
            life,
            seed: self.recording.seed,
            rate: RATE,
            in_flight: IN_FLIGHT,
            moment: Moment::of(Arc::clone(&self.journal)),
            early: self.plant == Plant::EarlyAnswers,
        })?;
        load.began()?;
        let name = format!("passing-{life}");
        wire::create_named(ports.wire, &name, 1)?;
        let created = journal::moment(&self.journal)?;
        wire::fill(ports.wire, &name, PASSING_BYTES)?;
        // The last one stays; the one before goes while its server is about to.
        let doomed = journal::moment(&self.journal)?;
        let mut deleted = None;
        if life + 1 < LIVES {
            wire::delete(ports.wire, &name)?;
            deleted = Some((doomed, journal::moment(&self.journal)?));
        }
        self.recording.passing.push(Passing {
            name,
            created,
            deleted,
        });
        // A life that outlasts a tick of the server settles what the deleted stream left half dead.
        let longer = if life == 1 { 1_200 } else { 0 };
        let sleep = self.chance.between(50, 600) + longer;
        thread::sleep(match self.plant {
            Plant::LooseNames => LOOSE_NAMES_LIFE,
            Plant::Nothing | Plant::EarlyAnswers => Duration::from_millis(sleep),
        });
        if life == 1 && self.chance.one_in(2) {
            // In peace: what a server writes last can be cut as well.
            load.stop();
            self.recording.acknowledged += load.join()?.acknowledged;
            return server.terminate();
        }
        server.kill()?;
        self.recording.acknowledged += load.join()?.acknowledged;
        Ok(())
    }
}
