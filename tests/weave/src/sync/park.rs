//! Threads that sleep until they are told. The checker's own parking is no step of its search.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use loom::sync::Notify;

use crate::plant::Plant;

loom::thread_local! {
    static SELF: Thread = Thread(Arc::new(Notify::new()));
}

/// The stand-in for a thread's handle.
#[derive(Clone)]
pub struct Thread(Arc<Notify>);

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Thread")
    }
}

/// The calling thread.
pub fn current() -> Thread {
    SELF.with(Thread::clone)
}

impl Thread {
    /// Ends its sleep, or the next one.
    pub fn unpark(&self) {
        self.0.notify();
    }
}

/// Sleeps until somebody ends it; the time never passes, but it may wake for no reason.
pub fn park_timeout(_: Duration) {
    let this = current();
    if Plant::ForgetfulPark.is_planted() {
        this.0.notify();
        this.0.wait();
    }
    this.0.wait();
}
