//! `ListTagsForResource`, for streams and consumers.

use weir_reactor::Reactor;

use super::tags;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::resource::Resource;

/// Lists all tags of a stream or a consumer, by key.
pub(crate) fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let found = Resource::read(members)?.require(&call)?;
    let mut out = call.writer(256);
    out.open_map();
    tags::write(&mut out, found.tags().iter());
    out.close_map();
    Ok(out.into_bytes())
}
