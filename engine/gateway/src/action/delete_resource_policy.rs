//! `DeleteResourcePolicy`, for streams and consumers.

use weir_reactor::Reactor;
use weir_stream::{Change, ControlError};

use crate::call::Call;
use crate::error::{ErrorKind, ServiceError};
use crate::member::Members;
use crate::resource::Resource;

/// Forgets the policy; the answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let resource = Resource::read(members)?;
    resource.require(&call)?;
    let name = resource.stream();
    let change = match resource.consumer() {
        None => Change::Policy(None),
        Some(key) => Change::ConsumerPolicy(key, None),
    };
    let stream = call.stream(name)?;
    match call.engine.change_stream(&stream.name, change).await {
        Ok(_changed) => Ok(Vec::new()),
        Err(ControlError::NoPolicy) => Err(ServiceError::new(
            ErrorKind::ResourceNotFound,
            format!(
                "No resource policy found for resource ARN {}",
                resource.arn()
            ),
        )),
        Err(error) => Err(call.control_refused(name, &error)),
    }
}
