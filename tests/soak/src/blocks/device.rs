//! The disk as a rig sees it: a file that a loop device can take, and words that make it fail.

use std::io::{BufRead, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::fuse;
use crate::disk;

/// A disk that is served, until dropped.
pub(super) struct Device {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
    at: PathBuf,
}

impl Device {
    /// Serves `folder`'s file `disk`; what it is told is noted in `folder` if it records.
    pub(super) fn start(folder: &Path, at: &Path, record: bool) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("disk").arg(folder).arg(at);
        if record {
            command.arg("--record");
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().context("stdout is piped")?;
        let said = BufReader::new(stdout).lines();
        let mut device = Self {
            process,
            said,
            at: at.to_owned(),
        };
        let ready = device.hear()?;
        ensure!(ready == "ready", "the disk said {ready:?}");
        Ok(device)
    }

    fn hear(&mut self) -> Result<String> {
        Ok(self.said.next().context("the disk's process ended")??)
    }

    /// What a loop device takes.
    pub(super) fn image(&self) -> PathBuf {
        self.at.join(fuse::NAME)
    }

    /// Tells it something; how many faults there were so far.
    pub(super) fn tell(&mut self, what: &str) -> Result<u64> {
        let stdin = self.process.stdin.as_mut().context("stdin is piped")?;
        writeln!(stdin, "{what}")?;
        stdin.flush()?;
        let said = self.hear()?;
        let hits = said.strip_prefix("ok ").with_context(|| said.clone())?;
        Ok(hits.parse()?)
    }

    /// Once nothing is mounted on it.
    pub(super) fn stop(mut self) -> Result<()> {
        disk::unmount(&self.at)?;
        let status = self.process.wait()?;
        ensure!(status.success(), "the disk's process ended with {status}");
        Ok(())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Without its process every call on the mount fails: nothing can wait for it any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
        disk::unmount_anyhow(&self.at);
    }
}
