//! Calls that block, done on two threads beside the cores: file creation, unlinking, flushes,
//! bringing cold pages in.
//!
//! Owns: the threads and their queue. Never: a core's time. The queue is as long as tasks wait for
//! it, and a task waits for one job at a time.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use crossbeam::channel::{Receiver, Sender, unbounded};

use crate::cores::oneshot;

type Job = Box<dyn FnOnce() + Send>;

const THREADS: usize = 2;

/// Runs `job` off the core and awaits its outcome. If the caller stops waiting, the job is done all
/// the same. A job that panics is an error here.
pub async fn off_core<T: Send + 'static>(
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (reply, outcome) = oneshot();
    submit(Box::new(move || reply.send(job())))?;
    outcome
        .await
        .unwrap_or_else(|_| Err(io::Error::other("a job beside the cores panicked")))
}

/// Has `job` done off the core some time soon; nobody waits for it.
pub(crate) fn off_core_detached(job: impl FnOnce() + Send + 'static) {
    if let Err(error) = submit(Box::new(job)) {
        tracing::error!(%error, "a job beside the cores was not taken");
    }
}

fn submit(job: Job) -> io::Result<()> {
    static QUEUE: OnceLock<Option<Sender<Job>>> = OnceLock::new();
    let queue = QUEUE.get_or_init(|| start().inspect_err(|error| tracing::error!(%error)).ok());
    let gone = || io::Error::other("the threads beside the cores did not start");
    queue
        .as_ref()
        .ok_or_else(gone)?
        .send(job)
        .map_err(|_| gone())
}

fn start() -> io::Result<Sender<Job>> {
    let (queue, jobs) = unbounded();
    for number in 0..THREADS {
        let jobs: Receiver<Job> = jobs.clone();
        std::thread::Builder::new()
            .name(format!("off-core-{number}"))
            .spawn(move || {
                unpin();
                for job in jobs {
                    // The waiter learns of a panic by the dropped reply; the thread goes on.
                    let _ = catch_unwind(AssertUnwindSafe(job));
                }
            })?;
    }
    Ok(queue)
}

/// A thread inherits the pin of the core that happened to start it; these shall run anywhere.
fn unpin() {
    crate::cores::allow_every_cpu();
}
