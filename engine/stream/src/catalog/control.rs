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
use weir_protocol::model::{
    ConsumerName, Offset, ShardIndex, StreamId, StreamName, StreamStatus, Timestamp,
};
use weir_reactor::BlockingDisk;
use weir_reactor::{Inbox, Reply};

use super::change::Surroundings;
use super::model::Model;
use super::publish::CoreState;
use super::store::{Catalog, CatalogError};
use super::unfollowed::Unfollowed;
use super::without_effect::WithoutEffect;
use crate::consumer::ConsumerStatus;
use crate::cross_core::Present;
use crate::error::ControlError;
use crate::folder::QuotaSwitch;
use crate::request::{Change, Changed, ConsumersOnDelete, CreateStream};
use crate::reshard::{Reshard, ReshardRules, Round};
use crate::retention::{ExpiryAccount, NotedExpiry};
use crate::settings::AccountSettings;
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
        consumers: ConsumersOnDelete,
        answer: Reply<StreamAnswer>,
    },
    Change {
        name: StreamName,
        change: Change,
        now: Timestamp,
        /// What the clock that deletes shows.
        expiry: Timestamp,
        answer: Reply<Result<Changed, ControlError>>,
    },
    /// The account's commitment to a minimum throughput is made or taken back.
    Commit {
        is_enabled: bool,
        now: Timestamp,
        answer: Reply<Result<AccountSettings, ControlError>>,
    },
    /// Begins to split, merge or count shards.
    Reshard {
        name: StreamName,
        reshard: Reshard,
        rules: ReshardRules,
        now: Timestamp,
        answer: Reply<StreamAnswer>,
    },
    /// What is next of a pending reshard.
    NextRound {
        stream: StreamId,
        answer: Reply<NextRound>,
    },
    /// The parents of a round stand still, at these ends.
    EndRound {
        stream: StreamId,
        round: Round,
        ends: Vec<(ShardIndex, Offset)>,
        now: Timestamp,
        answer: Reply<RoundEnd>,
    },
    /// A pending reshard ends where it is; answers whether that was written.
    GiveUpReshard {
        stream: StreamId,
        answer: Reply<bool>,
    },
    /// Retention has forgotten all that these closed shards held.
    ForgetShards {
        stream: StreamId,
        shards: Vec<ShardIndex>,
    },
    /// A state delay is over; answers whether what follows from it was written.
    Settle {
        settling: Settling,
        answer: Reply<bool>,
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
    /// A core has opened its log, and takes publications from the answer on.
    CoreStarts {
        core: u32,
        answer: Reply<Present>,
    },
    /// A core takes no more publications.
    CoreClosed {
        core: u32,
        answer: Reply<()>,
    },
    Stop,
}

/// What waits for the end of its state delay, unless something else became of it.
#[derive(Debug, Clone)]
pub(crate) enum Settling {
    /// A stream that is being created, changed or deleted.
    Stream { id: StreamId, status: StreamStatus },
    /// A consumer that is being created or deleted.
    Consumer {
        stream: StreamId,
        name: ConsumerName,
        status: ConsumerStatus,
    },
}

/// The stream as it is after the change.
pub(crate) type StreamAnswer = Result<Arc<Stream>, ControlError>;

/// What is to be done for a pending reshard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NextRound {
    Run(Round),
    /// It is over, and the stream active.
    Over,
    /// It is over, and that could not be written.
    Failed,
}

/// What became of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoundEnd {
    /// The new map is durable, and every core works by it.
    Committed,
    /// The stream is not what the round was planned for. Nothing was changed.
    Outdated,
    /// The catalog took no write. Nothing was changed.
    Failed,
    /// The catalog can neither be written nor read: the change may be there or not.
    Unknown,
}

