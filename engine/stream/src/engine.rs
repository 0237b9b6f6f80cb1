//! One core's engine: what it knows, and the doors that need no module of their own.
//!
//! Owns: this core's shards, their quotas, the published snapshot, the expiry clock's tick. Never:
//! bytes of batches ([`crate::append`], [`crate::read`]), another core's shards.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustc_hash::FxHashMap;
use weir_log::{Event, Log, ShardTip};
use weir_protocol::limits::RETENTION_MS_MIN;
use weir_protocol::model::{Position, ShardId, StreamStatus, Timestamp};
use weir_reactor::Mailbox;
use weir_reactor::{Lane, Monotonic, Reactor, Spares};

use crate::catalog::control::ControlRequest;
use crate::cross_core::CoreAddress;
use crate::folder::{CoreSeed, QuotaSwitch};
use crate::homing::retention_of;
use crate::ledger::ControlLedger;
use crate::quota::{ReadQuota, WriteQuota};
use crate::request::{CoreCounters, StartError};
use crate::retention::{ExpiryClock, NotedExpiry};
use crate::settings::is_metered;
use crate::stream::{Closed, Stream, Streams};
use crate::subscription::register::{Register, Ticket};

/// How often expiry is looked at.
const TICK: Duration = Duration::from_secs(1);
/// Buffers that nobody needed for so many ticks are freed.
const TICKS_PER_LOOK_AT_SPARES: u32 = 10;
/// How many ticks the catalog's note of the expiry clock may be old.
const TICKS_PER_NOTE: u32 = 10;

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
    expiry: RefCell<ExpiryClock>,
    noted: NotedExpiry,
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

/// A shard of this core.
#[derive(Debug)]
pub(crate) struct Homed {
    /// The map that closed it, if it is closed.
    pub(crate) map_version: u32,
    /// Whether its stream takes appends and reads.
    pub(crate) is_usable: bool,
    pub(crate) closed: Option<Closed>,
    /// Nothing is taken for it while a reshard is about to close it.
    pub(crate) stands_still: bool,
    /// Where its last append of this life ends in the log.
    pub(crate) last_end: Position,
    /// Longest record taken in bytes.
    pub(crate) record_bytes_max: u32,
    is_metered: bool,
    /// Made when the shard is first metered, and kept when it is so no longer: a bucket that was
    /// emptied must not be full again because a setting changed twice.
    write: Option<WriteQuota>,
    read: Option<ReadQuota>,
}

impl Homed {
    /// What producers may still send, if the shard is metered.
    pub(crate) fn write_quota(&mut self) -> Option<&mut WriteQuota> {
        self.write.as_mut().filter(|_| self.is_metered)
    }

    /// What pollers may still get, if the shard is metered.
    pub(crate) fn read_quota(&mut self) -> Option<&mut ReadQuota> {
        self.read.as_mut().filter(|_| self.is_metered)
    }
}

