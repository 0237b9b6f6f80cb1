//! Libraries of a few lines that are put before the C library of a server: compiled where they are used.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::disk::does;
use crate::server::Setup;

/// A library that servers may be started with.
#[derive(Debug, Clone)]
pub(crate) struct Preload(PathBuf);

impl Preload {
    /// Compiles `source` in `folder`.
    pub(crate) fn compile(folder: &Path, name: &str, source: &str) -> Result<Self> {
        let (file, library) = (
            folder.join(format!("{name}.c")),
            folder.join(format!("{name}.so")),
        );
        std::fs::write(&file, source)?;
        let words = ["-shared", "-fPIC", "-O1", "-o"].map(Path::new);
        let mut arguments = words.to_vec();
        arguments.extend([library.as_path(), file.as_path()]);
        does("cc", &arguments)?;
        Ok(Self(library))
    }

    /// A server that goes through it.
    pub(crate) fn before(&self, setup: Setup) -> Setup {
        setup.in_environment("LD_PRELOAD", &self.0)
    }
}
