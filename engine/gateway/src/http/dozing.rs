//! A future that is polled only when it asked for it.
//!
//! Owns: telling its wake-ups from those of the task it lives in. A connection's task wakes for each
//! request; the deadlines it keeps beside would be set anew each time. Never: what is waited for.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::task::{ArcWake, waker};

use crate::sync::{AtomicBool, AtomicWaker, Ordering};

/// Polls what it holds at first, and then whenever that was woken.
pub(crate) struct Dozing<F> {
    inner: F,
    alarm: Arc<Alarm>,
    waker: Waker,
}

#[derive(Default)]
struct Alarm {
    has_rung: AtomicBool,
    task: AtomicWaker,
}

impl ArcWake for Alarm {
    fn wake_by_ref(alarm: &Arc<Self>) {
        alarm.has_rung.store(true, Ordering::Release);
        alarm.task.wake();
    }
}

impl<F: Future + Unpin> Dozing<F> {
    pub(crate) fn new(inner: F) -> Self {
        let alarm = Arc::new(Alarm {
            has_rung: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        Self {
            inner,
            waker: waker(Arc::clone(&alarm)),
            alarm,
        }
    }
}

impl<F: Future + Unpin> Future for Dozing<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.alarm.task.register(context.waker());
        // Looked at after registering: a wake-up in between is seen here or wakes the task.
        if !self.alarm.has_rung.swap(false, Ordering::Acquire) {
            return Poll::Pending;
        }
        let this = &mut *self;
        pin!(&mut this.inner).poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    /// Never done; counts how often it is polled, and keeps the last waker.
    #[derive(Default)]
    struct Counted {
        polls: Cell<u32>,
        waker: RefCell<Option<Waker>>,
    }

    impl Counted {
        async fn wait(&self) {
            poll_fn(|context| {
                self.polls.set(self.polls.get() + 1);
                *self.waker.borrow_mut() = Some(context.waker().clone());
                Poll::<()>::Pending
            })
            .await;
        }

        fn wake(&self) {
            let waker = self.waker.borrow_mut().take();
            waker.expect("it was polled").wake();
        }
    }

    #[test]
    fn only_its_own_wake_ups_poll_it() {
        let counted = Counted::default();
        let wait = pin!(counted.wait());
        let mut dozing = Dozing::new(wait);
        for round in 1..3 {
            for _ in 0..3 {
                assert!((&mut dozing).now_or_never().is_none());
                assert_eq!(counted.polls.get(), round);
            }
            counted.wake();
        }
        drop(dozing);
        let mut done = Dozing::new(std::future::ready(7));
        assert_eq!((&mut done).now_or_never(), Some(7));
    }

    #[test]
    fn a_wake_up_reaches_the_task_that_polled_last() {
        let counted = Counted::default();
        let wait = pin!(counted.wait());
        let mut dozing = Dozing::new(wait);
        assert!((&mut dozing).now_or_never().is_none());
        let alarm = Arc::new(Alarm::default());
        let waker = waker(Arc::clone(&alarm));
        let later = dozing.poll_unpin(&mut Context::from_waker(&waker));
        assert!(later.is_pending());
        counted.wake();
        assert!(alarm.has_rung.load(Ordering::Acquire));
    }
}
