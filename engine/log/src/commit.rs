//! Makes frames durable: group commit.
//!
//! No timer. A frame is submitted at once while the disk is idle, and fills while writes are in
//! flight: batching comes from the device's own latency. Completions may come in any order; the
//! durable mark only moves over frames that completed without a gap.

use std::rc::Rc;

use weir_protocol::model::Position;
use weir_reactor::{File, Lane, Monotonic, Reactor};

use crate::append::{FrameEntry, InFlight, OpenFrame, end_of};
use crate::discipline::Discipline;
use crate::log::{FileOf, Log, Mode, State};

/// Writes in flight up to which a frame that is not full is submitted. Beyond it a frame fills:
/// two small writes hide one another's latency, more of them only cost processor time.
const PARTIAL_IN_FLIGHT: usize = 2;

impl<R: Reactor, D: Discipline> Log<R, D> {
    /// Submits frames whenever something can be submitted; ends with the log.
    pub(crate) async fn run_commits(self) {
        loop {
            let seen = self.inner.kick.count();
            if self.inner.state.borrow().mode == Mode::Closed {
                return;
            }
            while self.submit_next() {}
            self.inner.kick.after(seen).await;
        }
    }

    /// Submits the next frame that is due, if any.
    fn submit_next(&self) -> bool {
        let mut state = self.inner.state.borrow_mut();
        if !matches!(state.mode, Mode::Open | Mode::Closing)
            || state.in_flight.len() >= self.inner.settings.in_flight
        {
            return false;
        }
        if state.closed.is_empty() {
            let due = state.open.as_ref().is_some_and(|open| !open.is_empty());
            let partial = PARTIAL_IN_FLIGHT.min(self.inner.settings.in_flight);
            if !due || state.in_flight.len() >= partial {
                return false;
            }
            self.close_open_frame(&mut state, false);
        }
        let next = state.closed.front().expect("it was filled above");
        let generation = next.header.generation;
        let ready = state
            .segments
            .iter()
            .any(|s| s.generation == generation && s.header_ready);
        if !ready {
            return false;
        }
        let frame = state.closed.pop_front().expect("it was looked at above");
        let mut header = frame.header;
        header.durable_mark = state.durable;
        let mut buffer = frame.buffer;
        header.encode(buffer.as_mut());
        let buffer = Rc::new(buffer);
        state.in_flight.push_back(InFlight {
            buffer: Rc::clone(&buffer),
            capacity: frame.capacity,
            entries: frame.entries,
            header,
            done: false,
        });
        state.writing += 1;
        let life = state.life;
        let position = header.position;
        let (log, file, at) = (self.clone(), frame.file, frame.file_offset);
        let started = self.inner.reactor.monotonic();
        self.inner.reactor.spawn(Lane::Commit, async move {
            let result = file.write(buffer, at).await;
            log.written(life, position, started, result);
        });
        if !D::SERVE_DURABLE_ONLY {
            show(&mut state);
        }
        if !D::WAIT_FOR_WRITE {
            self.mark_done(&mut state, position);
        }
        drop(state);
        self.inner.room.notify();
        true
    }

    /// Takes note of a frame's write that returned.
    fn written(
        &self,
        life: u64,
        position: Position,
        started: Monotonic,
        result: std::io::Result<()>,
    ) {
        let took = self.inner.reactor.monotonic().since(started).as_nanos() as u64;
        let mut state = self.inner.state.borrow_mut();
        state.writing -= 1;
        if life != state.life {
            if state.writing == 0 {
                drop(state);
                self.inner.quiet.notify();
            }
            return;
        }
        if let Err(error) = result {
            drop(state);
            self.fault(&format!("writing a frame at {position} failed: {error}"));
            return;
        }
        state.counters.commit_nanos += took;
        state.counters.commit_nanos_max = state.counters.commit_nanos_max.max(took);
        self.mark_done(&mut state, position);
        drop(state);
        self.inner.kick.notify();
        self.inner.room.notify();
    }

    /// Marks one frame as written and moves the durable mark over all that are, in order.
    fn mark_done(&self, state: &mut State<R>, position: Position) {
        if let Some(frame) = state
            .in_flight
            .iter_mut()
            .find(|f| f.header.position == position)
        {
            frame.done = true;
        }
        while state.in_flight.front().is_some_and(|f| f.done) {
            let frame = state.in_flight.pop_front().expect("it was looked at above");
            self.publish(state, frame);
        }
        let durable = state.durable;
        state.waiters.wake_up_to(durable);
    }

