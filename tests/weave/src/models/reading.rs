//! Segments that others read: `engine/reactor/src/populated.rs` and `cores/retiring.rs`.

use std::sync::Arc;

use loom::cell::Cell;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use crate::engine::populated::{GRANULE_BYTES, Populated};
use crate::engine::retiring::Retiring;
use crate::plant::Plant;
use crate::sync;

/// Two threads bring in neighbours of one word; a core touches what it sees noted.
pub(super) fn populated() {
    let bits = Arc::new(Populated::new(2 * GRANULE_BYTES));
    let pages = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let range = |at: usize| at * GRANULE_BYTES..(at + 1) * GRANULE_BYTES;
    let bring_in = |at: usize| {
        let (bits, pages) = (Arc::clone(&bits), Arc::clone(&pages));
        thread::spawn(move || {
            pages[at].store(7, Ordering::Relaxed);
            bits.note(&range(at));
        })
    };
    let threads = [bring_in(0), bring_in(1)];
    for at in [1, 0] {
        if bits.has(&range(at)) {
            let seen = pages[at].load(Ordering::Relaxed);
            assert_eq!(seen, 7, "a page was touched that was not there");
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(bits.has(&(0..2 * GRANULE_BYTES)), "a note is lost");
}

/// What the holders of a segment read; the handle inside is the plant's way past the count.
#[allow(
    clippy::redundant_allocation,
    reason = "two handles, one of them counted by the checker"
)]
struct Slot(Arc<Cell<u32>>);

/// A slot that two cores read while it is retired, and that is written anew when it is free.
#[expect(
    clippy::arc_with_non_send_sync,
    reason = "the checker's cell is for its own threads"
)]
pub(super) fn retiring() {
    let slot = sync::Arc::new(Slot(Arc::new(Cell::new(1))));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let slot = sync::Arc::clone(&slot);
            thread::spawn(move || {
                let shown = Arc::clone(&slot.0);
                if Plant::ReadAfterRelease.is_planted() {
                    drop(slot);
                }
                assert_eq!(shown.get(), 1, "a slot was written under its reader");
            })
        })
        .collect();
    let mut retiring = Retiring::default();
    retiring.push(slot);
    for slot in retiring.take_free() {
        slot.0.set(2);
    }
    for reader in readers {
        reader.join().unwrap();
    }
    retiring.take_free();
    assert!(retiring.is_empty(), "nobody holds it any more");
}
