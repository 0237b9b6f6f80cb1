//! Tasks that look, sleep and are woken: `engine/gateway/src/http/dozing.rs` and `room.rs`.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use futures_util::FutureExt;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::block_on;
use crate::engine::dozing::Dozing;
use crate::engine::room::{Room, Standing};
use crate::sync::AtomicU64;

/// What is done before the wake-up is seen by the poll after it.
pub(super) fn dozing() {
    let is_done = Arc::new(AtomicBool::new(false));
    let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
    let (done, waker) = (Arc::clone(&is_done), Arc::clone(&kept));
    let mut waits = Dozing::new(Box::pin(poll_fn(move |context| {
        if done.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        *waker.lock().unwrap() = Some(context.waker().clone());
        Poll::Pending
    })));
    let mut thread = None;
    block_on(poll_fn(|context| {
        let polled = waits.poll_unpin(context);
        // Begun when the inner waker is there.
        if thread.is_none() {
            let waker = kept.lock().unwrap().take().expect("it was polled");
            let is_done = Arc::clone(&is_done);
            thread = Some(thread::spawn(move || {
                is_done.store(true, Ordering::Relaxed);
                waker.wake();
            }));
            // Its task was woken for another reason meanwhile.
            return waits.poll_unpin(context);
        }
        polled
    }));
    thread.take().expect("it was begun").join().unwrap();
}

/// Two pieces go out one after the other; each ends on another thread.
pub(super) fn room() {
    let taken = Arc::new(AtomicU64::new(0));
    let room = Arc::new(Room::new(true, Arc::clone(&taken)));
    let mut threads = Vec::new();
    for turn in 1..=2 {
        let free = poll_fn(|context| match room.look(context.waker()) {
            Standing::Held => Poll::Pending,
            standing => Poll::Ready(standing),
        });
        assert_eq!(block_on(free), Standing::Free);
        let piece = room.hold([0_u8; 4], turn);
        threads.push(thread::spawn(move || drop(piece)));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(taken.load(Ordering::Relaxed), 2);
    assert_eq!(room.held_since_ns(), None);
}

/// An answer that waits is told that it was given up, whatever its piece does.
pub(super) fn given_up() {
    let taken = Arc::new(AtomicU64::new(0));
    let room = Arc::new(Room::new(true, Arc::clone(&taken)));
    let piece = room.hold([0_u8; 4], 1);
    let held = Arc::clone(&room);
    let threads = [
        thread::spawn(move || drop(piece)),
        thread::spawn(move || held.give_up()),
    ];
    block_on(poll_fn(|context| match room.look(context.waker()) {
        Standing::GivenUp => Poll::Ready(()),
        Standing::Free | Standing::Held => Poll::Pending,
    }));
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(taken.load(Ordering::Relaxed) <= 1);
}
