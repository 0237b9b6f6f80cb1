//! The words of sharing between threads, as in the reactor's module of this name.
//!
//! Owns: nothing. The bytes of an answer are let go of by hyper, which may be anywhere as far as the
//! compiler knows; files that count them take these words from here, and are compiled a second time
//! in `tests/weave` for a model checker.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub(crate) use futures_util::task::AtomicWaker;
