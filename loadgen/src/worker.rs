//! One thread of the load: sends what is due on its connections and measures what comes back.
//!
//! Owns: the loop, and the difference between being late (ours) and being made to wait (the
//! server's). Never: printing, or judging the run.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use crate::args::Extent;
use crate::client::ClientError;
use crate::client::connection::Landing;
use crate::clock::{nanoseconds, thread_cpu};
use crate::lane::{Common, Lane, fate_of};
use crate::plan::Schedule;
use crate::tally::{Part, Piece, Tally};
use crate::witness::{Fate, Ledger};

/// Small frames share a buffer of about this size, so that one system call carries many.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long a thread sleeps at most, in nanoseconds: it looks for silence and for the others' end.
const SLEEP_NS: u64 = 50_000_000;
/// The kernel's timer is good for a millisecond: closer than this to a due send, the thread spins.
const SPIN_NS: u64 = 2_000_000;
const SECOND_NS: u64 = 1_000_000_000;

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
    common: &'a Common<'a>,
    lanes: Vec<Lane>,
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
        common: &'a Common<'a>,
        lanes: Vec<Lane>,
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
        Self {
            common,
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
                .lanes
                .into_iter()
                .map(|lane| (lane.writer, lane.ledger))
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
        for index in 0..self.lanes.len() {
            self.pump(index)?;
        }
        let mut looked = 0;
        loop {
            let now = self.common.clock.now();
            self.turn_pieces(now);
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
            let index = self.next_lane;
            self.next_lane = (index + 1) % self.lanes.len();
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
            let intended = if self.schedule.is_some() {
                match self.lanes[index].due.pop_front() {
                    Some(due) => due,
                    None => break,
                }
            } else if self.spend(now) {
                now
            } else {
                break;
            };
            // The last buffer given back is the one still in the cache.
            let buffer = buffer.get_or_insert_with(|| {
                let spare = self.spare.pop();
                spare.unwrap_or_else(|| self.common.template.buffer(self.slots))
            });
            let slot = &mut buffer[frames * frame_bytes..(frames + 1) * frame_bytes];
            self.lanes[index].frame(self.common, slot, intended, now);
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

    fn receive(&mut self, index: usize) -> Result<bool, ClientError> {
        let Self {
            lanes,
            tally,
            common,
            warmup_end,
            last_answer,
            part,
            ..
        } = self;
        let lane = &mut lanes[index];
        let ledger = &mut lane.ledger;
        let mut now = 0;
        let more = lane.connection.receive(|flight, landing| {
            if now == 0 {
                now = common.clock.now();
            }
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
                Landing::Refused(code) => {
                    tally.refuse(code);
                    fate_of(code)
                }
            };
            ledger.note(flight.slot, flight.batch, fate);
        })?;
        if now != 0 {
            lane.heard = now;
            *last_answer = now;
        }
        Ok(more)
    }
}

impl Worker<'_> {
    /// Whether nothing is owed any more. What is still due when the timeout has passed after the
    /// end is given up: the server takes less than was asked for.
    fn is_drained(&mut self, now: u64) -> bool {
        let give_up = now >= self.end.saturating_add(nanoseconds(self.common.timeout));
        for lane in &mut self.lanes {
            if give_up {
                self.unsent += lane.due.len() as u64;
                lane.due.clear();
            }
        }
        let owes = |lane: &Lane| lane.connection.in_flight() > 0 || !lane.due.is_empty();
        !self.lanes.iter().any(owes)
    }

    fn look_for_silence(&mut self, now: u64) -> Result<(), ClientError> {
        for lane in &mut self.lanes {
            if lane.connection.in_flight() == 0 {
                lane.heard = now;
            } else if now.saturating_sub(lane.heard) > nanoseconds(self.common.timeout) {
                return Err(ClientError::Silent(self.common.timeout));
            }
        }
        Ok(())
    }

    /// Ends the piece when its second, or its part of the run, is over.
    fn turn_pieces(&mut self, now: u64) {
        let part = if now < self.warmup_end {
            Part::Warmup
        } else if now < self.end {
            Part::Measured
        } else {
            Part::Drain
        };
        if part != self.part {
            if part == Part::Drain {
                let oldest = self.lanes.iter().filter_map(|lane| lane.due.front()).min();
                self.backlog_age = oldest.map_or(0, |oldest| now.saturating_sub(*oldest));
            }
            self.hand_over(now);
            self.part = part;
            self.piece_index = 0;
        } else if now - self.piece_start >= SECOND_NS && part != Part::Drain {
            self.hand_over(now);
        }
    }

    fn hand_over(&mut self, now: u64) {
        let piece = Piece {
            part: self.part,
            index: self.piece_index,
            length: now - self.piece_start,
            tally: std::mem::replace(&mut self.tally, Tally::new()),
        };
        self.piece_index += 1;
        self.piece_start = now;
        // Nobody takes pieces any more when the run is being given up.
        let _ = self.pieces.send(piece);
    }
}
