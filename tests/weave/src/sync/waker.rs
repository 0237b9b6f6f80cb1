//! A task's waker, set by the task and taken by whoever has news for it.
//!
//! As the crate `atomic-waker` documents its cell: registering and waking come one after the other, and
//! the later of the two sees what was done before the earlier. Nothing more is promised, so nothing
//! more is given.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use loom::sync::atomic::{AtomicUsize, Ordering};

use crate::plant::Plant;

/// Registrations that are held back.
static LATE: Mutex<Vec<(Arc<Cell>, Waker)>> = Mutex::new(Vec::new());

/// The stand-in for `AtomicWaker`.
#[derive(Debug, Default)]
pub struct AtomicWaker(Arc<Cell>);

#[derive(Debug, Default)]
struct Cell {
    order: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cell {
    fn put(&self, waker: Waker) {
        // One step to all others: the model checker changes threads at its own parts only.
        self.order.fetch_add(1, Ordering::AcqRel);
        *locked(&self.waker) = Some(waker);
    }
}

#[allow(missing_docs, reason = "as in the crate")]
impl AtomicWaker {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn register(&self, waker: &Waker) {
        if Plant::LateRegister.is_planted() {
            locked(&LATE).push((Arc::clone(&self.0), waker.clone()));
        } else {
            self.0.put(waker.clone());
        }
    }

    pub fn wake(&self) {
        self.0.order.fetch_add(1, Ordering::AcqRel);
        let waker = locked(&self.0.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Registers what was held back, if its task goes to sleep.
pub(crate) fn register_late(sleeps: bool) {
    let late = std::mem::take(&mut *locked(&LATE));
    for (cell, waker) in late.into_iter().filter(|_| sleeps) {
        cell.put(waker);
    }
}
