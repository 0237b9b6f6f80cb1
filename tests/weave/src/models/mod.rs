//! Every model: what it runs, and the weaknesses that it must catch.

mod counts;
mod mailbox;
mod oneshot;
mod reading;
mod waking;

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
    Model {
        name: "populated",
        what: "a part of a map is touched only when it is there, and no note is lost",
        run: reading::populated,
        catches: &[
            Plant::RelaxedStores,
            Plant::RelaxedLoads,
            Plant::SplitExchange,
        ],
    },
    Model {
        name: "retiring",
        what: "a slot is written anew only after its last reader's last look",
        run: reading::retiring,
        catches: &[Plant::ReadAfterRelease],
    },
    Model {
        name: "spares",
        what: "spare buffers are counted rightly wherever they come back",
        run: counts::spares,
        catches: &[Plant::SplitExchange],
    },
    Model {
        name: "leases",
        what: "the bytes of bodies stay under their ceiling and are given back once",
        run: counts::leases,
        catches: &[Plant::SplitExchange],
    },
    Model {
        name: "permits",
        what: "whoever waits for memory to read into gets it when it is given back",
        run: counts::permits,
        catches: &[Plant::LateRegister, Plant::SplitExchange],
    },
    Model {
        name: "dozing",
        what: "what is done before a wake-up is seen by the poll after it",
        run: waking::dozing,
        catches: &[
            Plant::LateRegister,
            Plant::RelaxedStores,
            Plant::RelaxedLoads,
        ],
    },
    Model {
        name: "room",
        what: "an answer goes on when its piece is gone",
        run: waking::room,
        catches: &[Plant::LateRegister],
    },
    Model {
        name: "room-given-up",
        what: "an answer that waits is told that it was given up",
        run: waking::given_up,
        catches: &[Plant::LateRegister],
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
        sync::register_late(polled.is_pending());
        match polled {
            Poll::Ready(output) => return output,
            Poll::Pending => sync::park_timeout(std::time::Duration::MAX),
        }
    }
}
