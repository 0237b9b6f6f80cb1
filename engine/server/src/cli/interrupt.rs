//! Ctrl-C and SIGTERM, as an event: a command ends in good order, or at once if asked twice.

use std::process;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::failure::Failure;

/// Calls `act` at the first signal; a second one ends the process with `exit`.
pub(crate) fn on_interrupt(exit: i32, act: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::could_not_run(format!("cannot wait for signals: {error}")))?;
    thread::spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            act();
        }
        // Whoever asks twice does not wait for a blocked pipe.
        if signals.next().is_some() {
            process::exit(exit);
        }
    });
    Ok(())
}
