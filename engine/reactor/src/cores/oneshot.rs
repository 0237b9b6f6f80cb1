//! One value from one place to another, across threads: an answer.
//!
//! The waiting end can be awaited on a core or waited for by a thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::sync::{Mutex, PoisonError, Thread, current, park_timeout};

/// Nobody will answer: the other end was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answering end is gone")]
pub struct ReplyDropped;

enum State<T> {
    Empty(Option<Waker>),
    Full(T),
    Over,
}

/// The end that answers, once. Dropping it unused tells the other end so.
pub struct Reply<T> {
    shared: Arc<Mutex<State<T>>>,
}

/// The end that waits.
pub struct Waiting<T> {
    shared: Arc<Mutex<State<T>>>,
}

/// Makes both ends.
pub fn oneshot<T>() -> (Reply<T>, Waiting<T>) {
    let shared = Arc::new(Mutex::new(State::Empty(None)));
    (
        Reply {
            shared: Arc::clone(&shared),
        },
        Waiting { shared },
    )
}

fn put<T>(shared: &Mutex<State<T>>, next: State<T>) {
    let before = {
        let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*state, State::Empty(_)) {
            return;
        }
        std::mem::replace(&mut *state, next)
    };
    if let State::Empty(Some(waker)) = before {
        waker.wake();
    }
}

impl<T> Reply<T> {
    /// Answers. If nobody waits any more, the value is dropped.
    pub fn send(self, value: T) {
        put(&self.shared, State::Full(value));
    }

    /// Whether the other end has stopped waiting.
    pub fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        put(&self.shared, State::Over);
    }
}

impl<T> Future for Waiting<T> {
    type Output = Result<T, ReplyDropped>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Over) {
            State::Full(value) => Poll::Ready(Ok(value)),
            State::Over => Poll::Ready(Err(ReplyDropped)),
            State::Empty(_) => {
                *state = State::Empty(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<T> Waiting<T> {
    /// Blocks the calling thread, which is not a core, until the answer comes; `None` once
    /// `timeout` has passed.
    pub fn wait(mut self, timeout: Duration) -> Option<Result<T, ReplyDropped>> {
        let waker = Waker::from(Arc::new(Unpark(current())));
        let mut context = Context::from_waker(&waker);
        let deadline = crate::clock::monotonic().plus(timeout);
        loop {
            if let Poll::Ready(answer) = Pin::new(&mut self).poll(&mut context) {
                return Some(answer);
            }
            let left = deadline.since(crate::clock::monotonic());
            if left.is_zero() {
                return None;
            }
            park_timeout(left);
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_crosses_threads() {
        let (reply, waiting) = oneshot();
        let thread = std::thread::spawn(move || reply.send(7));
        assert_eq!(waiting.wait(Duration::from_secs(5)), Some(Ok(7)));
        thread.join().unwrap();
    }

    #[test]
    fn a_dropped_end_is_told() {
        let (reply, waiting) = oneshot::<u8>();
        assert!(!reply.is_abandoned());
        drop(reply);
        assert_eq!(
            waiting.wait(Duration::from_secs(5)),
            Some(Err(ReplyDropped))
        );
        let (reply, waiting) = oneshot::<u8>();
        drop(waiting);
        assert!(reply.is_abandoned());
        reply.send(1);
    }

    #[test]
    fn waiting_ends() {
        let (_reply, waiting) = oneshot::<u8>();
        assert_eq!(waiting.wait(Duration::from_millis(5)), None);
    }
}
