//! `weir stream tail`: records of all shards, merged, to stdout.
//!
//! One thread per connection takes answers and verifies them; the main thread merges, prints, and
//! asks each shard for more when what it has of it runs low. What it holds is bounded by two
//! answers per shard.

mod merge;
mod print;
mod records;

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
use weir_protocol::limits::MIB;
use weir_protocol::model::{Offset, ShardId, ShardIndex};
use weir_protocol::wire::error::{ErrorCode, WireError};
use weir_protocol::wire::frame::Correlation;
use weir_protocol::wire::request::{ReadFrom, ReadRequest, Request};
use weir_protocol::wire::response::{Response, ShardDescription};

use super::arguments::Tail;
use super::client::{Client, FrameReader, connect_core, lost, refusal};
use super::clock;
use super::failure::Failure;
use super::interrupt::on_interrupt;
use crate::units::moment;
use merge::Merge;
use print::Printer;
use records::RecordRun;

/// How long an idle shard's read waits at the server before it is asked again.
const WAIT_MS: u32 = 30_000;
/// Shards that share one connection: each may have a waiting read there.
const CONNECTION_SHARDS_MAX: usize = 256;
/// Bytes of answers held in memory for all shards together, as far as batches allow.
const HELD_BYTES_TARGET: u32 = 128 * MIB;
const RETRY_PAUSE: Duration = Duration::from_millis(200);

enum Event {
    Records {
        slot: usize,
        next: Offset,
        tip: Offset,
        at_end: bool,
        bytes: Vec<u8>,
    },
    Refused {
        slot: usize,
        error: WireError,
    },
    Broken(Failure),
    Interrupted,
}

struct ShardTail {
    shard: ShardDescription,
    connection: usize,
    from: ReadFrom,
    /// Where to stop when not following: the tip at the first answer.
    stop_at: Option<Offset>,
    asked: bool,
    /// At its tip: the next read may wait for data.
    idle: bool,
    ended: bool,
}

struct Connection {
    core: u32,
    socket: TcpStream,
    /// Shards that are read by it, ended ones too.
    shards: usize,
}

struct Tailer<'a> {
    arguments: &'a Tail,
    stream: weir_protocol::model::StreamId,
    /// Where a shard is begun to be read.
    from: ReadFrom,
    /// The newest shard that is known.
    known: Option<ShardIndex>,
    /// Shards whose parents are not at their ends yet, in index order.
    waiting: VecDeque<ShardDescription>,
    /// By slot.
    shards: Vec<ShardTail>,
    connections: Vec<Connection>,
    events: Sender<Event>,
    merge: Merge,
    bytes_max: u32,
    retries: BTreeSet<(Instant, usize)>,
    damaged: Option<Failure>,
    frame: Vec<u8>,
}

pub(crate) fn run(arguments: &Tail) -> Result<(), Failure> {
    let from = place(arguments)?;
    let (sender, events) = unbounded();
    let interrupted = sender.clone();
    on_interrupt(0, move || {
        // Nobody listens once all is printed.
        let _ = interrupted.send(Event::Interrupted);
    })?;
    let mut tailer = Tailer::connect(arguments, from, &sender)?;
    let mut out = Printer::new(arguments);
    let ended = tailer.work(&events, &mut out);
    let flushed = out.flush();
    match ended.and(flushed.map_err(Stopped::from)) {
        Ok(()) => tailer.damaged.map_or(Ok(()), Err),
        // Whoever read us has seen enough.
        Err(Stopped::PipeClosed) => Ok(()),
        Err(Stopped::Failed(failure)) => Err(failure),
    }
}

/// Why printing or reading ends early.
enum Stopped {
    PipeClosed,
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::PipeClosed
        } else {
            Self::Failed(Failure::could_not_run(format!(
                "cannot write to stdout: {error}"
            )))
        }
    }
}

fn place(arguments: &Tail) -> Result<ReadFrom, Failure> {
    match arguments.from.as_deref() {
        None if arguments.follow => Ok(ReadFrom::Latest),
        None | Some("trim-horizon") => Ok(ReadFrom::TrimHorizon),
        Some("latest") => Ok(ReadFrom::Latest),
        Some(text) => moment(text, clock::wall())
            .map(ReadFrom::Time)
            .map_err(|error| Failure::usage(format!("--from: {error}"))),
    }
}

/// Takes a connection's answers until it ends.
fn take_answers(mut frames: FrameReader, events: &Sender<Event>) {
    loop {
        let event = match frames.next() {
            Err(failure) => Event::Broken(failure),
            Ok(frame) => {
                let slot = frame.correlation.0 as usize;
                match Response::decode(&frame) {
                    Ok(Response::Records(answer)) => Event::Records {
                        slot,
                        next: answer.next,
                        tip: answer.tip,
                        at_end: answer.at_end,
                        bytes: answer.batches.to_vec(),
                    },
                    Ok(Response::Error(error)) => Event::Refused { slot, error },
                    _ => Event::Broken(Failure::could_not_run("the server sent nonsense")),
                }
            }
        };
        let broken = matches!(event, Event::Broken(_));
        if events.send(event).is_err() || broken {
            return;
        }
    }
}

