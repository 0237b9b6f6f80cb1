//! `UntagResource`, for streams and consumers.

use weir_reactor::Reactor;
use weir_stream::Change;

use super::tags;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::resource::Resource;

/// Removes tags of a stream or a consumer; the answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let resource = Resource::read(members)?;
    let name = resource.stream();
    resource.require(&call)?;
    let keys = tags::read_keys(members, call.about(name))?;
    let change = match resource.consumer() {
        None => Change::Untag(keys),
        Some(key) => Change::UntagConsumer(key, keys),
    };
    call.change(name, change).await?;
    Ok(Vec::new())
}
