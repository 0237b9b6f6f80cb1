//! The body of SubscribeToShard's answer: events for as long as the subscription lasts.
//!
//! Owns: when which frame comes, and what events say. Never: who may be subscribed and how fast;
//! that is the engine. The connection asks for a frame when it has room for one, and between two
//! frames nothing is held.

use std::rc::Rc;
use std::sync::Arc;

use futures_util::stream::unfold;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Bytes;
use weir_protocol::batch::BatchError;
use weir_protocol::limits::{KIB, MIB};
use weir_protocol::model::{Offset, SequenceNumber, ShardIndex, Timestamp};
use weir_reactor::Reactor;
use weir_stream::{Engine, Next, Place, ReadAnswer, Stream, Subscription, SubscriptionEnd};

use crate::action::record_list::{ListBounds, RecordList, child_shards};
use crate::encoding::Encoding;
use crate::error::{About, ErrorKind, ServiceError};
use crate::event_stream::{self, FrameKind};
use crate::http::{Ceiling, EventBody, leased};
use crate::writer::Writer;

/// Most bytes of data and keys in one event; a longer record comes alone.
const EVENT_BYTES_MAX: u32 = MIB;
/// The same while half of the core's memory for bodies is taken: many clients may have stopped
/// reading, each with an event on its way.
const EVENT_BYTES_CROWDED: u32 = 64 * KIB;
/// Room for an event's members beside its records, and for each record's beside its data.
const EVENT_ROOM: usize = 512;

/// Where the frames come from.
pub(crate) struct EventSource<R: Reactor> {
    pub(crate) engine: Engine<R>,
    pub(crate) subscription: Subscription<R>,
    /// The stream as it was when the subscription began.
    pub(crate) stream: Arc<Stream>,
    pub(crate) account: String,
    pub(crate) ceiling: Rc<Ceiling>,
    /// The next record to give out.
    pub(crate) next: Offset,
}

/// The frames of a subscription.
struct Events<R: Reactor> {
    source: EventSource<R>,
    phase: Phase,
    /// What a client was told last of the time: progress goes back for no clock.
    told: Timestamp,
    /// When the last record given out arrived.
    last_arrival: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Begin,
    Running,
    Over,
}

/// The body that gives out a subscription's events.
pub(crate) fn event_body<R: Reactor>(source: EventSource<R>) -> EventBody {
    let events = Events {
        told: source.engine.wall(),
        source,
        phase: Phase::Begin,
        last_arrival: None,
    };
    let frames = unfold(events, |mut events| async move {
        let bytes = events.next_frame().await?;
        Some((Ok(Frame::data(bytes)), events))
    });
    Box::pin(StreamBody::new(frames))
}

impl<R: Reactor> Events<R> {
    async fn next_frame(&mut self) -> Option<Bytes> {
        let bytes = match self.phase {
            Phase::Begin => {
                self.phase = Phase::Running;
                let mut bytes = event_stream::open(FrameKind::Event("initial-response"), 2);
                bytes.extend_from_slice(b"{}");
                event_stream::close(bytes)
            }
            Phase::Running => match self.next_event().await {
                Ok(bytes) => bytes,
                Err(end) => {
                    self.phase = Phase::Over;
                    failure(&self.end_of(&end)?)
                }
            },
            Phase::Over => return None,
        };
        Some(leased(bytes, &self.source.ceiling))
    }

    async fn next_event(&mut self) -> Result<Vec<u8>, SubscriptionEnd> {
        let source = &self.source;
        let bytes_max = if source.ceiling.is_half_full() {
            EVENT_BYTES_CROWDED
        } else {
            EVENT_BYTES_MAX
        };
        let place = Place {
            from: source.next,
            bytes_max,
        };
        match source.subscription.next(place).await? {
            Next::Quiet { behind_ms } => Ok(self.heartbeat(behind_ms)),
            Next::Read(read) => {
                let shard = self.shard();
                let event = self.event(&read, bytes_max as usize);
                event.map_err(|error| SubscriptionEnd::Damaged {
                    text: format!("shard {shard}: {error}"),
                })
            }
        }
    }

    fn shard(&self) -> ShardIndex {
        self.source.subscription.subscriber().shard.index
    }

