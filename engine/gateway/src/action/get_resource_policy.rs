//! `GetResourcePolicy`, for streams and consumers.

use weir_reactor::Reactor;

use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::resource::Resource;

/// Answers the policy as it was put; an empty one if there is none.
pub(crate) fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let found = Resource::read(members)?.require(&call)?;
    let mut out = call.writer(256);
    out.open_map();
    out.member("Policy").text(found.policy().unwrap_or("{}"));
    out.close_map();
    Ok(out.into_bytes())
}
