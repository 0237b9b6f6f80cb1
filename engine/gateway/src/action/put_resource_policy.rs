//! `PutResourcePolicy`, for streams and consumers.

use weir_reactor::Reactor;
use weir_stream::Change;

use crate::call::Call;
use crate::document::Value;
use crate::error::ServiceError;
use crate::json;
use crate::member::Members;
use crate::resource::Resource;

/// Notes the policy, which must be a JSON object; the answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let resource = Resource::read(members)?;
    resource.require(&call)?;
    let policy = members.text("Policy").unwrap_or_default();
    if !matches!(json::parse(policy.as_bytes()), Ok(Value::Map(_))) {
        return Err(ServiceError::invalid_argument(
            "Policy is not a JSON object.",
        ));
    }
    let policy = Some(policy.to_owned());
    let change = match resource.consumer() {
        None => Change::Policy(policy),
        Some(key) => Change::ConsumerPolicy(key, policy),
    };
    call.change(resource.stream(), change).await?;
    Ok(Vec::new())
}
