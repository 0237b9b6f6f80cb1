//! Bytes taken from a core's ceiling until they are let go of.
//!
//! Owns: the count of what is held. Never: the bytes. A core takes; they may end anywhere.

use std::sync::Arc;

use crate::sync::{AtomicUsize, Ordering};

/// A body up to this may also be read when only the ceiling's last part is free: calls that manage
/// streams, and single records, go on while long bodies wait for their rest.
pub(crate) const SMALL_BYTES_MAX: usize = 64 * 1024;
/// That last part, of the whole.
const SMALL_PART: usize = 8;

/// Bytes taken from a ceiling.
#[derive(Debug)]
pub(crate) struct Lease {
    held: Arc<AtomicUsize>,
    most: usize,
    bytes: usize,
}

impl Lease {
    /// Takes `bytes` that exist already, past the ceiling if need be.
    pub(crate) fn take(held: &Arc<AtomicUsize>, most: usize, bytes: usize) -> Self {
        held.fetch_add(bytes, Ordering::Relaxed);
        Self {
            held: Arc::clone(held),
            most,
            bytes,
        }
    }

    /// Takes more, up to `bytes` in all. Only the ceiling's core does, so what is free between the
    /// look and the taking can only become more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Option<()> {
        let more = bytes.saturating_sub(self.bytes);
        let held = self.held.load(Ordering::Relaxed).saturating_add(more);
        let is_small = bytes <= SMALL_BYTES_MAX;
        let kept_free = if is_small { 0 } else { self.most / SMALL_PART };
        if held > self.most - kept_free {
            return None;
        }
        self.held.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        Some(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let held = self.held.fetch_sub(self.bytes, Ordering::Relaxed);
        assert!(held >= self.bytes, "a lease is returned once");
    }
}
