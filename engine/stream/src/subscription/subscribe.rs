//! The door for subscribing, from any core, and what the subscriber holds then.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use weir_protocol::model::{ConsumerName, Offset, ShardId, StreamId};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::{Reactor, oneshot};

use super::deliver::Delivery;
use super::register::{OPEN_MAX, Refusal, Subscriber, Ticket};
use super::{Next, SubscriptionEnd};
use crate::consumer::ConsumerStatus;
use crate::cross_core::CoreRequest;
use crate::engine::Engine;
use crate::error::ReadError;
use crate::request::{ReadAnswer, ReadRequest};

/// Why a subscription was not granted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubscribeError {
    /// No such stream, or it is being created or deleted.
    #[error("stream number {} does not exist", .stream.get())]
    StreamNotFound {
        /// Its number.
        stream: StreamId,
    },
    /// The stream has no shard of this index.
    #[error("shard {shard} does not exist")]
    ShardNotFound {
        /// The shard asked for.
        shard: ShardId,
    },
    /// No consumer of this name and time of registration.
    #[error("consumer \"{consumer}\" does not exist")]
    ConsumerNotFound {
        /// Its name.
        consumer: ConsumerName,
    },
    /// The consumer is being registered or deregistered.
    #[error("consumer \"{consumer}\" is {}, not ACTIVE", .status.aws_name())]
    ConsumerNotActive {
        /// Its name.
        consumer: ConsumerName,
        /// Where it stands.
        status: ConsumerStatus,
    },
    /// The consumer subscribed to this shard moments ago.
    #[error("shard {shard} has a subscription of this consumer that is too young to be taken over")]
    InUse {
        /// The shard.
        shard: ShardId,
    },
    /// The consumer subscribes to this shard too often.
    #[error("shard {shard} takes one call a second of a consumer")]
    TooOften {
        /// The shard.
        shard: ShardId,
    },
    /// The shard's core keeps as many subscriptions as it may.
    #[error("the core keeps {OPEN_MAX} subscriptions and no more")]
    TooMany,
    /// The shard's core has more waiting than it may hold.
    #[error("the server has no memory left for this request now")]
    Overloaded,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

/// A consumer's subscription to a shard. Holds no records. Dropping it gives the place back.
pub struct Subscription<R: Reactor> {
    engine: Engine<R>,
    owner: u32,
    subscriber: Arc<Subscriber>,
    ticket: Ticket,
    /// Bytes given to the client that the shard's core does not know of yet.
    given: Cell<u64>,
}

impl<R: Reactor> fmt::Debug for Subscription<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("subscriber", &self.subscriber)
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

impl<R: Reactor> Subscription<R> {
    /// Waits until there are durable records from `from` on and the rate allows them;
    /// [`Next::Quiet`] if that takes longer than a heartbeat. Whoever `has_records` of an earlier
    /// read waits for the rate only.
    pub async fn next(&self, from: Offset, has_records: bool) -> Result<Next, SubscriptionEnd> {
        let delivery = Delivery {
            subscriber: Arc::clone(&self.subscriber),
            ticket: self.ticket,
            given: self.given.take(),
            from,
            has_records,
        };
        if self.owner == self.engine.core() {
            self.engine.deliver_here(&delivery).await
        } else {
            self.engine.deliver_there(self.owner, delivery).await
        }
    }

    /// Reads what [`Self::next`] told of, up to about `bytes_max`; refused as
    /// [`ReadError::LongBatch`] if that has more than `longest` bytes.
    pub async fn read(
        &self,
        from: Offset,
        bytes_max: u32,
        longest: usize,
    ) -> Result<ReadAnswer<R>, ReadError> {
        let request = ReadRequest {
            shard: self.subscriber.shard,
            from: ReadFrom::Offset(from),
            bytes_max,
            wait_ms: 0,
            polling: false,
        };
        self.engine.read_in_place(request, longest).await
    }

    /// Notes that the client was given `bytes` of keys and data; they count against its rate.
    pub fn gave(&self, bytes: u64) {
        self.given.set(self.given.get() + bytes);
    }

    /// Who is subscribed to what.
    pub fn subscriber(&self) -> &Subscriber {
        &self.subscriber
    }
}

