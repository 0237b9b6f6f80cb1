//! What is counted where one core takes and anyone gives back: `engine/reactor/src/spare.rs`,
//! `engine/gateway/src/http/lease.rs`, `read_budget.rs`.

use std::sync::Arc;

use futures_util::future::join;
use loom::thread;

use super::block_on;
use crate::engine::lease::Lease;
use crate::engine::read_budget::{ReadBudget, Wish};
use crate::engine::spare::Spares;
use crate::sync::{AtomicUsize, Ordering};

const MIB: usize = 1024 * 1024;
const SHELF: usize = 64 * 1024;

/// Two buffers come back on other threads while the core takes one and lets go of the unused.
pub(super) fn spares() {
    let spares = Spares::new(2 * SHELF);
    let lent = [spares.lend(SHELF), spares.lend(SHELF)];
    let threads = lent.map(|buffer| thread::spawn(move || drop(buffer)));
    let third = spares.lend(SHELF);
    spares.let_go_of_unused();
    drop(third);
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(spares.kept_bytes() <= 2 * SHELF, "more is kept than may be");
    spares.let_go_of_unused();
    spares.let_go_of_unused();
    assert_eq!(spares.kept_bytes(), 0, "bytes are counted that are gone");
}

/// A core takes up to its ceiling while others give back.
pub(super) fn leases() {
    const MOST: usize = 100;
    let held = Arc::new(AtomicUsize::new(0));
    let taken = [Lease::take(&held, MOST, 60), Lease::take(&held, MOST, 30)];
    let threads = taken.map(|lease| thread::spawn(move || drop(lease)));
    let mut own = Lease::take(&held, MOST, 0);
    let grown = own.grow(40).is_some();
    assert!(
        held.load(Ordering::Relaxed) <= MOST,
        "the ceiling was passed"
    );
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(held.load(Ordering::Relaxed), if grown { 40 } else { 0 });
    drop(own);
    assert_eq!(held.load(Ordering::Relaxed), 0, "bytes are held by nobody");
}

/// Two wait in line for what two threads give back.
pub(super) fn permits() {
    let budget = ReadBudget::new(8 * MIB);
    let mut first = block_on(budget.reserve(Wish::exactly(8 * MIB)));
    first.cover(4 * MIB);
    let second = budget.spare(0).expect("nobody waits");
    let mut second = second;
    second.cover(4 * MIB);
    let threads = [first, second].map(|permit| thread::spawn(move || drop(permit)));
    let large = async { drop(budget.reserve(Wish::exactly(8 * MIB)).await) };
    let small = async { drop(budget.reserve(Wish::exactly(MIB)).await) };
    block_on(join(large, small));
    for thread in threads {
        thread.join().unwrap();
    }
    let all = budget.spare(4 * MIB);
    assert!(all.is_some(), "bytes are held by nobody: {budget:?}");
}
