//! One life of the simulated process: its tasks, its events in virtual time, its pending I/O.
//!
//! Owns: who runs next. Never: what survives a crash (that is the `World`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use super::dice::Dice;
use super::faults::{Act, Faults};
use super::folder::Pending;
use super::image::{Image, locked};

/// What survives crashes: chance, time, the disk.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) dice: RefCell<Dice>,
    /// Virtual nanoseconds since the simulation began.
    pub(super) now: Cell<u64>,
    /// When the machine was last switched on.
    pub(super) booted: Cell<u64>,
    pub(super) wall_ms_at_start: u64,
    pub(super) wall_jump_ms: Cell<i64>,
    pub(super) faults: RefCell<Faults>,
    pub(super) image: Arc<Mutex<Image>>,
    /// Writes that landed elsewhere.
    pub(super) misdirected: Cell<u32>,
    trace: Cell<u64>,
}

impl World {
    pub(super) fn new(seed: u64, capacity_bytes: u64, faults: Faults) -> Self {
        let mut dice = Dice::new(seed);
        let wall_ms_at_start = 1_750_000_000_000 + dice.below(1_000_000_000);
        Self {
            seed,
            now: Cell::new(0),
            booted: Cell::new(0),
            wall_ms_at_start,
            wall_jump_ms: Cell::new(0),
            faults: RefCell::new(faults),
            image: Arc::new(Mutex::new(Image::new(capacity_bytes, seed))),
            misdirected: Cell::new(0),
            trace: Cell::new(0xcbf2_9ce4_8422_2325),
            dice: RefCell::new(dice),
        }
    }

    pub(super) fn below(&self, bound: u64) -> u64 {
        self.dice.borrow_mut().below(bound)
    }

    pub(super) fn between(&self, low: u64, high: u64) -> u64 {
        self.dice.borrow_mut().between(low, high)
    }

    /// Adds an event to the running hash.
    pub(super) fn trace(&self, kind: &str, first: u64, second: u64) {
        let mut hash = self.trace.get();
        for word in [
            kind.len() as u64 ^ u64::from(kind.as_bytes()[0]),
            first,
            second,
        ] {
            hash = (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
        self.trace.set(hash);
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.trace.get()
    }

    /// Whether an operation fails, by the faults.
    pub(super) fn strikes(&self, act: Act, path: &str) -> bool {
        self.faults
            .borrow_mut()
            .strike(act, path, &mut self.dice.borrow_mut())
    }

    /// Stretches a latency when the faults say so.
    pub(super) fn latency(&self, low_ns: u64, high_ns: u64) -> u64 {
        let mut dice = self.dice.borrow_mut();
        let mut latency = dice.between(low_ns, high_ns);
        if dice.chance(200) {
            latency *= 10;
        }
        if dice.chance(self.faults.borrow().slow_operations) {
            latency *= 1_000;
        }
        if dice.chance(self.faults.borrow().stalls) {
            latency += dice.between(2_000_000_000, 8_000_000_000);
        }
        latency
    }
}

type ReadyList = Arc<Mutex<Vec<u64>>>;
type Event = Box<dyn FnOnce(&Life)>;

struct TaskWaker {
    task: u64,
    queued: AtomicBool,
    ready: ReadyList,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            locked(&self.ready).push(self.task);
        }
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Arc<TaskWaker>,
}

/// One life of the process, from start to crash.
pub(super) struct Life {
    pub(super) world: Rc<World>,
    pub(super) number: u64,
    dead: Cell<bool>,
    /// Whether the next task is drawn, or the one that waits longest.
    shuffled: bool,
    tasks: RefCell<BTreeMap<u64, Task>>,
    ready: ReadyList,
    events: RefCell<BTreeMap<(u64, u64), Event>>,
    pub(super) pending: RefCell<BTreeMap<u64, Pending>>,
    next_number: Cell<u64>,
}

/// What one step of the executor did.
pub(super) enum Step {
    Ran,
    /// Nothing is ready; the next event comes at this virtual time.
    IdleUntil(u64),
    /// Nothing is ready and nothing will come.
    Stuck,
}

impl Life {
    pub(super) fn new(world: Rc<World>, number: u64) -> Rc<Self> {
        let shuffled = world.below(4) > 0;
        Rc::new(Self {
            world,
            number,
            dead: Cell::new(false),
            shuffled,
            tasks: RefCell::default(),
            ready: ReadyList::default(),
            events: RefCell::default(),
            pending: RefCell::default(),
            next_number: Cell::new(0),
        })
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.get()
    }

