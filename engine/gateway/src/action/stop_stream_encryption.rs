//! `StopStreamEncryption`.

use weir_reactor::Reactor;
use weir_stream::Change;

use super::encryption;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Forgets the key, whichever is named; the answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    call.stream(name)?;
    encryption::check_type(members)?;
    call.change(name, Change::Encryption(None)).await?;
    Ok(Vec::new())
}
