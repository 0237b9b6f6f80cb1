//! `weir repair` is killed, again and again: a folder has all that was to be given up, or none of it.
//!
//! What an undisturbed repair of a copy leaves is what every other copy must come to, by a second
//! repair, in what `weir check` tells and in what a server serves.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::repair::{Truth, read_all, report, written};
use super::{BLOCK, SEGMENT, check, flip, picture, setup, slots_with_batches};
use crate::harness::{Setup, alone, run, weir};

/// Kills that must hit a repair at work.
const KILLS: u32 = 24;
/// Repairs that are started for them at most: some end before the kill comes.
const STARTED_MAX: u32 = 200;
/// Everything that was damaged, in one command.
const NAMED: [&str; 8] = [
    "--log",
    "0",
    "--shard",
    "rot/0",
    "--shard",
    "rot/1",
    "--skip-damaged",
    "--json",
];

/// What a repair left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Everything,
}

/// How long a repair takes to say what it gives up, and then to give it up.
#[derive(Debug, Clone, Copy)]
struct Pace {
    looks: Duration,
    writes: Duration,
}

/// A repair at work.
struct Repairing {
    child: Child,
    since: Instant,
}

impl Repairing {
    fn start(data: &Path) -> Self {
        let folder = data.display().to_string();
        let arguments = ["repair", folder.as_str()].into_iter().chain(NAMED);
        let since = Instant::now();
        let spawned = weir(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let child = spawned.expect("the program under test was built");
        Self { child, since }
    }

    /// Waits until it has said what it gives up: from here on it writes.
    fn told(&mut self) -> Duration {
        let stdout = self.child.stdout.as_mut().expect("stdout is piped");
        let read = stdout.read(&mut [0]).expect("a pipe can be read");
        assert_eq!(read, 1, "the repair said nothing");
        self.since.elapsed()
    }

    /// Lets it come to its end.
    fn ended(mut self) {
        let mut rest = Vec::new();
        let stdout = self.child.stdout.as_mut().expect("stdout is piped");
        stdout.read_to_end(&mut rest).expect("a pipe can be read");
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "the repair ended with {status}");
    }

    fn undisturbed(mut self) -> Pace {
        let (since, looks) = (self.since, self.told());
        self.ended();
        let writes = since.elapsed().saturating_sub(looks);
        Pace { looks, writes }
    }

    /// SIGKILL; whether it was still at work.
    fn kill(mut self) -> bool {
        let _ = self.child.kill();
        let status = self.child.wait().expect("it is our child");
        let code = status.code();
        assert!(
            code.is_none() || status.success(),
            "the repair ended with {status}"
        );
        code.is_none()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(&path, &copied).expect("a file can be copied");
        }
    }
}

/// What is given up as `weir check` tells it, but for the time it was.
fn given_up(data: &Path) -> Result<Value, String> {
    let ran = check(data);
    if !matches!(ran.code, Some(0 | 5)) {
        return Err(format!(
            "the check ended with {:?}: {}",
            ran.code, ran.stderr
        ));
    }
    let mut told = report(&ran)["given_up"].clone();
    for row in told.as_array_mut().expect("a list") {
        row["when_ms"] = Value::Null;
    }
    Ok(told)
}

/// What the undisturbed repair of a copy left.
struct Peace {
    given_up: Value,
    truth: Truth,
}

impl Peace {
    fn of(quiet: &Setup) -> Self {
        let given_up = given_up(&quiet.data()).expect("it can be looked at");
        let rows = given_up.as_array().map_or(0, Vec::len);
        assert!(rows > 10, "{rows} rows are given up");
        let victim = quiet.start();
        let truth = read_all(&victim);
        victim.stop();
        let peace = Self { given_up, truth };
        peace.judge_repaired(quiet).expect("twice the same");
        peace
    }

    /// All or nothing, by what is told.
    fn judge(&self, data: &Path) -> Result<Left, String> {
        let told = given_up(data)?;
        if told == self.given_up {
            return Ok(Left::Everything);
        }
        match told.as_array() {
            Some(rows) if rows.is_empty() => Ok(Left::Nothing),
            _ => Err(format!("a part was given up: {told:#}")),
        }
    }

