//! `IncreaseStreamRetentionPeriod`.

use weir_reactor::Reactor;
use weir_stream::Change;

use super::retention;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Keeps records longer; the answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    call.stream(name)?;
    let millis = retention::read(members)?;
    call.change(name, Change::IncreaseRetention(millis)).await?;
    Ok(Vec::new())
}
