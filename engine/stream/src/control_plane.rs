//! The doors for changing what exists: a request to the control thread, answered when every core
//! works by the change.

use std::sync::Arc;

use weir_protocol::model::{StreamId, StreamName, StreamStatus};
use weir_reactor::{Lane, Reactor};
use weir_reactor::{Reply, oneshot};

use crate::catalog::control::{ControlRequest, StreamAnswer};
use crate::engine::Engine;
use crate::error::ControlError;
use crate::request::{CreateStream, StreamChange};
use crate::stream::Stream;

impl<R: Reactor> Engine<R> {
    /// Creates a stream; durable and known on every core when it returns. It is still CREATING
    /// then if the folder has a state delay.
    pub async fn create_stream(&self, create: CreateStream) -> Result<Arc<Stream>, ControlError> {
        let now = self.wall();
        let asked = |answer| ControlRequest::Create {
            create,
            now,
            answer,
        };
        let stream = self.ask(asked).await?;
        if stream.status == StreamStatus::Creating {
            self.settle_later(stream.id);
        }
        Ok(stream)
    }

    /// Deletes a stream; no append or read is taken when it returns. The name is free again after
    /// the folder's state delay.
    pub async fn delete_stream(&self, name: &StreamName) -> Result<(), ControlError> {
        let name = name.clone();
        let stream = self
            .ask(|answer| ControlRequest::Delete { name, answer })
            .await?;
        if !self.state_delay().is_zero() {
            self.settle_later(stream.id);
        }
        Ok(())
    }

    /// Changes a stream's settings.
    pub async fn update_stream(
        &self,
        name: &StreamName,
        change: StreamChange,
    ) -> Result<Arc<Stream>, ControlError> {
        let name = name.clone();
        self.ask(|answer| ControlRequest::Update {
            name,
            change,
            answer,
        })
        .await
    }

    async fn ask(&self, asked: impl FnOnce(Reply<StreamAnswer>) -> ControlRequest) -> StreamAnswer {
        if self.is_stopping() {
            return Err(ControlError::Stopping);
        }
        let (answer, wait) = oneshot();
        self.control()
            .send(asked(answer))
            .map_err(|_| ControlError::Overloaded)?;
        wait.await.unwrap_or(Err(ControlError::Stopping))
    }

    /// Ends the state delay of a stream. If the server stops before, the next start ends it.
    fn settle_later(&self, stream: StreamId) {
        let engine = self.clone();
        self.reactor().spawn(Lane::Background, async move {
            loop {
                engine.reactor().sleep(engine.state_delay()).await;
                let settled = engine.control().send(ControlRequest::Settle { stream });
                if settled.is_ok() || engine.is_stopping() {
                    return;
                }
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
