//! What the tests stand on.
//!
//! Owns: processes, folders, clients. Never: what a test claims.

mod clients;
mod commands;
mod content;
mod folder;
mod http;
mod load;
mod reader;
mod victim;
mod wire;

pub(crate) use clients::{
    aws, launcher, node, python_with_asyncio_clients, python_with_boto, with_aws_environment,
};
pub(crate) use commands::{Ran, run, signal, weir};
pub(crate) use content::{Content, Shape, fill, mix, parse};
pub(crate) use folder::{bytes_on_disk, temporary};
pub(crate) use http::Http;
pub(crate) use load::{Load, Noted, Placed, Plan};
pub(crate) use reader::{Found, Reader};
pub(crate) use victim::{Ended, Setup, Victim};
pub(crate) use wire::{Wire, name};

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The machine for one heavy test at a time: two of them share two cores badly.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks every 20 ms until `look` gives something; panics with `what` after `patience`.
pub(crate) fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < until,
            "{what} did not come within {patience:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes as MiB, for what tests print.
pub(crate) fn mib(bytes: u64) -> u64 {
    bytes >> 20
}
