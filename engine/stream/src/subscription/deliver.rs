//! Records for subscribers: as soon as they are durable, no faster than the rate, and a heartbeat
//! when there are none.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::select;
use thiserror::Error;
use weir_protocol::model::{Offset, ShardId};
use weir_reactor::{Monotonic, Reactor, oneshot};

use super::register::{Over, Subscriber, Ticket};
use crate::consumer::ConsumerStatus;
use crate::cross_core::CoreRequest;
use crate::engine::Engine;
use crate::error::ReadError;
use crate::stream::{Stream, Streams};

/// What comes next to a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A read finds something: records, or a move of the place over what is gone, or the end of the
    /// shard. The rate allows it.
    Records,
    /// Nothing for the length of a heartbeat.
    Quiet {
        /// How far the place is behind the newest record at least, in milliseconds; 0 at the tip.
        behind_ms: u64,
    },
}

/// Why a subscription ends.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubscriptionEnd {
    /// Its life is over; the consumer is to subscribe again.
    #[error("the subscription had its life")]
    Expired,
    /// The consumer subscribed again, elsewhere.
    #[error("the subscription was taken over")]
    TakenOver,
    /// The consumer was deregistered.
    #[error("the consumer was deregistered")]
    ConsumerGone,
    /// The stream or the shard is gone.
    #[error("shard {shard} is gone")]
    ShardGone {
        /// The shard.
        shard: ShardId,
    },
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The records could not be read.
    #[error("{0}")]
    Failed(ReadError),
    /// The records that were read are none.
    #[error("{text}")]
    Damaged {
        /// Which, and what is wrong.
        text: String,
    },
}

impl From<ReadError> for SubscriptionEnd {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::StreamNotFound { stream } => Self::ShardGone {
                shard: ShardId::new(stream, weir_protocol::model::ShardIndex(0)),
            },
            ReadError::ShardNotFound { shard } => Self::ShardGone { shard },
            ReadError::Stopping => Self::Stopping,
            other => Self::Failed(other),
        }
    }
}

/// One request of a subscriber for records.
pub(crate) struct Delivery {
    pub(crate) subscriber: Arc<Subscriber>,
    pub(crate) ticket: Ticket,
    /// Bytes that the client was given since the last request.
    pub(crate) given: u64,
    /// The next record wanted.
    pub(crate) from: Offset,
    /// The subscriber has records yet, and waits for its rate only.
    pub(crate) has_records: bool,
}

impl<R: Reactor> Engine<R> {
    /// Waits for records on the shard's own core. They are read when there is memory for them, which
    /// is not held while this waits.
    pub(crate) async fn deliver_here(&self, delivery: &Delivery) -> Result<Next, SubscriptionEnd> {
        let Delivery {
            subscriber,
            ticket,
            given,
            from,
            has_records,
        } = delivery;
        let (shard, from) = (subscriber.shard, *from);
        self.count(|counted| counted.delivered_bytes += given);
        let heartbeat = self.with_subscriptions(|all| {
            all.charge(subscriber, *given);
            all.times().heartbeat
        });
        let deadline = self.monotonic().plus(heartbeat);
        loop {
            let now = self.monotonic();
            let life = self.check_subscription(subscriber, *ticket, now)?;
            let is_metered = self.is_metered(shard).unwrap_or(false);
            let pause = self.with_subscriptions(|all| all.wait(subscriber, is_metered, now));
            let left = deadline.since(now);
            if pause.is_zero() && (*has_records || self.has_more(shard, from)?) {
                self.count(|counted| counted.deliveries += 1);
                return Ok(Next::Records);
            }
            if left.is_zero() {
                self.count(|counted| counted.deliveries += 1);
                return Ok(self.quiet(shard, from));
            }
            let nap = if pause.is_zero() {
                left.min(life)
            } else {
                left.min(life).min(pause)
            };
            self.wait_for_delivery(delivery, pause.is_zero(), nap).await;
        }
    }

