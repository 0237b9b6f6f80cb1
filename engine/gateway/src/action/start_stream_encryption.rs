//! `StartStreamEncryption`.

use weir_reactor::Reactor;
use weir_stream::Change;

use super::encryption;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Notes the key; the answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    call.stream(name)?;
    encryption::check_type(members)?;
    let key = members.text("KeyId").unwrap_or_default();
    let change = Change::Encryption(Some(key.to_owned()));
    call.change(name, change).await?;
    Ok(Vec::new())
}