/// What this crate counts.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) appended_batches: u64,
    pub(crate) appended_records: u64,
    pub(crate) appended_bytes: u64,
    pub(crate) throttled_appends: u64,
    pub(crate) refused_appends: u64,
    pub(crate) reads: u64,
    pub(crate) read_records: u64,
    pub(crate) read_bytes: u64,
    pub(crate) throttled_reads: u64,
    pub(crate) reshards: u64,
    pub(crate) from_other_cores: u64,
    pub(crate) deliveries: u64,
    pub(crate) delivered_bytes: u64,
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
        let now = reactor.monotonic();
        let mut expiry = ExpiryClock::resume(seed.expiry, now);
        // Before the first append: nothing is stamped with a time that has expired. How long records
        // are kept is not known yet: a clock that jumped stays behind.
        let wall = Timestamp::from_millis(reactor.wall_ms());
        log.expire(expiry.tick(wall, now, u64::MAX));
        log.stamp_from(seed.noted.ahead_ms());
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
            expiry: RefCell::new(expiry),
            noted: seed.noted,
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

    /// The first step to a new snapshot: homes what is new or changed here.
    pub(crate) fn home_new(&self, streams: &Streams) {
        let before = self.streams();
        for stream in streams.all() {
            let known = before.by_id(stream.id);
            let is_same = known.is_some_and(|known| Arc::ptr_eq(known, stream));
            if !is_same && stream.status != StreamStatus::Deleting {
                self.home(stream);
            }
        }
    }

    /// The second step: works by the new snapshot, and forgets what is gone.
    pub(crate) fn show(&self, streams: Arc<Streams>) {
        let before = self.inner.published.replace(Arc::clone(&streams));
        for known in before.all() {
            match streams.by_id(known.id) {
                Some(now) if now.status != StreamStatus::Deleting => {
                    self.forget_missing(known, now);
                }
                Some(_) if known.status == StreamStatus::Deleting => {}
                Some(_) | None => self.forget(known),
            }
        }
        self.retire_consumers(&before, &streams);
    }

    /// Notes that what was taken in last has this number.
    pub(crate) fn note_publication(&self, number: u64) {
        self.inner.publication.set(number);
        self.inner.news.notify();
    }

    /// The number of what was published to this core last.
    pub(crate) fn publication(&self) -> u64 {
        self.inner.publication.get()
    }

    /// Waits until this core works by publication `number` or a later one.
    pub(crate) async fn caught_up(&self, number: u64) {
        loop {
            let seen = self.inner.news.count();
            if self.publication() >= number || self.is_stopping() {
                return;
            }
            self.inner.news.after(seen).await;
        }
    }

    fn home(&self, stream: &Stream) {
        let now = self.monotonic();
        let is_metered = is_metered(self.inner.quota, stream.settings.quota, stream.mode);
        let mut homed = self.inner.homed.borrow_mut();
        for (shard, retention) in stream.shards.iter().zip(retention_of(stream)) {
            let id = stream.shard_id(shard.index);
            if shard.core != self.core() {
                // This core's log may hold records of it from a run with other cores.
                self.inner.log.set_retention(id, retention);
                continue;
            }
            self.inner.log.add_shard(ShardTip::empty(id), retention);
            self.inner.log.set_retention(id, retention);
            let known = homed.remove(&id);
            // The map that closed it, not a newer one: that may not be everywhere yet.
            let map_version = known
                .as_ref()
                .filter(|known| known.closed.is_some())
                .map_or(stream.map_version, |known| known.map_version);
            let (stands_still, last_end) = known
                .as_ref()
                .map_or((false, Position(0)), |k| (k.stands_still, k.last_end));
            // A bucket that was emptied must not be full again because a setting changed.
            let (write, read) = known.map_or((None, None), |known| (known.write, known.read));
            let entry = Homed {
                map_version,
                is_usable: stream.is_usable(),
                closed: shard.closed,
                stands_still,
                last_end,
                record_bytes_max: stream.settings.record_bytes_max,
                is_metered,
                write: write.or_else(|| is_metered.then(|| WriteQuota::new(now))),
                read: read.or_else(|| is_metered.then(|| ReadQuota::new(now))),
            };
            homed.insert(id, entry);
        }
    }

    fn forget(&self, stream: &Stream) {
        for shard in &stream.shards {
            self.forget_shard(stream.shard_id(shard.index));
        }
        self.wake_released();
    }

    /// Forgets the shards that `before` had and `now` has not: closed ones, long read.
    fn forget_missing(&self, before: &Arc<Stream>, now: &Arc<Stream>) {
        if Arc::ptr_eq(before, now) {
            return;
        }
        for shard in before.shards.iter().filter(|s| s.closed.is_some()) {
            if now.shard(shard.index).is_none() {
                self.forget_shard(before.shard_id(shard.index));
            }
        }
    }

    fn forget_shard(&self, id: ShardId) {
        self.inner.homed.borrow_mut().remove(&id);
        self.inner.log.remove_shard(id);
    }

    fn start_ticking(&self) {
        let engine = self.clone();
        self.inner.reactor.spawn(Lane::Background, async move {
            let mut ticks = 0_u32;
            while !engine.is_stopping() {
                let expiry = engine.tick();
                engine.inner.log.expire(expiry);
                engine.inner.log.stamp_from(engine.inner.noted.ahead_ms());
                let now = engine.monotonic();
                engine.with_subscriptions(|all| all.sweep(now));
                if ticks.is_multiple_of(TICKS_PER_LOOK_AT_SPARES) {
                    engine.spares().let_go_of_unused();
                }
                if ticks.is_multiple_of(TICKS_PER_NOTE) {
                    engine.note_expiry();
                }
                ticks = ticks.wrapping_add(1);
                engine.inner.reactor.sleep(TICK).await;
            }
        });
    }

    /// What the expiry clock showed last.
    pub(crate) fn expiry(&self) -> Timestamp {
        Timestamp::from_millis(self.inner.expiry.borrow().account().effective_ms)
    }

    /// Moves the expiry clock.
    fn tick(&self) -> Timestamp {
        let streams = self.inner.published.borrow();
        let longest_ms = streams.all().map(|stream| stream.retention_ms).max();
        let longest_ms = longest_ms.unwrap_or(RETENTION_MS_MIN);
        self.inner
            .expiry
            .borrow_mut()
            .tick(self.wall(), self.monotonic(), longest_ms)
    }

    /// Has the catalog note the expiry clock; all cores' clocks agree, so one core does. A note
    /// that finds no room is made up for by the next.
    fn note_expiry(&self) {
        if self.core() == 0 {
            let account = self.inner.expiry.borrow().account();
            self.inner
                .control
                .send(ControlRequest::Expiry { account })
                .ok();
        }
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
        self.tick();
        self.note_expiry();
        self.inner.log.close().await;
        self.leave().await;
    }

    /// This core's counters.
    pub fn counters(&self) -> CoreCounters {
        let counted = self.inner.counted.borrow();
        CoreCounters {
            core: self.core(),
            shards: self.open_shards(),
            appended_batches: counted.appended_batches,
            appended_records: counted.appended_records,
            appended_bytes: counted.appended_bytes,
            throttled_appends: counted.throttled_appends,
            refused_appends: counted.refused_appends,
            reads: counted.reads,
            read_records: counted.read_records,
            read_bytes: counted.read_bytes,
            throttled_reads: counted.throttled_reads,
            reshards: counted.reshards,
            from_other_cores: counted.from_other_cores,
            subscriptions: self.with_subscriptions(|all| all.open()) as u64,
            deliveries: counted.deliveries,
            delivered_bytes: counted.delivered_bytes,
            waiting_bytes: self.inner.held_bytes.get() as u64,
            log_state: self.inner.log.state(),
            log: self.inner.log.counters(),
        }
    }

    fn open_shards(&self) -> u64 {
        let homed = self.inner.homed.borrow();
        homed
            .values()
            .filter(|homed| homed.closed.is_none())
            .count() as u64
    }

    /// Every core's counters, in core order; a core that cannot answer now is left out.
    pub async fn all_counters(&self) -> Vec<CoreCounters> {
        let asked = (0..self.cores()).map(|core| async move {
            if core == self.core() {
                Some(self.counters())
            } else {
                self.counters_there(core).await
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
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

    pub(crate) fn address(&self, core: u32) -> &CoreAddress {
        &self.inner.addresses[core as usize]
    }

    pub(crate) fn control(&self) -> &Mailbox<ControlRequest> {
        &self.inner.control
    }

    pub(crate) fn state_delay(&self) -> Duration {
        self.inner.state_delay
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

    /// Everybody who waits for a shard to be let go looks again.
    pub(crate) fn wake_released(&self) {
        self.inner.released.notify();
    }

    pub(crate) fn released_count(&self) -> u64 {
        self.inner.released.count()
    }

    pub(crate) async fn released_after(&self, seen: u64) {
        self.inner.released.after(seen).await;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stopping.get()
    }

    /// Runs `act` on a shard of this core; `None` if it is not one.
    pub(crate) fn with_homed<T>(
        &self,
        shard: ShardId,
        act: impl FnOnce(&mut Homed) -> T,
    ) -> Option<T> {
        self.inner.homed.borrow_mut().get_mut(&shard).map(act)
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

    /// Whether a shard of this core is metered; `None` if it is not one.
    pub(crate) fn is_metered(&self, shard: ShardId) -> Option<bool> {
        self.with_homed(shard, |homed| homed.is_metered)
    }

    pub(crate) fn count(&self, act: impl FnOnce(&mut Counted)) {
        act(&mut self.inner.counted.borrow_mut());
    }

    /// Holds `bytes` of the core's memory for a request that waits; `None` at the ceiling. One
    /// request passes always, so that none is too large.
    pub(crate) fn hold(&self, bytes: usize) -> Option<Held<R>> {
        let held = self.inner.held_bytes.get();
        if held > 0 && held.saturating_add(bytes) > self.inner.held_bytes_max {
            return None;
        }
        self.inner.held_bytes.set(held + bytes);
        Some(Held {
            engine: self.clone(),
            bytes,
        })
    }

    /// Takes a place among the requests of other cores that are worked on; `None` if `most` are.
    pub(crate) fn enter(&self, most: usize) -> Option<Place<R>> {
        let taken = self.inner.in_progress.get();
        if taken >= most {
            return None;
        }
        self.inner.in_progress.set(taken + 1);
        Some(Place {
            engine: self.clone(),
        })
    }
}

/// Memory held for a request; given back when dropped.
pub(crate) struct Held<R: Reactor> {
    engine: Engine<R>,
    bytes: usize,
}

impl<R: Reactor> Drop for Held<R> {
    fn drop(&mut self) {
        let held = &self.engine.inner.held_bytes;
        held.set(held.get() - self.bytes);
    }
}

/// A place among the requests that are worked on; given back when dropped.
pub(crate) struct Place<R: Reactor> {
    engine: Engine<R>,
}

impl<R: Reactor> Drop for Place<R> {
    fn drop(&mut self) {
        let taken = &self.engine.inner.in_progress;
        taken.set(taken.get() - 1);
    }
}
