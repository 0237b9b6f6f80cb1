//! One list of wakers per event, not a channel per request.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use weir_protocol::model::Position;

/// Tasks that wait for the durable mark to reach a position, in position order.
#[derive(Debug, Default)]
pub(crate) struct DurableWaiters {
    next_id: u64,
    waiting: BTreeMap<(Position, u64), Waker>,
}

impl DurableWaiters {
    pub(crate) fn register(&mut self, end: Position, waker: &Waker) -> (Position, u64) {
        self.next_id += 1;
        let key = (end, self.next_id);
        self.waiting.insert(key, waker.clone());
        key
    }

    pub(crate) fn refresh(&mut self, key: (Position, u64), waker: &Waker) {
        self.waiting.insert(key, waker.clone());
    }

    pub(crate) fn forget(&mut self, key: (Position, u64)) {
        self.waiting.remove(&key);
    }

    pub(crate) fn wake_up_to(&mut self, durable: Position) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > durable {
                break;
            }
            entry.remove().wake();
        }
    }

    pub(crate) fn wake_all(&mut self) {
        for (_, waker) in std::mem::take(&mut self.waiting) {
            waker.wake();
        }
    }
}

/// An event that any number of tasks of one core wait for. A wait that began before a
/// notification ends with it; none is lost.
#[derive(Debug, Clone, Default)]
pub struct Event {
    inner: Rc<RefCell<EventInner>>,
}

#[derive(Debug, Default)]
struct EventInner {
    count: u64,
    waiting: Vec<Waker>,
}

impl Event {
    /// It happened: ends every wait that began before.
    pub fn notify(&self) {
        let waiting = {
            let mut inner = self.inner.borrow_mut();
            inner.count += 1;
            std::mem::take(&mut inner.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// How often it was notified: to be taken before the condition is checked.
    pub fn count(&self) -> u64 {
        self.inner.borrow().count
    }

    /// Waits for a notification after `seen`.
    pub async fn after(&self, seen: u64) {
        poll_fn(|context| {
            let mut inner = self.inner.borrow_mut();
            if inner.count != seen {
                return Poll::Ready(());
            }
            if !inner.waiting.iter().any(|w| w.will_wake(context.waker())) {
                inner.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
