//! Simulated connections: bytes fly with a drawn latency, arrive in order, in pieces of any size.
//!
//! Owns: two pipes per connection, each bounded. Never: the disk.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::executor::Life;
use crate::seam::Socket;

/// Bytes one direction holds before its sender waits.
const PIPE_BYTES: usize = 64 << 10;

/// One end of a simulated connection. Dropping the last clone closes it.
#[derive(Clone)]
pub struct SimSocket {
    end: Rc<End>,
}

struct End {
    life: Rc<Life>,
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
}

#[derive(Default)]
struct Pipe {
    arrived: VecDeque<u8>,
    flying: VecDeque<u8>,
    /// The sender sends no more; known to the receiver once all before it arrived.
    finished: bool,
    /// The receiver takes no more.
    refused: bool,
    reset: bool,
    arrives_last: u64,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

pub(super) fn connect(life: &Rc<Life>) -> (SimSocket, SimSocket) {
    let (east, west) = (
        Rc::<RefCell<Pipe>>::default(),
        Rc::<RefCell<Pipe>>::default(),
    );
    let end = |incoming: &Rc<RefCell<Pipe>>, outgoing: &Rc<RefCell<Pipe>>| SimSocket {
        end: Rc::new(End {
            life: Rc::clone(life),
            incoming: Rc::clone(incoming),
            outgoing: Rc::clone(outgoing),
        }),
    };
    (end(&east, &west), end(&west, &east))
}

impl End {
    fn poll_receive(&self, context: &Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.incoming.borrow_mut();
        if pipe.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.refused || (pipe.finished && pipe.arrived.is_empty() && pipe.flying.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        if pipe.arrived.is_empty() {
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let available = into.len().min(pipe.arrived.len());
        let bytes = self.piece(available);
        for (slot, byte) in into.iter_mut().zip(pipe.arrived.drain(..bytes)) {
            *slot = byte;
        }
        self.life.world.trace("receive", bytes as u64, 0);
        if let Some(writer) = pipe.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(bytes))
    }

    /// How many of `available` bytes one call gives.
    fn piece(&self, available: usize) -> usize {
        let mut dice = self.life.world.dice.borrow_mut();
        if dice.chance(self.life.world.faults.borrow().single_bytes) {
            return 1;
        }
        match dice.below(8) {
            0 => 1,
            1 | 2 => dice.between(1, available as u64) as usize,
            _ => available,
        }
    }

    /// Puts on the wire what there is room for.
    fn poll_send(&self, context: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.outgoing.borrow_mut();
        if pipe.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.refused || pipe.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = PIPE_BYTES - pipe.arrived.len() - pipe.flying.len();
        if room == 0 {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let world = &self.life.world;
        if world
            .dice
            .borrow_mut()
            .chance(world.faults.borrow().socket_resets)
        {
            drop(pipe);
            self.reset();
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let taken = self.piece(room.min(bytes.len()));
        pipe.flying.extend(&bytes[..taken]);
        world.trace("send", taken as u64, 0);
        // Bytes never overtake each other.
        let arrives = (world.now.get() + world.latency(5_000, 60_000)).max(pipe.arrives_last);
        pipe.arrives_last = arrives;
        let outgoing = Rc::clone(&self.outgoing);
        self.life.after(arrives - world.now.get(), move |_| {
            let mut pipe = outgoing.borrow_mut();
            let landed = taken.min(pipe.flying.len());
            let bytes: Vec<u8> = pipe.flying.drain(..landed).collect();
            pipe.arrived.extend(bytes);
            if let Some(reader) = pipe.reader.take() {
                reader.wake();
            }
        });
        Poll::Ready(Ok(taken))
    }

    fn reset(&self) {
        for pipe in [&self.incoming, &self.outgoing] {
            let mut pipe = pipe.borrow_mut();
            pipe.reset = true;
            pipe.wake();
        }
    }

    fn close(&self) {
        let mut outgoing = self.outgoing.borrow_mut();
        outgoing.finished = true;
        outgoing.wake();
        drop(outgoing);
        let mut incoming = self.incoming.borrow_mut();
        incoming.refused = true;
        incoming.wake();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.close();
    }
}

impl SimSocket {
    /// Ends this direction only: the other side receives what was sent and then 0, and may go on
    /// sending.
    pub fn finish(&self) {
        let mut outgoing = self.end.outgoing.borrow_mut();
        outgoing.finished = true;
        outgoing.wake();
    }

    /// Breaks the connection: both sides get errors.
    pub fn reset(&self) {
        self.end.reset();
    }
}

impl Socket for SimSocket {
    fn poll_receive(&self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        assert!(!into.is_empty(), "a receive needs room");
        self.end.poll_receive(context, into)
    }

    fn poll_send(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!bytes.is_empty(), "a send needs bytes");
        self.end.poll_send(context, bytes)
    }

    fn shutdown(&self) {
        self.end.close();
    }
}