/// The control plane, before it runs.
pub struct ControlPlane<D: BlockingDisk> {
    pub(crate) catalog: Catalog<D>,
    pub(crate) model: Model,
    pub(crate) requests: Inbox<ControlRequest>,
    /// By core.
    pub(crate) cores: Vec<CoreState>,
    pub(crate) state_delay: Duration,
    pub(crate) quota: QuotaSwitch,
    /// How often it published.
    pub(crate) publications: u64,
    /// How often it took the model from a catalog that was opened again.
    pub(crate) reopenings: u64,
    /// What is durable of the expiry clock.
    pub(crate) noted: NotedExpiry,
    pub(crate) without_effect: WithoutEffect,
    pub(crate) unfollowed: Unfollowed,
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
                ControlRequest::Delete {
                    name,
                    consumers,
                    answer,
                } => {
                    let result = self.delete(&name, consumers).await;
                    answer.send(result);
                }
                ControlRequest::Change {
                    name,
                    change,
                    now,
                    expiry,
                    answer,
                } => {
                    let result = self.change(&name, &change, now, expiry).await;
                    answer.send(result);
                }
                ControlRequest::Commit {
                    is_enabled,
                    now,
                    answer,
                } => {
                    let result = self.commit(is_enabled, now).await;
                    answer.send(result);
                }
                ControlRequest::Reshard {
                    name,
                    reshard,
                    rules,
                    now,
                    answer,
                } => {
                    let result = self.reshard(&name, reshard, rules, now).await;
                    answer.send(result);
                }
                ControlRequest::NextRound { stream, answer } => {
                    let round = self.next_round(stream).await;
                    answer.send(round);
                }
                ControlRequest::EndRound {
                    stream,
                    round,
                    ends,
                    now,
                    answer,
                } => {
                    let end = self.end_round(stream, &round, &ends, now).await;
                    answer.send(end);
                }
                ControlRequest::GiveUpReshard { stream, answer } => {
                    let is_written = self.end_reshard(stream).await;
                    answer.send(is_written);
                }
                ControlRequest::ForgetShards { stream, shards } => {
                    if let Some(changed) = self.model.without_shards(stream, &shards) {
                        self.put(changed, 0).await.ok();
                    }
                }
                ControlRequest::Settle { settling, answer } => {
                    let is_written = self.settle(&settling).await;
                    answer.send(is_written);
                }
                ControlRequest::Ledger { change, answer } => {
                    let before = self.reopenings;
                    answer.send(self.ledger(&change));
                    // What a failed write left was found out: the cores are to know it too.
                    if self.reopenings != before {
                        self.publish().await;
                    }
                }
                ControlRequest::Expiry { account } => {
                    let noted = self.catalog.put_expiry(&account);
                    if noted.is_ok() {
                        self.noted.note(&account);
                    }
                    self.settled(noted, |_| false).await.ok();
                }
                ControlRequest::CoreStarts { core, answer } => answer.send(self.core_starts(core)),
                ControlRequest::CoreClosed { core, answer } => {
                    self.cores[core as usize] = CoreState::Closed;
                    answer.send(());
                }
                ControlRequest::Stop => return self.stop(),
            }
        }
    }

    fn stop(self) {
        if !self.cores.iter().all(CoreState::is_closed) {
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
        let stream = self.put_asked(stream, next_stream).await?;
        self.without_effect.look(&stream);
        Ok(stream)
    }

    async fn delete(&mut self, name: &StreamName, consumers: ConsumersOnDelete) -> StreamAnswer {
        let stream = self.model.delete(name, consumers)?;
        if !self.state_delay.is_zero() {
            return self.put_asked(stream, 0).await;
        }
        self.remove(name).await?;
        Ok(Arc::new(stream))
    }

    async fn change(
        &mut self,
        name: &StreamName,
        change: &Change,
        now: Timestamp,
        expiry: Timestamp,
    ) -> Result<Changed, ControlError> {
        let around = Surroundings {
            now,
            expiry,
            quota: self.quota,
            is_committed: self.model.account().commitment.is_enabled,
            is_instant: self.state_delay.is_zero(),
        };
        let (before, after) = self.model.change(name, change, &around)?;
        let after = self.put_asked(after, 0).await?;
        self.without_effect.look(&after);
        Ok(Changed { before, after })
    }

    async fn commit(
        &mut self,
        is_enabled: bool,
        now: Timestamp,
    ) -> Result<AccountSettings, ControlError> {
        let mut account = self.model.account();
        let commitment = &mut account.commitment;
        match (commitment.is_enabled, is_enabled) {
            (false, true) => (commitment.started, commitment.ended) = (Some(now), None),
            (true, false) => commitment.ended = Some(now),
            (true, true) | (false, false) => return Ok(account),
        }
        commitment.is_enabled = is_enabled;
        let written = self.catalog.put_account(&account);
        self.settled(written, |model| model.account() == account)
            .await?;
        self.model.put_account(account);
        self.publish().await;
        Ok(account)
    }

    async fn reshard(
        &mut self,
        name: &StreamName,
        reshard: Reshard,
        rules: ReshardRules,
        now: Timestamp,
    ) -> StreamAnswer {
        let stream = self
            .model
            .begin_reshard(name, reshard, rules, self.quota, now)?;
        self.put_asked(stream, 0).await
    }

    async fn next_round(&mut self, stream: StreamId) -> NextRound {
        if let Some(round) = self.model.next_round(stream) {
            return NextRound::Run(round);
        }
        // Nothing to do: the map is as asked for already.
        if self.end_reshard(stream).await {
            NextRound::Over
        } else {
            NextRound::Failed
        }
    }

    async fn end_round(
        &mut self,
        id: StreamId,
        round: &Round,
        ends: &[(ShardIndex, Offset)],
        now: Timestamp,
    ) -> RoundEnd {
        let Some(stream) = self.model.end_round(id, round, ends, now) else {
            // An earlier try may have been written although it seemed to fail, and found by a
            // request that does not publish. Nobody may be let go before every core knows.
            self.publish().await;
            return RoundEnd::Outdated;
        };
        if self.put(stream, 0).await.is_ok() {
            RoundEnd::Committed
        } else if !self.catalog.is_open() {
            RoundEnd::Unknown
        } else if self.model.end_round(id, round, ends, now).is_some() {
            RoundEnd::Failed
        } else {
            // An earlier try was written after all, and published when that was found out.
            RoundEnd::Committed
        }
    }

    /// Whether the stream is no longer on its way to another map.
    async fn end_reshard(&mut self, id: StreamId) -> bool {
        match self.model.end_reshard(id) {
            Some(stream) => self.put(stream, 0).await.is_ok(),
            None => true,
        }
    }

    async fn settle(&mut self, settling: &Settling) -> bool {
        match settling {
            Settling::Consumer {
                stream,
                name,
                status,
            } => match self.model.settle_consumer(*stream, name, *status) {
                Some(stream) => self.put(stream, 0).await.is_ok(),
                None => true,
            },
            Settling::Stream { id, status } => match self.model.in_status(*id, *status).cloned() {
                Some(stream) => self.settle_stream(&stream).await,
                None => true,
            },
        }
    }

    async fn settle_stream(&mut self, stream: &Stream) -> bool {
        match stream.status {
            // A reshard ends by itself.
            StreamStatus::Updating if stream.pending.is_some() => true,
            StreamStatus::Creating | StreamStatus::Updating => {
                let mut active = stream.clone();
                active.status = StreamStatus::Active;
                self.put(active, 0).await.is_ok()
            }
            StreamStatus::Deleting => self.remove(&stream.name).await.is_ok(),
            StreamStatus::Active => true,
        }
    }

    fn ledger(&mut self, change: &LedgerChange) -> Result<(), LedgerFailed> {
        let applied = self.catalog.apply(change).or_else(|_| {
            // A list of segments may be written again: the change says what counts, not a step.
            // What an earlier failed write of streams left on disk is only known now.
            self.read_again()?;
            self.catalog.apply(change)
        });
        applied.map_err(|error| LedgerFailed {
            what: error.to_string(),
        })
    }

    /// Commits `stream`, enters it, and tells every core.
    async fn put(&mut self, stream: Stream, next_stream: u64) -> StreamAnswer {
        self.write(&stream, next_stream).await?;
        Ok(self.enter(stream, next_stream).await)
    }

    /// As [`Self::put`], for a change that whoever asked for it sees through, unless told of an error.
    async fn put_asked(&mut self, stream: Stream, next_stream: u64) -> StreamAnswer {
        if let Err(error) = self.write(&stream, next_stream).await {
            if !self.catalog.is_open() {
                self.unfollowed.may_be_written(stream);
            }
            return Err(error);
        }
        self.unfollowed.is_followed(stream.id);
        Ok(self.enter(stream, next_stream).await)
    }

    async fn write(&mut self, stream: &Stream, next_stream: u64) -> Result<(), ControlError> {
        let next_stream = next_stream.max(self.model.next_stream());
        let written = self.catalog.put_stream(stream, next_stream);
        self.settled(written, |model| model.holds(stream)).await
    }

    async fn enter(&mut self, stream: Stream, next_stream: u64) -> Arc<Stream> {
        let stream = self.model.put(stream, next_stream);
        self.publish().await;
        stream
    }

    /// Removes a stream, and tells every core.
    async fn remove(&mut self, name: &StreamName) -> Result<(), ControlError> {
        let removed = self.catalog.remove_stream(name);
        self.settled(removed, |model| model.find(name).is_err())
            .await?;
        self.model.remove(name);
        self.publish().await;
        Ok(())
    }

    /// Turns a failed write into its error, after finding out what is on disk: only opening the
    /// file again tells whether the failed transaction is there. If it is, by what `is_there` finds,
    /// the change was made: nobody may be told otherwise, for then nobody would see it through.
    async fn settled(
        &mut self,
        written: Result<(), CatalogError>,
        is_there: impl FnOnce(&Model) -> bool,
    ) -> Result<(), ControlError> {
        let Err(error) = written else { return Ok(()) };
        tracing::error!(%error, "the catalog could not be written");
        match self.read_again() {
            Ok(()) if is_there(&self.model) => return Ok(()),
            Ok(()) => self.publish().await,
            Err(error) => tracing::error!(%error, "the catalog could not be opened again"),
        }
        Err(ControlError::CatalogFailed {
            text: error.to_string(),
        })
    }

    /// Takes the model from a catalog that was opened again. The file stays closed if it cannot be
    /// read: what it holds is not known then.
    fn read_again(&mut self) -> Result<(), CatalogError> {
        let cores = self.cores.len() as u32;
        let mut contents = self.catalog.reopen(cores)?;
        self.model = Model::new(&mut contents, cores);
        self.unfollowed.look(&self.model);
        self.reopenings += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
