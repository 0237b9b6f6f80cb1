//! `DeleteStream`.

use weir_reactor::Reactor;
use weir_stream::ConsumersOnDelete;

use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;
use crate::validation::Violations;

/// Deletes the stream, in any state; the answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let enforced = members.boolean("EnforceConsumerDeletion")?;
    let reference = StreamReference::read(members)?;
    let mut violations = Violations::default();
    reference.validate(&mut violations);
    violations.finish()?;

    let stream = call.stream(reference.resolve()?)?;
    let consumers = match enforced {
        Some(true) => ConsumersOnDelete::Delete,
        _ => ConsumersOnDelete::Keep,
    };
    match call.engine.delete_stream(&stream.name, consumers).await {
        Ok(()) => Ok(Vec::new()),
        Err(error) => Err(call.control_refused(stream.name.as_str(), &error)),
    }
}
