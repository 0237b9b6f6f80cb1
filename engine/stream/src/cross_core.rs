//! What cores ask of each other: one request, one answer.
//!
//! Owns: a core's address, and answering. Never: what a request means; that is the same code that
//! serves the core itself.

use std::sync::Arc;

use weir_protocol::model::{Offset, ShardId, StreamId};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::{Inbox, Mailbox, Reply, mailbox, oneshot};
use weir_reactor::{Lane, Reactor};

use crate::catalog::control::ControlRequest;
use crate::engine::Engine;
use crate::error::{AppendError, ReadError};
use crate::request::{CoreCounters, ReadOwned, ReadRequest, ShardBatch, Stored};
use crate::reshard::NoStandstill;
use crate::stream::Streams;
use crate::subscription::deliver::Delivery;
use crate::subscription::register::Ticket;
use crate::subscription::{Next, SubscribeError, Subscriber, SubscriptionEnd};

/// Requests from other cores that may wait in the mailbox; more are refused.
const REQUESTS_MAX: usize = 4_096;
/// Requests from other cores that one core works on at a time; more are refused.
const IN_PROGRESS_MAX: usize = 8_192;
/// One publication is under way at a time, in one step.
const PUBLICATIONS_MAX: usize = 4;

/// What one core asks of another.
pub(crate) enum CoreRequest {
    Append {
        batches: Vec<ShardBatch>,
        answer: Reply<Vec<Result<Stored, AppendError>>>,
    },
    Read {
        request: ReadRequest,
        /// A longer batch is not copied.
        longest: usize,
        answer: Reply<Result<ReadOwned, ReadError>>,
    },
    /// A poller was given bytes of a shard.
    ChargeRead {
        shard: ShardId,
        bytes: u64,
    },
    Seek {
        shard: ShardId,
        from: ReadFrom,
        answer: Reply<Result<Offset, ReadError>>,
    },
    Subscribe {
        subscriber: Arc<Subscriber>,
        ticket: Ticket,
        /// What the asking core knows.
        as_of: u64,
        answer: Reply<Result<(), SubscribeError>>,
    },
    Deliver {
        delivery: Delivery,
        answer: Reply<Result<Next, SubscriptionEnd>>,
    },
    Leave {
        subscriber: Arc<Subscriber>,
        ticket: Ticket,
        given: u64,
    },
    /// Takes nothing more for shards that are about to be closed.
    StandStill {
        shards: Vec<ShardId>,
        answer: Reply<Result<Vec<Offset>, NoStandstill>>,
    },
    /// They were closed, or not.
    LetGo {
        shards: Vec<ShardId>,
    },
    Counters {
        answer: Reply<CoreCounters>,
    },
}

/// A new snapshot of what exists.
pub(crate) struct Publication {
    pub(crate) streams: Arc<Streams>,
    /// Rises with every publication.
    pub(crate) number: u64,
    pub(crate) step: PublicationStep,
    /// Streams on their way that this core is to see through: nobody else does.
    pub(crate) unfollowed: Vec<StreamId>,
    /// Answered once the core has done it.
    pub(crate) seen: Reply<()>,
}

/// What a core that starts is told.
pub(crate) struct Present {
    pub(crate) streams: Arc<Streams>,
    /// The number of the last publication.
    pub(crate) number: u64,
}

/// A snapshot comes in two steps, each done by all cores before the next: or else one core would
/// send records to a shard that its owner has not heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublicationStep {
    /// Make room for what is new.
    Home,
    /// Work by it.
    Show,
}

/// Where a core can be reached.
#[derive(Clone)]
pub(crate) struct CoreAddress {
    pub(crate) requests: Mailbox<CoreRequest>,
    /// Apart from the requests, so that a busy core still hears what exists.
    pub(crate) publications: Mailbox<Publication>,
}

impl CoreAddress {
    /// An address, and the two ends that the core keeps.
    pub(crate) fn new() -> (Self, Inbox<CoreRequest>, Inbox<Publication>) {
        let (requests, asked) = mailbox(REQUESTS_MAX);
        let (publications, published) = mailbox(PUBLICATIONS_MAX);
        (
            Self {
                requests,
                publications,
            },
            asked,
            published,
        )
    }
}

impl<R: Reactor> Engine<R> {
    /// Takes in what exists by now, and starts answering other cores and taking publications in.
    /// `false` if the control thread has ended.
    pub(crate) async fn begin(
        &self,
        requests: Inbox<CoreRequest>,
        publications: Inbox<Publication>,
    ) -> bool {
        let core = self.core();
        let asked = |answer| ControlRequest::CoreStarts { core, answer };
        let Some(present) = self.control_until(asked).await else {
            return false;
        };
        // Requests wait until now, so no other core's is refused for what this one had not heard.
        self.home_new(&present.streams);
        self.show(present.streams);
        self.note_publication(present.number);
        self.listen(requests, publications);
        true
    }

    /// Starts answering other cores and taking publications in.
    fn listen(&self, mut requests: Inbox<CoreRequest>, mut publications: Inbox<Publication>) {
        let engine = self.clone();
        self.reactor().spawn(Lane::Network, async move {
            while let Some(request) = requests.receive().await {
                engine.answer(request);
            }
        });
        let engine = self.clone();
        self.reactor().spawn(Lane::Commit, async move {
            while let Some(publication) = publications.receive().await {
                match publication.step {
                    PublicationStep::Home => engine.home_new(&publication.streams),
                    PublicationStep::Show => {
                        engine.show(publication.streams);
                        engine.note_publication(publication.number);
                        engine.see_through(&publication.unfollowed);
                    }
                }
                publication.seen.send(());
            }
        });
    }

