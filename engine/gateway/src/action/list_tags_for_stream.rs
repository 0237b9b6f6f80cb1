//! `ListTagsForStream`.

use std::ops::Bound;

use weir_reactor::Reactor;

use super::tags;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Tags of an answer when the client asks for no number: all that there may be.
const TAGS_DEFAULT: usize = 50;

/// Lists tags by key, a page at a time.
pub(crate) fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let stream = call.stream(StreamReference::read(members).resolve()?)?;
    let limit = members.integer("Limit");
    let limit = limit.map_or(TAGS_DEFAULT, |limit| limit as usize);
    let after = match members.text("ExclusiveStartTagKey") {
        None => Bound::Unbounded,
        Some(key) => Bound::Excluded(key),
    };
    let mut rest = stream
        .settings
        .tags
        .range::<str, _>((after, Bound::Unbounded));
    let mut out = call.writer(256);
    out.open_map();
    tags::write(&mut out, rest.by_ref().take(limit));
    out.member("HasMoreTags").boolean(rest.next().is_some());
    out.close_map();
    Ok(out.into_bytes())
}
