//! Times of single operations, and what is said of them.

use std::time::Duration;

/// Times in nanoseconds; all are kept, for there are few.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    nanoseconds: Vec<u64>,
}

/// Percentiles of one series, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Percentiles {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Samples {
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self {
            nanoseconds: Vec::with_capacity(count),
        }
    }

    pub(crate) fn push(&mut self, took: Duration) {
        self.nanoseconds.push(took.as_nanos() as u64);
    }

    /// Zeros if there is no sample.
    pub(crate) fn percentiles(mut self) -> Percentiles {
        self.nanoseconds.sort_unstable();
        let at = |share: f64| {
            let rank = (self.nanoseconds.len() as f64 * share).ceil() as usize;
            let value = self.nanoseconds.get(rank.saturating_sub(1));
            value.copied().unwrap_or(0)
        };
        Percentiles {
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let mut samples = Samples::default();
        for n in (1..=100).rev() {
            samples.push(Duration::from_nanos(n));
        }
        let found = samples.percentiles();
        assert_eq!((found.p50, found.p99, found.max), (50, 99, 100));
        assert_eq!(Samples::default().percentiles().max, 0);
    }
}
