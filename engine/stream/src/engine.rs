//! One core's engine: what it knows, and the doors that need no module of their own.
//!
//! Owns: the published snapshot, and by its parts this core's shards, their quotas, what is counted, and
//! the expiry clock's tick. Never: bytes of batches ([`crate::append`], [`crate::read`]), another
//! core's shards.

mod counted;
mod expiry;
mod held;
mod homed;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use weir_log::{Event, Log};
use weir_protocol::model::{ShardId, Timestamp};
use weir_reactor::Mailbox;
use weir_reactor::{Lane, Monotonic, Reactor, Spares};

use self::counted::Counted;
use self::homed::Homed;
use crate::catalog::control::ControlRequest;
use crate::cross_core::CoreAddress;
use crate::folder::{CoreSeed, QuotaSwitch};
use crate::ledger::ControlLedger;
use crate::request::StartError;
use crate::retention::{ExpiryClock, NotedExpiry};
use crate::stream::Streams;
use crate::subscription::register::{Register, Ticket};

/// How often expiry is looked at.
const TICK: Duration = Duration::from_secs(1);
/// Buffers that nobody needed for so many ticks are freed.
const TICKS_PER_LOOK_AT_SPARES: u32 = 10;

/// One core's engine. A clone is the same engine.
pub struct Engine<R: Reactor> {
    inner: Rc<Inner<R>>,
}

struct Inner<R: Reactor> {
    reactor: R,
    log: Log<R>,
    core: u32,
    addresses: Vec<CoreAddress>,
    control: Mailbox<ControlRequest>,
    published: RefCell<Arc<Streams>>,
    /// The number of what was published last; every core counts alike.
    publication: Cell<u64>,
    /// Something was published, or the core stops.
    news: Event,
    homed: RefCell<FxHashMap<ShardId, Homed>>,
    counted: RefCell<Counted>,
    /// Shards that stood still were let go.
    released: Event,
    /// What the expiry clock shows here.
    expiry: Cell<Timestamp>,
    noted: NotedExpiry,
    /// Where it stands before that is durable; only the first core goes by it.
    clock: RefCell<ExpiryClock>,
    /// Bytes of batches held for callers that wait.
    held_bytes: Cell<usize>,
    held_bytes_max: usize,
    spares: Spares,
    /// Requests from other cores being worked on.
    in_progress: Cell<usize>,
    stopping: Cell<bool>,
    subscriptions: RefCell<Register>,
    tickets: Cell<u64>,
    /// Subscriptions end and none are granted.
    ends_subscriptions: Cell<bool>,
    quota: QuotaSwitch,
    state_delay: Duration,
    account: String,
    region: String,
    seal_key: [u8; 32],
    /// What both clocks showed at the start, the same for all cores.
    began: (Timestamp, Monotonic),
    /// A bug planted for the judge: parents are closed before what they took is durable.
    #[cfg(test)]
    switches_before_the_drain: Cell<bool>,
    /// Another: a parent's end is taken for one record earlier.
    #[cfg(test)]
    forgets_the_last_record: Cell<bool>,
}

impl<R: Reactor> Clone for Engine<R> {
    fn clone(&self) -> Self {
        Self {
            inner: Rc::clone(&self.inner),
        }
    }
}

impl<R: Reactor> fmt::Debug for Engine<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("core", &self.inner.core)
            .finish_non_exhaustive()
    }
}

impl<R: Reactor> Engine<R> {
    /// Opens this core's log and starts answering other cores.
    pub async fn start(reactor: R, seed: CoreSeed) -> Result<Self, StartError> {
        let core = seed.core;
        let ledger = Rc::new(ControlLedger::new(seed.control.clone()));
        let log = Log::open(
            reactor.clone(),
            seed.identity,
            seed.settings,
            seed.log,
            ledger,
        );
        let log = log.await.map_err(|error| StartError {
            core,
            text: error.to_string(),
        })?;
        let clock = ExpiryClock::resume(seed.expiry, reactor.monotonic(), reactor.boot());
        let inner = Inner {
            log,
            core,
            addresses: seed.addresses,
            control: seed.control,
            published: RefCell::default(),
            publication: Cell::new(0),
            news: Event::default(),
            homed: RefCell::default(),
            counted: RefCell::default(),
            released: Event::default(),
            expiry: Cell::new(Timestamp::from_millis(seed.expiry.effective_ms)),
            noted: seed.noted,
            clock: RefCell::new(clock),
            held_bytes: Cell::new(0),
            held_bytes_max: seed.held_bytes_max,
            spares: Spares::new(seed.spare_bytes_max),
            in_progress: Cell::new(0),
            stopping: Cell::new(false),
            subscriptions: RefCell::new(Register::new(seed.subscription_times)),
            // Tickets of different cores never meet.
            tickets: Cell::new(u64::from(core) << 48),
            ends_subscriptions: Cell::new(false),
            quota: seed.quota,
            state_delay: seed.state_delay,
            account: seed.account,
            region: seed.region,
            seal_key: seed.seal_key,
            began: seed.began,
            #[cfg(test)]
            switches_before_the_drain: Cell::new(false),
            #[cfg(test)]
            forgets_the_last_record: Cell::new(false),
            reactor,
        };
        let engine = Self {
            inner: Rc::new(inner),
        };
        engine.home_new(&seed.streams);
        engine.show(seed.streams);
        // Before the first append: nothing is stamped with a time that has expired.
        engine.tick(1);
        if !engine.begin(seed.requests, seed.publications).await {
            return Err(StartError {
                core,
                text: "the control thread has ended".to_owned(),
            });
        }
        engine.start_ticking();
        engine.start_forgetting();
        if core == 0 {
            engine.resume_reshards();
        }
        Ok(engine)
    }

