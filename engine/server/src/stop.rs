//! The operator's signals, before and after the server is ready: when to stop, and when to read
//! files anew.

use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::channel::{Receiver, bounded};
use weir_reactor::{Signal, SignalEvents, start_thread};

use crate::cli::failure::Failure;

/// Orders that may wait; more say nothing that those do not say.
const WAITING_MAX: usize = 16;

/// What the operator wants of a server that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Read the files again that settings name.
    Reload,
    /// End in good order.
    Stop,
}

/// What the operator orders. A thread of its own listens: recovery and a reserve take their time, and
/// nothing in them looks at signals.
#[derive(Debug)]
pub(crate) struct Orders {
    started: Arc<Mutex<bool>>,
    orders: Receiver<Order>,
}

impl Orders {
    /// From now on a signal ends the process at once with exit code 0, until
    /// [`Orders::started`]. A start can be cut at any moment, as a power cut does it: what is
    /// half done is done again or undone by the next one.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::could_not_run(format!("cannot listen for signals: {error}"));
        let mut signals = SignalEvents::listen().map_err(failed)?;
        let started = Arc::new(Mutex::new(false));
        let is_started = Arc::clone(&started);
        let (order, orders) = bounded(WAITING_MAX);
        start_thread("signals", None, move || {
            while let Some(signal) = signals.wait() {
                if signal == Signal::HangUp {
                    // If as many wait, what they read is what this one would.
                    let _ = order.try_send(Order::Reload);
                    continue;
                }
                // Held over the exit, so that no ready line follows.
                let is_started = locked(&is_started);
                if !*is_started {
                    tracing::info!(?signal, "stopped before the server was ready");
                    process::exit(0);
                }
                tracing::info!(?signal, "stopping");
                // Nobody may be left to hear it.
                let _ = order.send(Order::Stop);
            }
        })
        .map_err(failed)?;
        Ok(Self { started, orders })
    }

    /// The server serves: a signal is kept for [`Orders::next`].
    pub(crate) fn started(&self) {
        *locked(&self.started) = true;
    }

    /// Blocks until an order comes.
    pub(crate) fn next(&self) -> Order {
        // An error says that nobody listens any more: then no order can come either.
        self.orders.recv().unwrap_or(Order::Stop)
    }
}

fn locked(flag: &Mutex<bool>) -> MutexGuard<'_, bool> {
    flag.lock().unwrap_or_else(PoisonError::into_inner)
}