    /// A folder whose repair was not disturbed, or came after one that was.
    fn judge_repaired(&self, setup: &Setup) -> Result<(), String> {
        let left = self.judge(&setup.data())?;
        if left != Left::Everything {
            return Err("the second repair gave nothing up".to_owned());
        }
        let victim = setup.start();
        let found = read_all(&victim);
        victim.stop();
        check(&setup.data()).succeeded();
        if found != self.truth {
            return Err("other records are served".to_owned());
        }
        match self.judge(&setup.data())? {
            Left::Everything => Ok(()),
            Left::Nothing => Err("a start forgot what was given up".to_owned()),
        }
    }
}

/// Rotten batches of both shards, a footer, and a segment that is gone.
fn damage(data: &Path) {
    let sealed = slots_with_batches(data, true);
    assert!(sealed.len() > 3, "{} sealed segments", sealed.len());
    let (_, path, batches) = &sealed[0];
    for batch in batches.iter().step_by(3).take(40) {
        flip(path, batch.at + 90);
    }
    fs::remove_file(&sealed[1].1).expect("it is removed");
    flip(&sealed[2].1, SEGMENT - 2 * BLOCK + 10);
}

/// What must stay as it is: everything but the catalog and the lock.
fn segments(data: &Path) -> Vec<Vec<u8>> {
    let all = picture(&data.join("log-0000")).into_values();
    all.map(|(bytes, ..)| bytes).collect()
}

/// Repairs that are killed, and where the next kill comes.
#[derive(Debug, Default)]
struct Kills {
    started: u32,
    /// How many were hit at work, by what they left.
    hit: [u32; 2],
}

impl Kills {
    fn go_on(&self) -> bool {
        self.hit.iter().sum::<u32>() < KILLS || self.hit.contains(&0)
    }

    /// Kills repairs of one folder until it has everything given up.
    fn of_one(&mut self, data: &Path, quiet: Pace, peace: &Peace) {
        loop {
            assert!(self.started < STARTED_MAX, "{self:?}");
            let mut repairing = Repairing::start(data);
            // The golden section goes everywhere. Most of the way is looking, which changes nothing.
            let part = (f64::from(self.started) * 0.618_034).fract();
            self.started += 1;
            if self.started.is_multiple_of(4) {
                thread::sleep(quiet.looks.mul_f64(part));
            } else {
                repairing.told();
                thread::sleep(quiet.writes.mul_f64(part));
            }
            let was_hit = repairing.kill();
            let left = peace.judge(data);
            let left = left.unwrap_or_else(|wrong| panic!("{self:?}: {wrong}"));
            assert!(was_hit || left == Left::Everything, "{self:?}");
            self.hit[left as usize] += u32::from(was_hit);
            if left == Left::Everything {
                return;
            }
        }
    }
}

#[test]
fn a_repair_that_is_killed_gives_up_all_or_nothing() {
    let _alone = alone();
    let (folder, whole, truth) = written("repair-killed");
    damage(&whole.data());
    let untouched = segments(&whole.data());
    let place = |name: &str| {
        let setup = setup(&folder.path().join(name));
        copy(&whole.data(), &setup.data());
        setup
    };

    let quiet = place("quiet");
    let pace = Repairing::start(&quiet.data()).undisturbed();
    let peace = Peace::of(&quiet);
    let all = |truth: &Truth| truth.iter().map(Vec::len).sum::<usize>();
    assert!(all(&peace.truth) < all(&truth) && all(&peace.truth) > 0);

    // What a repair of two transactions would leave must be found out.
    let half = place("half").data();
    let folder_of_half = half.display().to_string();
    let arguments = [
        "repair",
        &folder_of_half,
        "--shard",
        "rot/1",
        "--skip-damaged",
    ];
    run(&mut weir(arguments), [], Duration::from_mins(1));
    let told = peace.judge(&half).expect_err("it is half done");
    assert!(told.contains("a part was given up"), "{told}");

    let mut kills = Kills::default();
    while kills.go_on() {
        let setup = place("killed");
        kills.of_one(&setup.data(), pace, &peace);
        let same = segments(&setup.data()) == untouched;
        assert!(same, "a segment was changed");
        Repairing::start(&setup.data()).ended();
        let judged = peace.judge_repaired(&setup);
        judged.unwrap_or_else(|wrong| panic!("{kills:?}: {wrong}"));
        fs::remove_dir_all(setup.data()).expect("it is removed");
    }
    println!("{kills:?}, undisturbed {pace:?}");
}
