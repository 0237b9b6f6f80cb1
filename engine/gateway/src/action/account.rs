//! The answer of the two operations about the account.

use weir_reactor::Reactor;
use weir_stream::AccountSettings;

use crate::call::Call;

/// What the account is told.
pub(super) fn answer<R: Reactor>(call: &Call<'_, R>, account: AccountSettings) -> Vec<u8> {
    let commitment = account.commitment;
    let mut out = call.writer(256);
    out.open_map();
    out.member("MinimumThroughputBillingCommitment").open_map();
    out.member("Status").plain(if commitment.is_enabled {
        "ENABLED"
    } else {
        "DISABLED"
    });
    if let Some(started) = commitment.started {
        out.member("StartedAt").time(started);
    }
    if let Some(ended) = commitment.ended {
        out.member("EndedAt").time(ended);
    }
    out.close_map().close_map();
    out.into_bytes()
}
