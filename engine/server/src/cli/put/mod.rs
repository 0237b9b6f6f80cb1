//! `weir stream put`: lines in, records out, and not one lost without a word.
//!
//! One thread reads the input, one thread per connection takes answers, and the main thread does
//! all the rest between two channels: split, choose a key, queue by shard, send, try again. What it
//! holds is bounded; at the bound it stops taking input, and the pipe it reads from fills.

mod keys;
mod queue;
mod report;
mod reshard;
mod threads;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, never, unbounded};
use weir_protocol::model::{HashKey, ShardId};
use weir_protocol::wire::error::ErrorCode;
use weir_protocol::wire::request::Request;
use weir_protocol::wire::response::{AppendOutcome, StreamDescription};

use super::arguments::Put;
use super::client::{ANSWER_TIMEOUT, Client, FrameReader, connect_core};
use super::clock;
use super::failure::Failure;
use super::interrupt::on_interrupt;
use super::lines::{Line, LineSplitter};
use crate::units::{show_count, show_counted};
use keys::{KeySource, Keys};
use queue::{Pushed, ShardQueue};
use report::{Counts, describe_refusal};
use reshard::NewMap;
use threads::{Event, correlation, read_input, take_answers};

/// Bytes of records held in memory before input waits.
const HELD_BYTES_MAX: usize = 24 * 1024 * 1024;
/// Lines that were too long are named up to this many, then only counted.
const REPORTED_LINES_MAX: u64 = 10;
/// How often answers that never come are looked for.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long a server that takes no more connections is left alone.
const BUSY_PAUSE: Duration = Duration::from_millis(250);
/// With nothing planned, only an event ends the wait.
const IDLE_WAIT: Duration = Duration::from_hours(1);

struct Putter<'a> {
    arguments: &'a Put,
    map_version: u32,
    /// Longest record that the stream takes, with its key.
    record_bytes_max: usize,
    /// Highest hash key of each open shard, rising, beside its slot in `queues`.
    ends: Vec<(HashKey, usize)>,
    queues: Vec<ShardQueue>,
    keys: Keys,
    connections: HashMap<u32, (TcpStream, u64)>,
    connections_made: u64,
    answers: Sender<Event>,
    lingers: VecDeque<(Instant, usize)>,
    retries: BTreeSet<(Instant, usize)>,
    held_bytes: usize,
    input_ended: bool,
    /// The map may be old: ask again before the next try.
    stale: bool,
    /// The server spoke of it, and it is not in use yet.
    new_map: Option<NewMap>,
    batch: Vec<u8>,
    frame: Vec<u8>,
    counts: Counts,
}

pub(crate) fn run(arguments: &Put) -> Result<(), Failure> {
    let input = read_input(arguments.file.as_deref())?;
    let stream = describe_patiently(arguments)?;
    let (answers, events) = unbounded();
    let interrupted = answers.clone();
    on_interrupt(1, move || {
        // Nobody listens once all is stored.
        let _ = interrupted.send(Event::Interrupted);
    })?;
    let mut putter = Putter::new(arguments, &stream, answers);
    let ended = putter.work(&input, &events);
    let unacknowledged: u64 = putter.queues.iter().map(ShardQueue::record_count).sum();
    let shards = putter.ends.len();
    putter
        .counts
        .report(&arguments.name, shards, &putter.keys, unacknowledged);
    match ended {
        Err(failure) if unacknowledged > 0 => Err(Failure {
            text: format!(
                "{failure}; {} read and not acknowledged",
                show_counted(unacknowledged, "record")
            ),
            ..failure
        }),
        Err(failure) => Err(failure),
        Ok(()) if putter.counts.too_long > 0 => Err(Failure::refused(format!(
            "{} of {} not sent: over {} bytes with the key",
            show_count(putter.counts.too_long),
            show_counted(putter.counts.lines, "line"),
            show_count(putter.record_bytes_max as u64)
        ))),
        Ok(()) => Ok(()),
    }
}