impl<'a> Tailer<'a> {
    fn connect(
        arguments: &'a Tail,
        from: ReadFrom,
        events: &Sender<Event>,
    ) -> Result<Self, Failure> {
        let server = &arguments.show.server.server;
        let stream = Client::connect(server)?.describe_active(&arguments.name)?;
        let is_wanted = |shard: &&ShardDescription| match arguments.shard {
            Some(wanted) => wanted == shard.index,
            // At the tip there is nothing left of closed shards.
            None => !(shard.closed && from == ReadFrom::Latest),
        };
        let waiting: VecDeque<_> = stream.shards.iter().filter(is_wanted).copied().collect();
        if let (Some(wanted), true) = (arguments.shard, waiting.is_empty()) {
            return Err(Failure::could_not_run(format!(
                "stream {} has no shard {wanted}",
                arguments.name
            )));
        }
        Ok(Self {
            arguments,
            stream: stream.id,
            from,
            known: stream.shards.last().map(|shard| shard.index),
            waiting,
            merge: Merge::default(),
            bytes_max: MIB,
            shards: Vec::new(),
            connections: Vec::new(),
            events: events.clone(),
            retries: BTreeSet::new(),
            damaged: None,
            frame: Vec::new(),
        })
    }

    /// Begins to read the shards whose parents have been printed to their ends: those that no other
    /// shard is before whose keys they share.
    fn begin_shards(&mut self) -> Result<(), Failure> {
        let (mut ready, mut blocked) = (Vec::new(), VecDeque::new());
        while let Some(shard) = self.waiting.pop_front() {
            let is_before = |other: &ShardDescription| {
                let (ours, theirs) = (shard.range, other.range);
                other.index < shard.index && ours.start <= theirs.end && theirs.start <= ours.end
            };
            let unfinished = |(slot, tail): (usize, &ShardTail)| {
                is_before(&tail.shard) && !(tail.ended && self.merge.runs(slot) == 0)
            };
            let must_wait = self.shards.iter().enumerate().any(unfinished)
                || ready.iter().any(is_before)
                || blocked.iter().any(is_before);
            if must_wait {
                blocked.push_back(shard);
            } else {
                ready.push(shard);
            }
        }
        self.waiting = blocked;
        if ready.is_empty() {
            return Ok(());
        }
        let reading = self.shards.iter().filter(|tail| !tail.ended).count() + ready.len();
        let bytes_max = HELD_BYTES_TARGET / 2 / (reading as u32);
        self.bytes_max = bytes_max.clamp(16 * 1024, MIB);
        ready.into_iter().try_for_each(|shard| self.begin(shard))
    }

    fn begin(&mut self, shard: ShardDescription) -> Result<(), Failure> {
        let connection = self.connection_to(shard.core)?;
        let slot = self.merge.add();
        assert_eq!(slot, self.shards.len(), "a slot is a shard's in both");
        self.shards.push(ShardTail {
            shard,
            connection,
            from: self.from,
            stop_at: None,
            asked: false,
            idle: false,
            ended: false,
        });
        self.ask(slot)
    }

    /// A connection to `core` that has room for one more shard.
    fn connection_to(&mut self, core: u32) -> Result<usize, Failure> {
        let with_room = |c: &Connection| c.core == core && c.shards < CONNECTION_SHARDS_MAX;
        if let Some(at) = self.connections.iter().position(with_room) {
            self.connections[at].shards += 1;
            return Ok(at);
        }
        let server = &self.arguments.show.server.server;
        let socket = connect_core(server, core)?;
        let broken = |error| lost(server, &error);
        socket.set_read_timeout(None).map_err(broken)?;
        let frames = FrameReader::new(socket.try_clone().map_err(broken)?, server);
        let events = self.events.clone();
        thread::spawn(move || take_answers(frames, &events));
        self.connections.push(Connection {
            core,
            socket,
            shards: 1,
        });
        Ok(self.connections.len() - 1)
    }

    /// A shard that was followed has ended: its children, and whatever else is new, come next.
    fn find_children(&mut self) -> Result<(), Failure> {
        let server = &self.arguments.show.server.server;
        let stream = Client::connect(server)?.describe(&self.arguments.name)?;
        if stream.id != self.stream {
            let name = &self.arguments.name;
            let text = format!("stream {name} was deleted and created again");
            return Err(Failure::could_not_run(text));
        }
        let is_new = |shard: &&ShardDescription| Some(shard.index) > self.known;
        self.waiting.extend(stream.shards.iter().filter(is_new));
        self.known = self
            .known
            .max(stream.shards.last().map(|shard| shard.index));
        // What was created since is read from its start, also where the tip was asked for.
        if self.from == ReadFrom::Latest {
            self.from = ReadFrom::TrimHorizon;
        }
        Ok(())
    }

