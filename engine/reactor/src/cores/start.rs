//! Starts one executor per core, each on a thread of its own pinned to its CPU.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};

use crate::uring::{CoreReactor, Pulse, Readiness, watch};

/// Registered memory of one core, charged three times against RLIMIT_MEMLOCK.
pub(crate) const IO_MEMORY_BYTES: usize = 1 << 20;
const RING_DEPTH: usize = 1_024;
/// How long a task may keep others of its core waiting when it yields as it should.
const PREEMPT: Duration = Duration::from_millis(2);

/// Where cores run and which folder is theirs.
#[derive(Debug, Clone)]
pub struct CorePlan {
    /// One core per CPU named here, from [`super::choose_cpus`].
    pub cpus: Vec<usize>,
    /// The data folder, which is there.
    pub folder: PathBuf,
}

/// A core could not be started; none runs.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The thread could not be made.
    #[error("core {core} has no thread: {source}")]
    Thread {
        /// The core, counted from 0.
        core: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// The executor could not be made: io_uring refused, or too little memory may be locked.
    #[error("core {core} on CPU {cpu} has no executor: {reason}")]
    Executor {
        /// The core, counted from 0.
        core: usize,
        /// Its CPU.
        cpu: usize,
        /// What the runtime said.
        reason: String,
    },
}

/// Cores that run.
pub struct Running<T> {
    threads: Vec<JoinHandle<Option<T>>>,
}

impl<T> Running<T> {
    /// Waits until every core's main task is done. A core that panicked gives `None`, which only a
    /// build that unwinds can see.
    pub fn join(self) -> Vec<Option<T>> {
        self.threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(None))
            .collect()
    }

    /// Whether some core's main task is done.
    pub fn is_any_done(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }
}

/// Starts a core on each CPU of the plan and runs `main` on each. All executors stand before the
/// first `main` begins; if one can not be made, none runs.
pub fn start_cores<T, M, F>(plan: &CorePlan, main: M) -> Result<Running<T>, StartError>
where
    M: Fn(CoreReactor) -> F + Clone + Send + 'static,
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    // The mask must be read before this thread's children are pinned.
    let _ = super::cpus_allowed();
    let (go, gate) = bounded::<()>(0);
    let (mut threads, mut pulses) = (Vec::new(), Vec::new());
    for (core, &cpu) in plan.cpus.iter().enumerate() {
        let (made, standing) = bounded(1);
        let pulse = Arc::new(Pulse::default());
        pulses.push(Arc::clone(&pulse));
        let (gate, main, folder) = (gate.clone(), main.clone(), plan.folder.clone());
        let thread = std::thread::Builder::new()
            .name(format!("core-{core}"))
            .spawn(move || {
                let (executor, readiness) = make_executor(cpu, &made)?;
                // The gate opens by being dropped; a refused start closes it with the word "stop".
                if gate.recv().is_ok() {
                    return None;
                }
                Some(executor.run(async move {
                    let reactor = CoreReactor::new(core, folder, readiness);
                    let task = main(reactor.clone());
                    reactor.run_main(pulse, task).await
                }))
            })
            .map_err(|source| StartError::Thread { core, source });
        let outcome = thread.and_then(|thread| {
            threads.push(thread);
            wait_for(&standing, core, cpu)
        });
        if let Err(error) = outcome {
            stop(&go, threads);
            return Err(error);
        }
    }
    if let Err(source) = watch(pulses) {
        stop(&go, threads);
        return Err(StartError::Thread { core: 0, source });
    }
    drop(go);
    Ok(Running { threads })
}

/// Both rings of a core, made on its own thread.
fn make_executor(
    cpu: usize,
    made: &Sender<Result<(), String>>,
) -> Option<(LocalExecutor, Rc<Readiness>)> {
    let executor = LocalExecutorBuilder::new(Placement::Fixed(cpu))
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .preempt_timer(PREEMPT)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1))
        .make();
    let both = match (executor, Readiness::new()) {
        (Ok(executor), Ok(readiness)) => Ok((executor, readiness)),
        (Err(error), _) => Err(error.to_string()),
        (Ok(_), Err(error)) => Err(format!(
            "its sockets have no ring, for which Linux 6.1 or newer is needed: {error}"
        )),
    };
    let outcome = both.as_ref().map(|_| ()).map_err(Clone::clone);
    // The starter waits for this word; if it is gone, the gate will tell.
    let _ = made.send(outcome);
    both.ok()
}

fn wait_for(
    standing: &Receiver<Result<(), String>>,
    core: usize,
    cpu: usize,
) -> Result<(), StartError> {
    let outcome = standing
        .recv()
        .unwrap_or_else(|_| Err("its thread died".to_owned()));
    outcome.map_err(|reason| StartError::Executor { core, cpu, reason })
}

/// Tells the cores that stand already to go home.
fn stop<T>(go: &Sender<()>, threads: Vec<JoinHandle<Option<T>>>) {
    for thread in threads {
        while !thread.is_finished() && go.send_timeout((), Duration::from_millis(10)).is_err() {}
    }
}
