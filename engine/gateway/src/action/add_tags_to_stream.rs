//! `AddTagsToStream`.

use weir_reactor::Reactor;
use weir_stream::Change;

use super::tags;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Adds tags, or gives known ones other values; the answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    call.stream(name)?;
    let tags = tags::read(members, call.about(name))?;
    call.change(name, Change::Tag(tags)).await?;
    Ok(Vec::new())
}
