//! Letters to a core: `engine/reactor/src/cores/mailbox.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;

use super::block_on;
use crate::engine::mailbox::mailbox;

pub(super) fn letters() {
    let (first, mut inbox) = mailbox(2);
    let second = first.clone();
    let one = thread::spawn(move || first.send(1_u32).is_ok());
    let other = thread::spawn(move || second.send(2).is_ok());
    let mut got = Vec::new();
    while let Some(letter) = block_on(inbox.receive()) {
        got.push(letter);
    }
    assert!(
        one.join().unwrap() && other.join().unwrap(),
        "there is room"
    );
    got.sort_unstable();
    assert_eq!(got, [1, 2], "a letter is lost");
}

/// A letter that counts as there until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) fn gone() {
    let there = Arc::new(AtomicUsize::new(2));
    let (first, inbox) = mailbox(2);
    let second = first.clone();
    let send = |mailbox: crate::engine::mailbox::Mailbox<Counted>| {
        let letter = Counted(Arc::clone(&there));
        thread::spawn(move || {
            drop(mailbox.send(letter));
            // The sender is still there: whoever sent may be waiting for an answer.
            mailbox
        })
    };
    let (one, other) = (send(first), send(second));
    drop(inbox);
    let senders = (one.join().unwrap(), other.join().unwrap());
    assert_eq!(there.load(Ordering::SeqCst), 0, "a letter stays for ever");
    assert!(senders.0.is_closed() && senders.1.is_closed());
}
