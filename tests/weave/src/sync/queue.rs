//! A bounded queue, as weak as the one of the crate `crossbeam` may be: a letter taken is a letter
//! whole, an empty queue is empty at some moment, and neither orders anything else.

use std::sync::{Mutex, PoisonError};

use loom::sync::atomic::{AtomicUsize, Ordering, fence};

/// Places at most: a model has no use for more, and each is one more thing to look at.
const PLACES_MAX: usize = 4;

/// The stand-in for `ArrayQueue`: each place has a stamp that says for which turn it is empty (twice
/// the turn) or full (one more).
#[derive(Debug)]
pub struct ArrayQueue<T> {
    head: AtomicUsize,
    tail: AtomicUsize,
    places: Vec<Place<T>>,
}

#[derive(Debug)]
struct Place<T> {
    stamp: AtomicUsize,
    // The checker's threads take turns, so this orders nothing.
    letter: Mutex<Option<T>>,
}

#[allow(
    missing_docs,
    clippy::len_without_is_empty,
    reason = "as in the crate, as far as the engine uses it"
)]
impl<T> ArrayQueue<T> {
    pub fn new(capacity: usize) -> Self {
        let place = |turn: usize| Place {
            stamp: AtomicUsize::new(2 * turn),
            letter: Mutex::new(None),
        };
        Self {
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            places: (0..capacity.min(PLACES_MAX)).map(place).collect(),
        }
    }

    fn place(&self, turn: usize) -> &Place<T> {
        &self.places[turn % self.places.len()]
    }

    pub fn len(&self) -> usize {
        let tail = self.tail.load(Ordering::Relaxed);
        tail.saturating_sub(self.head.load(Ordering::Relaxed))
    }

    pub fn push(&self, letter: T) -> Result<(), T> {
        loop {
            let turn = self.tail.load(Ordering::Relaxed);
            let place = self.place(turn);
            let stamp = place.stamp.load(Ordering::Acquire);
            if stamp == 2 * turn {
                let claimed = self.tail.compare_exchange(
                    turn,
                    turn + 1,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                if claimed.is_ok() {
                    *place.letter.lock().unwrap_or_else(PoisonError::into_inner) = Some(letter);
                    place.stamp.store(2 * turn + 1, Ordering::Release);
                    return Ok(());
                }
            } else if stamp < 2 * turn {
                // The letter of the turn before is still there.
                fence(Ordering::SeqCst);
                if self.head.load(Ordering::Relaxed) + self.places.len() <= turn {
                    return Err(letter);
                }
                loom::thread::yield_now();
            }
        }
    }

    pub fn pop(&self) -> Option<T> {
        loop {
            let turn = self.head.load(Ordering::Relaxed);
            let place = self.place(turn);
            let stamp = place.stamp.load(Ordering::Acquire);
            if stamp == 2 * turn + 1 {
                let claimed = self.head.compare_exchange(
                    turn,
                    turn + 1,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                if claimed.is_ok() {
                    let mut letter = place.letter.lock().unwrap_or_else(PoisonError::into_inner);
                    let letter = letter.take();
                    let next = turn + self.places.len();
                    place.stamp.store(2 * next, Ordering::Release);
                    return letter;
                }
            } else if stamp <= 2 * turn {
                fence(Ordering::SeqCst);
                if self.tail.load(Ordering::Relaxed) == turn {
                    return None;
                }
                // Somebody is putting it in.
                loom::thread::yield_now();
            }
        }
    }
}
