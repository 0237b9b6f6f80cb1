//! The operator's signals, as events for the boot thread.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::{Handle, Signals};

/// What the operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: stop in good order.
    Terminate,
    /// SIGINT, the interrupt key: stop in good order.
    Interrupt,
    /// SIGHUP: the terminal is gone, or read the settings anew.
    HangUp,
}

/// Signals caught since it was made.
#[derive(Debug)]
pub struct SignalEvents {
    signals: Signals,
}

/// Ends the wait of [`SignalEvents::wait`] from another thread.
#[derive(Debug, Clone)]
pub struct SignalCloser {
    handle: Handle,
}

impl SignalEvents {
    /// From now on these signals do not kill the process, but are kept for [`SignalEvents::wait`].
    ///
    /// Nor does SIGXFSZ: a write beyond the limit of a file's length is to fail with EFBIG, as any
    /// other that finds no room, and not to end everything.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            signals: Signals::new([SIGTERM, SIGINT, SIGHUP, SIGXFSZ])?,
        })
    }

    /// Blocks until a signal comes; `None` once closed.
    pub fn wait(&mut self) -> Option<Signal> {
        self.signals.forever().find_map(|signal| match signal {
            SIGTERM => Some(Signal::Terminate),
            SIGINT => Some(Signal::Interrupt),
            SIGHUP => Some(Signal::HangUp),
            _ => None,
        })
    }

    /// A handle that ends the wait.
    pub fn closer(&self) -> SignalCloser {
        SignalCloser {
            handle: self.signals.handle(),
        }
    }
}

impl SignalCloser {
    /// Ends the wait.
    pub fn close(&self) {
        self.handle.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_an_event() {
        let mut events = SignalEvents::listen().unwrap();
        signal_hook::low_level::raise(SIGHUP).unwrap();
        assert_eq!(events.wait(), Some(Signal::HangUp));
        // Not a word of it: whoever wrote is told.
        signal_hook::low_level::raise(SIGXFSZ).unwrap();
        events.closer().close();
        assert_eq!(events.wait(), None);
    }
}
