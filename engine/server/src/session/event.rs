//! Something happened: any number of tasks of one core wait for it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// An event of one core. A wait names the count it saw last, so that nothing between the look and
/// the wait is lost. A wait that is given up leaves nothing behind.
#[derive(Debug, Default)]
pub(crate) struct Event {
    count: Cell<u64>,
    waiting: RefCell<Waiting>,
}

/// Those who wait, each at a place of its own until the next time it happens.
#[derive(Debug, Default)]
struct Waiting {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Event {
    /// It happened: ends every wait.
    pub(crate) fn notify(&self) {
        self.count.set(self.count.get() + 1);
        if self.waiting.borrow().wakers.is_empty() {
            return;
        }
        let waiting = self.waiting.take();
        waiting.wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// How often it happened: to be taken before the condition is looked at.
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Waits until it happened after `seen`.
    pub(crate) fn after(&self, seen: u64) -> After<'_> {
        After {
            event: self,
            seen,
            place: None,
        }
    }
}

/// A wait for an event.
#[derive(Debug)]
pub(crate) struct After<'e> {
    event: &'e Event,
    seen: u64,
    place: Option<usize>,
}

impl Future for After<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.event.count.get() != self.seen {
            return Poll::Ready(());
        }
        let waiting = &mut *self.event.waiting.borrow_mut();
        let place = *self.place.get_or_insert_with(|| {
            waiting.free.pop().unwrap_or_else(|| {
                waiting.wakers.push(None);
                waiting.wakers.len() - 1
            })
        });
        match &mut waiting.wakers[place] {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for After<'_> {
    fn drop(&mut self) {
        // Once it happened, all places were given up together.
        if let Some(place) = self.place
            && self.event.count.get() == self.seen
        {
            let mut waiting = self.event.waiting.borrow_mut();
            waiting.wakers[place] = None;
            waiting.free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::task::noop_waker;

    #[test]
    fn waits_end_when_it_happens_and_leave_nothing_when_given_up() {
        let event = Event::default();
        for _ in 0..1_000 {
            assert!(event.after(event.count()).now_or_never().is_none());
        }
        assert_eq!(event.waiting.borrow().wakers.len(), 1);
        let waker = noop_waker();
        let mut context = Context::from_waker(&waker);
        let mut waits: Vec<_> = (0..3).map(|_| event.after(0)).collect();
        for wait in &mut waits {
            assert!(wait.poll_unpin(&mut context).is_pending());
        }
        event.notify();
        let late = event.after(event.count()).now_or_never();
        assert!(late.is_none() && event.after(0).now_or_never().is_some());
        for wait in &mut waits {
            assert!(wait.poll_unpin(&mut context).is_ready());
        }
        drop(waits);
        assert!(event.waiting.borrow().wakers.iter().all(Option::is_none));
    }
}