impl<R: Reactor> Drop for Subscription<R> {
    fn drop(&mut self) {
        let (subscriber, ticket) = (Arc::clone(&self.subscriber), self.ticket);
        let given = self.given.get();
        if self.owner == self.engine.core() {
            self.engine.leave_here(&subscriber, ticket, given);
        } else {
            let leave = CoreRequest::Leave {
                subscriber,
                ticket,
                given,
            };
            // A core that is too busy to hear it forgets the subscription when its life is over.
            self.engine.address(self.owner).requests.send(leave).ok();
        }
    }
}

impl<R: Reactor> Engine<R> {
    /// Subscribes a consumer to a shard of any core.
    pub async fn subscribe(
        &self,
        subscriber: Subscriber,
    ) -> Result<Subscription<R>, SubscribeError> {
        let shard = subscriber.shard;
        let streams = self.streams();
        let stream = streams.by_id(shard.stream);
        let stream = stream.ok_or(SubscribeError::StreamNotFound {
            stream: shard.stream,
        })?;
        let found = stream.shard(shard.index);
        let owner = found.ok_or(SubscribeError::ShardNotFound { shard })?.core;
        let ticket = self.next_ticket();
        let subscriber = Arc::new(subscriber);
        // Made before it is granted: whoever asked may go away while the owner grants it, and then
        // it must be left all the same. Leaving what was refused changes nothing.
        let subscription = Subscription {
            engine: self.clone(),
            owner,
            subscriber: Arc::clone(&subscriber),
            ticket,
            given: Cell::new(0),
        };
        if owner == self.core() {
            self.subscribe_here(&subscriber, ticket)?;
        } else {
            self.subscribe_there(owner, subscriber, ticket).await?;
        }
        Ok(subscription)
    }

    /// Subscribes a consumer to a shard of this core, by what another core knows.
    pub(crate) async fn subscribe_as_of(
        &self,
        subscriber: &Subscriber,
        ticket: Ticket,
        as_of: u64,
    ) -> Result<(), SubscribeError> {
        self.caught_up(as_of).await;
        self.subscribe_here(subscriber, ticket)
    }

    fn subscribe_here(
        &self,
        subscriber: &Subscriber,
        ticket: Ticket,
    ) -> Result<(), SubscribeError> {
        let shard = subscriber.shard;
        if self.ends_subscriptions() {
            return Err(SubscribeError::Stopping);
        }
        let streams = self.streams();
        let stream = streams.by_id(shard.stream);
        let stream = stream.filter(|stream| stream.is_usable());
        let stream = stream.ok_or(SubscribeError::StreamNotFound {
            stream: shard.stream,
        })?;
        let consumer = subscriber.consumer.clone();
        match stream.status_of(subscriber) {
            None => return Err(SubscribeError::ConsumerNotFound { consumer }),
            Some(ConsumerStatus::Active) => {}
            Some(status) => return Err(SubscribeError::ConsumerNotActive { consumer, status }),
        }
        let is_metered = self.is_metered(shard);
        let is_metered = is_metered.ok_or(SubscribeError::ShardNotFound { shard })?;
        let now = self.monotonic();
        let granted =
            self.with_subscriptions(|all| all.subscribe(subscriber, ticket, is_metered, now));
        granted.map_err(|refusal| match refusal {
            Refusal::InUse => SubscribeError::InUse { shard },
            Refusal::TooOften => SubscribeError::TooOften { shard },
            Refusal::TooMany => SubscribeError::TooMany,
        })
    }

    async fn subscribe_there(
        &self,
        owner: u32,
        subscriber: Arc<Subscriber>,
        ticket: Ticket,
    ) -> Result<(), SubscribeError> {
        let (answer, wait) = oneshot();
        let subscribe = CoreRequest::Subscribe {
            subscriber,
            ticket,
            as_of: self.publication(),
            answer,
        };
        if self.address(owner).requests.send(subscribe).is_err() {
            return Err(SubscribeError::Overloaded);
        }
        wait.await.unwrap_or(Err(SubscribeError::Stopping))
    }

    /// The subscriber's place is free again, if `ticket` still has it.
    pub(crate) fn leave_here(&self, subscriber: &Subscriber, ticket: Ticket, given: u64) {
        self.count(|counted| counted.delivered_bytes += given);
        self.with_subscriptions(|all| {
            all.charge(subscriber, given);
            all.leave(subscriber, ticket);
        });
    }
}
