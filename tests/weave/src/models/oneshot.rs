//! One answer: `engine/reactor/src/cores/oneshot.rs`.

use std::time::Duration;

use loom::thread;

use super::block_on;
use crate::engine::oneshot::{ReplyDropped, oneshot};

pub(super) fn awaited() {
    let (reply, waiting) = oneshot::<u32>();
    let (unanswered, nothing) = oneshot::<u32>();
    let answers = thread::spawn(move || {
        reply.send(7);
        drop(unanswered);
    });
    assert_eq!(block_on(waiting), Ok(7));
    assert_eq!(block_on(nothing), Err(ReplyDropped));
    answers.join().unwrap();
}

pub(super) fn waited() {
    let (reply, waiting) = oneshot::<u32>();
    let (unanswered, nothing) = oneshot::<u32>();
    let answers = thread::spawn(move || {
        reply.send(7);
        drop(unanswered);
    });
    assert_eq!(waiting.wait(Duration::MAX), Some(Ok(7)));
    assert_eq!(nothing.wait(Duration::MAX), Some(Err(ReplyDropped)));
    answers.join().unwrap();
}
