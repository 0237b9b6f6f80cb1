//! The doors for changing what exists: a request to the control thread, answered when every core
//! works by the change.

use std::sync::Arc;
use std::time::Duration;

use weir_protocol::model::{StreamId, StreamName, StreamStatus};
use weir_reactor::{Lane, Reactor};
use weir_reactor::{Reply, oneshot};

use crate::catalog::control::{ControlRequest, Settling};
use crate::consumer::{Consumer, ConsumerStatus};
use crate::engine::Engine;
use crate::error::ControlError;
use crate::request::{Change, Changed, ConsumersOnDelete, CreateStream};
use crate::settings::AccountSettings;
use crate::stream::Stream;

/// Between two tries to end a state when the catalog takes no writes.
const SETTLE_RETRY: Duration = Duration::from_secs(1);

impl<R: Reactor> Engine<R> {
    /// Creates a stream; durable and known on every core when it returns. It is still CREATING
    /// then if the folder has a state delay.
    pub async fn create_stream(&self, create: CreateStream) -> Result<Arc<Stream>, ControlError> {
        let now = self.wall();
        let asked = move |answer| ControlRequest::Create {
            create,
            now,
            answer,
        };
        self.ask_and_follow(asked, |engine, stream: &Arc<Stream>| {
            if stream.status == StreamStatus::Creating {
                engine.settle_stream_later(stream);
            }
        })
        .await
    }

    /// Deletes a stream; no append or read is taken when it returns. The name is free again after
    /// the folder's state delay.
    pub async fn delete_stream(
        &self,
        name: &StreamName,
        consumers: ConsumersOnDelete,
    ) -> Result<(), ControlError> {
        let name = name.clone();
        let asked = move |answer| ControlRequest::Delete {
            name,
            consumers,
            answer,
        };
        self.ask_and_follow(asked, |engine, stream: &Arc<Stream>| {
            if !engine.state_delay().is_zero() {
                engine.settle_stream_later(stream);
            }
        })
        .await?;
        Ok(())
    }

    /// Changes a stream or one of its consumers; every core works by it when it returns. Stream or
    /// consumer may still be in a state of passage then, if the folder has a state delay.
    pub async fn change_stream(
        &self,
        name: &StreamName,
        change: Change,
    ) -> Result<Changed, ControlError> {
        let (name, now, expiry) = (name.clone(), self.wall(), self.expiry());
        let consumer = match &change {
            Change::RegisterConsumer { name, .. } => Some(name.clone()),
            Change::DeregisterConsumer(key) => Some(key.name.clone()),
            _ => None,
        };
        let asked = move |answer| ControlRequest::Change {
            name,
            change,
            now,
            expiry,
            answer,
        };
        self.ask_and_follow(asked, move |engine, changed: &Changed| {
            let Changed { before, after } = changed;
            if before.status == StreamStatus::Active && after.status == StreamStatus::Updating {
                engine.settle_stream_later(after);
            }
            let consumer = consumer.and_then(|name| after.consumer(name.as_str()));
            if let Some(consumer) = consumer {
                engine.settle_consumer_later(after.id, consumer);
            }
        })
        .await
    }

    /// What the account is told.
    pub fn account_settings(&self) -> AccountSettings {
        self.streams().account()
    }

    /// Makes the account's commitment to a minimum throughput, or takes it back.
    pub async fn update_account_settings(
        &self,
        is_committed: bool,
    ) -> Result<AccountSettings, ControlError> {
        let (is_enabled, now) = (is_committed, self.wall());
        let asked = move |answer| ControlRequest::Commit {
            is_enabled,
            now,
            answer,
        };
        self.ask(asked).await
    }

    /// Asks, and has `follow` see to what a change leaves to be done. Whoever asked may go away in
    /// between: the change is made all the same, and a stream must not be left on its way for ever.
    pub(crate) async fn ask_and_follow<T: Send + 'static>(
        &self,
        asked: impl FnOnce(Reply<Result<T, ControlError>>) -> ControlRequest + 'static,
        follow: impl FnOnce(&Self, &T) + 'static,
    ) -> Result<T, ControlError> {
        let (told, wait) = oneshot();
        let engine = self.clone();
        self.reactor().spawn(Lane::Network, async move {
            let answered = engine.ask(asked).await;
            if let Ok(done) = &answered {
                follow(&engine, done);
            }
            told.send(answered);
        });
        wait.await.unwrap_or(Err(ControlError::Stopping))
    }

    async fn ask<T: Send + 'static>(
        &self,
        asked: impl FnOnce(Reply<Result<T, ControlError>>) -> ControlRequest,
    ) -> Result<T, ControlError> {
        if self.is_stopping() {
            return Err(ControlError::Stopping);
        }
        let (answer, wait) = oneshot();
        self.control()
            .send(asked(answer))
            .map_err(|_| ControlError::Overloaded)?;
        wait.await.unwrap_or(Err(ControlError::Stopping))
    }

    /// Ends what is on its way of streams that nobody else sees through.
    pub(crate) fn see_through(&self, streams: &[StreamId]) {
        let known = self.streams();
        for stream in streams.iter().filter_map(|id| known.by_id(*id)) {
            if stream.pending.is_some() {
                self.drive_later(stream.id);
            } else if stream.status != StreamStatus::Active {
                self.settle_stream_later(stream);
            }
            for consumer in &stream.consumers {
                self.settle_consumer_later(stream.id, consumer);
            }
        }
    }

    fn settle_consumer_later(&self, stream: StreamId, consumer: &Consumer) {
        let (name, status) = (consumer.name.clone(), consumer.status);
        if status != ConsumerStatus::Active {
            self.settle_later(Settling::Consumer {
                stream,
                name,
                status,
            });
        }
    }

    fn settle_stream_later(&self, stream: &Stream) {
        let (id, status) = (stream.id, stream.status);
        self.settle_later(Settling::Stream { id, status });
    }

    /// Ends a state delay. If the server stops before, the next start ends it.
    fn settle_later(&self, settling: Settling) {
        let engine = self.clone();
        self.reactor().spawn(Lane::Background, async move {
            engine.reactor().sleep(engine.state_delay()).await;
            loop {
                let settling = settling.clone();
                let asked = |answer| ControlRequest::Settle { settling, answer };
                let is_written = engine.control_until(asked).await;
                if is_written != Some(false) || engine.is_stopping() {
                    return;
                }
                // The catalog takes no writes now. It stays on its way until it does.
                engine.reactor().sleep(SETTLE_RETRY).await;
            }
        });
    }

    /// Tells the control thread that this core takes no more publications.
    pub(crate) async fn leave(&self) {
        let (answer, wait) = oneshot();
        let core = self.core();
        if self
            .control()
            .send(ControlRequest::CoreClosed { core, answer })
            .is_ok()
        {
            wait.await.ok();
        }
    }
}
