//! `DisableEnhancedMonitoring`.

use weir_reactor::Reactor;
use weir_stream::Change;

use super::monitoring;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Notes that metrics are wanted no longer; answers those before and after.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    let change = Change::DisableMonitoring(monitoring::read(members));
    let changed = call.change(name, change).await?;
    Ok(monitoring::answer(&call, &changed))
}
