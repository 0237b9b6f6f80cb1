//! HTTP connections of one core: how many there are, and how they learn that it is over.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::select;
use weir_reactor::Reactor;

use crate::session::Event;

/// The HTTP connections of one core.
#[derive(Debug, Default)]
pub(crate) struct Visitors {
    present: Cell<usize>,
    stopping: Cell<bool>,
    changed: Event,
}

/// One connection's stay.
#[derive(Debug)]
pub(crate) struct Visit {
    visitors: Rc<Visitors>,
}

impl Visitors {
    /// A connection begins.
    pub(crate) fn enter(self: &Rc<Self>) -> Visit {
        self.present.set(self.present.get() + 1);
        Visit {
            visitors: Rc::clone(self),
        }
    }

    /// How many there are.
    pub(crate) fn present(&self) -> usize {
        self.present.get()
    }

    /// Whether they were told to leave.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Tells all to leave after the request in flight.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        self.changed.notify();
    }

    /// Waits until all left, at most for `patience`.
    pub(crate) async fn gone<R: Reactor>(&self, reactor: &R, patience: Duration) {
        let empty = std::pin::pin!(async {
            loop {
                let seen = self.changed.count();
                if self.present.get() == 0 {
                    return;
                }
                self.changed.after(seen).await;
            }
        });
        let late = std::pin::pin!(reactor.sleep(patience));
        select(empty, late).await;
    }
}

impl Visit {
    /// Completes when the visitors were told to leave.
    pub(crate) async fn stopping(&self) {
        loop {
            let seen = self.visitors.changed.count();
            if self.visitors.stopping.get() {
                return;
            }
            self.visitors.changed.after(seen).await;
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.visitors.present.set(self.visitors.present.get() - 1);
        if self.visitors.stopping.get() {
            self.visitors.changed.notify();
        }
    }
}
