//! The clocks of one server, steered from here: by `clock.c`, before the C library.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::preload::Preload;
use crate::server::Setup;

const SOURCE: &str = include_str!("clock.c");

pub(super) struct Clock {
    library: Preload,
    path: PathBuf,
    file: File,
    wall_ms: i64,
    boot_ms: i64,
}

impl Clock {
    /// Compiles it in `folder`; it shows the true time.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let library = Preload::compile(folder, "clock", SOURCE)?;
        let path = folder.join("shifts");
        let file = File::create_new(&path)?;
        file.write_all_at(&[0; 16], 0)?;
        Ok(Self {
            library,
            path,
            file,
            wall_ms: 0,
            boot_ms: 0,
        })
    }

    /// A server that goes by these clocks.
    pub(super) fn rule(&self, setup: Setup) -> Setup {
        let setup = self.library.before(setup);
        setup.in_environment("SHIFTED_CLOCK", &self.path)
    }

    /// Sets the wall clock so far off the true time.
    pub(super) fn jump(&mut self, wall_ms: i64) -> Result<()> {
        self.wall_ms = wall_ms;
        Ok(self.file.write_all_at(&nanoseconds(wall_ms), 0)?)
    }

    /// Lets so much more time have passed since the boot.
    pub(super) fn pass(&mut self, more_ms: i64) -> Result<()> {
        self.boot_ms += more_ms;
        Ok(self.file.write_all_at(&nanoseconds(self.boot_ms), 8)?)
    }

    /// What the server's wall clock shows.
    pub(super) fn now(&self) -> SystemTime {
        let shift = Duration::from_millis(self.wall_ms.unsigned_abs());
        if self.wall_ms < 0 {
            SystemTime::now() - shift
        } else {
            SystemTime::now() + shift
        }
    }
}

fn nanoseconds(milliseconds: i64) -> [u8; 8] {
    (milliseconds * 1_000_000).to_le_bytes()
}
