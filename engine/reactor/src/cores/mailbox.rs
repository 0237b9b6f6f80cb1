//! Work for a core, from any thread: a bounded queue and one wake-up.
//!
//! The wake-up is sent only when the core announced that it waits, so a busy core costs its senders
//! one atomic exchange.

use std::sync::Arc;
use std::task::Poll;

use crate::sync::{ArrayQueue, AtomicBool, AtomicUsize, AtomicWaker, Ordering, fence};

struct Shared<M> {
    queue: ArrayQueue<M>,
    waker: AtomicWaker,
    senders: AtomicUsize,
    closed: AtomicBool,
}

/// The sending end; clones share the queue. Any thread may send.
pub struct Mailbox<M> {
    shared: Arc<Shared<M>>,
}

/// The receiving end, which stays on one core.
pub struct Inbox<M> {
    shared: Arc<Shared<M>>,
}

/// Makes a queue of at most `capacity` letters, which is not zero.
pub fn mailbox<M>(capacity: usize) -> (Mailbox<M>, Inbox<M>) {
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(capacity),
        waker: AtomicWaker::new(),
        senders: AtomicUsize::new(1),
        closed: AtomicBool::new(false),
    });
    (
        Mailbox {
            shared: Arc::clone(&shared),
        },
        Inbox { shared },
    )
}

impl<M> Shared<M> {
    /// Letters may hold replies; dropping them tells their senders.
    fn clear(&self) {
        while self.queue.pop().is_some() {}
    }
}

impl<M> Mailbox<M> {
    /// Puts a letter in; gives it back when the queue is full or nobody receives any more. A letter
    /// that was put in while the receiving end went is dropped like those before it.
    pub fn send(&self, letter: M) -> Result<(), M> {
        if self.is_closed() {
            return Err(letter);
        }
        self.shared.queue.push(letter)?;
        // With the fence of the inbox's end: either it finds the letter, or this finds it gone. The
        // letter may hold a reply, and its sender may wait for it while holding this end.
        fence(Ordering::SeqCst);
        if self.is_closed() {
            self.shared.clear();
        }
        self.shared.waker.wake();
        Ok(())
    }

    /// Whether the receiving end is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<M> Drop for Mailbox<M> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.waker.wake();
        }
    }
}

impl<M> Inbox<M> {
    /// The next letter; `None` once every sender is gone and the queue is empty.
    pub async fn receive(&mut self) -> Option<M> {
        std::future::poll_fn(|context| {
            if let Some(letter) = self.shared.queue.pop() {
                return Poll::Ready(Some(letter));
            }
            self.shared.waker.register(context.waker());
            // A letter may have come between the look and the announcement.
            let over = self.shared.senders.load(Ordering::Acquire) == 0;
            match self.shared.queue.pop() {
                Some(letter) => Poll::Ready(Some(letter)),
                None if over => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// A letter that is there already.
    pub fn try_receive(&mut self) -> Option<M> {
        self.shared.queue.pop()
    }
}

impl<M> Drop for Inbox<M> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        self.shared.clear();
    }
}