    fn work(&mut self, events: &Receiver<Event>, out: &mut Printer<'_>) -> Result<(), Stopped> {
        self.begin_shards()?;
        while !self.waiting.is_empty()
            || self.shards.iter().any(|tail| !tail.ended)
            || !self.merge.is_empty()
        {
            if !self.waiting.is_empty() {
                self.begin_shards()?;
            }
            while let Some((slot, record)) = self.merge.peek() {
                out.print(&self.shards[slot].shard, &record)?;
                self.merge.advance();
                // Ask early: the next answer comes while this one is printed.
                if !self.shards[slot].asked && self.merge.runs(slot) <= 1 {
                    self.ask(slot)?;
                }
                if let Ok(event) = events.try_recv()
                    && self.take(event)?
                {
                    return Ok(());
                }
            }
            if !self.waiting.is_empty() {
                // What was printed may have been the last of a parent.
                self.begin_shards()?;
            }
            let event = match events.try_recv() {
                Ok(event) => Some(event),
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {
                    let is_over = self.waiting.is_empty() && self.merge.is_empty();
                    if is_over && self.shards.iter().all(|tail| tail.ended) {
                        return Ok(());
                    }
                    out.flush()?;
                    self.wait(events)?
                }
            };
            if let Some(event) = event
                && self.take(event)?
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits for an event, or until a refused read may be tried again.
    fn wait(&mut self, events: &Receiver<Event>) -> Result<Option<Event>, Stopped> {
        let Some((at, slot)) = self.retries.first().copied() else {
            return Ok(events.recv().ok());
        };
        match events.recv_deadline(at) {
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                self.retries.pop_first();
                self.ask(slot)?;
                Ok(None)
            }
        }
    }

    fn ask(&mut self, slot: usize) -> Result<(), Failure> {
        let tail = &mut self.shards[slot];
        if tail.ended || tail.asked {
            return Ok(());
        }
        tail.asked = true;
        let waits = tail.idle && self.arguments.follow;
        let request = Request::Read(ReadRequest {
            shard: ShardId::new(self.stream, tail.shard.index),
            from: tail.from,
            bytes_max: self.bytes_max,
            wait_ms: if waits { WAIT_MS } else { 0 },
        });
        self.frame.clear();
        request.encode(Correlation(slot as u64), &mut self.frame);
        self.connections[tail.connection]
            .socket
            .write_all(&self.frame)
            .map_err(|error| lost(&self.arguments.show.server.server, &error))
    }

    /// Takes in what happened; true if it is time to stop.
    fn take(&mut self, event: Event) -> Result<bool, Failure> {
        match event {
            Event::Interrupted => return Ok(true),
            Event::Broken(failure) => return Err(failure),
            Event::Records {
                slot,
                next,
                tip,
                at_end,
                bytes,
            } => self.take_records(slot, next, tip, at_end, bytes)?,
            Event::Refused { slot, error } => {
                self.shards[slot].asked = false;
                if error.code.is_retryable() {
                    self.retries.insert((clock::now() + RETRY_PAUSE, slot));
                    return Ok(false);
                }
                if error.code == ErrorCode::ShardNotFound && self.arguments.shard.is_none() {
                    return self.forgotten(slot).map(|()| false);
                }
                let name = self.shards[slot].shard.index;
                let failure = refusal(&error);
                let failure = Failure {
                    text: format!("{name}: {failure}"),
                    ..failure
                };
                if error.code != ErrorCode::Damaged {
                    return Err(failure);
                }
                // The other shards are whole: print them, then say what is not.
                eprintln!("weir: {failure}");
                self.damaged = Some(failure);
                self.shards[slot].ended = true;
                self.merge.push(slot, None, false);
            }
        }
        Ok(false)
    }

    /// A shard that is no longer there was closed, and its retention is over: nothing is left of it,
    /// and its children go on.
    fn forgotten(&mut self, slot: usize) -> Result<(), Failure> {
        self.shards[slot].ended = true;
        self.merge.push(slot, None, false);
        if self.arguments.follow {
            self.find_children()?;
        }
        Ok(())
    }

    fn take_records(
        &mut self,
        slot: usize,
        next: Offset,
        tip: Offset,
        at_end: bool,
        bytes: Vec<u8>,
    ) -> Result<(), Failure> {
        let tail = &mut self.shards[slot];
        tail.asked = false;
        let from = match tail.from {
            ReadFrom::Offset(offset) => offset,
            _ => Offset::ZERO,
        };
        let stop_at = *tail.stop_at.get_or_insert(tip);
        let until = if self.arguments.follow {
            next
        } else {
            next.min(stop_at)
        };
        let run = RecordRun::verify(bytes, from, until).map_err(|error| {
            Failure::data_wrong(format!(
                "{}: the server sent damaged records: {error}",
                tail.shard.index
            ))
        })?;
        tail.from = ReadFrom::Offset(next);
        tail.idle = next >= tip;
        tail.ended = at_end || (!self.arguments.follow && next >= stop_at);
        let has_more = !tail.ended && !tail.idle;
        let finds_children = at_end && self.arguments.follow && self.arguments.shard.is_none();
        self.merge.push(slot, Some(run), has_more);
        if finds_children {
            self.find_children()?;
        }
        if self.merge.runs(slot) <= 1 {
            self.ask(slot)?;
        }
        Ok(())
    }
}
