//! The body of SubscribeToShard's answer: events for as long as the subscription lasts.
//!
//! Owns: when which frame comes, and what events say. Never: who may be subscribed and how fast;
//! that is the engine. The connection asks for a frame when it has room for one. Between two frames
//! nothing is held but, while memory is plenty, the rest of what was read: a batch may be cut over
//! many events.

use std::rc::Rc;
use std::sync::Arc;

use futures_util::stream::unfold;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Bytes;
use weir_protocol::limits::{KIB, MIB};
use weir_protocol::model::{Offset, SequenceNumber, Timestamp};
use weir_reactor::Reactor;
use weir_stream::{
    Engine, Next, ReadAnswer, ReadError, Shard, Stream, Subscription, SubscriptionEnd,
};

use crate::action::record_list::{
    ListBounds, RECORD_ROOM, RecordList, Room, child_shards, permit_bytes,
};
use crate::encoding::Encoding;
use crate::error::{About, ErrorKind, ServiceError};
use crate::event_stream::{self, FRAME_ROOM, FrameKind};
use crate::http::{Ceiling, EventBody, leased, permitted};
use crate::read_budget::{Permit, ReadBudget, Wish};
use crate::writer::Writer;

/// Most bytes of data and keys in one event; a longer record comes alone. In base64, and with the
/// names of its members, that is about a mebibyte.
const EVENT_BYTES_MAX: u32 = 640 * KIB;
/// Most records in one event, so that short ones do not make it long.
const EVENT_RECORDS_MAX: usize = 4_096;
/// Longest buffer that is asked for ahead.
const BUFFER_BYTES: usize = MIB as usize;
/// Batches that are read in one step; longer ones take another.
const READ_BYTES: usize = MIB as usize;
/// Room for an event's frame and its members beside the records.
const EVENT_ROOM: usize = FRAME_ROOM + 256;
/// What an event takes at most, unless its one record is longer.
const EVENT_TEXT_MAX: usize =
    EVENT_BYTES_MAX as usize * 4 / 3 + EVENT_RECORDS_MAX * RECORD_ROOM + EVENT_ROOM;
/// Bounds of an event when there is memory for a long one.
const EVENT_BOUNDS: ListBounds = ListBounds {
    records_max: EVENT_RECORDS_MAX,
    bytes_max: EVENT_BYTES_MAX as usize,
};

/// Where the frames come from.
pub(crate) struct EventSource<R: Reactor> {
    pub(crate) engine: Engine<R>,
    pub(crate) subscription: Subscription<R>,
    /// The stream as it was when the subscription began.
    pub(crate) stream: Arc<Stream>,
    pub(crate) account: String,
    pub(crate) ceiling: Rc<Ceiling>,
    pub(crate) budget: Rc<ReadBudget>,
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
    /// What was read and did not fit into the last event.
    rest: Option<Rest<R>>,
}

/// Records that wait for the next event.
struct Rest<R: Reactor> {
    read: ReadAnswer<R>,
    permit: Permit,
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
        rest: None,
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
                self.leased(event_stream::close(bytes))
            }
            Phase::Running => match self.next_event().await {
                Ok(bytes) => bytes,
                Err(end) => {
                    self.phase = Phase::Over;
                    self.leased(failure(&self.end_of(&end)?))
                }
            },
            Phase::Over => return None,
        };
        Some(bytes)
    }

    /// Bytes of a frame without records.
    fn leased(&self, bytes: Vec<u8>) -> Bytes {
        leased(bytes, &self.source.ceiling)
    }

    async fn next_event(&mut self) -> Result<Bytes, SubscriptionEnd> {
        let (from, has_records) = (self.source.next, self.rest.is_some());
        match self.source.subscription.next(from, has_records).await? {
            Next::Quiet { behind_ms } => {
                let bytes = self.heartbeat(behind_ms);
                Ok(self.leased(bytes))
            }
            Next::Records => self.next_records().await,
        }
    }

    /// An event of what is left of the last read, or of a new one when there is memory for it.
    async fn next_records(&mut self) -> Result<Bytes, SubscriptionEnd> {
        // Nobody waits in line who holds something: if others wait, it is read again.
        if let Some(rest) = self.rest.take()
            && let Some(permit) = self.source.budget.spare(EVENT_TEXT_MAX)
        {
            return self.give(rest.read, Some(rest.permit), permit, EVENT_BOUNDS);
        }
        let mut wish = Wish::up_to(EVENT_TEXT_MAX + READ_BYTES);
        loop {
            let permit = self.source.budget.reserve(wish).await;
            let (bounds, longest) = room(permit.bytes());
            let (from, bytes_max) = (self.source.next, bounds.bytes_max as u32);
            let read = self.source.subscription.read(from, bytes_max, longest);
            match read.await {
                Ok(read) => return self.give(read, None, permit, bounds),
                // Its first record may be as long as all of it.
                Err(ReadError::LongBatch { bytes, .. }) => {
                    let text = permit_bytes(bytes, 1) - bytes;
                    wish = Wish::exactly(bytes + text.max(EVENT_TEXT_MAX));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes an event, and keeps what did not fit if that spares reading it again and there is
    /// memory for it. What is read in place is kept only if it is long: it must be copied.
    fn give(
        &mut self,
        read: ReadAnswer<R>,
        kept: Option<Permit>,
        mut permit: Permit,
        bounds: ListBounds,
    ) -> Result<Bytes, SubscriptionEnd> {
        let (bytes, is_cut) = self.event(&read, bounds)?;
        permit.cover(bytes.capacity());
        let is_long = read.bytes() > 2 * EVENT_BYTES_MAX as usize;
        if is_cut && (is_long || matches!(read, ReadAnswer::There(_))) {
            let kept = kept.or_else(|| self.source.budget.spare(read.bytes()));
            self.rest = kept.map(|permit| Rest {
                read: read.into_owned(),
                permit,
            });
        }
        Ok(permitted(bytes, permit, self.source.engine.spares()))
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

    /// An event with records, or with the end of the shard, or both; and whether not all that was
    /// read fitted.
    fn event(
        &mut self,
        read: &ReadAnswer<R>,
        bounds: ListBounds,
    ) -> Result<(Vec<u8>, bool), SubscriptionEnd> {
        let exists = self.refresh();
        let room = EVENT_ROOM + read.bytes() * 3 / 2;
        let spares = self.source.engine.spares();
        let mut out = open_event(spares.take(room.min(BUFFER_BYTES)));
        let stream = Arc::clone(&self.source.stream);
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
        Ok((event_stream::close(out.into_bytes()), is_cut))
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

/// What an event may hold, and the longest batch that may be read for it.
fn room(permitted: usize) -> (ListBounds, usize) {
    let room = Room::of(permitted, EVENT_RECORDS_MAX);
    if permitted >= EVENT_TEXT_MAX + room.bytes {
        return (EVENT_BOUNDS, permitted - EVENT_TEXT_MAX);
    }
    let bounds = ListBounds {
        records_max: room.records,
        bytes_max: room.bytes.min(EVENT_BYTES_MAX as usize),
    };
    (bounds, room.bytes)
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
