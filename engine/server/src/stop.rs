//! When to stop: the operator's signals, before and after the server is ready.

use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::channel::{Receiver, unbounded};
use weir_reactor::{Signal, SignalEvents, start_thread};

use crate::cli::failure::Failure;

/// Orders to stop. A thread of its own listens: recovery and a reserve take their time, and
/// nothing in them looks at signals.
#[derive(Debug)]
pub(crate) struct StopOrders {
    started: Arc<Mutex<bool>>,
    orders: Receiver<Signal>,
}

impl StopOrders {
    /// From now on a signal ends the process at once with exit code 0, until
    /// [`StopOrders::started`]. A start can be cut at any moment, as a power cut does it: what is
    /// half done is done again or undone by the next one.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::could_not_run(format!("cannot listen for signals: {error}"));
        let mut signals = SignalEvents::listen().map_err(failed)?;
        let started = Arc::new(Mutex::new(false));
        let is_started = Arc::clone(&started);
        let (order, orders) = unbounded();
        start_thread("signals", None, move || {
            while let Some(signal) = signals.wait() {
                if signal == Signal::HangUp {
                    tracing::info!("SIGHUP: there is nothing to reload yet");
                    continue;
                }
                // Held over the exit, so that no ready line follows.
                let is_started = locked(&is_started);
                if !*is_started {
                    tracing::info!(?signal, "stopped before the server was ready");
                    process::exit(0);
                }
                tracing::info!(?signal, "stopping");
                // More orders than one change nothing; nobody may be left to hear them.
                let _ = order.send(signal);
            }
        })
        .map_err(failed)?;
        Ok(Self { started, orders })
    }

    /// The server serves: a signal is kept for [`StopOrders::wait`].
    pub(crate) fn started(&self) {
        *locked(&self.started) = true;
    }

    /// Blocks until an order comes.
    pub(crate) fn wait(&self) {
        // An error says that nobody listens any more: then no order can come either.
        let _ = self.orders.recv();
    }
}

fn locked(flag: &Mutex<bool>) -> MutexGuard<'_, bool> {
    flag.lock().unwrap_or_else(PoisonError::into_inner)
}
