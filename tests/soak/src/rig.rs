//! What a rig is, the table of all of them, and one run of one rig.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{blocks, coherence, cut, flood, kill, liar, limits, net, recovery, sim, time, weave};

/// What to do.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) seed: u64,
    pub(crate) count: u64,
    /// Nothing new is begun after this.
    pub(crate) until: Option<Instant>,
}

impl Order {
    pub(crate) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// What a run of this size needs and the machine lacks.
#[derive(Debug, thiserror::Error)]
#[error("needs {0}")]
pub(crate) struct Missing(pub(crate) String);

/// What was done, all of it well.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) count: u64,
    pub(crate) filesystem: String,
    pub(crate) note: String,
}

impl Done {
    pub(crate) fn new(count: u64, note: String) -> Self {
        Self {
            count,
            filesystem: "-".to_owned(),
            note,
        }
    }

    pub(crate) fn on(mut self, filesystem: &str) -> Self {
        filesystem.clone_into(&mut self.filesystem);
        self
    }
}

/// A gate that time cut below this part of a rig's count has not tried it.
const FLOOR_PART: u64 = 4;

/// A rig.
pub(crate) struct Rig {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// What one unit of its count is.
    pub(crate) unit: &'static str,
    pub(crate) needs: &'static [&'static str],
    pub(crate) gate: u64,
    pub(crate) night: u64,
    /// Its part of the gate's time, of all parts together.
    pub(crate) share: u32,
    pub(crate) run: fn(&Order) -> Result<Done>,
}

/// All of them, in the order of the gate.
pub(crate) const RIGS: &[Rig] = &[
    Rig {
        name: "judge",
        what: "the judge against a server that lies in fourteen ways, one at a time, four of them over two lives: each must be named",
        unit: "rounds",
        needs: &[],
        gate: 1,
        night: 100,
        share: 1,
        run: liar::run,
    },
    Rig {
        name: "sim",
        what: "stories on a simulated machine: crashes, torn and reordered writes, errors, rot",
        unit: "seeds",
        needs: &["cargo"],
        gate: 2_000,
        night: 1_000_000,
        share: 6,
        run: sim::run,
    },
    Rig {
        name: "coherence",
        what: "blocks written past the page cache are read directly, by maps and through the cache: none is stale",
        unit: "seconds",
        needs: &["root", "mkfs.ext4", "ext4", "a loop device"],
        gate: 4,
        night: 600,
        share: 2,
        run: coherence::run,
    },
    Rig {
        name: "weave",
        what: "what cores share, in every order of its steps, interrupted up to 2 times, then 3, 4...",
        unit: "rounds",
        needs: &["cargo"],
        gate: 1,
        night: 2,
        share: 1,
        run: weave::run,
    },
    Rig {
        name: "kill",
        what: "kill -9 under load after 50-2000 ms, every fourth time in recovery too, core counts change",
        unit: "kills",
        needs: &[],
        gate: 20,
        night: 1_000,
        share: 4,
        run: kill::run,
    },
    Rig {
        name: "recovery",
        what: "kill -9 in recovery, again and again: the next one ends where an undisturbed one does",
        unit: "kills",
        needs: &[],
        gate: 100,
        night: 2_000,
        share: 2,
        run: recovery::run,
    },
    Rig {
        name: "cut-ext4",
        what: "under load the file system is shut down without a log flush, or the disk below it loses its cache; \
               then both are mounted again",
        unit: "cuts",
        needs: &["root", "mkfs.ext4", "ext4", "a loop device", "python3"],
        gate: 25,
        night: 2_000,
        share: 4,
        run: cut::ext4,
    },
    Rig {
        name: "cut-xfs",
        what: "the same on xfs",
        unit: "cuts",
        needs: &[
            "root",
            "mkfs.ext4",
            "ext4",
            "mkfs.xfs",
            "xfs",
            "a loop device",
            "python3",
        ],
        gate: 25,
        night: 2_000,
        share: 4,
        run: cut::xfs,
    },
    Rig {
        name: "blocks-ext4",
        what: "crash images of a recorded disk: what was not flushed is lost, torn or there, in any mixture",
        unit: "images",
        needs: &[
            "root",
            "mkfs.ext4",
            "ext4",
            "a loop device",
            "/dev/fuse",
            "cc",
        ],
        gate: 10,
        night: 10_000,
        share: 3,
        run: blocks::ext4,
    },
    Rig {
        name: "blocks-xfs",
        what: "the same on xfs",
        unit: "images",
        needs: &["root", "mkfs.xfs", "xfs", "a loop device", "/dev/fuse"],
        gate: 10,
        night: 10_000,
        share: 3,
        run: blocks::xfs,
    },
    Rig {
        name: "net",
        what: "a network that splits, delays, stalls, cuts and loses between clients and server, on all ports",
        unit: "connections",
        needs: &[],
        gate: 180,
        night: 20_000,
        share: 4,
        run: net::run,
    },
    Rig {
        name: "flood",
        what: "idle connections, and one in eleven hostile, beside clients that write and read: memory, answers, sockets",
        unit: "connections",
        needs: &[],
        gate: 1_100,
        night: 11_000,
        share: 2,
        run: flood::run,
    },
    Rig {
        name: "faulty-disk",
        what: "a disk that fails reads, a write or a flush, once or for ever, stalls for 5 s, or takes 2 MB/s",
        unit: "faults",
        needs: &[
            "root",
            "mkfs.ext4",
            "mkfs.xfs",
            "ext4",
            "xfs",
            "a loop device",
            "/dev/fuse",
        ],
        gate: 7,
        night: 300,
        share: 4,
        run: blocks::faulty::run,
    },
    Rig {
        name: "limits-disk",
        what: "somebody else takes all room of the disk and gives it back, again and again; the file system turns read-only",
        unit: "cases",
        needs: &["root", "mkfs.ext4", "ext4", "a loop device", "fallocate"],
        gate: 2,
        night: 50,
        share: 2,
        run: limits::disk,
    },
    Rig {
        name: "limits-process",
        what: "too few descriptors, too short files, too little locked memory",
        unit: "cases",
        needs: &["root", "prlimit", "setpriv"],
        gate: 4,
        night: 100,
        share: 1,
        run: limits::process,
    },
    Rig {
        name: "limits-group",
        what: "control groups: a flood in little memory, less memory than was promised, a tenth of a \
               processor, a slow disk",
        unit: "cases",
        needs: &[
            "root",
            "control groups",
            "mkfs.ext4",
            "ext4",
            "a loop device",
        ],
        gate: 4,
        night: 100,
        share: 2,
        run: limits::group,
    },
    Rig {
        name: "time",
        what: "the wall clock jumps up to ten years before each call, lives begin on a machine that is up for ten years, \
               also with the wall clock ahead, the process is paused; what is kept for a day goes after it",
        unit: "jumps",
        needs: &["root", "cc", "unshare", "time namespaces"],
        gate: 200,
        night: 2_000,
        share: 2,
        run: time::run,
    },
];

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Passed(Done),
    Skipped(String),
    Failed(String),
}

