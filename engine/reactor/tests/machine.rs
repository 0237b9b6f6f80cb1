//! The real machine: a disk folder on the build's file system, real cores, loopback sockets.
//!
//! One binary. Contents: `disk`, `map`, `cores`, `socket`.

#[path = "machine/cores.rs"]
mod cores;
#[path = "machine/disk.rs"]
mod disk;
#[path = "machine/map.rs"]
mod map;
#[path = "machine/socket.rs"]
mod socket;

use std::future::Future;
use std::path::PathBuf;

use tempfile::TempDir;
use weir_reactor::{CorePlan, CoreReactor, choose_cpus, start_cores};

/// A folder on the file system that holds the build: temporary folders may lie in memory, where
/// direct I/O proves nothing.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build folder can be written")
}

/// Runs `main` on one core.
fn on_core<T, F>(folder: PathBuf, main: impl Fn(CoreReactor) -> F + Clone + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let cpus = choose_cpus(1).expect("there is a CPU");
    let running = start_cores(&CorePlan { cpus, folder }, main).expect("the core starts");
    running.join().pop().expect("one core").expect("no panic")
}
