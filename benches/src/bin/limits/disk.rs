//! The disk: W, C, S, and sequential reads past the page cache.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::arguments::Arguments;
use crate::machine::Cpus;
use crate::ring::{Direction, Moved, Transfer, run};
use crate::samples::Percentiles;
use crate::small::{self, Small};

/// A segment of a log, and as many as are recycled: 1 GiB, more than caches of disks hold.
const FILE_BYTES: u64 = 128 << 20;
const FILES: usize = 8;
const FRAME_BYTES: usize = 512 << 10;
const FRAMES_IN_FLIGHT: usize = 4;
const READ_BYTES: usize = 1 << 20;

/// A rate and the times of its single operations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) bytes_per_second: f64,
    pub(crate) each: Percentiles,
}

#[derive(Debug)]
pub(crate) struct DiskLimits {
    /// W: durable frames, four in flight.
    pub(crate) durable: Rate,
    /// C: durable blocks, one in flight.
    pub(crate) commit: Percentiles,
    /// S: small durable calls.
    pub(crate) small: Small,
    /// Reads of 1 MiB, one in flight.
    pub(crate) read_one: Rate,
    /// Reads of 1 MiB, two in flight.
    pub(crate) read_two: Rate,
}

/// Measures the disk under the folder that was asked for.
pub(crate) fn measure(arguments: &Arguments, cpus: Cpus) -> anyhow::Result<DiskLimits> {
    let pool = Pool::make(&arguments.folder).with_context(|| {
        let room = (FILE_BYTES * FILES as u64) >> 20;
        format!("writing {room} MiB ahead in {}", arguments.folder.display())
    })?;
    let durable = Transfer {
        direction: Direction::Write,
        piece_bytes: FRAME_BYTES,
        pieces: (arguments.bytes() as usize).div_ceil(FRAME_BYTES),
        in_flight: FRAMES_IN_FLIGHT,
        file_bytes: FILE_BYTES,
    };
    let commit = Transfer {
        piece_bytes: crate::ring::BLOCK_BYTES,
        pieces: arguments.rounds(),
        in_flight: 1,
        ..durable
    };
    let read = |in_flight| Transfer {
        direction: Direction::Read,
        piece_bytes: READ_BYTES,
        pieces: (FILE_BYTES * FILES as u64) as usize / READ_BYTES,
        in_flight,
        file_bytes: FILE_BYTES,
    };
    Ok(DiskLimits {
        durable: rate(run(&pool.durable, durable).context("durable writes")?),
        commit: run(&pool.durable, commit)
            .context("durable writes of one block")?
            .samples
            .percentiles(),
        small: small::measure(&pool.durable[0], cpus.generator, arguments.small_time())
            .context("small durable calls")?,
        read_one: rate(run(&pool.plain, read(1)).context("reads")?),
        read_two: rate(run(&pool.plain, read(2)).context("reads")?),
    })
}

fn rate(moved: Moved) -> Rate {
    Rate {
        bytes_per_second: moved.bytes as f64 / moved.wall.as_secs_f64(),
        each: moved.samples.percentiles(),
    }
}

/// Files whose blocks have all been written; unlinked when it is dropped.
struct Pool {
    folder: PathBuf,
    /// Whether the folder was made for this run.
    made: bool,
    plain: Vec<File>,
    durable: Vec<File>,
}

impl Pool {
    fn make(folder: &Path) -> io::Result<Self> {
        let made = !folder.exists();
        fs::create_dir_all(folder)?;
        let mut pool = Self {
            folder: folder.to_owned(),
            made,
            plain: Vec::new(),
            durable: Vec::new(),
        };
        for number in 0..FILES {
            let path = pool.path(number);
            let open = |flags| {
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true).truncate(false);
                options.custom_flags(flags).open(&path)
            };
            // The name is ours alone, so a leftover of a killed run may be taken over.
            pool.plain.push(open(libc::O_DIRECT)?);
            pool.durable.push(open(libc::O_DIRECT | libc::O_DSYNC)?);
            pool.plain[number].set_len(FILE_BYTES)?;
        }
        let ahead = Transfer {
            direction: Direction::Write,
            piece_bytes: READ_BYTES,
            pieces: (FILE_BYTES * FILES as u64) as usize / READ_BYTES,
            in_flight: 2,
            file_bytes: FILE_BYTES,
        };
        run(&pool.plain, ahead)?;
        for file in &pool.plain {
            file.sync_all()?;
        }
        File::open(folder)?.sync_all()?;
        Ok(pool)
    }

    fn path(&self, number: usize) -> PathBuf {
        self.folder.join(format!("weir-limits-{number}"))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for number in 0..FILES {
            // What cannot be unlinked is left: the numbers are worth more than the complaint.
            let _ = fs::remove_file(self.path(number));
        }
        if self.made {
            let _ = fs::remove_dir(&self.folder);
        }
    }
}