impl Rig {
    /// The least of its gate count that a gate may be green on.
    pub(crate) fn floor(&self) -> u64 {
        self.gate.div_ceil(FLOOR_PART)
    }

    /// Whether every machine that builds it has what it needs.
    pub(crate) fn runs_anywhere(&self) -> bool {
        self.needs.iter().all(|need| *need == "cargo")
    }

    /// Where nothing closer to it says how a failure is replayed, the whole run does.
    fn with_replay(&self, wrong: String, order: &Order) -> String {
        if wrong.contains("replay: ") {
            return wrong;
        }
        let (rig, seed, count) = (self.name, order.seed, order.count);
        format!("{wrong}; replay: ./scripts/soak {rig} --seed {seed} --count {count}")
    }

    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        RIGS.iter().find(|rig| rig.name == name)
    }

    /// Runs it and prints what is to be known of the run.
    pub(crate) fn carry_out(&self, order: &Order) -> Outcome {
        let missing = self.needs.iter().find(|need| !is_there(need));
        let began = Instant::now();
        let outcome = match missing {
            Some(need) => Outcome::Skipped(format!("needs {need}")),
            None => match (self.run)(order) {
                Ok(done) => Outcome::Passed(done),
                Err(wrong) if wrong.is::<Missing>() => Outcome::Skipped(wrong.to_string()),
                Err(wrong) => Outcome::Failed(self.with_replay(format!("{wrong:#}"), order)),
            },
        };
        let (done, filesystem, result) = match &outcome {
            Outcome::Passed(done) => (done.count, done.filesystem.as_str(), done.note.clone()),
            Outcome::Skipped(why) => (0, "-", format!("skipped: {why}")),
            Outcome::Failed(wrong) => (0, "-", format!("FAILED: {wrong}")),
        };
        println!(
            "{}: build {}, seed {}, {done} of {} {}, {:.1} s, file system {filesystem}: {result}",
            self.name,
            env!("SOAK_BUILD"),
            order.seed,
            order.count,
            self.unit,
            began.elapsed().as_secs_f64(),
        );
        outcome
    }
}

/// Whether this machine has what a rig needs.
pub(crate) fn is_there(need: &str) -> bool {
    let succeeds = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.is_ok_and(|output| output.status.success())
    };
    match need {
        "root" => {
            let output = Command::new("id").arg("-u").output();
            output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
        }
        "a loop device" => succeeds("losetup", &["--find"]),
        "control groups" => limits::groups_are_there(),
        "time namespaces" => std::fs::exists("/proc/self/ns/time").unwrap_or(false),
        "/dev/fuse" => std::fs::exists("/dev/fuse").unwrap_or(false),
        "ext4" | "xfs" => {
            std::fs::read_to_string("/proc/filesystems")
                .is_ok_and(|text| text.split_whitespace().any(|word| word == need))
                || succeeds("modprobe", &[need])
        }
        program => succeeds("sh", &["-c", &format!("command -v {program}")]),
    }
}

/// How long is left of a time that many runs share.
pub(crate) fn part_of(left: Duration, share: u32, shares: u32) -> Duration {
    left * share / shares.max(1)
}
