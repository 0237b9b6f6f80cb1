//! The simulated core: time, chance and tasks of one life of the process.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::executor::{Completion, Life};
use super::faults::Faults;
use super::folder::SimFolder;
use crate::seam::{BootId, Lane, Monotonic, Reactor};

/// One life of the simulated process. After a crash it is dead: what it spawns never runs, what it
/// awaits never comes. Take a new one from [`super::Sim::reactor`].
#[derive(Clone)]
pub struct SimReactor {
    life: Rc<Life>,
    disk: SimFolder,
}

impl SimReactor {
    pub(super) fn new(life: Rc<Life>) -> Self {
        Self {
            disk: SimFolder::new(Rc::clone(&life)),
            life,
        }
    }
}

impl SimReactor {
    /// Changes what goes wrong, from inside the story.
    pub fn set_faults(&self, faults: Faults) {
        *self.life.world.faults.borrow_mut() = faults;
    }

    /// Moves the wall clock, not the monotonic one.
    pub fn jump_wall_clock(&self, millis: i64) {
        let jump = &self.life.world.wall_jump_ms;
        jump.set(jump.get().saturating_add(millis));
    }

    /// Virtual time since the simulation began, over all lives.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.life.world.now.get())
    }

    /// How many writes landed elsewhere so far.
    pub fn misdirected(&self) -> u32 {
        self.life.world.misdirected.get()
    }
}

impl Reactor for SimReactor {
    type Disk = SimFolder;

    fn disk(&self) -> &SimFolder {
        &self.disk
    }

    fn wall_ms(&self) -> u64 {
        let world = &self.life.world;
        let steady = world.wall_ms_at_start + world.now.get() / 1_000_000;
        steady.saturating_add_signed(world.wall_jump_ms.get())
    }

    fn monotonic(&self) -> Monotonic {
        let world = &self.life.world;
        Monotonic(world.now.get() - world.booted.get())
    }

    fn boot(&self) -> BootId {
        // No two power cuts leave one moment: time passes between them.
        BootId::from_bits(self.life.world.booted.get() + 1)
    }

    fn random(&self) -> u64 {
        self.life.world.dice.borrow_mut().draw()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        Sleep {
            life: Rc::clone(&self.life),
            duration,
            timer: None,
        }
    }

    fn spawn(&self, _lane: Lane, task: impl Future<Output = ()> + 'static) {
        self.life.spawn(task);
    }

    fn yield_now(&self) -> impl Future<Output = ()> + 'static {
        let mut yielded = false;
        std::future::poll_fn(move |context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }
}

/// A timer; it starts at its first poll and is cancelled by dropping it.
struct Sleep {
    life: Rc<Life>,
    duration: Duration,
    timer: Option<Timer>,
}

struct Timer {
    key: (u64, u64),
    rang: Rc<Completion<()>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.timer.is_none() {
            let rang = Completion::new();
            let ring = Rc::clone(&rang);
            let delay_ns = self.duration.as_nanos() as u64;
            let key = self.life.after(delay_ns, move |_| ring.complete(()));
            self.timer = Some(Timer { key, rang });
        }
        let timer = self.timer.as_ref().expect("just set");
        timer.rang.poll(context)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.life.cancel(timer.key);
        }
    }
}
