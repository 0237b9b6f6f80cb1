//! The CPUs a run uses, and what else the machine did meanwhile.

use std::fs;

use anyhow::{Context, bail};
use weir_reactor::{cpus_allowed, start_thread};

/// Where the two ends run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpus {
    /// Where a server would run: the disk's loop and the receiving end.
    pub(crate) server: usize,
    /// Where a generator would run: the sending end.
    pub(crate) generator: usize,
}

impl Cpus {
    /// Those that were asked for, or the first two allowed ones; one CPU is used twice if there is
    /// no other.
    pub(crate) fn choose(asked: &[usize]) -> anyhow::Result<Self> {
        let allowed = cpus_allowed()?;
        if let Some(cpu) = asked.iter().find(|cpu| !allowed.contains(cpu)) {
            bail!("CPU {cpu} is not among those this process may use: {allowed:?}");
        }
        let from = if asked.is_empty() { &allowed } else { asked };
        let server = from[0];
        let generator = from.get(1).copied().unwrap_or(server);
        Ok(Self { server, generator })
    }

    pub(crate) fn are_two(self) -> bool {
        self.server != self.generator
    }
}

/// Runs `work` on a thread pinned to `cpu` and waits for it.
pub(crate) fn on_cpu<T: Send + 'static>(
    cpu: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    let thread = start_thread("limits", Some(cpu), work).context("starting a thread")?;
    match thread.join() {
        Ok(value) => Ok(value),
        Err(_) => bail!("a measuring thread panicked"),
    }
}

/// What the kernel says of the whole machine at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    /// Runnable tasks, averaged over a minute.
    pub(crate) load: String,
    /// Ticks of all CPUs.
    total: u64,
    /// Ticks that the hypervisor gave to others.
    stolen: u64,
    /// Ticks of all CPUs that tasks used.
    used: u64,
    /// Ticks that this process used.
    own: u64,
    /// Share of time stolen since an earlier look, in percent.
    pub(crate) steal_percent: f64,
    /// Share of time that tasks of other processes used since an earlier look, in percent.
    pub(crate) others_percent: f64,
}

impl Machine {
    /// What is not told stays empty.
    pub(crate) fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let stat = read("/proc/stat");
        let ticks: Vec<u64> = stat
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|field| field.parse().ok())
            .collect();
        let own = read("/proc/self/stat");
        // The name in parentheses may hold blanks; user and system time are 11 and 12 behind it.
        let own = own.rsplit_once(')').map_or("", |(_, behind)| behind);
        let own = own.split_whitespace().skip(11).take(2);
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
            // user nice system idle iowait irq softirq steal; guest time is in user time already.
            total: ticks.iter().take(8).sum(),
            stolen: ticks.get(7).copied().unwrap_or(0),
            used: ticks.iter().take(3).sum(),
            own: own.filter_map(|field| field.parse::<u64>().ok()).sum(),
            ..Self::default()
        }
    }

    /// This look, with what others took of the machine up to a later one.
    pub(crate) fn until(mut self, later: &Self) -> Self {
        let total = later.total.saturating_sub(self.total).max(1);
        let stolen = later.stolen.saturating_sub(self.stolen);
        let own = later.own.saturating_sub(self.own);
        let others = later.used.saturating_sub(self.used).saturating_sub(own);
        self.steal_percent = 100.0 * stolen as f64 / total as f64;
        self.others_percent = 100.0 * others as f64 / total as f64;
        self
    }
}
