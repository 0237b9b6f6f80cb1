//! Memory for records on their way to clients: taken before they are read, in line.
//!
//! Owns: how many bytes of records may be between the log and the sockets of one core, and whose
//! turn it is. Never: what is read. A permit covers what a read may copy and the answer that is
//! written from it; it is given back when the answer's last byte is with the socket. Nobody is
//! refused: an answer grows smaller while memory is short, and waits when there is none.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::sync::{AtomicUsize, AtomicWaker, Ordering};

/// A permit is for at least so many bytes, or for as many as were wanted. An answer of that length
/// is with the socket at once, whoever reads it and however slowly.
const PERMIT_BYTES_MIN: usize = 64 * 1024;
/// So much more, of the whole, is for those who make do with the least: they do not wait for clients
/// that take long answers slowly.
const LEAST_PART: usize = 8;
/// Nobody takes more than one part in so many of what is free, so that clients that take nothing
/// leave something for the others, and theirs are small answers.
const PARTS: usize = 4;

/// The bytes of one core's records on their way out.
pub struct ReadBudget {
    tally: Arc<Tally>,
    line: RefCell<Line>,
}

/// What permits know of; they end wherever an answer's bytes do, which may be anywhere as far as
/// the compiler knows: hence the atomics.
#[derive(Debug)]
struct Tally {
    held: AtomicUsize,
    most: usize,
    /// Of those who made do with the least.
    least_held: AtomicUsize,
    /// Whoever is first in line.
    first: AtomicWaker,
}

/// Those who wait, by the order they came in.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<(u64, Option<Waker>)>,
    next: u64,
}

impl Line {
    fn wake_first(&self) {
        if let Some((_, Some(waker))) = self.waiting.front() {
            waker.wake_by_ref();
        }
    }
}

impl fmt::Debug for ReadBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tally.fmt(f)
    }
}

/// How much somebody would like, and the least that is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    bytes: usize,
    least: usize,
}

impl Wish {
    /// Up to `bytes`; less will do.
    pub fn up_to(bytes: usize) -> Self {
        Self {
            bytes,
            least: bytes.min(PERMIT_BYTES_MIN),
        }
    }

    /// How much is liked.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// No less than `bytes`.
    pub fn exactly(bytes: usize) -> Self {
        let least = bytes;
        Self { bytes, least }
    }
}

impl ReadBudget {
    /// A budget of so many bytes.
    pub fn new(most: usize) -> Rc<Self> {
        Rc::new(Self {
            tally: Arc::new(Tally {
                held: AtomicUsize::new(0),
                most,
                least_held: AtomicUsize::new(0),
                first: AtomicWaker::new(),
            }),
            line: RefCell::default(),
        })
    }

    /// Waits for a permit. Whoever came first gets the first one; dropping the wait leaves the
    /// line.
    pub fn reserve(self: &Rc<Self>, wish: Wish) -> Reserving {
        Reserving {
            budget: Rc::clone(self),
            wish,
            number: None,
        }
    }

    /// A permit for `bytes` if most of the memory is free and nobody waits.
    pub fn spare(&self, bytes: usize) -> Option<Permit> {
        let held = self.tally.held.load(Ordering::Relaxed);
        let is_free = held.saturating_add(bytes) <= self.tally.most / 2;
        (is_free && self.line.borrow().waiting.is_empty()).then(|| self.tally.take(bytes))
    }

    /// What is left, or something when nothing is held: then nothing would ever come back.
    fn grant(&self, wish: Wish) -> Option<Permit> {
        let held = self.tally.held.load(Ordering::Acquire);
        let free = self.tally.most.saturating_sub(held);
        let share = wish.bytes.min(free / PARTS).max(wish.least);
        (held == 0 || share <= free).then(|| self.tally.take(share))
    }

    /// The least, for whoever would wait otherwise and can make do with it.
    fn grant_least(&self, wish: Wish) -> Option<Permit> {
        let held = self.tally.least_held.load(Ordering::Relaxed);
        let fits = held + wish.least <= self.tally.most / LEAST_PART;
        (wish.least <= PERMIT_BYTES_MIN && fits).then(|| {
            let least_held = &self.tally.least_held;
            least_held.fetch_add(wish.least, Ordering::Relaxed);
            Permit {
                tally: Arc::clone(&self.tally),
                bytes: wish.least,
                is_least: true,
            }
        })
    }

