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
}

impl SimLedger {
    /// Access for the life of `reactor`.
    pub fn new(reactor: SimReactor, durable: Durable) -> Self {
        Self { reactor, durable }
    }
}

impl Ledger for SimLedger {
    fn record(&self, change: LedgerChange) -> LocalBoxFuture<'static, Result<(), LedgerFailed>> {
        let (reactor, durable) = (self.reactor.clone(), Rc::clone(&self.durable));
        Box::pin(async move {
            let before = reactor.random() % 3_000;
            reactor.sleep(Duration::from_micros(before)).await;
            durable.borrow_mut().apply(&change);
            let after = reactor.random() % 3_000;
            reactor.sleep(Duration::from_micros(after)).await;
            Ok(())
        })
    }
}
