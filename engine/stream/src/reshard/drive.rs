//! Drives a pending reshard round by round until it is over.
//!
//! Owns: the order of a round's steps over all cores. Never: decisions; the control thread plans and
//! commits, the owning cores stand still.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use weir_protocol::model::{Offset, ShardId, ShardIndex, StreamId, StreamName};
use weir_reactor::{Lane, Reactor, oneshot};

use super::{NoStandstill, Reshard, ReshardRules, Round};
use crate::catalog::control::{ControlRequest, NextRound, RoundEnd};
use crate::cross_core::CoreRequest;
use crate::engine::Engine;
use crate::error::ControlError;
use crate::stream::Stream;

/// Between two tries to reach a control thread or core without room, or a catalog that fails.
const RETRY: Duration = Duration::from_millis(20);
const GIVE_UP_RETRY: Duration = Duration::from_secs(1);

impl<R: Reactor> Engine<R> {
    /// Begins to split, merge or count the shards of a stream. When this returns, the change is
    /// durable and the stream UPDATING on every core; it goes on by itself, also over restarts,
    /// until the stream is ACTIVE again.
    pub async fn reshard_stream(
        &self,
        name: &StreamName,
        reshard: Reshard,
        rules: ReshardRules,
    ) -> Result<Arc<Stream>, ControlError> {
        let (name, now) = (name.clone(), self.wall());
        let asked = move |answer| ControlRequest::Reshard {
            name,
            reshard,
            rules,
            now,
            answer,
        };
        self.ask_and_follow(asked, |engine, stream: &Arc<Stream>| {
            engine.drive_later(stream.id);
        })
        .await
    }

    /// Takes up what an earlier life of the server left pending.
    pub(crate) fn resume_reshards(&self) {
        let streams = self.streams();
        for stream in streams.all().filter(|s| s.pending.is_some()) {
            self.drive_later(stream.id);
        }
    }

    pub(crate) fn drive_later(&self, stream: StreamId) {
        let engine = self.clone();
        self.reactor().spawn(Lane::Background, async move {
            engine.reactor().sleep(engine.state_delay()).await;
            engine.drive(stream).await;
        });
    }

    async fn drive(&self, stream: StreamId) {
        // Ends with the last round, with the stream, or with the server: the next start goes on.
        while !self.is_stopping() {
            let asked = |answer| ControlRequest::NextRound { stream, answer };
            let round = match self.control_until(asked).await {
                Some(NextRound::Run(round)) => round,
                Some(NextRound::Over) => break,
                Some(NextRound::Failed) => {
                    self.reactor().sleep(GIVE_UP_RETRY).await;
                    continue;
                }
                None => return,
            };
            match self.run_round(stream, round).await {
                Ok(()) => {}
                Err(NoStandstill::Stopping) => return,
                Err(NoStandstill::Overloaded | NoStandstill::LogReopens) => {
                    self.reactor().sleep(RETRY).await;
                }
                Err(why) => return self.give_up(stream, why).await,
            }
        }
        if !self.is_stopping() {
            self.count(|counters| counters.reshards += 1);
        }
    }

    /// Leaves the stream as the last round left it.
    async fn give_up(&self, stream: StreamId, why: NoStandstill) {
        tracing::warn!(stream = stream.get(), %why, "a reshard was given up");
        while let Some(false) = self
            .control_until(|answer| ControlRequest::GiveUpReshard { stream, answer })
            .await
        {
            // The catalog takes no writes now. The stream is UPDATING until it does.
            self.reactor().sleep(GIVE_UP_RETRY).await;
        }
    }

    async fn run_round(&self, stream: StreamId, round: Round) -> Result<(), NoStandstill> {
        let Some(found) = self.streams().by_id(stream).cloned() else {
            return Ok(());
        };
        let mut owners: BTreeMap<u32, Vec<ShardId>> = BTreeMap::new();
        for index in round.parents() {
            let id = found.shard_id(index);
            let shard = found.shard(index).ok_or(NoStandstill::Gone(id))?;
            owners.entry(shard.core).or_default().push(id);
        }
        let done = self.close_parents(&found, round, &owners).await;
        // Every core works by the new map now, or it never comes.
        join_all(
            owners
                .into_iter()
                .map(|(core, shards)| self.let_go(core, shards)),
        )
        .await;
        done
    }

    /// From the standstill to the transaction.
    async fn close_parents(
        &self,
        stream: &Stream,
        round: Round,
        owners: &BTreeMap<u32, Vec<ShardId>>,
    ) -> Result<(), NoStandstill> {
        let asked = owners
            .iter()
            .map(|(core, shards)| self.stand_still(*core, shards));
        let mut ends: Vec<(ShardIndex, Offset)> = Vec::new();
        for (answer, shards) in join_all(asked).await.into_iter().zip(owners.values()) {
            ends.extend(shards.iter().map(|shard| shard.index).zip(answer?));
        }
        loop {
            let (stream, now) = (stream.id, self.wall());
            let (round, ends) = (round.clone(), ends.clone());
            let ended = self
                .control_until(|answer| ControlRequest::EndRound {
                    stream,
                    round,
                    ends,
                    now,
                    answer,
                })
                .await;
            match ended {
                Some(RoundEnd::Committed | RoundEnd::Outdated) => return Ok(()),
                Some(RoundEnd::Failed) => return Err(NoStandstill::CatalogFailed),
                // What is in the catalog is not known: nobody may be let go.
                Some(RoundEnd::Unknown) => self.reactor().sleep(RETRY).await,
                None => return Err(NoStandstill::Stopping),
            }
        }
    }

    /// Has the control thread do something; `None` if the server is stopping.
    pub(crate) async fn control_until<T>(
        &self,
        asked: impl FnOnce(weir_reactor::Reply<T>) -> ControlRequest,
    ) -> Option<T> {
        let (answer, wait) = oneshot();
        let mut request = asked(answer);
        while let Err(refused) = self.control().send(request) {
            if self.is_stopping() || self.control().is_closed() {
                return None;
            }
            request = refused;
            self.reactor().sleep(RETRY).await;
        }
        wait.await.ok()
    }

    async fn stand_still(
        &self,
        core: u32,
        shards: &[ShardId],
    ) -> Result<Vec<Offset>, NoStandstill> {
        if core == self.core() {
            return self.stand_still_here(shards).await;
        }
        let (answer, wait) = oneshot();
        let shards = shards.to_vec();
        let sent = self
            .address(core)
            .requests
            .send(CoreRequest::StandStill { shards, answer });
        if sent.is_err() {
            return Err(NoStandstill::Overloaded);
        }
        wait.await.unwrap_or(Err(NoStandstill::Stopping))
    }

    async fn let_go(&self, core: u32, shards: Vec<ShardId>) {
        if core == self.core() {
            return self.let_go_here(&shards);
        }
        let mut request = CoreRequest::LetGo { shards };
        // A shard that stood still for ever would be worse than a late answer.
        while let Err(refused) = self.address(core).requests.send(request) {
            if self.is_stopping() {
                return;
            }
            request = refused;
            self.reactor().sleep(RETRY).await;
        }
    }
}
