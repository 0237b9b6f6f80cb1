//! What is decided before the first send: when sends are due, and the random numbers of a run.
//!
//! Owns: the schedule. Never: the clock that it is compared with.

use crate::args::Arrivals;

/// Random numbers of one seed: SplitMix64, enough for fill bytes and arrivals.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of `seed`, apart for every `lane`.
    pub(crate) fn new(seed: u64, lane: u64) -> Self {
        let mut random = Self(seed ^ lane.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1].
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// When the batches of one thread are due, in nanoseconds since the run's start. It never waits
/// for anybody: what is late stays due.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    interval_ns: f64,
    arrivals: Arrivals,
    random: Random,
    next_ns: f64,
    index: u64,
    phase_ns: f64,
}

impl Schedule {
    /// `batches_per_second` of one thread; `phase`, from 0 to 1, shifts it against other threads.
    pub(crate) fn new(
        batches_per_second: f64,
        arrivals: Arrivals,
        random: Random,
        phase: f64,
    ) -> Self {
        assert!(batches_per_second > 0.0, "a schedule sends something");
        let interval_ns = 1e9 / batches_per_second;
        let phase_ns = phase * interval_ns;
        let mut schedule = Self {
            interval_ns,
            arrivals,
            random,
            next_ns: phase_ns,
            index: 0,
            phase_ns,
        };
        if arrivals == Arrivals::Poisson {
            schedule.next_ns = schedule.gap();
        }
        schedule
    }

    fn gap(&mut self) -> f64 {
        -self.random.unit().ln() * self.interval_ns
    }

    /// When the next batch is due.
    pub(crate) fn due_ns(&self) -> u64 {
        self.next_ns as u64
    }

    /// Goes on to the batch after it.
    pub(crate) fn advance(&mut self) {
        self.index += 1;
        self.next_ns = match self.arrivals {
            // Multiplied, not added up: a rounding error must not grow with the run.
            Arrivals::Constant => self.index as f64 * self.interval_ns + self.phase_ns,
            Arrivals::Poisson => self.next_ns + self.gap(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sends(arrivals: Arrivals, seed: u64) -> Vec<u64> {
        let mut schedule = Schedule::new(10_000.0, arrivals, Random::new(seed, 0), 0.5);
        let mut out = Vec::new();
        while schedule.due_ns() < 10_000_000_000 {
            out.push(schedule.due_ns());
            schedule.advance();
        }
        out
    }

    #[test]
    fn constant_arrivals_do_not_drift() {
        let out = sends(Arrivals::Constant, 1);
        assert_eq!(out.len(), 100_000);
        assert_eq!((out[0], out[99_999]), (50_000, 9_999_950_000));
    }

    #[test]
    fn poisson_arrivals_keep_the_mean_and_the_variance() {
        let out = sends(Arrivals::Poisson, 1);
        assert!(
            (out.len() as f64 - 100_000.0).abs() < 1_500.0,
            "{}",
            out.len()
        );
        // In a Poisson process a tenth of a second holds 1,000 sends, give or take 32.
        let mut windows = [0_f64; 100];
        for at in &out {
            windows[(*at / 100_000_000) as usize] += 1.0;
        }
        let mean = out.len() as f64 / 100.0;
        let variance = windows.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / 99.0;
        assert!((500.0..2_000.0).contains(&variance), "{variance}");
        assert_eq!(out, sends(Arrivals::Poisson, 1), "one seed, one schedule");
        assert_ne!(out, sends(Arrivals::Poisson, 2));
    }
}
