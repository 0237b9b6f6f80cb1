//! What the tasks of one connection share, and the bounds they keep.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use weir_gateway::{Permit, ReadBudget, Wish};
use weir_protocol::limits::{CONNECTION_IN_FLIGHT_BYTES_MAX, CONNECTION_REQUESTS_MAX, MIB};
use weir_protocol::wire::error::WireError;
use weir_protocol::wire::frame::Correlation;
use weir_protocol::wire::response::Response;
use weir_reactor::{Reactor, Socket};
use weir_stream::Engine;

use super::event::Event;
use super::outbox::Outbox;
use super::watch::{CoreSessions, Watch};

/// Bytes of answers that one connection may have waiting; reads wait for room below it, and above
/// it nothing more is received.
const OUTPUT_BYTES_MAX: usize = 8 * MIB as usize;
/// Requests of one connection that are taken when the core has as many under way as it may.
const CONNECTION_REQUESTS_FEW: usize = 64;

pub(crate) struct Connection<R: Reactor, S: Socket> {
    pub(crate) engine: Engine<R>,
    pub(crate) sessions: Rc<CoreSessions<S>>,
    pub(crate) socket: S,
    pub(crate) watch: Rc<Watch<S>>,
    pub(crate) outbox: RefCell<Outbox>,
    /// The writer should look again.
    pub(crate) written: Event,
    /// Something was sent or ended: there may be room.
    pub(crate) freed: Event,
    /// Bytes of answers to reads that may wait to be sent.
    pub(crate) room: Rc<ReadBudget>,
    requests: Cell<usize>,
    request_bytes: Cell<usize>,
    receive_ended: Cell<bool>,
    send_failed: Cell<bool>,
    writer_ended: Cell<bool>,
}

impl<R: Reactor, S: Socket> Connection<R, S> {
    pub(crate) fn new(engine: Engine<R>, sessions: Rc<CoreSessions<S>>, socket: S) -> Self {
        let watch = sessions.watch(socket.clone(), engine.monotonic());
        watch.is_greeting.set(false);
        Self {
            engine,
            sessions,
            socket,
            watch,
            outbox: RefCell::default(),
            written: Event::default(),
            freed: Event::default(),
            room: ReadBudget::new(OUTPUT_BYTES_MAX),
            requests: Cell::new(0),
            request_bytes: Cell::new(0),
            receive_ended: Cell::new(false),
            send_failed: Cell::new(false),
            writer_ended: Cell::new(false),
        }
    }

    /// A request came whose frame has `bytes` bytes.
    pub(crate) fn begin(&self, bytes: usize) {
        self.requests.set(self.requests.get() + 1);
        let all = &self.sessions.requests;
        all.set(all.get() + 1);
        self.request_bytes.set(self.request_bytes.get() + bytes);
        self.watch.is_busy.set(true);
    }

    /// Its answer was encoded.
    pub(crate) fn end(&self, bytes: usize) {
        self.requests.set(self.requests.get() - 1);
        let all = &self.sessions.requests;
        all.set(all.get() - 1);
        self.request_bytes.set(self.request_bytes.get() - bytes);
    }

    /// Whether the connection has as much in flight as it may.
    pub(crate) fn is_at_caps(&self) -> bool {
        // Each costs the core some memory, a read the most; where there are very many, those that
        // have few go on.
        let requests_max = if self.sessions.requests.get() < self.sessions.requests_max {
            CONNECTION_REQUESTS_MAX
        } else {
            CONNECTION_REQUESTS_FEW
        };
        self.requests.get() >= requests_max
            || self.request_bytes.get() >= CONNECTION_IN_FLIGHT_BYTES_MAX as usize
            || self.outbox.borrow().bytes() >= OUTPUT_BYTES_MAX
    }

    /// Waits until another request may be taken; false if the connection is over.
    pub(crate) async fn may_take(&self) -> bool {
        loop {
            if self.send_failed.get() {
                return false;
            }
            if !self.is_at_caps() {
                return true;
            }
            let seen = self.freed.count();
            self.freed.after(seen).await;
        }
    }

    /// Sets room for an answer aside, in line with the connection's other reads; `None` if the
    /// connection is over.
    pub(crate) async fn reserve(&self, bytes: usize) -> Option<Permit> {
        let permit = self.room.reserve(Wish::exactly(bytes)).await;
        (!self.send_failed.get()).then_some(permit)
    }

    /// Queues an answer that can leave at once.
    pub(crate) fn answer(&self, request_kind: u16, to: Correlation, response: &Response<'_>) {
        if !self.send_failed.get() {
            response.encode(request_kind, to, self.outbox.borrow_mut().ready());
        }
        self.written.notify();
    }

    pub(crate) fn refuse(&self, to: Correlation, error: WireError) {
        self.answer(0, to, &Response::Error(error));
    }

    /// Nothing more is received.
    pub(crate) fn end_receiving(&self) {
        self.receive_ended.set(true);
        self.written.notify();
        self.freed.notify();
        // Waiting reads of this connection look whether they are still wanted.
        self.watch.ending.notify();
    }

    pub(crate) fn has_receive_ended(&self) -> bool {
        self.receive_ended.get()
    }

    /// The other side takes nothing any more.
    pub(crate) fn fail_sending(&self) {
        self.send_failed.set(true);
        self.socket.shutdown();
        // Reads that wait for room learn it one after the other.
        self.outbox.borrow_mut().give_up();
        self.freed.notify();
        self.written.notify();
        self.watch.ending.notify();
    }

    /// Whether a read that waits for data should stop waiting.
    pub(crate) fn is_ending(&self) -> bool {
        self.receive_ended.get() || self.send_failed.get() || self.sessions.is_stopping()
    }

    /// Whether everything that was asked has been answered and sent.
    pub(crate) fn is_quiet(&self) -> bool {
        self.requests.get() == 0 && self.outbox.borrow().is_empty()
    }

    pub(crate) fn has_send_failed(&self) -> bool {
        self.send_failed.get()
    }

    pub(crate) fn end_writer(&self) {
        self.writer_ended.set(true);
        self.freed.notify();
    }

    /// Waits until the writer is done.
    pub(crate) async fn finished(&self) {
        while !self.writer_ended.get() {
            let seen = self.freed.count();
            self.freed.after(seen).await;
        }
    }
}

impl<R: Reactor, S: Socket> Drop for Connection<R, S> {
    fn drop(&mut self) {
        // Appends that it broke off from have no end of their own.
        let all = &self.sessions.requests;
        all.set(all.get() - self.requests.get());
    }
}
