//! The disk as a process: one file of a FUSE mount, whose writes and flushes are noted in order, and
//! which fails, stalls or crawls when it is told to.
//!
//! Two threads: one takes requests from the kernel as they come, the other does them, in that order.
//! So a flush is noted when it arrived, which may be before a write ahead of it was answered, and then
//! does not cover that write: as with a real device.

use std::fs::File;
use std::io::{self, BufRead, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};

use super::fault::{Faults, Write};
use super::fuse::{self, Ask};
use super::journal::{Event, Journal};

/// Requests taken and not done yet; the kernel has a bound of its own.
const WAITING: usize = 256;

struct Disk {
    fuse: File,
    image: File,
    bytes: u64,
    journal: Option<Mutex<Journal>>,
    faults: Mutex<Faults>,
}

enum Job {
    Read { offset: u64, bytes: usize },
    Write { offset: u64, data: Vec<u8> },
    Flush,
}

/// Serves the file `disk` of `folder` at `at` until it is unmounted.
pub(crate) fn serve(folder: &Path, at: &Path, record: bool) -> Result<()> {
    let image = File::options()
        .read(true)
        .write(true)
        .open(folder.join(fuse::NAME))?;
    let fuse = File::options().read(true).write(true).open("/dev/fuse")?;
    let mut mount = Command::new("mount");
    // The kernel wants the number of a descriptor: that of the mounting process's stdin.
    mount.args(["-i", "-t", "fuse", "-o"]);
    mount.arg("fd=0,rootmode=40000,user_id=0,group_id=0");
    mount
        .arg("blocks")
        .arg(at)
        .stdin(Stdio::from(fuse.try_clone()?));
    // It asks nothing of the file system, so nobody need answer yet.
    let mounted = mount.status().context("mount does not run")?;
    ensure!(mounted.success(), "the disk was not mounted");
    println!("ready");
    let disk = Arc::new(Disk {
        bytes: image.metadata()?.len(),
        fuse,
        image,
        journal: record
            .then(|| Journal::create(folder).map(Mutex::new))
            .transpose()?,
        faults: Mutex::default(),
    });
    let (to, jobs) = sync_channel(WAITING);
    let taker = Arc::clone(&disk);
    let taking = thread::spawn(move || {
        let mut room = vec![0; fuse::REQUEST_BYTES];
        while let Some(job) = taker.take(&mut room)? {
            if to.send(job).is_err() {
                break;
            }
        }
        Ok::<_, io::Error>(())
    });
    let told = Arc::clone(&disk);
    thread::spawn(move || told.listen());
    disk.work(&jobs)?;
    taking
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("panicked")))?;
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    fn note(&self, event: Event) -> io::Result<()> {
        match &self.journal {
            Some(journal) => locked(journal).note(event),
            None => Ok(()),
        }
    }

    /// The next thing to do; nothing once the mount is gone.
    fn take(&self, room: &mut [u8]) -> io::Result<Option<(u64, Job)>> {
        // What the kernel says of requests that were taken back, and of a mount that is gone.
        const ENOENT: i32 = 2;
        const ENODEV: i32 = 19;
        loop {
            let bytes = match io::Read::read(&mut &self.fuse, room) {
                Ok(bytes) => bytes,
                Err(wrong) if wrong.raw_os_error() == Some(ENODEV) => return Ok(None),
                Err(wrong) if wrong.raw_os_error() == Some(ENOENT) => continue,
                Err(wrong) if wrong.kind() == io::ErrorKind::Interrupted => continue,
                Err(wrong) => return Err(wrong),
            };
            let Some(request) = fuse::take(&room[..bytes], self.bytes, &self.fuse)? else {
                continue;
            };
            let id = request.unique;
            let job = match request.ask {
                Ask::Read { offset, bytes } => Job::Read { offset, bytes },
                Ask::Write { offset, data } => {
                    if let Some(journal) = &self.journal {
                        locked(journal).write(id, offset, data)?;
                    }
                    let data = data.to_vec();
                    Job::Write { offset, data }
                }
                Ask::Flush => {
                    self.note(Event::Flush { id })?;
                    Job::Flush
                }
            };
            return Ok(Some((id, job)));
        }
    }

    fn work(&self, jobs: &Receiver<(u64, Job)>) -> io::Result<()> {
        while let Ok((id, job)) = jobs.recv() {
            let answered = match job {
                Job::Read { .. } if locked(&self.faults).read() => {
                    fuse::answer(&self.fuse, id, fuse::EIO, &[])
                }
                Job::Read { offset, bytes } => {
                    let left = self.bytes.saturating_sub(offset);
                    let mut data = vec![0; bytes.min(left as usize)];
                    self.image.read_exact_at(&mut data, offset)?;
                    fuse::answer(&self.fuse, id, 0, &data)
                }
                Job::Write { offset, data } => self.write(id, offset, &data),
                Job::Flush => self.flush(id),
            };
            match answered {
                // The request was taken back.
                Err(wrong) if wrong.kind() == io::ErrorKind::NotFound => {}
                answered => answered?,
            }
        }
        Ok(())
    }

    fn write(&self, id: u64, offset: u64, data: &[u8]) -> io::Result<()> {
        let (write, takes) = locked(&self.faults).write(data);
        thread::sleep(takes);
        match write {
            Write::Done => {}
            Write::Fails => return fuse::answer(&self.fuse, id, fuse::EIO, &[]),
            Write::Lost => return fuse::answer(&self.fuse, id, 0, &fuse::written(data.len())),
        }
        self.image.write_all_at(data, offset)?;
        self.note(Event::Wrote { id })?;
        fuse::answer(&self.fuse, id, 0, &fuse::written(data.len()))
    }

    fn flush(&self, id: u64) -> io::Result<()> {
        let (fails, takes) = locked(&self.faults).flush();
        thread::sleep(takes);
        if fails {
            return fuse::answer(&self.fuse, id, fuse::EIO, &[]);
        }
        self.note(Event::Flushed { id })?;
        fuse::answer(&self.fuse, id, 0, &[])
    }

    /// Does what lines from stdin say, and answers each.
    fn listen(&self) {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let said = locked(&self.faults).obey(&line);
            let mut stdout = io::stdout().lock();
            if writeln!(stdout, "{said}")
                .and_then(|()| stdout.flush())
                .is_err()
            {
                return;
            }
        }
    }
}

/// The words of the process.
#[derive(clap::Parser)]
pub(crate) struct Serving {
    folder: PathBuf,
    at: PathBuf,
    #[arg(long)]
    record: bool,
}

impl Serving {
    pub(crate) fn run(&self) -> Result<()> {
        serve(&self.folder, &self.at, self.record)
    }
}
