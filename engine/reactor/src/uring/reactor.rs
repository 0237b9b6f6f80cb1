//! One core: its lanes, its timers, its clocks.

use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use glommio::{Latency, Shares, TaskQueueHandle};

use super::disk::CoreDisk;
use super::pulse::{self, Pulse};
use super::readiness::Readiness;
use crate::clock;
use crate::random;
use crate::seam::{BootId, Lane, Monotonic, Reactor};

/// A real core. Made by [`crate::start_cores`]; it stays on the thread of its core.
#[derive(Clone)]
pub struct CoreReactor {
    inner: Rc<Inner>,
}

struct Inner {
    core: usize,
    disk: CoreDisk,
    network: TaskQueueHandle,
    commit: TaskQueueHandle,
    read: TaskQueueHandle,
    background: TaskQueueHandle,
    readiness: Rc<Readiness>,
}

impl CoreReactor {
    /// To be called inside the core's executor.
    pub(crate) fn new(core: usize, folder: PathBuf, readiness: Rc<Readiness>) -> Self {
        Rc::clone(&readiness).install();
        // Every lane has a latency, for tasks of every lane are woken by threads beside the cores,
        // and a queue without one sees such wake-ups late.
        let lane = |name: &str, shares: usize, latency_ms: u64| {
            let latency = Latency::Matters(Duration::from_millis(latency_ms));
            glommio::executor().create_task_queue(Shares::Static(shares), latency, name)
        };
        let inner = Inner {
            core,
            disk: CoreDisk::new(folder),
            network: lane("network", 400, 1),
            commit: lane("commit", 400, 1),
            read: lane("read", 200, 2),
            background: lane("background", 50, 5),
            readiness,
        };
        Self {
            inner: Rc::new(inner),
        }
    }

    /// Which core this is, counted from 0.
    pub fn core(&self) -> usize {
        self.inner.core
    }

    /// Runs the core's main task. It goes into a lane, or wake-ups from other threads would wait
    /// for the preempt timer.
    pub(crate) async fn run_main<T: 'static>(
        self,
        pulse: Arc<Pulse>,
        main: impl Future<Output = T> + 'static,
    ) -> T {
        pulse.stand_in().await;
        self.inner.disk.refuse_polling(self.core()).await;
        pulse.stand_in().await;
        // Cancelled when main is done: the watching thread must see that this core is gone.
        let _beating = glommio::spawn_local_into(pulse::beat(pulse), self.inner.network)
            .expect("lanes live with the core");
        let watch = Rc::clone(&self.inner.readiness).watch();
        let _watching =
            glommio::spawn_local_into(watch, self.inner.network).expect("lanes live with the core");
        glommio::spawn_local_into(main, self.inner.network)
            .expect("lanes live with the core")
            .await
    }
}

impl Reactor for CoreReactor {
    type Disk = CoreDisk;

    fn disk(&self) -> &CoreDisk {
        &self.inner.disk
    }

    fn wall_ms(&self) -> u64 {
        clock::wall_ms()
    }

    fn monotonic(&self) -> Monotonic {
        clock::monotonic()
    }

    fn boot(&self) -> BootId {
        clock::boot()
    }

    fn random(&self) -> u64 {
        random::random()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        glommio::timer::sleep(duration)
    }

    fn spawn(&self, lane: Lane, task: impl Future<Output = ()> + 'static) {
        let queue = match lane {
            Lane::Network => self.inner.network,
            Lane::Commit => self.inner.commit,
            Lane::Read => self.inner.read,
            Lane::Background => self.inner.background,
        };
        glommio::spawn_local_into(task, queue)
            .expect("lanes live with the core")
            .detach();
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "the future must not borrow the reactor"
    )]
    fn yield_now(&self) -> impl Future<Output = ()> + 'static {
        // The whole lane steps back, for those who are to run wait mostly in other lanes.
        async { glommio::executor().yield_task_queue_now().await }
    }
}