    fn answer(&self, request: CoreRequest) {
        self.count(|counters| counters.from_other_cores += 1);
        let request = match request {
            CoreRequest::Counters { answer } => return answer.send(self.counters()),
            CoreRequest::Leave {
                subscriber,
                ticket,
                given,
            } => return self.leave_here(&subscriber, ticket, given),
            CoreRequest::LetGo { shards } => return self.let_go_here(&shards),
            CoreRequest::ChargeRead { shard, bytes } => {
                return self.charge_read_here(shard, bytes);
            }
            CoreRequest::StandStill { shards, answer } => {
                let engine = self.clone();
                self.reactor().spawn(Lane::Commit, async move {
                    answer.send(engine.stand_still_here(&shards).await);
                });
                return;
            }
            other => other,
        };
        let Some(place) = self.enter(IN_PROGRESS_MAX) else {
            return refuse(request);
        };
        let engine = self.clone();
        self.reactor().spawn(Lane::Network, async move {
            let _place = place;
            match request {
                CoreRequest::Append { batches, answer } => {
                    answer.send(engine.append_all_here(batches).await);
                }
                CoreRequest::Read {
                    request,
                    longest,
                    answer,
                } => answer.send(engine.read_owned_here(&request, longest).await),
                CoreRequest::Seek {
                    shard,
                    from,
                    answer,
                } => {
                    answer.send(engine.seek_checked_here(shard, from).await);
                }
                CoreRequest::Subscribe {
                    subscriber,
                    ticket,
                    as_of,
                    answer,
                } => {
                    let granted = engine.subscribe_as_of(&subscriber, ticket, as_of).await;
                    if answer.is_abandoned() {
                        engine.leave_here(&subscriber, ticket, 0);
                    }
                    answer.send(granted);
                }
                CoreRequest::Deliver { delivery, answer } => {
                    answer.send(engine.deliver_here(&delivery).await);
                }
                CoreRequest::StandStill { .. }
                | CoreRequest::LetGo { .. }
                | CoreRequest::ChargeRead { .. }
                | CoreRequest::Leave { .. }
                | CoreRequest::Counters { .. } => unreachable!("answered above"),
            }
        });
    }

    /// Has core `owner` append.
    pub(crate) async fn append_there(
        &self,
        owner: u32,
        batches: Vec<ShardBatch>,
    ) -> Vec<Result<Stored, AppendError>> {
        let count = batches.len();
        let (answer, wait) = oneshot();
        let sent = self
            .address(owner)
            .requests
            .send(CoreRequest::Append { batches, answer });
        if sent.is_err() {
            return vec![Err(AppendError::Overloaded); count];
        }
        wait.await
            .unwrap_or_else(|_| vec![Err(AppendError::Stopping); count])
    }

    /// Has core `owner` read.
    pub(crate) async fn read_there(
        &self,
        owner: u32,
        request: ReadRequest,
        longest: usize,
    ) -> Result<ReadOwned, ReadError> {
        let (answer, wait) = oneshot();
        let sent = self.address(owner).requests.send(CoreRequest::Read {
            request,
            longest,
            answer,
        });
        if sent.is_err() {
            return Err(ReadError::Overloaded);
        }
        wait.await.unwrap_or(Err(ReadError::Stopping))
    }

    /// Has core `owner` charge what a poller was given.
    pub(crate) fn charge_read_there(&self, owner: u32, shard: ShardId, bytes: u64) {
        let charge = CoreRequest::ChargeRead { shard, bytes };
        // A core whose mailbox is full lets this one answer go uncharged: no reason to withhold it.
        let _ = self.address(owner).requests.send(charge);
    }

    /// Has core `owner` find an offset.
    pub(crate) async fn seek_there(
        &self,
        owner: u32,
        shard: ShardId,
        from: ReadFrom,
    ) -> Result<Offset, ReadError> {
        let (answer, wait) = oneshot();
        let sent = self.address(owner).requests.send(CoreRequest::Seek {
            shard,
            from,
            answer,
        });
        if sent.is_err() {
            return Err(ReadError::Overloaded);
        }
        wait.await.unwrap_or(Err(ReadError::Stopping))
    }

    /// Asks core `owner` for its counters; `None` if it cannot answer.
    pub(crate) async fn counters_there(&self, owner: u32) -> Option<CoreCounters> {
        let (answer, wait) = oneshot();
        self.address(owner)
            .requests
            .send(CoreRequest::Counters { answer })
            .ok()?;
        wait.await.ok()
    }
}

fn refuse(request: CoreRequest) {
    match request {
        CoreRequest::Append { batches, answer } => {
            answer.send(vec![Err(AppendError::Overloaded); batches.len()]);
        }
        CoreRequest::Read { answer, .. } => answer.send(Err(ReadError::Overloaded)),
        CoreRequest::Seek { answer, .. } => answer.send(Err(ReadError::Overloaded)),
        CoreRequest::Subscribe { answer, .. } => answer.send(Err(SubscribeError::Overloaded)),
        CoreRequest::Deliver { answer, .. } => {
            answer.send(Err(SubscriptionEnd::Failed(ReadError::Overloaded)));
        }
        CoreRequest::StandStill { .. }
        | CoreRequest::LetGo { .. }
        | CoreRequest::ChargeRead { .. }
        | CoreRequest::Leave { .. }
        | CoreRequest::Counters { .. } => {}
    }
}
