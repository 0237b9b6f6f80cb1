//! One folder with its ledger and its judge: what a story of several loads and servers goes on with.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::chance::Chance;
use crate::folder;
use crate::judge::Hearing;
use crate::load::{IN_FLIGHT, Load, Moment, Plan, Sent};
use crate::server::{Place, Ports};

/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(1);

/// What was sent and judged so far.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) records: u64,
    /// Batches that were durable, and whose answer nobody heard.
    pub(crate) unpromised: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.records += other.records;
        self.unpromised += other.unpromised;
    }
}

pub(crate) struct Scene {
    pub(crate) place: Place,
    pub(crate) chance: Chance,
    pub(crate) tally: Tally,
    /// The planted bug of [`Plan::early`].
    pub(crate) early: bool,
    judge: Hearing,
    seed: u64,
    life: u64,
    // The last to go: it holds the ledger and all else.
    pub(crate) folder: TempDir,
}

impl Scene {
    pub(crate) fn new(name: &str, seed: u64) -> Result<Self> {
        let folder = folder::temporary(name)?;
        let ledger = folder.path().join("ledger");
        std::fs::write(&ledger, "")?;
        Ok(Self {
            place: Place {
                data: folder.path().join("data"),
                log: folder.path().join("server.log"),
            },
            chance: Chance::new(seed),
            tally: Tally::default(),
            early: false,
            judge: Hearing::open(&ledger, None)?,
            seed,
            life: 0,
            folder,
        })
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    /// A number that no load and no other writer of the ledger has.
    pub(crate) fn next_life(&mut self) -> u64 {
        self.life += 1;
        self.life
    }

    /// Begins a load of `rate` bytes per second and connection.
    pub(crate) fn load(&mut self, ports: Ports, rate: u64) -> Result<Load> {
        Load::start(&Plan {
            address: ports.wire,
            ledger: self.ledger(),
            life: self.next_life(),
            seed: self.seed,
            rate,
            moment: Moment::default(),
            in_flight: IN_FLIGHT,
            early: self.early,
        })
    }

    /// Ends a load whose server lives: no connection of it may have ended before.
    pub(crate) fn stop(&mut self, load: Load) -> Result<()> {
        load.stop();
        let sent = load.join()?;
        self.count(sent);
        ensure!(sent.broken == 0, "{} connections broke", sent.broken);
        Ok(())
    }

    pub(crate) fn count(&mut self, sent: Sent) {
        self.tally.acknowledged += sent.acknowledged;
        self.tally.refused += sent.refused;
    }

    /// Lets the judge look at what is new; no load may run.
    pub(crate) fn judge(&mut self, ports: Ports) -> Result<()> {
        let verdict = self.judge.check(ports.http, false)?;
        self.tally.records += verdict.records;
        self.tally.unpromised += verdict.unpromised;
        Ok(())
    }

    /// Lets the judge look whether everything has expired that was ever written.
    pub(crate) fn judge_gone(&mut self, ports: Ports) -> Result<()> {
        self.judge.gone(ports.http)
    }

    /// Lets the judge look at everything once more: what was there is there.
    pub(crate) fn judge_all(&mut self, ports: Ports) -> Result<()> {
        self.judge(ports)?;
        let verdict = self.judge.check(ports.http, true)?;
        ensure!(
            (verdict.records, verdict.unpromised) == (self.tally.records, 0),
            "{} records were judged before, {verdict:?} now",
            self.tally.records
        );
        Ok(())
    }
}

/// Waits until `is_so`, at most `patience`.
pub(crate) fn wait_until(
    what: &str,
    patience: Duration,
    mut is_so: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let until = Instant::now() + patience;
    while !is_so()? {
        ensure!(Instant::now() < until, "{what}: not within {patience:?}");
        thread::sleep(LOOK);
    }
    Ok(())
}

/// How long it took until `is_so`, less the time for which this machine let nobody run: what the
/// server did, not what its neighbours did to it.
pub(crate) fn time_until(
    what: &str,
    patience: Duration,
    mut is_so: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let (began, mut looked, mut stalled) = (Instant::now(), Instant::now(), Duration::ZERO);
    wait_until(what, patience, || {
        stalled += looked.elapsed().saturating_sub(20 * LOOK);
        looked = Instant::now();
        is_so()
    })?;
    Ok(began.elapsed().saturating_sub(stalled))
}

/// Asks the admin port; status and page.
pub(crate) fn page(admin: SocketAddr, path: &str) -> Result<(u16, String)> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let mut socket = TcpStream::connect_timeout(&admin, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: rig\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes())?;
    let mut said = String::new();
    socket.read_to_string(&mut said)?;
    let status = said.split(' ').nth(1).and_then(|code| code.parse().ok());
    let (_, body) = said.split_once("\r\n\r\n").unwrap_or_default();
    Ok((status.context("not HTTP")?, body.to_owned()))
}
