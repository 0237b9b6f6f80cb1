//! Times of many appends, mergeable.
//!
//! Owns: precision and bounds. Percentiles are read from merged histograms, never averaged.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest time told apart, in nanoseconds: longer ones count as this.
const LONGEST_NS: u64 = 300_000_000_000;

/// Times in nanoseconds, each to three significant digits.
#[derive(Debug, Clone)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3);
        Self(histogram.expect("the bounds are legal"))
    }

    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds.max(1));
    }

    /// Adds what `other` counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms share bounds");
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary {
            count: self.0.len(),
            mean: self.0.mean() as u64,
            p50: self.0.value_at_quantile(0.5),
            p90: self.0.value_at_quantile(0.9),
            p99: self.0.value_at_quantile(0.99),
            p99_9: self.0.value_at_quantile(0.999),
            p99_99: self.0.value_at_quantile(0.9999),
            max: if self.0.is_empty() { 0 } else { self.0.max() },
        }
    }
}

/// Percentiles in nanoseconds; all zero when nothing was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) mean: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p99_9: u64,
    pub(crate) p99_99: u64,
    pub(crate) max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_percentiles_are_those_of_all_values() {
        let (mut fast, mut slow) = (Times::new(), Times::new());
        (0..990).for_each(|_| fast.record(1_000_000));
        (0..10).for_each(|_| slow.record(2_000_000_000));
        fast.merge(&slow);
        let summary = fast.summary();
        assert_eq!(summary.count, 1000);
        assert!(summary.p50.abs_diff(1_000_000) < 2_000);
        assert!(summary.p99_9.abs_diff(2_000_000_000) < 2_000_000);
        assert!(summary.max >= 2_000_000_000);
        assert_eq!(Times::new().summary(), Summary::default());
    }
}
