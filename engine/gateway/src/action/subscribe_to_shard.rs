//! `SubscribeToShard`: a shard's records, pushed to a registered consumer.

use std::rc::Rc;

use weir_protocol::model::ShardIndex;
use weir_reactor::Reactor;
use weir_stream::{Consumer, ConsumerStatus, Stream, Subscriber};

use super::starting_position::StartingPosition;
use crate::arn::{self, ConsumerReference};
use crate::call::Call;
use crate::error::ServiceError;
use crate::http::EventBody;
use crate::member::Members;
use crate::subscription::{EventSource, event_body};

fn starting_position(members: Members<'_>) -> Option<StartingPosition<'_>> {
    let position = members.structure("StartingPosition")?;
    Some(StartingPosition {
        operation: "SubscribeToShard",
        kind: position.text("Type").unwrap_or_default(),
        number: position.text("SequenceNumber"),
        time_ms: position.time_ms("Timestamp"),
    })
}

/// The registered consumer that an ARN names: one registered anew has another ARN.
fn find<'s>(stream: &'s Stream, reference: ConsumerReference<'_>) -> Option<&'s Consumer> {
    stream.consumers.iter().find(|consumer| {
        consumer.name == *reference.consumer
            && consumer.created.as_secs() == reference.registered_secs
    })
}

/// Subscribes, and answers with the events to come.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<EventBody, ServiceError> {
    let arn = members.text("ConsumerARN").unwrap_or_default();
    let reference = arn::consumer(arn)
        .ok_or_else(|| ServiceError::invalid_argument(format!("Invalid consumer ARN: {arn}")))?;
    let about = call.about(reference.stream);
    let asked = members.text("ShardId").unwrap_or_default();
    let index = ShardIndex::parse(asked).ok_or_else(|| about.unresolved_shard(asked))?;
    let stream = call.usable_stream(reference.stream)?;
    let consumer = find(&stream, reference);
    let consumer = consumer.ok_or_else(|| about.consumer_not_found(reference.consumer))?;
    let subscriber = Subscriber {
        shard: stream.shard_id(index),
        consumer: consumer.name.clone(),
        registered: consumer.created,
    };
    if consumer.status != ConsumerStatus::Active {
        return Err(about.consumer_not_active(&subscriber));
    }
    let shard = stream.shard(index);
    let shard = shard.ok_or_else(|| about.missing_shard(index))?;
    let position = starting_position(members)
        .ok_or_else(|| ServiceError::invalid_argument("StartingPosition must be given."))?;
    let start = position.resolve(shard, call.now(), about)?;
    members.refuse_dry_run()?;
    let next = start.seek(call.engine, subscriber.shard, about).await?;
    let subscription = call.engine.subscribe(subscriber.clone()).await;
    let subscription =
        subscription.map_err(|error| about.subscribe_refused(&subscriber, &error))?;
    Ok(event_body(EventSource {
        engine: call.engine.clone(),
        subscription,
        account: call.identity.account.clone(),
        ceiling: Rc::clone(call.ceiling),
        budget: Rc::clone(call.budget),
        stream,
        next,
    }))
}
