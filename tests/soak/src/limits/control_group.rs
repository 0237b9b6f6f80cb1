//! A control group of a server's own, in the first or the second version of them, whichever is
//! mounted. It lies below the rig's own group, so that what binds the rig binds the server too.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

/// What it gives: a name in each version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Controller {
    first: &'static str,
    second: &'static str,
}

pub(super) const MEMORY: Controller = Controller {
    first: "memory",
    second: "memory",
};
pub(super) const PROCESSOR: Controller = Controller {
    first: "cpu",
    second: "cpu",
};
pub(super) const DISK: Controller = Controller {
    first: "blkio",
    second: "io",
};

/// A group; gone when dropped, if no process is left in it.
pub(super) struct Group {
    folder: PathBuf,
    is_first: bool,
}

impl Group {
    pub(super) fn new(controller: Controller) -> Result<Self> {
        let (parent, is_first) = parent(controller).with_context(|| {
            format!(
                "no control group for {} can be made here",
                controller.second
            )
        })?;
        // A run counts its processes from 1: their numbers tell no two runs apart.
        let moment = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let folder = parent.join(format!("weir-soak-{moment}"));
        fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        Ok(Self { folder, is_first })
    }

    /// Sets what is a file and a value in the first version, or in the second.
    pub(super) fn set(&self, first: (&str, &str), second: (&str, &str)) -> Result<()> {
        let (file, value) = if self.is_first { first } else { second };
        let path = self.folder.join(file);
        fs::write(&path, value).with_context(|| format!("{value} into {}", path.display()))
    }

    /// A number that a file of the group says behind a word.
    pub(super) fn count(&self, first: &str, second: &str, word: &str) -> Result<u64> {
        let path = self.folder.join(if self.is_first { first } else { second });
        let text = fs::read_to_string(&path)?;
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let found = lines.find(|(name, _)| *name == word);
        let (_, number) = found.with_context(|| format!("no {word} in {}", path.display()))?;
        Ok(number.trim().parse()?)
    }

    /// What makes a program begin in the group.
    pub(super) fn entry(&self) -> Vec<String> {
        const ENTER: &str = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
        let folder = self.folder.display().to_string();
        vec!["sh".to_owned(), "-c".to_owned(), ENTER.to_owned(), folder]
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that was killed leaves its group a moment after it was waited for.
        for _ in 0..200 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        eprintln!("limits: {} is left behind", self.folder.display());
    }
}

/// Whether groups can be made for all that the rig limits.
pub(crate) fn are_there() -> bool {
    [MEMORY, PROCESSOR, DISK]
        .into_iter()
        .all(|controller| Group::new(controller).is_ok())
}

/// Where a group can be made, and whether it is one of the first version.
fn parent(controller: Controller) -> Result<(PathBuf, bool)> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let mounted = |kind: &str, option: Option<&str>| {
        mounts.lines().find_map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            let has = |option: &str| {
                words
                    .get(3)
                    .is_some_and(|all| all.split(',').any(|o| o == option))
            };
            let fits = words.get(2) == Some(&kind) && option.is_none_or(has);
            fits.then(|| PathBuf::from(words[1]))
        })
    };
    let below = |mount: &Path, path: &str| mount.join(path.trim_start_matches('/'));
    if let Some(mount) = mounted("cgroup", Some(controller.first)) {
        let path = own.lines().find_map(|line| {
            let mut words = line.splitn(3, ':').skip(1);
            let names = words.next()?;
            names
                .split(',')
                .any(|name| name == controller.first)
                .then(|| words.next())?
        });
        return Ok((below(&mount, path.context("no group of our own")?), true));
    }
    let mount = mounted("cgroup2", None).context("none are mounted")?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"));
    let own = below(&mount, path.context("no group of our own")?);
    // A group with processes cannot share out: a sibling can be made where the parent does.
    let parent = if own == mount {
        own.as_path()
    } else {
        own.parent().unwrap_or(&own)
    };
    let shared = fs::read_to_string(parent.join("cgroup.subtree_control"))?;
    if !shared
        .split_whitespace()
        .any(|name| name == controller.second)
    {
        bail!("{} shares out {}", parent.display(), shared.trim());
    }
    Ok((parent.to_owned(), false))
}
