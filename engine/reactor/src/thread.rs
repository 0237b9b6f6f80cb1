//! Ordinary threads, for work that may block: the catalog, the admin port, acceptance.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

pub use crossbeam::channel::{Receiver as ThreadReceiver, Sender as ThreadSender};

/// A queue for an ordinary thread, of at most `capacity` letters. Cores use `try_send`, which never
/// blocks; the thread uses `recv` or `recv_timeout`.
pub fn thread_queue<T>(capacity: usize) -> (ThreadSender<T>, ThreadReceiver<T>) {
    assert!(capacity > 0, "a queue of nothing would make cores wait");
    crossbeam::channel::bounded(capacity)
}

/// Starts a thread named `name` (at most 15 bytes show in tools), on `cpu` only if one is given,
/// on any CPU of the process otherwise.
pub fn start_thread<T: Send + 'static>(
    name: &str,
    cpu: Option<usize>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let name = name.to_owned();
    std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            // Threads inherit the pin of their parent.
            crate::cores::allow_every_cpu();
            if let Some(cpu) = cpu
                && !crate::cores::pin_this_thread(cpu)
            {
                tracing::warn!(name, cpu, "the thread could not be pinned");
            }
            work()
        })
}

/// Blocks the calling thread, which is not a core. Only for waits that no event ends.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that other crates sleep through"
)]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
