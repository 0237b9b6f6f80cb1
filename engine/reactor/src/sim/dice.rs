//! The simulator's only source of chance.
//!
//! Owns: the generator (splitmix64: tiny, seedable, good enough to draw schedules). Never: real
//! randomness.

/// A seeded generator. Tests may make their own with [`Dice::new`] so that what they draw does not
/// shift what the machine draws.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// A generator that draws the same row for the same seed.
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed ^ 0x5eed_0fa1_1d1c_e000,
        }
    }

    /// Sixty-four bits.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing lies below zero");
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "{low} is above {high}");
        low + self.below(high - low + 1)
    }

    /// True `times` times in ten thousand.
    pub fn chance(&mut self, times: u32) -> bool {
        times > 0 && self.below(10_000) < u64::from(times)
    }

    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.draw() & 1 == 1
    }

    /// Which of `count` sectors arrive when a write is cut short. Uniform coins alone would hardly
    /// ever draw "all", "none" or "all but one", which are where bugs live: so the shape is drawn
    /// first.
    pub(super) fn subset(&mut self, count: usize) -> Vec<bool> {
        if count == 0 {
            return Vec::new();
        }
        let pivot = self.below(count as u64) as usize;
        let shape = self.below(7);
        (0..count)
            .map(|index| match shape {
                0 => false,
                1 => true,
                2 => index < pivot,
                3 => index >= pivot,
                4 => index != pivot,
                5 => index == pivot,
                _ => self.coin(),
            })
            .collect()
    }
}