    pub(super) fn number(&self) -> u64 {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        number
    }

    pub(super) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        if self.dead.get() {
            return;
        }
        let task = self.number();
        let ready = Arc::clone(&self.ready);
        let waker = Arc::new(TaskWaker {
            task,
            queued: AtomicBool::new(false),
            ready,
        });
        waker.wake_by_ref();
        self.tasks.borrow_mut().insert(
            task,
            Task {
                future: Box::pin(future),
                waker,
            },
        );
    }

    /// Has `event` happen `delay_ns` from now; the key can cancel it.
    pub(super) fn after(&self, delay_ns: u64, event: impl FnOnce(&Self) + 'static) -> (u64, u64) {
        let key = (self.world.now.get().saturating_add(delay_ns), self.number());
        if !self.dead.get() {
            self.events.borrow_mut().insert(key, Box::new(event));
        }
        key
    }

    pub(super) fn cancel(&self, key: (u64, u64)) {
        let cancelled = self.events.borrow_mut().remove(&key);
        drop(cancelled);
    }

    /// Lets one due event happen, or polls one ready task.
    pub(super) fn step(&self) -> Step {
        let now = self.world.now.get();
        let next = self.events.borrow().first_key_value().map(|(&key, _)| key);
        if let Some((at, number)) = next
            && at <= now
        {
            let event = self
                .events
                .borrow_mut()
                .remove(&(at, number))
                .expect("just seen");
            self.world.trace("event", at, number);
            event(self);
            return Step::Ran;
        }
        if let Some(task) = self.pick() {
            self.poll(task);
            self.world.now.set(now + self.world.between(100, 2_000));
            return Step::Ran;
        }
        next.map_or(Step::Stuck, |(at, _)| Step::IdleUntil(at))
    }

    fn pick(&self) -> Option<u64> {
        let mut ready = locked(&self.ready);
        if ready.is_empty() {
            return None;
        }
        if self.shuffled {
            let index = self.world.below(ready.len() as u64) as usize;
            return Some(ready.swap_remove(index));
        }
        Some(ready.remove(0))
    }

    fn poll(&self, number: u64) {
        // Taken out while it runs, so that it may spawn and be woken meanwhile.
        let Some(mut task) = self.tasks.borrow_mut().remove(&number) else {
            return;
        };
        self.world.trace("step", number, self.world.now.get());
        task.waker.queued.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&task.waker));
        if task
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
            && !self.dead.get()
        {
            self.tasks.borrow_mut().insert(number, task);
        }
    }

    /// Ends this life: drops tasks, timers and completions; whoever still holds a handle of it
    /// waits for ever.
    pub(super) fn end(&self) {
        self.dead.set(true);
        // Destructors may call back, so nothing is borrowed while they run.
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        drop(tasks);
        let events = std::mem::take(&mut *self.events.borrow_mut());
        drop(events);
        locked(&self.ready).clear();
    }
}

/// The result of an operation that completes by an event.
pub(super) struct Completion<T> {
    value: RefCell<Option<T>>,
    waker: RefCell<Option<Waker>>,
}

impl<T> Completion<T> {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            value: RefCell::new(None),
            waker: RefCell::new(None),
        })
    }

    pub(super) fn complete(&self, value: T) {
        *self.value.borrow_mut() = Some(value);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<T> {
        if let Some(value) = self.value.borrow_mut().take() {
            return Poll::Ready(value);
        }
        *self.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    pub(super) async fn wait(&self) -> T {
        std::future::poll_fn(|context| self.poll(context)).await
    }
}
