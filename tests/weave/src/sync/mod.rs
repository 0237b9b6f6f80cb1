//! What the engine's `sync` modules name, made of the model checker's parts.
//!
//! Owns: stand-ins for what is not ours, no stronger than their documentation: a waker's cell and a
//! bounded queue. The engine's orders pass through [`Plant`], which may weaken them.

mod park;
mod queue;
mod waker;

pub use std::sync::PoisonError;
pub use std::sync::atomic::Ordering;

pub use loom::sync::{Arc, Mutex};

use crate::plant::Plant;
pub use park::{Thread, current, park_timeout};
pub use queue::ArrayQueue;
pub use waker::AtomicWaker;
pub(crate) use waker::register_late;

/// An order as the engine gave it, or weaker if that is planted.
fn of_load(order: Ordering) -> Ordering {
    match order {
        Ordering::Acquire if Plant::RelaxedLoads.is_planted() => Ordering::Relaxed,
        order => order,
    }
}

fn of_store(order: Ordering) -> Ordering {
    match order {
        Ordering::Release if Plant::RelaxedStores.is_planted() => Ordering::Relaxed,
        order => order,
    }
}

fn of_exchange(order: Ordering) -> Ordering {
    let (stores, loads) = (
        Plant::RelaxedStores.is_planted(),
        Plant::RelaxedLoads.is_planted(),
    );
    match order {
        Ordering::AcqRel if stores => Ordering::Acquire,
        Ordering::AcqRel if loads => Ordering::Release,
        Ordering::Release if stores => Ordering::Relaxed,
        Ordering::Acquire if loads => Ordering::Relaxed,
        order => order,
    }
}

/// A fence, unless that is planted away.
pub fn fence(order: Ordering) {
    if !Plant::NoFence.is_planted() {
        loom::sync::atomic::fence(order);
    }
}

fn exchange(atomic: &loom::sync::atomic::AtomicBool, value: bool, order: Ordering) {
    atomic.swap(value, order);
}

fn put_u64(atomic: &loom::sync::atomic::AtomicU64, value: u64, order: Ordering) {
    atomic.store(value, order);
}

fn put_usize(atomic: &loom::sync::atomic::AtomicUsize, value: usize, order: Ordering) {
    atomic.store(value, order);
}

macro_rules! atomic {
    ($name:ident, $value:ty, $put:ident, $($exchange:ident: $act:expr),*) => {
        /// An atomic of the model checker.
        #[derive(Debug, Default)]
        pub struct $name(loom::sync::atomic::$name);

        #[allow(missing_docs, reason = "as in the standard library")]
        impl $name {
            pub fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            pub fn load(&self, order: Ordering) -> $value {
                self.0.load(of_load(order))
            }

            pub fn store(&self, value: $value, order: Ordering) {
                $put(&self.0, value, of_store(order));
            }

            $(pub fn $exchange(&self, value: $value, order: Ordering) -> $value {
                if Plant::SplitExchange.is_planted() {
                    let before = self.0.load(Ordering::Acquire);
                    let act: fn($value, $value) -> $value = $act;
                    self.0.store(act(before, value), Ordering::Release);
                    return before;
                }
                self.0.$exchange(value, of_exchange(order))
            })*
        }
    };
}

// An exchange that raced with a plain store may be read back by the checker as if the store had come
// before it, which no machine can show. Where the engine exchanges and stores, a store is an exchange.
atomic!(AtomicBool, bool, exchange, swap: |_, value| value);
atomic!(AtomicU64, u64, put_u64,
    fetch_add: u64::wrapping_add, fetch_or: |before, bits| before | bits);
atomic!(AtomicUsize, usize, put_usize,
    fetch_add: usize::wrapping_add, fetch_sub: usize::wrapping_sub, fetch_min: usize::min);
