//! One thread of the load: sends what is due on its connections and measures what comes back.
//!
//! Owns: the loop, and the difference between being late (ours) and being made to wait (the
//! server's). Never: printing, or judging the run.

mod end;
mod reroute;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use crate::args::Extent;
use crate::client::ClientError;
use crate::client::connection::Landing;
use crate::clock::{nanoseconds, thread_cpu};
use crate::lane::{Common, Lane, Next, Writer, fate_of};
use crate::plan::Schedule;
use crate::shards::Map;
use crate::tally::{Part, Piece, Tally};
use crate::witness::{Fate, Ledger};

/// Small frames share a buffer of about this size, so that one system call carries many.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long a thread sleeps at most, in nanoseconds: it looks for silence and for the others' end.
const SLEEP_NS: u64 = 50_000_000;
/// The kernel's timer is good for a millisecond: closer than this to a due send, the thread spins.
const SPIN_NS: u64 = 2_000_000;
const SECOND_NS: u64 = 1_000_000_000;
/// What the waker says that tells of a newer map.
const NEW_MAP: Token = Token(usize::MAX);

/// Due sends that the connections of a thread may hold back: more, and they are dropped and
/// counted.
const DUE_MAX: usize = 1 << 24;

/// What a thread leaves when its load has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Ledgers by writer.
    pub(crate) ledgers: Vec<(u32, Ledger)>,
    /// Due batches that were never sent, because the server took too few.
    pub(crate) unsent: u64,
    /// Age of the oldest due batch when the measured time ended, in nanoseconds.
    pub(crate) backlog_age: u64,
    /// When the last answer came.
    pub(crate) last_answer: u64,
    /// Part of the time that the thread ran on a CPU, from 0 to 1.
    pub(crate) busy: Option<f64>,
}

pub(crate) struct Worker<'a> {
    common: &'a Common,
    /// The map that this thread works by.
    map: Arc<Map>,
    want_map: Sender<u32>,
    /// The newest map that was asked for.
    wanted_map: u32,
    writers: Vec<Writer>,
    lanes: Vec<Lane>,
    /// Refused batches of shards that are closed, not yet handed to a lane again.
    held: usize,
    registry: Option<Registry>,
    /// Open loop if there is one.
    schedule: Option<Schedule>,
    /// Batches left to send after the warm-up.
    budget: u64,
    pieces: Sender<Piece>,
    tally: Tally,
    part: Part,
    piece_index: u64,
    piece_start: u64,
    warmup_end: u64,
    /// When sending ends; [`u64::MAX`] until it is known.
    end: u64,
    spare: Vec<Vec<u8>>,
    slots: usize,
    next_lane: usize,
    unsent: u64,
    backlog_age: u64,
    last_answer: u64,
}

impl<'a> Worker<'a> {
    /// A thread that drives `lanes`; `budget` batches may be sent after the warm-up.
    pub(crate) fn new(
        common: &'a Common,
        want_map: Sender<u32>,
        parts: Vec<(Lane, Writer)>,
        schedule: Option<Schedule>,
        budget: u64,
        pieces: Sender<Piece>,
    ) -> Self {
        let warmup_end = nanoseconds(common.warmup);
        let end = match common.extent {
            Extent::Time(time) => warmup_end.saturating_add(nanoseconds(time)),
            Extent::Batches(_) => u64::MAX,
        };
        let frame_bytes = common.template.frame_bytes();
        let (mut lanes, writers): (Vec<Lane>, Vec<Writer>) = parts.into_iter().unzip();
        let mut writers = writers;
        for (index, (lane, writer)) in lanes.iter_mut().zip(&mut writers).enumerate() {
            lane.writer = index;
            for place in writer.places.iter_mut().flatten() {
                place.lane = index;
            }
        }
        Self {
            common,
            map: common.atlas.current(),
            want_map,
            wanted_map: 0,
            writers,
            held: 0,
            registry: None,
            lanes,
            schedule,
            budget,
            pieces,
            tally: Tally::new(),
            part: if warmup_end == 0 {
                Part::Measured
            } else {
                Part::Warmup
            },
            piece_index: 0,
            piece_start: 0,
            warmup_end,
            end,
            spare: Vec::new(),
            slots: (BUFFER_BYTES / frame_bytes).clamp(1, common.in_flight),
            next_lane: 0,
            unsent: 0,
            backlog_age: 0,
            last_answer: 0,
        }
    }