    /// Makes a durable frame's batches readable.
    fn publish(&self, state: &mut State<R>, frame: InFlight<R>) {
        let (start, end) = (frame.header.position, end_of(&frame.header));
        assert!(state.durable <= start, "frames become durable in order");
        state.durable = end;
        let covers_all = frame.header.batches == 0 && frame.header.durable_mark >= start;
        // A frame without batches needs no mark behind it: there is nothing in it to lose.
        let mark = if covers_all {
            end
        } else {
            frame.header.durable_mark
        };
        state.last_mark = state.last_mark.max(mark);
        let counters = &mut state.counters;
        counters.frames += 1;
        counters.frame_bytes += u64::from(frame.header.frame_bytes);
        counters.batches += u64::from(frame.header.batches);
        counters.batch_bytes += u64::from(frame.header.batches_bytes);
        for entry in &frame.entries {
            state.counters.records += u64::from(entry.extent.records.0);
        }
        if D::SERVE_DURABLE_ONLY {
            make_readable(state, &frame.entries);
        }
        if D::SERVE_DURABLE_ONLY && frame.header.batches > 0 {
            state.tail.push(start, end, frame.buffer, frame.capacity);
        }
        if frame.header.last {
            self.inner.seal.notify();
        }
    }

    /// Has a segment's header written; frames of the segment wait for it.
    pub(crate) fn write_header(
        &self,
        state: &mut State<R>,
        generation: u64,
        file: Rc<FileOf<R>>,
        bytes: &[u8],
    ) {
        let mut buffer = file.buffer(bytes.len());
        buffer.as_mut().copy_from_slice(bytes);
        let buffer = Rc::new(buffer);
        state.writing += 1;
        let (log, life) = (self.clone(), state.life);
        self.inner.reactor.spawn(Lane::Commit, async move {
            let result = file.write(buffer, 0).await;
            let mut state = log.inner.state.borrow_mut();
            state.writing -= 1;
            if life != state.life {
                if state.writing == 0 {
                    drop(state);
                    log.inner.quiet.notify();
                }
                return;
            }
            match result {
                Ok(()) => {
                    if let Some(s) = state
                        .segments
                        .iter_mut()
                        .find(|s| s.generation == generation)
                    {
                        s.header_ready = true;
                    }
                    drop(state);
                    log.inner.kick.notify();
                }
                Err(error) => {
                    // While the log is being reopened there is nothing left to fail but that.
                    if state.mode == Mode::Failed {
                        state.mode = Mode::ReadOnly;
                    }
                    drop(state);
                    log.fault(&format!("writing a segment header failed: {error}"));
                    log.inner.kick.notify();
                }
            }
        });
    }

    /// Writes the durable mark into the log if the newest one is not there yet and the log is idle:
    /// from then on damage below it is told from a torn write.
    pub(crate) fn write_idle_mark(&self) {
        let mut state = self.inner.state.borrow_mut();
        let idle = state.open.as_ref().is_none_or(OpenFrame::is_empty)
            && state.closed.is_empty()
            && state.in_flight.is_empty();
        if state.mode != Mode::Open || !idle || state.last_mark >= state.durable {
            return;
        }
        // A frame without batches; its own mark then covers everything before it.
        let segment_bytes = self.inner.identity.segment_bytes;
        let active = state.active();
        let block = u64::from(weir_protocol::limits::BLOCK_BYTES);
        if active.fits(
            active.write_at + block,
            0,
            0,
            state.hole_count,
            segment_bytes,
        ) {
            self.open_empty_frame(&mut state);
            self.close_open_frame(&mut state, false);
        } else {
            // The segment's last frame is a mark as well; if no segment is ready, the next tick
            // tries again.
            let _ = self.roll(&mut state);
        }
        drop(state);
        self.inner.kick.notify();
    }

    /// Begins a frame without batches, for its mark alone. Every segment has room for one.
    pub(crate) fn open_empty_frame(&self, state: &mut State<R>) {
        let block = weir_protocol::limits::BLOCK_BYTES as usize;
        let segment_bytes = self.inner.identity.segment_bytes;
        let frame = OpenFrame::new(
            state.active(),
            block,
            None,
            &self.inner.settings,
            segment_bytes,
        );
        state.open = Some(frame);
    }
}

/// Makes a frame's batches known to the readers of their shards.
fn make_readable<R: Reactor>(state: &mut State<R>, entries: &[FrameEntry]) {
    for entry in entries {
        let Some(shard) = state.shards.get_mut(&entry.shard) else {
            continue;
        };
        assert!(shard.durable_next <= entry.extent.first, "offsets rise");
        shard.durable_next = entry.extent.next();
        shard.durable_arrival = entry.extent.arrival;
        shard.extents.push_back(entry.extent);
        shard.wake();
    }
}

/// The bug of [`Discipline::SERVE_DURABLE_ONLY`]: readers get the frame that was submitted last.
fn show<R: Reactor>(state: &mut State<R>) {
    let frame = state.in_flight.back().expect("it was just submitted");
    let (start, end, capacity) = (frame.header.position, end_of(&frame.header), frame.capacity);
    let (entries, buffer) = (frame.entries.clone(), Rc::clone(&frame.buffer));
    if frame.header.batches > 0 {
        state.tail.push(start, end, buffer, capacity);
    }
    make_readable(state, &entries);
}