/// What the stream is like. A server that takes no more connections now is asked again.
fn describe_patiently(arguments: &Put) -> Result<StreamDescription, Failure> {
    let give_up = clock::now() + arguments.retry_for;
    loop {
        let described = Client::connect(&arguments.server.server)
            .and_then(|mut client| client.describe_active(&arguments.name));
        match described {
            Err(failure) if failure.is_busy && clock::now() < give_up => {
                // No event tells when there is room.
                thread::park_timeout(BUSY_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

impl<'a> Putter<'a> {
    fn new(arguments: &'a Put, stream: &StreamDescription, answers: Sender<Event>) -> Self {
        let open: Vec<_> = stream.shards.iter().filter(|shard| !shard.closed).collect();
        let mut ends: Vec<_> = open
            .iter()
            .enumerate()
            .map(|(slot, shard)| (shard.range.end, slot))
            .collect();
        ends.sort_unstable();
        let queues = open
            .iter()
            .map(|shard| ShardQueue::new(ShardId::new(stream.id, shard.index), shard.core))
            .collect();
        let source = if let Some(key) = &arguments.key {
            KeySource::Fixed(key.clone())
        } else if let Some(pattern) = &arguments.key_regex {
            KeySource::Pattern {
                pattern: pattern.clone(),
                no_match: (!arguments.skip_no_match).then(|| arguments.no_match_key.clone()),
            }
        } else {
            KeySource::Random {
                run: arguments.batch_records,
            }
        };
        Self {
            arguments,
            map_version: stream.map_version,
            record_bytes_max: stream.record_bytes_max as usize,
            ends,
            queues,
            keys: Keys::new(source),
            connections: HashMap::new(),
            connections_made: 0,
            answers,
            lingers: VecDeque::new(),
            retries: BTreeSet::new(),
            held_bytes: 0,
            input_ended: false,
            stale: false,
            new_map: None,
            batch: Vec::new(),
            frame: Vec::new(),
            counts: Counts::default(),
        }
    }

    fn work(
        &mut self,
        input: &Receiver<io::Result<Vec<u8>>>,
        events: &Receiver<Event>,
    ) -> Result<(), Failure> {
        let mut splitter = LineSplitter::new(self.record_bytes_max, self.arguments.crlf);
        let closed = never();
        let mut watched = clock::now();
        while !(self.input_ended && self.held_bytes == 0) {
            let now = clock::now();
            self.send_due(now)?;
            if now.duration_since(watched) >= WATCH_INTERVAL {
                watched = now;
                self.check_answers_come(now)?;
            }
            let hungry = !self.input_ended && self.held_bytes < HELD_BYTES_MAX;
            let pieces = if hungry { input } else { &closed };
            let wait = self.next_deadline(now).unwrap_or(IDLE_WAIT);
            crossbeam::select! {
                recv(events) -> event => {
                    let mut event = event.ok();
                    while let Some(happened) = event {
                        self.take_event(happened)?;
                        event = events.try_recv().ok();
                    }
                }
                recv(pieces) -> piece => match piece {
                    Ok(Ok(bytes)) => splitter.push(&bytes, |line| self.take_line(line))?,
                    Ok(Err(error)) => {
                        return Err(Failure::could_not_run(format!("cannot read the input: {error}")));
                    }
                    Err(_) => {
                        splitter.finish(|line| self.take_line(line))?;
                        self.end_input()?;
                    }
                },
                default(wait) => {}
            }
        }
        Ok(())
    }

    fn take_line(&mut self, line: Line<'_>) -> Result<(), Failure> {
        self.counts.lines += 1;
        let data = match line {
            Line::TooLong { bytes } => {
                self.too_long(bytes, None);
                return Ok(());
            }
            Line::Whole(data) => data,
        };
        if data.is_empty() && self.arguments.skip_empty {
            self.counts.empty += 1;
            return Ok(());
        }
        let Some(key) = self.keys.of(data) else {
            self.counts.left_out += 1;
            return Ok(());
        };
        let bytes = key.len() + data.len();
        if bytes > self.record_bytes_max {
            let key = key.len() as u64;
            self.too_long(data.len() as u64, Some(key));
            return Ok(());
        }
        let hash = HashKey::of_partition_key(&key);
        let slot = slot_of(&self.ends, hash);
        let now = clock::now();
        let pushed = self.queues[slot].push(&key, data, now);
        self.held_bytes += bytes + weir_protocol::batch::RECORD_HEADER_BYTES;
        if pushed == Pushed::Opened {
            self.lingers.push_back((now + self.arguments.linger, slot));
        }
        self.send_if_due(slot, now)
    }

    fn too_long(&mut self, bytes: u64, key: Option<u64>) {
        self.counts.too_long += 1;
        if self.counts.too_long <= REPORTED_LINES_MAX {
            eprintln!(
                "weir: line {} not sent: {}{}, at most {} with the key fit a record",
                self.counts.lines,
                show_counted(bytes, "byte"),
                key.map(|key| format!(" and {} of key", show_count(key)))
                    .unwrap_or_default(),
                show_count(self.record_bytes_max as u64)
            );
        }
    }

    fn end_input(&mut self) -> Result<(), Failure> {
        self.input_ended = true;
        let now = clock::now();
        (0..self.queues.len()).try_for_each(|slot| self.send_if_due(slot, now))
    }

    /// Sends what lingered long enough, and what may be tried again.
    fn send_due(&mut self, now: Instant) -> Result<(), Failure> {
        while let Some((_, slot)) = self.lingers.pop_front_if(|(at, _)| *at <= now) {
            self.keys.end_run();
            self.send_if_due(slot, now)?;
        }
        while let Some((at, slot)) = self.retries.first().copied() {
            if at > now {
                break;
            }
            self.retries.pop_first();
            self.send_if_due(slot, now)?;
        }
        match self.map_deadline() {
            Some(at) if at <= now => self.take_up_map(now),
            _ => Ok(()),
        }
    }

    fn next_deadline(&self, now: Instant) -> Option<Duration> {
        let linger = self.lingers.front().map(|(at, _)| *at);
        let retry = self.retries.first().map(|(at, _)| *at);
        let watch = (self.held_bytes > 0).then(|| now + WATCH_INTERVAL);
        [linger, retry, watch, self.map_deadline()]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.saturating_duration_since(now))
    }

    fn send_if_due(&mut self, slot: usize, now: Instant) -> Result<(), Failure> {
        let (linger, most) = (self.arguments.linger, self.arguments.batch_records as usize);
        if self.queues[slot].is_due(now, linger, most, self.input_ended) {
            self.send(slot, now)
        } else {
            Ok(())
        }
    }

    fn send(&mut self, slot: usize, now: Instant) -> Result<(), Failure> {
        if std::mem::take(&mut self.stale) {
            self.refresh();
        }
        let queue = &mut self.queues[slot];
        let (core, shard) = (queue.core, queue.id);
        self.batch.clear();
        queue
            .depart(now)
            .encode(shard, self.map_version, &mut self.batch);
        let departure = queue.departure();
        self.frame.clear();
        let request = Request::Append {
            count: 1,
            batches: &self.batch,
        };
        request.encode(correlation(slot, departure), &mut self.frame);
        let sent = match self.connection(core) {
            Ok(()) => {
                let (socket, connection) = &self.connections[&core];
                self.queues[slot].leaves_by(*connection);
                let mut socket = socket;
                socket
                    .write_all(&self.frame)
                    .map_err(|error| super::client::lost(&self.arguments.server.server, &error))
            }
            Err(failure) => Err(failure),
        };
        match sent {
            Ok(()) => Ok(()),
            Err(failure) => {
                self.stale = true;
                self.connections.remove(&core);
                self.try_again(slot, &failure)
            }
        }
    }

    fn connection(&mut self, core: u32) -> Result<(), Failure> {
        if self.connections.contains_key(&core) {
            return Ok(());
        }
        let server = &self.arguments.server.server;
        let broken = |error| super::client::lost(server, &error);
        let socket = connect_core(server, core)?;
        // Answers may be long in coming while there is nothing to answer: the watch looks at that.
        socket.set_read_timeout(None).map_err(broken)?;
        let frames = FrameReader::new(socket.try_clone().map_err(broken)?, server);
        self.connections_made += 1;
        let (answers, connection) = (self.answers.clone(), self.connections_made);
        thread::spawn(move || take_answers(frames, core, connection, &answers));
        self.connections.insert(core, (socket, connection));
        Ok(())
    }

    fn take_event(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Answer {
                slot,
                departure,
                outcome,
            } => self.take_answer(slot, departure, outcome?),
            Event::Interrupted => self.end_input(),
            Event::Lost {
                core,
                connection,
                failure,
            } => {
                if self
                    .connections
                    .get(&core)
                    .is_some_and(|(_, current)| *current == connection)
                {
                    self.connections.remove(&core);
                }
                self.stale = true;
                for slot in 0..self.queues.len() {
                    if self.queues[slot].left_by(connection) {
                        self.try_again(slot, &failure)?;
                    }
                }
                self.take_up_map(clock::now())
            }
        }
    }

    fn take_answer(
        &mut self,
        slot: usize,
        departure: u32,
        outcome: AppendOutcome,
    ) -> Result<(), Failure> {
        let Some(queue) = self.queues.get_mut(slot) else {
            return Err(Failure::could_not_run(
                "the server acknowledged what was not sent",
            ));
        };
        if !queue.awaits(departure) {
            // Of a try that was given up when its connection broke.
            return Ok(());
        }
        match outcome {
            AppendOutcome::Stored { .. } => {
                let Some(batch) = queue.stored() else {
                    return Ok(());
                };
                self.counts.records += batch.record_count();
                self.counts.bytes += batch.data_bytes();
                self.held_bytes -= batch.held_bytes();
                let now = clock::now();
                self.send_if_due(slot, now)?;
                self.take_up_map(now)
            }
            AppendOutcome::Refused {
                code: ErrorCode::ShardClosed,
                map_version,
                ..
            } => self.shard_closed(slot, map_version),
            AppendOutcome::Refused { code, owner, .. } => {
                if code == ErrorCode::NotOwner {
                    self.queues[slot].core = owner;
                    self.stale = true;
                }
                let failure = Failure::could_not_run(describe_refusal(code));
                if code.is_retryable() {
                    self.try_again(slot, &failure)
                } else {
                    Err(failure)
                }
            }
        }
    }

    fn try_again(&mut self, slot: usize, failure: &Failure) -> Result<(), Failure> {
        let count = self.queues[slot].in_flight_count();
        let Some((next, refused_for)) = self.queues[slot].refused(clock::now()) else {
            return Ok(());
        };
        if refused_for > self.arguments.retry_for {
            return Err(Failure::could_not_run(format!(
                "gave up after {} s: {failure}",
                refused_for.as_secs()
            )));
        }
        self.counts.resent += count;
        self.retries.insert((next, slot));
        Ok(())
    }

    /// Asks for the map again. If that fails, the next try of some batch will say so.
    fn refresh(&mut self) {
        let described = Client::connect(&self.arguments.server.server)
            .and_then(|mut client| client.describe(&self.arguments.name));
        let Ok(stream) = described else { return };
        if !self.is_ours(&stream) {
            // The next try will be told that the stream is gone.
            return;
        }
        self.map_version = stream.map_version;
        for queue in &mut self.queues {
            let shard = stream.shards.iter().find(|s| s.index == queue.id.index);
            if let (Some(shard), true) = (shard, queue.departed().is_none()) {
                queue.core = shard.core;
            }
        }
    }

    /// A server that took a batch and says nothing is as good as gone.
    fn check_answers_come(&mut self, now: Instant) -> Result<(), Failure> {
        let late = |at: Instant| now.duration_since(at) > ANSWER_TIMEOUT;
        if self
            .queues
            .iter()
            .filter_map(ShardQueue::departed)
            .any(late)
        {
            return Err(super::client::lost(
                &self.arguments.server.server,
                &io::ErrorKind::TimedOut.into(),
            ));
        }
        Ok(())
    }
}

/// The queue of the shard that takes `hash`.
fn slot_of(ends: &[(HashKey, usize)], hash: HashKey) -> usize {
    let at = ends.partition_point(|(end, _)| *end < hash);
    ends[at.min(ends.len() - 1)].1
}
