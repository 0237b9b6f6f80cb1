//! The server as a process of its own: this same program under another first word, so that a rig
//! always runs what it was built with.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process;

/// How long a start may take; recovery is part of it.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// What a server may keep of records and requests, and the same in bytes.
pub(crate) const MEMORY: &str = "512MiB";
pub(crate) const MEMORY_BYTES: u64 = 512 << 20;

/// Where a server keeps its data, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) data: PathBuf,
    pub(crate) log: PathBuf,
}

/// How a server is started.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Flags, and what they are set to; on the command line in this order.
    flags: Vec<(&'static str, String)>,
    /// A program that becomes the server in the end, and its arguments: it takes something away first.
    through: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
}

impl Setup {
    pub(crate) fn new(cores: u64) -> Self {
        let port = || "127.0.0.1:0".to_owned();
        Self {
            flags: vec![
                ("--cores", cores.to_string()),
                // The judge signs nothing: what is checked here are records.
                ("--auth", "off".to_owned()),
                ("--http", port()),
                ("--wire", port()),
                ("--admin", port()),
                ("--memory", MEMORY.to_owned()),
                ("--segment-bytes", "4MiB".to_owned()),
            ],
            through: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Another value, or another flag.
    pub(crate) fn with(mut self, flag: &'static str, value: &str) -> Self {
        self.flags.retain(|(other, _)| *other != flag);
        self.flags.push((flag, value.to_owned()));
        self
    }

    pub(crate) fn through(mut self, words: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.through.extend(words.into_iter().map(Into::into));
        self
    }

    pub(crate) fn in_environment(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn command(&self) -> Result<Command> {
        let program = std::env::current_exe()?;
        let mut command = match self.through.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        for (name, _) in std::env::vars_os() {
            // A developer's settings are not the rig's.
            if name.as_encoded_bytes().starts_with(b"WEIR_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(["server", "serve"]);
        for (flag, value) in &self.flags {
            command.args([flag, value.as_str()]);
        }
        Ok(command)
    }
}

/// A server that was started. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
}

/// Where a ready server listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) http: SocketAddr,
    pub(crate) wire: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Server {
    pub(crate) fn spawn(place: &Place, cores: u64) -> Result<Self> {
        Self::spawn_as(place, &Setup::new(cores))
    }

    pub(crate) fn spawn_as(place: &Place, setup: &Setup) -> Result<Self> {
        let log = File::options().create(true).append(true).open(&place.log)?;
        let mut command = setup.command()?;
        let spawned = command
            .arg("--data-dir")
            .arg(&place.data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn();
        let mut child = spawned.context("the server cannot be started")?;
        let stdout = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let (to, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Read on although nobody listens: a full pipe would stop the server.
                let _ = to.send(line);
            }
        });
        Ok(Self { child, lines })
    }

    /// Starts one and waits until it is ready.
    pub(crate) fn start(place: &Place, cores: u64) -> Result<(Self, Ports)> {
        Self::start_as(place, &Setup::new(cores))
    }

    pub(crate) fn start_as(place: &Place, setup: &Setup) -> Result<(Self, Ports)> {
        let mut server = Self::spawn_as(place, setup)?;
        match server.lines.recv_timeout(START_PATIENCE) {
            Ok(line) => {
                let port = |label: &str| {
                    let word = line.split(' ').find_map(|word| word.strip_prefix(label));
                    let port = word.and_then(|word| word.parse().ok());
                    port.with_context(|| format!("no {label} in: {line}"))
                };
                let ports = Ports {
                    http: port("kinesis=http://")?,
                    wire: port("binary=")?,
                    admin: port("admin=http://")?,
                };
                Ok((server, ports))
            }
            Err(RecvTimeoutError::Timeout) => {
                bail!("the server was not ready in {START_PATIENCE:?}")
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = server.child.wait()?;
                bail!(
                    "the server did not start ({status}): {}",
                    last_lines(&place.log)
                )
            }
        }
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// An error if it ended by itself.
    pub(crate) fn alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server ended by itself ({status})"),
        }
    }

    /// SIGTERM, and waits until it has stopped by itself.
    pub(crate) fn terminate(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status()?;
        ensure!(told.success(), "the server cannot be told to stop");
        let mut status = None;
        process::until(START_PATIENCE, || {
            status = self.child.try_wait()?;
            Ok(status.is_none().then(|| "it has not stopped".to_owned()))
        })?;
        let status = status.context("it has stopped")?;
        ensure!(status.success(), "the server stopped with {status}");
        Ok(())
    }

    /// Starts one that must not start: how it ended, and the sentence it said.
    pub(crate) fn refused(place: &Place, setup: &Setup) -> Result<(ExitStatus, String)> {
        let mut server = Self::spawn_as(place, setup)?;
        match server.lines.recv_timeout(START_PATIENCE) {
            Ok(line) => bail!("the server started: {line}"),
            Err(RecvTimeoutError::Timeout) => bail!("no word of the server in {START_PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                Ok((server.child.wait()?, last_lines(&place.log)))
            }
        }
    }

    /// How it ended, if it did by itself.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// SIGKILL; whether it had not said yet that it was ready.
    pub(crate) fn kill_in_recovery(mut self) -> Result<bool> {
        self.child.kill()?;
        self.child.wait()?;
        // What it said came before its end: either a line is there, or the pipe is closed.
        match self.lines.recv_timeout(START_PATIENCE) {
            Ok(_) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => Ok(true),
            Err(RecvTimeoutError::Timeout) => bail!("it is killed, and its stdout stays open"),
        }
    }

    /// SIGKILL, and waits until nothing of it is left.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<_> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
