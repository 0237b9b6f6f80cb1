//! Keeps a core from sleeping over work that is ready.
//!
//! The runtime (glommio 0.9) has a race: if its preemption flag is up before it has run the first
//! ready task of a turn (the write of a foreign wake-up, or the preempt timer, came in between), it
//! takes the turn for empty and parks with tasks in its queues, until something else happens.
//! Measured: about one of 20,000 answers between two otherwise idle cores. So each core has a timer
//! that beats fast while the core works and slowly while it rests, and one thread of the process
//! calls on every core whose timer has stopped: a call that finds the core parked always wakes it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::sync::{AtomicU64, AtomicWaker, Ordering};

/// Longest stall of a core that was working a moment ago.
const BEAT_WORKING: Duration = Duration::from_millis(2);
/// Longest stall of a core at rest: 20 wake-ups a second are about a thousandth of a core.
const BEAT_RESTING: Duration = Duration::from_millis(50);
/// How often the thread looks; longer than any beat.
const ROUND: Duration = Duration::from_millis(200);
/// Tasks that the beat itself runs between two looks.
const OWN_TASKS: u64 = 2;

/// What a core and the watching thread share.
#[derive(Default)]
pub(crate) struct Pulse {
    beats: AtomicU64,
    waker: AtomicWaker,
}

impl Pulse {
    /// Has the thread that watches call on the task that awaits this, until the beat has begun: the
    /// race may strike before that, and then a core would never start.
    pub(super) async fn stand_in(&self) {
        std::future::poll_fn(|context| {
            self.waker.register(context.waker());
            Poll::Ready(())
        })
        .await;
    }
}

/// Beats until the core ends.
pub(super) async fn beat(pulse: Arc<Pulse>) {
    let mut pause = BEAT_WORKING;
    loop {
        let mut timer = pin!(glommio::timer::sleep(pause));
        std::future::poll_fn(|context| {
            pulse.waker.register(context.waker());
            timer.as_mut().poll(context)
        })
        .await;
        pulse.beats.fetch_add(1, Ordering::Relaxed);
        // Counted since the last question.
        let ran = glommio::executor().executor_stats().tasks_executed();
        pause = if ran > OWN_TASKS {
            BEAT_WORKING
        } else {
            (pause * 2).min(BEAT_RESTING)
        };
    }
}

/// Starts the thread that watches; it ends when the cores have.
pub(crate) fn watch(pulses: Vec<Arc<Pulse>>) -> std::io::Result<()> {
    let watch = move || {
        let mut last = vec![u64::MAX; pulses.len()];
        while pulses.iter().any(|pulse| Arc::strong_count(pulse) > 1) {
            for (pulse, last) in pulses.iter().zip(&mut last) {
                let beats = pulse.beats.load(Ordering::Relaxed);
                if std::mem::replace(last, beats) == beats {
                    pulse.waker.wake();
                }
            }
            crate::thread::pause(ROUND);
        }
    };
    crate::thread::start_thread("pulse", None, watch).map(drop)
}
