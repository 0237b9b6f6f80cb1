//! The simulated machine as a test holds it: run, crash, look, damage.

use std::cell::{RefCell, RefMut};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::disk::SimDisk;
use super::executor::{Life, Step, World};
use super::faults::Faults;
use super::image::locked;
use super::network::{self, SimSocket};
use super::reactor::SimReactor;

/// How the simulated machine is built.
#[derive(Debug, Clone)]
pub struct SimOptions {
    /// What the disk holds; files count with their length.
    pub capacity_bytes: u64,
    /// What goes wrong from the start.
    pub faults: Faults,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            capacity_bytes: 1 << 30,
            faults: Faults::default(),
        }
    }
}

/// When [`Sim::run`] ends at the latest.
#[derive(Debug, Clone, Copy)]
pub enum RunLimit {
    /// Until the main task is done. Past this much virtual time, or after a hundred million steps,
    /// or when nothing can happen any more, it panics and names the seed.
    Done(Duration),
    /// After so many executor steps (a poll or a completion is one).
    Steps(u64),
    /// After so much virtual time.
    Time(Duration),
}

impl RunLimit {
    /// Until the main task is done, within an hour of virtual time.
    pub fn done() -> Self {
        Self::Done(Duration::from_hours(1))
    }
}

/// How a life of the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process dies. Writes in flight leave any of their sectors, readable after the restart
    /// but not durable before a flush.
    Kill,
    /// The machine loses power. Writes in flight and everything in caches leave any of their
    /// sectors; the monotonic clock starts anew.
    PowerCut,
}

const STEPS_MAX: u64 = 100_000_000;

/// A machine whose every accident follows from one seed.
pub struct Sim {
    world: Rc<World>,
    life: RefCell<Rc<Life>>,
}

impl Sim {
    /// A machine with an empty disk, at its first life.
    pub fn new(seed: u64, options: SimOptions) -> Self {
        let world = Rc::new(World::new(seed, options.capacity_bytes, options.faults));
        let life = RefCell::new(Life::new(Rc::clone(&world), 0));
        Self { world, life }
    }

    /// The seed it was made from.
    pub fn seed(&self) -> u64 {
        self.world.seed
    }

    /// The core of the present life.
    pub fn reactor(&self) -> SimReactor {
        SimReactor::new(Rc::clone(&self.life.borrow()))
    }

    /// Runs `main`, what it spawned, and what earlier runs of this life left behind, until `main` is
    /// done: then `Some`. At a limit other than [`RunLimit::Done`] the machine stands still and this
    /// is `None`: call [`Sim::crash`] next. So it does, at any limit, when the life ended amid an
    /// operation on a plain file.
    pub fn run<T: 'static>(
        &self,
        limit: RunLimit,
        main: impl Future<Output = T> + 'static,
    ) -> Option<T> {
        let _names_the_seed = SeedOnPanic(self.world.seed);
        let life = Rc::clone(&self.life.borrow());
        let output = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&output);
        life.spawn(async move {
            let value = main.await;
            *slot.borrow_mut() = Some(value);
        });
        let started = self.world.now.get();
        let mut steps = 0;
        loop {
            if let Some(value) = output.borrow_mut().take() {
                return Some(value);
            }
            let (steps_max, time_max) = match limit {
                RunLimit::Done(time) | RunLimit::Time(time) => (STEPS_MAX, time),
                RunLimit::Steps(steps) => (steps, Duration::MAX),
            };
            let end =
                started.saturating_add(u64::try_from(time_max.as_nanos()).unwrap_or(u64::MAX));
            if locked(&self.world.image).has_ended {
                return None;
            }
            let mut over = steps >= steps_max || self.world.now.get() >= end;
            if !over {
                match life.step() {
                    Step::Ran => steps += 1,
                    Step::IdleUntil(at) => self.world.now.set(at.min(end)),
                    Step::Stuck => over = true,
                }
            }
            if over {
                let waits = !matches!(limit, RunLimit::Done(_));
                assert!(
                    waits,
                    "stuck: seed {}, after {steps} steps and {:?} of virtual time",
                    self.world.seed,
                    Duration::from_nanos(self.world.now.get() - started)
                );
                if let RunLimit::Time(_) = limit {
                    self.world.now.set(self.world.now.get().max(end));
                }
                return None;
            }
        }
    }

    /// Ends the present life and begins the next. Tasks and timers are dropped; handles that
    /// survive in a test wait for ever.
    pub fn crash(&self, how: Crash) {
        let old = Rc::clone(&self.life.borrow());
        // First: what is dropped with the tasks must not end its files in good order.
        locked(&self.world.image).end_life();
        old.end();
        let pending = std::mem::take(&mut *old.pending.borrow_mut());
        let mut dice = self.world.dice.borrow_mut();
        let mut image = locked(&self.world.image);
        for (_, pending) in pending {
            pending.settle(how, &mut image, &mut dice);
        }
        for file in image.names.values() {
            locked(file).forget_doomed();
        }
        if how == Crash::PowerCut {
            image.lose_names(&mut dice);
            for file in image.names.values() {
                locked(file).lose_power(&mut dice);
            }
        }
        let restart_ns = dice.between(1_000_000, 2_000_000_000);
        drop(image);
        drop(dice);
        self.world.now.set(self.world.now.get() + restart_ns);
        if how == Crash::PowerCut {
            self.world.booted.set(self.world.now.get());
        }
        self.world.trace("crash", how as u64, self.world.now.get());
        *self.life.borrow_mut() = Life::new(Rc::clone(&self.world), old.number + 1);
    }

    /// The faults, to be changed at any time.
    pub fn faults(&self) -> RefMut<'_, Faults> {
        self.world.faults.borrow_mut()
    }

    /// The disk, to be looked at and damaged.
    pub fn disk(&self) -> SimDisk {
        SimDisk {
            image: Arc::clone(&self.world.image),
        }
    }

    /// A connection between two ends of the present life.
    pub fn connect(&self) -> (SimSocket, SimSocket) {
        network::connect(&self.life.borrow())
    }

    /// Moves the wall clock, not the monotonic one.
    pub fn jump_wall_clock(&self, millis: i64) {
        let jumped = self.world.wall_jump_ms.get().saturating_add(millis);
        self.world.wall_jump_ms.set(jumped);
    }

    /// How many writes landed elsewhere so far.
    pub fn misdirected(&self) -> u32 {
        self.world.misdirected.get()
    }

    /// Virtual time since the simulation began.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.world.now.get())
    }

    /// A hash of every event so far: equal for two runs of the same seed.
    pub fn trace_hash(&self) -> u64 {
        self.world.trace_hash()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // Tasks hold the life that holds them: without this a run would never be freed.
        self.life.borrow().end();
    }
}

/// Names the seed when a test fails inside the simulation.
struct SeedOnPanic(u64);

impl Drop for SeedOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("simulation failed with seed {}", self.0);
        }
    }
}
