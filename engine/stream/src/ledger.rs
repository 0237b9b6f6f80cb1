//! A core's way to the catalog for its log's list of segments.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use weir_log::{Ledger, LedgerChange, LedgerFailed};
use weir_reactor::{Mailbox, oneshot};

use crate::catalog::control::ControlRequest;

/// The catalog as one core's log sees it.
pub(crate) struct ControlLedger {
    control: Mailbox<ControlRequest>,
}

impl ControlLedger {
    pub(crate) fn new(control: Mailbox<ControlRequest>) -> Self {
        Self { control }
    }
}

impl Ledger for ControlLedger {
    fn record(&self, change: LedgerChange) -> LocalBoxFuture<'static, Result<(), LedgerFailed>> {
        let failed = |what: &str| LedgerFailed {
            what: what.to_owned(),
        };
        let (answer, wait) = oneshot();
        let sent = self.control.send(ControlRequest::Ledger { change, answer });
        async move {
            if sent.is_err() {
                return Err(failed("too many control requests are waiting"));
            }
            wait.await
                .unwrap_or_else(|_| Err(failed("the control thread has ended")))
        }
        .boxed_local()
    }
}