    /// An event that says only how far the client is.
    fn heartbeat(&mut self, behind_ms: u64) -> Vec<u8> {
        let mut out = open_event(0);
        out.open_map().member("Records").open_list().close_list();
        self.write_progress(&mut out);
        let since_last = self.last_arrival.filter(|_| behind_ms > 0);
        let now = self.source.engine.wall();
        let behind_ms = since_last.map_or(behind_ms, |last| behind_ms.max(now.millis_since(last)));
        out.member("MillisBehindLatest").number(behind_ms);
        out.close_map();
        event_stream::close(out.into_bytes())
    }

    /// An event with records, or with the end of the shard, or both.
    fn event(&mut self, read: &ReadAnswer<R>, bytes_max: usize) -> Result<Vec<u8>, BatchError> {
        let mut out = open_event(read.bytes().min(2 * bytes_max));
        let stream = Arc::clone(&self.source.stream);
        let shard = stream.shard(self.shard());
        let shard = shard.expect("who subscribed found the shard in this snapshot");
        let bounds = ListBounds {
            records_max: usize::MAX,
            bytes_max,
        };
        let mut list = RecordList::new(shard, self.source.next, bounds);
        out.open_map().member("Records").open_list();
        for chunk in read.chunks() {
            list.write(chunk, &mut out)?;
        }
        out.close_list();
        self.source.subscription.gave(list.bytes as u64);
        self.last_arrival = list.last_arrival.or(self.last_arrival);
        self.source.next = if list.is_cut {
            list.next
        } else {
            read.next().max(list.next)
        };
        if read.at_end() && !list.is_cut {
            self.phase = Phase::Over;
            let streams = self.source.engine.streams();
            let newest = streams.by_id(stream.id).unwrap_or(&stream);
            child_shards(&mut out, newest, shard);
        } else {
            self.write_progress(&mut out);
        }
        let now = self.source.engine.wall();
        let behind_ms = match list.last_arrival {
            Some(arrival) if list.is_cut => now.millis_since(arrival),
            _ => read.behind_ms(),
        };
        out.member("MillisBehindLatest").number(behind_ms);
        out.close_map();
        Ok(event_stream::close(out.into_bytes()))
    }

    /// The number to resume from: it rises with time also when nothing came.
    fn write_progress(&mut self, out: &mut Writer) {
        let now = self.source.engine.wall();
        self.told = self.told.max(now).max(self.last_arrival.unwrap_or(now));
        let shard = self.source.stream.shard(self.shard());
        let shard = shard.expect("who subscribed found the shard in this snapshot");
        let number =
            SequenceNumber::of_progress(shard.index, shard.created, self.source.next, self.told);
        out.member("ContinuationSequenceNumber")
            .ascii(number.digits().as_bytes());
    }

    /// What the client is told of the end; `None` if it is none that needs a word.
    fn end_of(&self, end: &SubscriptionEnd) -> Option<ServiceError> {
        let about = About {
            stream: self.source.stream.name.as_str(),
            account: &self.source.account,
        };
        let subscriber = self.source.subscription.subscriber();
        let index = subscriber.shard.index;
        match end {
            SubscriptionEnd::Expired | SubscriptionEnd::Stopping => None,
            SubscriptionEnd::TakenOver => Some(about.subscribed_elsewhere(subscriber)),
            SubscriptionEnd::ConsumerGone => {
                Some(about.consumer_not_found(subscriber.consumer.as_str()))
            }
            SubscriptionEnd::ShardGone { .. } => Some(about.missing_shard(index)),
            SubscriptionEnd::Damaged { .. } | SubscriptionEnd::Failed(_) => {
                tracing::warn!(stream = about.stream, shard = %index, "{end}");
                Some(ServiceError::internal(end.to_string()))
            }
        }
    }
}

fn open_event(record_bytes: usize) -> Writer {
    let kind = FrameKind::Event("SubscribeToShardEvent");
    let bytes = event_stream::open(kind, EVENT_ROOM + record_bytes * 3 / 2);
    Writer::behind(Encoding::Json, bytes)
}

/// The frame that ends a stream with an error. Its names are those of the stream's own failures.
fn failure(error: &ServiceError) -> Vec<u8> {
    let name = match error.kind {
        ErrorKind::InternalFailure => "InternalFailureException",
        kind => kind.name(),
    };
    let bytes = event_stream::open(FrameKind::Exception(name), EVENT_ROOM);
    let mut out = Writer::behind(Encoding::Json, bytes);
    out.open_map();
    out.member("message")
        .text(error.text.as_deref().unwrap_or_default());
    out.close_map();
    event_stream::close(out.into_bytes())
}