    /// Whether a read from `from` on finds something, be it the shard's end.
    fn has_more(&self, shard: ShardId, from: Offset) -> Result<bool, ReadError> {
        let closed = self.check_readable(shard)?;
        let tip = self.log().tip(shard).ok_or_else(|| self.gone(shard))?;
        Ok(tip.durable_next > from || closed.is_some_and(|closed| from >= closed.next))
    }

    /// Waits until there is data, the subscription is over, or `nap` has passed. Data does not
    /// matter while the rate is used up.
    async fn wait_for_delivery(&self, delivery: &Delivery, wants_data: bool, nap: Duration) {
        let data = pin!(async {
            if !wants_data {
                pending::<()>().await;
            }
            let shard = delivery.subscriber.shard;
            self.log().wait_data(shard, delivery.from).await;
        });
        let over = pin!(poll_fn(|context| {
            let (subscriber, ticket) = (&delivery.subscriber, delivery.ticket);
            let now = self.monotonic();
            if self.check_subscription(subscriber, ticket, now).is_err() {
                return Poll::Ready(());
            }
            self.with_subscriptions(|all| all.watch(subscriber, ticket, context.waker()));
            Poll::Pending
        }));
        let timer = pin!(self.reactor().sleep(nap));
        // Whichever came, the next round looks at everything again.
        select(data, select(over, timer)).await;
    }

    /// Whether a subscription holds, and for how much longer.
    fn check_subscription(
        &self,
        subscriber: &Subscriber,
        ticket: Ticket,
        now: Monotonic,
    ) -> Result<Duration, SubscriptionEnd> {
        if self.ends_subscriptions() {
            return Err(SubscriptionEnd::Stopping);
        }
        let held = self.with_subscriptions(|all| all.check(subscriber, ticket, now));
        held.map_err(|over| match over {
            Over::Expired => SubscriptionEnd::Expired,
            Over::Replaced => SubscriptionEnd::TakenOver,
            Over::ConsumerGone => SubscriptionEnd::ConsumerGone,
        })
    }

    fn quiet(&self, shard: ShardId, from: Offset) -> Next {
        let tip = self.log().tip(shard);
        let newest = tip.filter(|tip| tip.durable_next > from);
        let now = self.wall();
        Next::Quiet {
            behind_ms: newest.map_or(0, |tip| now.millis_since(tip.durable_arrival)),
        }
    }

    /// Waits for records on another core.
    pub(crate) async fn deliver_there(
        &self,
        owner: u32,
        delivery: Delivery,
    ) -> Result<Next, SubscriptionEnd> {
        let (answer, wait) = oneshot();
        let deliver = CoreRequest::Deliver { delivery, answer };
        if self.address(owner).requests.send(deliver).is_err() {
            return Err(SubscriptionEnd::Failed(ReadError::Overloaded));
        }
        wait.await.unwrap_or(Err(SubscriptionEnd::Stopping))
    }

    /// Ends the subscriptions of consumers that a new snapshot has no more.
    pub(crate) fn retire_consumers(&self, before: &Streams, streams: &Streams) {
        self.with_subscriptions(|all| {
            all.retire(|subscriber| {
                let id = subscriber.shard.stream;
                let stream = streams.by_id(id);
                if let (Some(stream), Some(known)) = (stream, before.by_id(id))
                    && Arc::ptr_eq(stream, known)
                {
                    return false;
                }
                let status = stream.and_then(|stream| stream.status_of(subscriber));
                !matches!(status, Some(ConsumerStatus::Active))
            });
        });
    }
}

impl Stream {
    /// Where the subscriber's consumer stands; `None` if it is not registered.
    pub(crate) fn status_of(&self, subscriber: &Subscriber) -> Option<ConsumerStatus> {
        let found = self.consumers.iter().find(|consumer| {
            consumer.name == subscriber.consumer && consumer.created == subscriber.registered
        });
        found.map(|consumer| consumer.status)
    }
}
