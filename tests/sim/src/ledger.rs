//! A catalog that outlives crashes: each change is atomic, and durable at some moment of its call.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use weir_log::{Ledger, LedgerChange, LedgerFailed, LedgerState};
use weir_reactor::Reactor;
use weir_reactor::sim::SimReactor;

/// What survives.
pub type Durable = Rc<RefCell<LedgerState>>;

/// One life's access to it.
pub struct SimLedger {
    reactor: SimReactor,
    durable: Durable,
    /// One call in this many fails, half of those after the change became durable; 0 for none.
    fails_one_in: u64,
}

impl SimLedger {
    /// Access for the life of `reactor`.
    pub fn new(reactor: SimReactor, durable: Durable, fails_one_in: u64) -> Self {
        Self {
            reactor,
            durable,
            fails_one_in,
        }
    }
}

impl Ledger for SimLedger {
    fn record(&self, change: LedgerChange) -> LocalBoxFuture<'static, Result<(), LedgerFailed>> {
        let (reactor, durable) = (self.reactor.clone(), Rc::clone(&self.durable));
        let fails_one_in = self.fails_one_in;
        if change.added.is_empty() && change.removed.is_empty() && change.known_generation == 0 {
            // A segment was begun. At once and without a draw: stories stay what they were before this
            // was told. What a stop between leaves is in the stories of streams, which have a catalog.
            durable.borrow_mut().apply(&change);
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(async move {
            let before = reactor.random() % 3_000;
            reactor.sleep(Duration::from_micros(before)).await;
            let fails = fails_one_in > 0 && reactor.random().is_multiple_of(fails_one_in);
            if !fails || reactor.random().is_multiple_of(2) {
                durable.borrow_mut().apply(&change);
            }
            let after = reactor.random() % 3_000;
            reactor.sleep(Duration::from_micros(after)).await;
            if fails {
                let what = "the simulated catalog failed".into();
                return Err(LedgerFailed { what });
            }
            Ok(())
        })
    }
}