    /// Whether somebody waits.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.line.borrow().waiting.is_empty()
    }

    /// Bytes that permits cover now.
    pub fn held(&self) -> usize {
        self.tally.held.load(Ordering::Relaxed)
    }
}

impl Tally {
    fn take(self: &Arc<Self>, bytes: usize) -> Permit {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Permit {
            tally: Arc::clone(self),
            bytes,
            is_least: false,
        }
    }

    fn give_back(&self, bytes: usize, is_least: bool) {
        if is_least {
            self.least_held.fetch_sub(bytes, Ordering::Relaxed);
            return;
        }
        let held = self.held.fetch_sub(bytes, Ordering::Release);
        assert!(held >= bytes, "a permit is returned once");
        self.first.wake();
    }
}

/// A wait for a permit.
pub struct Reserving {
    budget: Rc<ReadBudget>,
    wish: Wish,
    /// The place in line, once there is one.
    number: Option<u64>,
}

impl Future for Reserving {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        let this = &mut *self;
        let mut line = this.budget.line.borrow_mut();
        let is_first = match (this.number, line.waiting.front()) {
            (None, first) => first.is_none(),
            (Some(number), Some((first, _))) => number == *first,
            (Some(_), None) => unreachable!("whoever has a place is in line"),
        };
        if is_first {
            // Registered before the look, so that what comes back meanwhile is seen.
            this.budget.tally.first.register(context.waker());
            if let Some(permit) = this.budget.grant(this.wish) {
                if this.number.take().is_some() {
                    line.waiting.pop_front();
                    line.wake_first();
                }
                return Poll::Ready(permit);
            }
        }
        if this.number.is_none()
            && let Some(permit) = this.budget.grant_least(this.wish)
        {
            return Poll::Ready(permit);
        }
        let waker = Some(context.waker().clone());
        if let Some(number) = this.number {
            let at = line.waiting.partition_point(|(other, _)| *other < number);
            line.waiting[at].1 = waker;
        } else {
            this.number = Some(line.next);
            let place = (line.next, waker);
            line.waiting.push_back(place);
            line.next += 1;
        }
        Poll::Pending
    }
}

impl Drop for Reserving {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut line = self.budget.line.borrow_mut();
        let at = line.waiting.partition_point(|(other, _)| *other < number);
        line.waiting.remove(at);
        if at == 0 {
            line.wake_first();
        }
    }
}

/// Bytes taken from a [`ReadBudget`], until it is dropped.
#[derive(Debug)]
pub struct Permit {
    tally: Arc<Tally>,
    bytes: usize,
    is_least: bool,
}

