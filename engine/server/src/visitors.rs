//! HTTP connections of one core: how many there are, and how they learn that it is over.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::select;
use weir_reactor::Reactor;

use crate::accept::Port;
use crate::session::Event;

/// The HTTP connections of one core.
#[derive(Debug, Default)]
pub(crate) struct Visitors {
    /// By port.
    present: [Cell<usize>; 4],
    stopping: Cell<bool>,
    changed: Event,
}

/// One connection's stay.
#[derive(Debug)]
pub(crate) struct Visit {
    visitors: Rc<Visitors>,
    port: Port,
}

impl Visitors {
    /// A connection to a port begins.
    pub(crate) fn enter(self: &Rc<Self>, port: Port) -> Visit {
        let present = &self.present[port as usize];
        present.set(present.get() + 1);
        Visit {
            visitors: Rc::clone(self),
            port,
        }
    }

    /// How many there are of a port.
    pub(crate) fn present(&self, port: Port) -> usize {
        self.present[port as usize].get()
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
                if self.present.iter().all(|present| present.get() == 0) {
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
        let present = &self.visitors.present[self.port as usize];
        present.set(present.get() - 1);
        if self.visitors.stopping.get() {
            self.visitors.changed.notify();
        }
    }
}