    /// This core's number.
    pub fn core(&self) -> u32 {
        self.inner.core
    }

    /// How many cores serve the folder.
    pub fn cores(&self) -> u32 {
        self.inner.addresses.len() as u32
    }

    /// What exists, as last published to this core.
    pub fn streams(&self) -> Arc<Streams> {
        Arc::clone(&self.inner.published.borrow())
    }

    fn start_ticking(&self) {
        let engine = self.clone();
        self.inner.reactor.spawn(Lane::Background, async move {
            let mut ticks = 0_u32;
            while !engine.is_stopping() {
                engine.tick(ticks);
                let now = engine.monotonic();
                engine.with_subscriptions(|all| all.sweep(now));
                if ticks.is_multiple_of(TICKS_PER_LOOK_AT_SPARES) {
                    engine.spares().let_go_of_unused();
                }
                ticks = ticks.wrapping_add(1);
                engine.inner.reactor.sleep(TICK).await;
            }
        });
    }

    /// Ends the subscriptions to this core's shards, and grants no more: the server is about to
    /// stop.
    pub fn end_subscriptions(&self) {
        self.inner.ends_subscriptions.set(true);
        self.with_subscriptions(Register::wake_all);
    }

    /// Refuses new work, drains and seals this core's log. The core's main task may end when it
    /// returns.
    pub async fn close(&self) {
        self.inner.stopping.set(true);
        self.end_subscriptions();
        self.inner.news.notify();
        self.wake_released();
        self.tick(0);
        self.inner.log.close().await;
        self.leave().await;
    }

    /// The folder's secret for sealing read positions: made at its first start, the same after
    /// each restart.
    pub fn seal_key(&self) -> [u8; 32] {
        self.inner.seal_key
    }

    /// The account that streams are stored under.
    pub fn account(&self) -> &str {
        &self.inner.account
    }

    /// The region that streams are stored under.
    pub fn region(&self) -> &str {
        &self.inner.region
    }

    /// The wall clock.
    pub fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.inner.reactor.wall_ms())
    }

    /// The wall clock as it would be without a jump since the start: for the age of what clients
    /// carry, which is no older for a clock that was set.
    pub fn steady(&self) -> Timestamp {
        let (wall, began) = self.inner.began;
        let passed = self.monotonic().since(began).as_millis() as u64;
        Timestamp::from_millis(wall.as_millis().saturating_add(passed))
    }

    /// The clock that never goes back.
    pub fn monotonic(&self) -> Monotonic {
        self.inner.reactor.monotonic()
    }

    /// Buffers of this core that are used again: for bodies, batches and answers.
    pub fn spares(&self) -> &Spares {
        &self.inner.spares
    }

    /// The machine.
    pub fn reactor(&self) -> &R {
        &self.inner.reactor
    }

    pub(crate) fn log(&self) -> &Log<R> {
        &self.inner.log
    }

    pub(crate) fn address(&self, core: u32) -> &CoreAddress {
        &self.inner.addresses[core as usize]
    }

    pub(crate) fn control(&self) -> &Mailbox<ControlRequest> {
        &self.inner.control
    }

    pub(crate) fn state_delay(&self) -> Duration {
        self.inner.state_delay
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stopping.get()
    }

    /// Runs `act` on the subscriptions to this core's shards.
    pub(crate) fn with_subscriptions<T>(&self, act: impl FnOnce(&mut Register) -> T) -> T {
        act(&mut self.inner.subscriptions.borrow_mut())
    }

    pub(crate) fn ends_subscriptions(&self) -> bool {
        self.inner.ends_subscriptions.get()
    }

    /// A ticket that no core has given out.
    pub(crate) fn next_ticket(&self) -> Ticket {
        let ticket = self.inner.tickets.get() + 1;
        self.inner.tickets.set(ticket);
        Ticket(ticket)
    }

    /// Waits until this core knows that `shard` is closed, and so its children, or that it is gone.
    /// A reader may come to the end before this core works by the map that says so.
    pub(crate) async fn knows_end_of(&self, shard: ShardId) {
        loop {
            let seen = self.inner.news.count();
            let streams = self.streams();
            let stream = streams.by_id(shard.stream);
            let found = stream.and_then(|stream| stream.shard(shard.index));
            if found.is_none_or(|found| found.closed.is_some()) || self.is_stopping() {
                return;
            }
            self.inner.news.after(seen).await;
        }
    }

    #[cfg(test)]
    pub(crate) fn plant_a_switch_before_the_drain(&self) {
        self.inner.switches_before_the_drain.set(true);
    }

    #[cfg(test)]
    pub(crate) fn plant_a_forgotten_last_record(&self) {
        self.inner.forgets_the_last_record.set(true);
    }

    #[cfg(test)]
    pub(crate) fn forgets_the_last_record(&self) -> bool {
        self.inner.forgets_the_last_record.get()
    }

    #[cfg(test)]
    pub(crate) fn switches_before_the_drain(&self) -> bool {
        self.inner.switches_before_the_drain.get()
    }
}
