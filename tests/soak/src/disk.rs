//! A small file system in a file: made, attached to a loop device, mounted, and put away again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The smallest that mkfs.xfs takes is 300 MiB.
pub(crate) const DISK_BYTES: u64 = 448 << 20;

const BUSY_PATIENCE: Duration = Duration::from_secs(10);

/// Runs a program of the system; what it says on stdout.
pub(crate) fn does(program: &str, arguments: &[&Path]) -> Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("{program} does not run"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{program} {arguments:?}: {}", said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Makes an empty file system of `kind` in a new file.
pub(crate) fn make(image: &Path, kind: &str) -> Result<()> {
    make_of(image, kind, DISK_BYTES)
}

/// The same, of so many bytes.
pub(crate) fn make_of(image: &Path, kind: &str, bytes: u64) -> Result<()> {
    File::create(image)?.set_len(bytes)?;
    let force = if kind == "xfs" { "-f" } else { "-F" };
    does(
        &format!("mkfs.{kind}"),
        &["-q".as_ref(), force.as_ref(), image],
    )?;
    Ok(())
}

/// Copies a file and keeps its holes.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    does("cp", &["--sparse=always".as_ref(), from, to])?;
    Ok(())
}

/// A killed server's ring lets go of its files a moment after the process is gone, and nothing tells
/// when: so this is tried again for a while.
pub(crate) fn unmount(at: &Path) -> Result<()> {
    let until = Instant::now() + BUSY_PATIENCE;
    loop {
        match does("umount", &[at]) {
            Err(wrong) if wrong.to_string().contains("busy") && Instant::now() < until => {
                thread::sleep(Duration::from_millis(5));
            }
            done => return done.map(|_| ()),
        }
    }
}

/// Lazily, if something of it is still open; nothing at all if it is not mounted.
pub(crate) fn unmount_anyhow(at: &Path) {
    let _ = does("umount", &[at]).or_else(|_| does("umount", &["-l".as_ref(), at]));
}

/// A folder whose files are in memory, until dropped: nothing in it waits for a disk.
pub(crate) struct Memory(PathBuf);

impl Memory {
    pub(crate) fn mount(at: &Path) -> Result<Self> {
        let kind = ["-t", "tmpfs", "-o", "size=2g", "soak"].map(Path::new);
        does("mount", &[&kind[..], &[at]].concat())?;
        Ok(Self(at.to_owned()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        unmount_anyhow(&self.0);
    }
}

/// How a file serves as a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    /// What is written is in the file.
    None,
    /// What is written is in the file once the disk was flushed.
    Flushed,
    /// The same, and the file system, an ext4, never flushes it.
    NeverFlushed,
}

/// Makes a block device of a file.
fn attach(image: &Path, cache: Cache) -> Result<PathBuf> {
    let direct = match cache {
        Cache::None => "--direct-io=on",
        Cache::Flushed | Cache::NeverFlushed => "--direct-io=off",
    };
    let find = ["--find", "--show", direct].map(Path::new);
    Ok(does("losetup", &[&find[..], &[image]].concat())?.into())
}

/// Puts a block device away: at once, or when nothing is mounted on it any more.
fn detach(device: &Path) -> Result<()> {
    does("losetup", &["--detach".as_ref(), device])?;
    Ok(())
}

/// A file system that is mounted, until dropped.
pub(crate) struct Mounted {
    at: PathBuf,
    /// Its block device: attached as long as this is mounted.
    device: PathBuf,
}

impl Mounted {
    pub(crate) fn mount(image: &Path, at: &Path, kind: &str) -> Result<Self> {
        Self::mount_with(image, at, kind, Cache::None)
    }

    pub(crate) fn mount_with(image: &Path, at: &Path, kind: &str, cache: Cache) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        let device = attach(image, cache)?;
        let options = match cache {
            Cache::NeverFlushed => "nobarrier",
            Cache::None | Cache::Flushed => "defaults",
        };
        let words = ["-t", kind, "-o", options].map(Path::new);
        let mounted = does("mount", &[&words[..], &[&device, at]].concat());
        // Now it goes with what is mounted on it, also when nobody is left to put it away.
        detach(&device)?;
        mounted?;
        Ok(Self {
            at: at.to_owned(),
            device,
        })
    }

    /// The block device below it.
    pub(crate) fn device(&self) -> &Path {
        &self.device
    }

    /// Bytes that anybody may still write.
    pub(crate) fn free(&self) -> Result<u64> {
        let words = ["--block-size=1".as_ref(), "--output=avail".as_ref()];
        let said = does("df", &[words[0], words[1], &self.at])?;
        let free = said.lines().last().unwrap_or_default().trim().parse();
        free.with_context(|| format!("df says {said}"))
    }

    /// The file system finds itself damaged and goes read-only; ext4 has a switch for that.
    pub(crate) fn turn_read_only(&self) -> Result<()> {
        does(
            "mount",
            &[
                "-o".as_ref(),
                "remount,errors=remount-ro".as_ref(),
                &self.at,
            ],
        )?;
        let device = self.device.file_name().context("a device has a name")?;
        let switch = Path::new("/sys/fs/ext4")
            .join(device)
            .join("trigger_fs_error");
        std::fs::write(&switch, "rig").with_context(|| format!("{}", switch.display()))
    }

    /// The power goes: nothing more reaches the disk, not even the journal, and every call fails.
    pub(crate) fn cut(&self) -> Result<()> {
        // The same number and flag (no log flush) for ext4 and xfs.
        const SHUTDOWN: &str = "import fcntl, os, struct, sys\n\
             fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        does("python3", &["-c".as_ref(), SHUTDOWN.as_ref(), &self.at])?;
        Ok(())
    }

    /// Writes back all that it holds in memory.
    pub(crate) fn write_back(&self) -> Result<()> {
        does("sync", &["-f".as_ref(), &self.at])?;
        Ok(())
    }

    pub(crate) fn unmount(self) -> Result<()> {
        unmount(&self.at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount_anyhow(&self.at);
    }
}