impl Permit {
    /// How many it covers.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Covers `bytes` that exist by now: gives back what is more, and takes what is less, past the
    /// bound if need be.
    pub fn cover(&mut self, bytes: usize) {
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            let held = if self.is_least {
                &self.tally.least_held
            } else {
                &self.tally.held
            };
            held.fetch_add(more, Ordering::Relaxed);
        } else if bytes < self.bytes {
            self.tally.give_back(self.bytes - bytes, self.is_least);
        }
        self.bytes = bytes;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.tally.give_back(self.bytes, self.is_least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::task::noop_waker;

    const MIB: usize = 1024 * 1024;

    fn poll(wait: &mut Reserving) -> Option<Permit> {
        let waker = noop_waker();
        match Pin::new(wait).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_is_held_stays_below_the_bound_however_many_ask() {
        let budget = ReadBudget::new(64 * MIB);
        let mut permits = Vec::new();
        let mut waits: Vec<_> = (0..200)
            .map(|_| budget.reserve(Wish::up_to(26 * MIB)))
            .collect();
        for wait in &mut waits {
            permits.extend(poll(wait));
        }
        assert!(budget.held() <= 64 * MIB);
        assert_eq!(permits[0].bytes(), 16 * MIB);
        assert!(permits.len() >= 16, "{} at once", permits.len());
        assert!(permits.iter().all(|p| p.bytes() >= PERMIT_BYTES_MIN));
        drop((permits, waits));
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn turns_come_in_the_order_of_asking() {
        let budget = ReadBudget::new(8 * MIB);
        let all = poll(&mut budget.reserve(Wish::exactly(8 * MIB))).unwrap();
        let mut large = budget.reserve(Wish::exactly(6 * MIB));
        let mut small = budget.reserve(Wish::exactly(70_000));
        let mut gone = budget.reserve(Wish::exactly(70_000));
        assert!(poll(&mut large).is_none());
        assert!(poll(&mut gone).is_none());
        assert!(poll(&mut small).is_none());
        let mut all = all;
        all.cover(5 * MIB);
        // The small ones would fit, but the large one must not wait for ever.
        assert!(poll(&mut small).is_none());
        assert!(
            budget
                .reserve(Wish::exactly(70_000))
                .now_or_never()
                .is_none()
        );
        all.cover(2 * MIB);
        let large = poll(&mut large).unwrap();
        assert!(poll(&mut small).is_none(), "one came before it");
        // Who leaves the line holds nobody up.
        drop(gone);
        assert!(poll(&mut small).is_none(), "nothing is left");
        drop(all);
        assert_eq!(poll(&mut small).unwrap().bytes(), 70_000);
        drop(large);
        assert_eq!(budget.held(), 0);
        assert!(budget.line.borrow().waiting.is_empty());
    }

    #[test]
    fn the_largest_passes_alone_and_what_was_underrated_is_counted() {
        let budget = ReadBudget::new(4 * MIB);
        let mut first = poll(&mut budget.reserve(Wish::up_to(100 * MIB))).unwrap();
        assert_eq!(first.bytes(), MIB);
        let mut huge = budget.reserve(Wish::exactly(14 * MIB));
        assert!(poll(&mut huge).is_none());
        first.cover(9 * MIB);
        assert_eq!(budget.held(), 9 * MIB);
        drop(first);
        assert_eq!(poll(&mut huge).unwrap().bytes(), 14 * MIB);
    }

    #[test]
    fn the_next_in_line_is_woken() {
        let budget = ReadBudget::new(MIB);
        let all = poll(&mut budget.reserve(Wish::exactly(MIB))).unwrap();
        let count = Arc::new(Woken::default());
        let waker = Waker::from(count.clone());
        let mut context = Context::from_waker(&waker);
        let mut first = budget.reserve(Wish::exactly(MIB));
        let mut second = budget.reserve(Wish::exactly(MIB));
        assert!(Pin::new(&mut first).poll(&mut context).is_pending());
        assert!(Pin::new(&mut second).poll(&mut context).is_pending());
        drop(first);
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "it is first now");
        assert!(Pin::new(&mut second).poll(&mut context).is_pending());
        drop(all);
        assert_eq!(count.0.load(Ordering::Relaxed), 2, "and there is room");
        assert!(Pin::new(&mut second).poll(&mut context).is_ready());
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_spare_is_only_what_nobody_needs() {
        let budget = ReadBudget::new(8 * MIB);
        let kept = budget.spare(3 * MIB).unwrap();
        assert!(budget.spare(2 * MIB).is_none());
        drop(kept);
        let all = budget.reserve(Wish::exactly(8 * MIB)).now_or_never();
        let mut waiting = budget.reserve(Wish::exactly(MIB));
        assert!(poll(&mut waiting).is_none());
        drop(all);
        assert!(budget.spare(1).is_none(), "somebody waits");
    }

    #[test]
    fn who_makes_do_with_the_least_does_not_wait_for_the_slow() {
        let budget = ReadBudget::new(8 * MIB);
        let all = poll(&mut budget.reserve(Wish::exactly(8 * MIB))).unwrap();
        let mut large = budget.reserve(Wish::exactly(MIB));
        assert!(poll(&mut large).is_none());
        let mut least = Vec::new();
        while let Some(permit) = poll(&mut budget.reserve(Wish::up_to(4 * MIB))) {
            assert_eq!(permit.bytes(), PERMIT_BYTES_MIN);
            least.push(permit);
        }
        assert_eq!(least.len() * PERMIT_BYTES_MIN, MIB);
        assert_eq!(budget.held(), 8 * MIB, "it is beside what others hold");
        drop(all);
        assert!(poll(&mut large).is_some(), "they hold up nobody");
        drop(least);
        assert_eq!(budget.tally.least_held.load(Ordering::Relaxed), 0);
    }
}
