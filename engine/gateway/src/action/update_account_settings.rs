//! `UpdateAccountSettings`.

use weir_reactor::Reactor;

use super::account;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;

/// Commits the account to a minimum throughput, or ends that.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let commitment = members.structure("MinimumThroughputBillingCommitment");
    let status = commitment.and_then(|commitment| commitment.text("Status"));
    let is_committed = status == Some("ENABLED");
    match call.engine.update_account_settings(is_committed).await {
        Ok(settings) => Ok(account::answer(&call, settings)),
        Err(error) => Err(ServiceError::internal(error.to_string())),
    }
}