    /// Runs to the end, or to the first failure, which the other threads see too.
    pub(crate) fn run(mut self) -> Result<Finished, ClientError> {
        let cpu_before = thread_cpu();
        let outcome = self.drive();
        if outcome.is_err() {
            self.common.stop.store(true, Ordering::Relaxed);
        }
        outcome?;
        let elapsed = self.common.clock.now().max(1);
        let cpu = thread_cpu().zip(cpu_before);
        Ok(Finished {
            unsent: self.unsent,
            backlog_age: self.backlog_age,
            last_answer: self.last_answer,
            busy: cpu.map(|(after, before)| (after - before) as f64 / elapsed as f64),
            ledgers: self
                .writers
                .into_iter()
                .map(|writer| (writer.number, writer.ledger))
                .collect(),
        })
    }

    fn drive(&mut self) -> Result<(), ClientError> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(256);
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(lane.connection.socket(), Token(index), both)?;
        }
        self.registry = Some(poll.registry().try_clone()?);
        let waker = Waker::new(poll.registry(), NEW_MAP)?;
        self.common.atlas.watch(waker);
        for index in 0..self.lanes.len() {
            self.pump(index)?;
        }
        let mut looked = 0;
        loop {
            let now = self.common.clock.now();
            self.turn_pieces(now);
            self.take_map()?;
            self.take_due(now)?;
            if now >= self.end && self.is_drained(now) {
                break;
            }
            if now - looked >= SLEEP_NS {
                looked = now;
                self.look_for_silence(now)?;
                if self.common.stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            match poll.poll(&mut events, Some(self.patience(now))) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.serve(event)?;
            }
        }
        self.hand_over(self.common.clock.now());
        Ok(())
    }

    fn serve(&mut self, event: &Event) -> Result<(), ClientError> {
        if event.token() == NEW_MAP {
            return self.take_map();
        }
        let index = event.token().0;
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            while self.receive(index)? {}
        }
        self.pump(index)
    }

    /// How long to wait for the sockets: until the next send is near, and then not at all.
    fn patience(&self, now: u64) -> Duration {
        let due = match &self.schedule {
            Some(schedule) if schedule.due_ns() < self.end => schedule.due_ns(),
            _ => now + SLEEP_NS,
        };
        let ahead = due.min(self.end.max(now + SPIN_NS)).saturating_sub(now);
        if ahead < SPIN_NS {
            return Duration::ZERO;
        }
        Duration::from_millis((ahead.min(SLEEP_NS) - SPIN_NS / 2) / 1_000_000)
    }

    /// Hands the sends that have become due to their connections, in turn. How late that is, is
    /// the generator's own lag; what a connection waits for afterwards is the server's doing.
    fn take_due(&mut self, now: u64) -> Result<(), ClientError> {
        let until = now.min(self.end.saturating_sub(1));
        let mut taken = false;
        while let Some(due) = self.schedule.as_ref().map(Schedule::due_ns)
            && due <= until
            && self.spend(due)
        {
            self.schedule
                .as_mut()
                .expect("it told what is due")
                .advance();
            if due >= self.warmup_end {
                self.tally.lag.record(now - due);
            }
            let index = self.lane_in_turn();
            if self.lanes[index].due.len() < DUE_MAX / self.lanes.len() {
                self.lanes[index].due.push_back(due);
            } else {
                self.unsent += 1;
            }
            taken = true;
        }
        if taken {
            for index in 0..self.lanes.len() {
                self.pump(index)?;
            }
        }
        Ok(())
    }

    /// The next connection that has a shard to write to; while all shards move, any that lives.
    fn lane_in_turn(&mut self) -> usize {
        let count = self.lanes.len();
        let in_turn = |step: usize| (self.next_lane + step) % count;
        let has_slots = |index: &usize| !self.lanes[*index].slots.is_empty();
        let lives = |index: &usize| !self.lanes[*index].is_gone;
        let found = (0..count).map(in_turn).find(has_slots);
        let index = found.or_else(|| (0..count).map(in_turn).find(lives));
        let index = index.expect("a connection that has shards is not let go");
        self.next_lane = (index + 1) % count;
        index
    }

    /// Whether one more batch may be sent at `at`. With a total instead of a time, the last one
    /// ends the run.
    fn spend(&mut self, at: u64) -> bool {
        if at >= self.end {
            return false;
        }
        if at >= self.warmup_end && matches!(self.common.extent, Extent::Batches(_)) {
            if self.budget == 0 {
                self.end = at;
                return false;
            }
            self.budget -= 1;
        }
        true
    }

    /// Writes to one connection until its window or its socket is full, or nothing is due.
    fn pump(&mut self, index: usize) -> Result<(), ClientError> {
        loop {
            if self.lanes[index].is_gone {
                return Ok(());
            }
            if self.lanes[index].connection.is_idle() && !self.fill(index) {
                return Ok(());
            }
            match self.lanes[index].connection.flush()? {
                Some(buffer) => self.spare.push(buffer),
                None => return Ok(()),
            }
        }
    }

    /// Fills a buffer with as many frames as may be sent now; `false` if none may.
    fn fill(&mut self, index: usize) -> bool {
        let window = self.common.in_flight - self.lanes[index].connection.in_flight();
        if window == 0 {
            return false;
        }
        let now = self.common.clock.now();
        let mut buffer = None;
        let frame_bytes = self.common.template.frame_bytes();
        let mut frames = 0;
        while frames < window.min(self.slots) {
            let Some(next) = self.next(index, now) else {
                break;
            };
            // The last buffer given back is the one still in the cache.
            let buffer = buffer.get_or_insert_with(|| {
                let spare = self.spare.pop();
                spare.unwrap_or_else(|| self.common.template.buffer(self.slots))
            });
            let slot = &mut buffer[frames * frame_bytes..(frames + 1) * frame_bytes];
            let lane = &mut self.lanes[index];
            let writer = &mut self.writers[lane.writer];
            lane.frame(writer, &self.map, self.common, slot, next, now);
            frames += 1;
        }
        let Some(buffer) = buffer else {
            return false;
        };
        self.tally.sent += frames as u64;
        self.lanes[index]
            .connection
            .load(buffer, frames * frame_bytes);
        true
    }

    /// What a connection may send now, if anything.
    fn next(&mut self, index: usize, now: u64) -> Option<Next> {
        let lane = &mut self.lanes[index];
        if let Some(flight) = lane.again.pop_front() {
            return Some(Next::Again(flight));
        }
        if lane.slots.is_empty() {
            return None;
        }
        if self.schedule.is_some() {
            return lane.due.pop_front().map(Next::New);
        }
        self.spend(now).then_some(Next::New(now))
    }

    fn receive(&mut self, index: usize) -> Result<bool, ClientError> {
        let Self {
            lanes,
            writers,
            held,
            tally,
            common,
            warmup_end,
            last_answer,
            part,
            ..
        } = self;
        let lane = &mut lanes[index];
        if lane.is_gone {
            return Ok(false);
        }
        let writer = &mut writers[lane.writer];
        let (mut now, mut map_version) = (0, 0);
        // Slots whose shard is closed, where something came from it.
        let mut closed = Vec::new();
        let received = lane.connection.receive(|flight, landing| {
            if now == 0 {
                now = common.clock.now();
            }
            let place = writer.place(flight.slot);
            place.in_flight -= 1;
            let fate = match landing {
                Landing::Stored(offset) => {
                    tally.stored += 1;
                    // Warm-up pieces keep all times for the progress line; later ones only those
                    // whose send belongs to what is measured.
                    if *part == Part::Warmup || flight.intended >= *warmup_end {
                        tally.latency.record(now - flight.intended);
                        tally.service.record(now - flight.sent);
                    }
                    Fate::Stored(offset)
                }
                Landing::Closed {
                    map_version: version,
                } => {
                    tally.rerouted += 1;
                    map_version = map_version.max(version);
                    place.refused.push(flight);
                    *held += 1;
                    Fate::Refused
                }
                Landing::Refused(code) => {
                    tally.refuse(code);
                    fate_of(code)
                }
            };
            if place.is_moving || !place.refused.is_empty() {
                closed.push(flight.slot);
            }
            writer.ledger.note(flight.slot, flight.batch, fate);
        });
        let more = match received {
            // The server closes a connection that was silent for long.
            Err(ClientError::Closed) if lane.is_unused() => {
                lane.is_gone = true;
                false
            }
            received => received?,
        };
        if now != 0 {
            lane.heard = now;
            *last_answer = now;
        }
        if !closed.is_empty() {
            let writer = lane.writer;
            self.shards_closed(writer, &closed, map_version)?;
        }
        Ok(more)
    }
}
