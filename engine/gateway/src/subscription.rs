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
use weir_protocol::limits::{KIB, MIB};
use weir_protocol::model::{Offset, SequenceNumber, Timestamp};
use weir_reactor::Reactor;
use weir_stream::{Engine, Next, Place, ReadAnswer, Shard, Stream, Subscription, SubscriptionEnd};

use crate::action::record_list::{ListBounds, RecordList, child_shards};
use crate::encoding::Encoding;
use crate::error::{About, ErrorKind, ServiceError};
use crate::event_stream::{self, FRAME_ROOM, FrameKind};
use crate::http::{Ceiling, EventBody, leased};
use crate::writer::Writer;

/// Most bytes of data and keys in one event; a longer record comes alone. In base64, and with the
/// names of its members, that is about a mebibyte.
const EVENT_BYTES_MAX: u32 = 640 * KIB;
/// Longest buffer that is asked for ahead.
const BUFFER_BYTES: usize = MIB as usize;
/// The same while half of the core's memory for bodies is taken: many clients may have stopped
/// reading, each with an event on its way.
const EVENT_BYTES_CROWDED: u32 = 64 * KIB;
/// Room for an event's frame and its members beside the records.
const EVENT_ROOM: usize = FRAME_ROOM + 256;

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
                let bytes = Vec::with_capacity(FRAME_ROOM);
                let mut bytes = event_stream::open(FrameKind::Event("initial-response"), bytes);
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
            Next::Read(read) => self.event(&read, bytes_max as usize),
        }
    }

    fn shard(&self) -> &Shard {
        let index = self.source.subscription.subscriber().shard.index;
        let shard = self.source.stream.shard(index);
        shard.expect("the stream is always one with this shard")
    }

    /// Takes the stream as it is now; false if it, or the shard, is gone.
    fn refresh(&mut self) -> bool {
        let shard = self.source.subscription.subscriber().shard;
        let streams = self.source.engine.streams();
        let found = streams.by_id(shard.stream);
        let Some(found) = found.filter(|stream| stream.shard(shard.index).is_some()) else {
            return false;
        };
        self.source.stream = Arc::clone(found);
        true
    }

    /// An event that says only how far the client is.
    fn heartbeat(&mut self, behind_ms: u64) -> Vec<u8> {
        let mut out = open_event(Vec::with_capacity(EVENT_ROOM));
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
    fn event(
        &mut self,
        read: &ReadAnswer<R>,
        bytes_max: usize,
    ) -> Result<Vec<u8>, SubscriptionEnd> {
        let exists = self.refresh();
        let room = EVENT_ROOM + read.bytes() * 3 / 2;
        let spares = self.source.engine.spares();
        let mut out = open_event(spares.take(room.min(BUFFER_BYTES)));
        let stream = Arc::clone(&self.source.stream);
        let bounds = ListBounds {
            records_max: usize::MAX,
            bytes_max,
        };
        let mut list = RecordList::new(&stream, self.shard(), self.source.next, bounds);
        out.open_map().member("Records").open_list();
        for chunk in read.chunks() {
            let written = list.write(chunk, &mut out);
            written.map_err(|error| SubscriptionEnd::Damaged {
                text: format!("shard {}: {error}", self.shard().index),
            })?;
        }
        out.close_list();
        self.source.subscription.gave(list.bytes as u64);
        let (next, last_arrival) = (list.next, list.last_arrival);
        let is_cut = list.is_cut;
        self.last_arrival = last_arrival.or(self.last_arrival);
        self.source.next = if is_cut { next } else { read.next().max(next) };
        if read.at_end() && !is_cut {
            if !exists {
                let shard = self.source.subscription.subscriber().shard;
                return Err(SubscriptionEnd::ShardGone { shard });
            }
            self.phase = Phase::Over;
            child_shards(&mut out, &stream, self.shard());
        } else {
            self.write_progress(&mut out);
        }
        let now = self.source.engine.wall();
        let behind_ms = match last_arrival {
            Some(arrival) if is_cut => now.millis_since(arrival),
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
        let shard = self.shard();
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

fn open_event(buffer: Vec<u8>) -> Writer {
    let bytes = event_stream::open(FrameKind::Event("SubscribeToShardEvent"), buffer);
    Writer::behind(Encoding::Json, bytes)
}

/// The frame that ends a stream with an error. Its names are those of the stream's own failures.
fn failure(error: &ServiceError) -> Vec<u8> {
    let name = match error.kind {
        ErrorKind::InternalFailure => "InternalFailureException",
        kind => kind.name(),
    };
    let bytes = event_stream::open(FrameKind::Exception(name), Vec::new());
    let mut out = Writer::behind(Encoding::Json, bytes);
    out.open_map();
    out.member("message")
        .text(error.text.as_deref().unwrap_or_default());
    out.close_map();
    event_stream::close(out.into_bytes())
}
