//! Every model: what it runs, and the weaknesses that it must catch.

mod mailbox;
mod oneshot;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::plant::Plant;
use crate::sync;

/// A model.
pub struct Model {
    /// Its name.
    pub name: &'static str,
    /// What must hold, whatever the order.
    pub what: &'static str,
    /// One run, of which the checker makes as many as there are orders.
    pub run: fn(),
    /// With each of these planted it must fail.
    pub catches: &'static [Plant],
}

/// All of them.
pub const MODELS: &[Model] = &[
    Model {
        name: "mailbox-letters",
        what: "every letter of two senders arrives once, and then the end",
        run: mailbox::letters,
        catches: &[Plant::LateRegister, Plant::SplitExchange],
    },
    Model {
        name: "mailbox-gone",
        what: "a letter whose inbox goes is given back or dropped, and never stays",
        run: mailbox::gone,
        catches: &[Plant::NoFence],
    },
    Model {
        name: "oneshot-awaited",
        what: "an answer, or word that there is none, reaches the task that awaits it",
        run: oneshot::awaited,
        catches: &[Plant::ForgetfulPark],
    },
    Model {
        name: "oneshot-waited",
        what: "an answer, or word that there is none, reaches the thread that waits for it",
        run: oneshot::waited,
        catches: &[Plant::ForgetfulPark],
    },
];

/// Runs a future to its end on this thread of the model, which is parked between its polls and never
/// woken without a reason.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(sync::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(sync::current())));
    loop {
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        sync::register_late();
        match polled {
            Poll::Ready(output) => return output,
            Poll::Pending => sync::park_timeout(std::time::Duration::MAX),
        }
    }
}
