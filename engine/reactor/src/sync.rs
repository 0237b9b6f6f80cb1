//! The words of sharing between threads, from the standard library and two crates.
//!
//! Owns: nothing. Files that take these words from here are compiled a second time in `tests/weave`,
//! where the same words are a model checker's, which runs them in every order.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use std::sync::{Arc, Mutex, PoisonError};
pub(crate) use std::thread::{Thread, current, park_timeout};

pub(crate) use atomic_waker::AtomicWaker;
pub(crate) use crossbeam::queue::ArrayQueue;
