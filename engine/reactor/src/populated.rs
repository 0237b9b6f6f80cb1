//! Which parts of a mapped file may be touched: those that were brought in once without an error.
//!
//! Owns: one bit for each part. Never: the pages. Threads beside the cores note, cores look.

use std::ops::Range;

use crate::sync::{AtomicU64, Ordering};

/// What is populated, and noted as populated, in one go.
pub(crate) const GRANULE_BYTES: usize = 64 << 10;

/// A bit for each granule of a file.
pub(crate) struct Populated {
    words: Vec<AtomicU64>,
}

impl Populated {
    /// Nothing of `bytes` is there yet.
    pub(crate) fn new(bytes: usize) -> Self {
        let words = bytes.div_ceil(GRANULE_BYTES).div_ceil(64);
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Whether all of `range` may be touched.
    pub(crate) fn has(&self, range: &Range<usize>) -> bool {
        granules(range).all(|granule| {
            self.words[granule / 64].load(Ordering::Acquire) >> (granule % 64) & 1 == 1
        })
    }

    /// Every granule that `range` touches is there.
    pub(crate) fn note(&self, range: &Range<usize>) {
        for granule in granules(range) {
            self.words[granule / 64].fetch_or(1 << (granule % 64), Ordering::Release);
        }
    }
}

fn granules(range: &Range<usize>) -> Range<usize> {
    range.start / GRANULE_BYTES..range.end.div_ceil(GRANULE_BYTES)
}
