//! Something happened: any number of tasks of one core wait for it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// An event of one core. A wait names the count it saw last, so that nothing between the look and
/// the wait is lost.
#[derive(Debug, Default)]
pub(crate) struct Event {
    count: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Event {
    /// It happened: ends every wait.
    pub(crate) fn notify(&self) {
        self.count.set(self.count.get() + 1);
        if self.waiting.borrow().is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for waker in waiting {
            waker.wake();
        }
    }

    /// How often it happened: to be taken before the condition is looked at.
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Waits until it happened after `seen`.
    pub(crate) async fn after(&self, seen: u64) {
        poll_fn(|context| {
            if self.count.get() != seen {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|w| w.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
