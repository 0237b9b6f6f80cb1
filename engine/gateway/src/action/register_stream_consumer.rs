//! `RegisterStreamConsumer`.

use weir_protocol::model::ConsumerName;
use weir_reactor::Reactor;
use weir_stream::Change;

use super::{shape, tags};
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Registers a consumer; it may still be CREATING when the answer comes.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    call.stream(name)?;
    let tags = tags::read(members, call.about(name))?;
    let asked = members.text("ConsumerName").unwrap_or_default();
    let consumer = ConsumerName::new(asked)
        .map_err(|error| ServiceError::invalid_argument(error.to_string()))?;
    let change = Change::RegisterConsumer {
        name: consumer,
        tags,
    };
    let changed = call.change(name, change).await?;
    let registered = changed.after.consumer(asked);
    let mut out = call.writer(512);
    out.open_map();
    if let Some(consumer) = registered {
        out.member("Consumer").open_map();
        shape::consumer_members(&mut out, &changed.after, consumer, call.identity);
        out.close_map();
    }
    out.close_map();
    Ok(out.into_bytes())
}
