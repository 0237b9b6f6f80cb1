//! `DeregisterStreamConsumer`.

use weir_reactor::Reactor;
use weir_stream::Change;

use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::named_consumer::NamedConsumer;

/// Deregisters a consumer, and its subscriptions end; the answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let named = NamedConsumer::read(members)?;
    named.find(&call)?;
    let change = Change::DeregisterConsumer(named.key()?);
    call.change(named.stream, change).await?;
    Ok(Vec::new())
}
