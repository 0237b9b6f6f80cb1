//! The control plane: the one writer of the catalog.
//!
//! Owns: every change of what exists, in order: one durable transaction, then the new snapshot to
//! every core, and an answer when all cores have taken it in. Never: a data path; time, which
//! requests bring along.
//!
//! It runs on a thread of its own, or as a task of the simulator: it only waits for its mailbox and
//! for cores.

use std::sync::Arc;
use std::time::Duration;

use weir_log::{LedgerChange, LedgerFailed};
use weir_protocol::model::{StreamId, StreamName, StreamStatus, Timestamp};
use weir_reactor::BlockingDisk;
use weir_reactor::{Inbox, Reply, oneshot};

use super::model::Model;
use super::store::{Catalog, CatalogError};
use crate::cross_core::{CoreAddress, Publication};
use crate::error::ControlError;
use crate::request::{CreateStream, StreamChange};
use crate::retention::ExpiryAccount;
use crate::stream::Stream;

/// Most control requests waiting; more are refused.
pub(crate) const REQUESTS_MAX: usize = 4_096;

/// What cores ask of the control plane.
pub(crate) enum ControlRequest {
    Create {
        create: CreateStream,
        now: Timestamp,
        answer: Reply<StreamAnswer>,
    },
    Delete {
        name: StreamName,
        answer: Reply<StreamAnswer>,
    },
    Update {
        name: StreamName,
        change: StreamChange,
        answer: Reply<StreamAnswer>,
    },
    /// The state delay of a created or deleted stream is over.
    Settle {
        stream: StreamId,
    },
    /// A log's list of segments changes.
    Ledger {
        change: LedgerChange,
        answer: Reply<Result<(), LedgerFailed>>,
    },
    /// Where the expiry clock stands.
    Expiry {
        account: ExpiryAccount,
    },
    /// A core takes no more publications.
    CoreClosed {
        core: u32,
        answer: Reply<()>,
    },
    Stop,
}

/// The stream as it is after the change.
pub(crate) type StreamAnswer = Result<Arc<Stream>, ControlError>;

/// The control plane, before it runs.
pub struct ControlPlane<D: BlockingDisk> {
    pub(crate) catalog: Catalog<D>,
    pub(crate) model: Model,
    pub(crate) requests: Inbox<ControlRequest>,
    /// By core; `None` once a core has closed.
    pub(crate) cores: Vec<Option<CoreAddress>>,
    pub(crate) state_delay: Duration,
}

impl<D: BlockingDisk> ControlPlane<D> {
    /// Serves requests until told to stop, or until nobody is left to ask.
    pub async fn run(mut self) {
        while let Some(request) = self.requests.receive().await {
            match request {
                ControlRequest::Create {
                    create,
                    now,
                    answer,
                } => {
                    let result = self.create(&create, now).await;
                    answer.send(result);
                }
                ControlRequest::Delete { name, answer } => {
                    let result = self.delete(&name).await;
                    answer.send(result);
                }
                ControlRequest::Update {
                    name,
                    change,
                    answer,
                } => {
                    let result = self.update(&name, &change).await;
                    answer.send(result);
                }
                ControlRequest::Settle { stream } => self.settle(stream).await,
                ControlRequest::Ledger { change, answer } => answer.send(self.ledger(&change)),
                ControlRequest::Expiry { account } => {
                    let noted = self.catalog.put_expiry(&account);
                    self.settled(noted).await.ok();
                }
                ControlRequest::CoreClosed { core, answer } => {
                    self.cores[core as usize] = None;
                    answer.send(());
                }
                ControlRequest::Stop => return self.stop(),
            }
        }
    }

    fn stop(self) {
        if self.cores.iter().any(Option::is_some) {
            tracing::warn!("stopped before every core had closed: the next start recovers");
            return;
        }
        if let Err(error) = self.catalog.put_clean() {
            tracing::warn!(%error, "the catalog could not note the clean stop");
        }
    }

    async fn create(&mut self, create: &CreateStream, now: Timestamp) -> StreamAnswer {
        let status = if self.state_delay.is_zero() {
            StreamStatus::Active
        } else {
            StreamStatus::Creating
        };
        let (stream, next_stream) = self.model.create(create, status, now)?;
        self.put(stream, next_stream).await
    }

    async fn delete(&mut self, name: &StreamName) -> StreamAnswer {
        let stream = self.model.delete(name)?;
        if !self.state_delay.is_zero() {
            return self.put(stream, 0).await;
        }
        let removed = self.catalog.remove_stream(name);
        self.settled(removed).await?;
        self.model.remove(name);
        self.publish().await;
        Ok(Arc::new(stream))
    }

    async fn update(&mut self, name: &StreamName, change: &StreamChange) -> StreamAnswer {
        let stream = self.model.update(name, change)?;
        self.put(stream, 0).await
    }

    async fn settle(&mut self, id: StreamId) {
        if let Some(stream) = self.model.in_status(id, StreamStatus::Creating) {
            let mut active = Stream::clone(stream);
            active.status = StreamStatus::Active;
            self.put(active, 0).await.ok();
        } else if let Some(stream) = self.model.in_status(id, StreamStatus::Deleting) {
            let name = stream.name.clone();
            let removed = self.catalog.remove_stream(&name);
            if self.settled(removed).await.is_ok() {
                self.model.remove(&name);
                self.publish().await;
            }
        }
    }

    fn ledger(&mut self, change: &LedgerChange) -> Result<(), LedgerFailed> {
        let applied = self.catalog.apply(change).or_else(|_| {
            // A list of segments may be written again: the change says what counts, not a step.
            // What an earlier failed write of streams left on disk is only known now.
            self.catalog.reopen()?;
            let mut contents = self.catalog.read(self.cores.len() as u32)?;
            self.model = Model::new(&mut contents, self.cores.len() as u32);
            self.catalog.apply(change)
        });
        applied.map_err(|error| LedgerFailed {
            what: error.to_string(),
        })
    }

    /// Commits `stream`, enters it, and tells every core.
    async fn put(&mut self, stream: Stream, next_stream: u64) -> StreamAnswer {
        let next_stream = next_stream.max(self.model.next_stream());
        let written = self.catalog.put_stream(&stream, next_stream);
        self.settled(written).await?;
        let stream = self.model.put(stream, next_stream);
        self.publish().await;
        Ok(stream)
    }

    /// Turns a failed write into its error, after finding out what is on disk: only opening the
    /// file again tells whether the failed transaction is there.
    async fn settled(&mut self, written: Result<(), CatalogError>) -> Result<(), ControlError> {
        let Err(error) = written else { return Ok(()) };
        tracing::error!(%error, "the catalog could not be written");
        let found = self
            .catalog
            .reopen()
            .and_then(|()| self.catalog.read(self.cores.len() as u32));
        match found {
            Ok(mut contents) => {
                self.model = Model::new(&mut contents, self.cores.len() as u32);
                self.publish().await;
            }
            Err(error) => tracing::error!(%error, "the catalog could not be opened again"),
        }
        Err(ControlError::CatalogFailed {
            text: error.to_string(),
        })
    }

    /// Gives the present snapshot to every core and waits until all have it.
    async fn publish(&self) {
        let streams = self.model.snapshot();
        let mut taken = Vec::new();
        for core in self.cores.iter().flatten() {
            let (seen, wait) = oneshot();
            // A core that is gone does not take it; `wait` says so below.
            core.publications
                .send(Publication {
                    streams: Arc::clone(&streams),
                    seen,
                })
                .ok();
            taken.push(wait);
        }
        for wait in taken {
            wait.await.ok();
        }
    }
}
