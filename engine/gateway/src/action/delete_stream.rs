//! `DeleteStream`.

use weir_reactor::Reactor;
use weir_stream::ConsumersOnDelete;

use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Deletes the stream, in any state; the answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let stream = call.stream(StreamReference::read(members).resolve()?)?;
    let consumers = match members.boolean("EnforceConsumerDeletion") {
        Some(true) => ConsumersOnDelete::Delete,
        _ => ConsumersOnDelete::Keep,
    };
    match call.engine.delete_stream(&stream.name, consumers).await {
        Ok(()) => Ok(Vec::new()),
        Err(error) => Err(call.control_refused(stream.name.as_str(), &error)),
    }
}
