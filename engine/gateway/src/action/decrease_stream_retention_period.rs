//! `DecreaseStreamRetentionPeriod`.

use weir_reactor::Reactor;
use weir_stream::Change;

use super::retention;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Keeps records shorter: older ones are gone at once. The answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    call.stream(name)?;
    let millis = retention::read(members)?;
    call.change(name, Change::DecreaseRetention(millis)).await?;
    Ok(Vec::new())
}
