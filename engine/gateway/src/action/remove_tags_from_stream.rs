//! `RemoveTagsFromStream`.

use weir_reactor::Reactor;
use weir_stream::Change;

use super::tags;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Removes tags; keys that are not there are let be. The answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    call.stream(name)?;
    let keys = tags::read_keys(members, call.about(name))?;
    call.change(name, Change::Untag(keys)).await?;
    Ok(Vec::new())
}
