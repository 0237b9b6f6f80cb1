//! A record's place in its shard.

use std::fmt;
use std::ops::{Add, Sub};

use crate::limits::{EPOCH_MAX, OFFSET_COUNT_BITS};

/// A number of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Count(pub u32);

/// How often a shard's numbering was restarted after an unclean recovery or a log fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(u16);

impl Epoch {
    /// The raw number, at most [`EPOCH_MAX`].
    pub const fn get(self) -> u16 {
        self.0
    }

    /// From the raw number; `None` above [`EPOCH_MAX`].
    pub const fn new(raw: u16) -> Option<Self> {
        if raw <= EPOCH_MAX {
            Some(Self(raw))
        } else {
            None
        }
    }

    /// The one that follows; `None` when they are used up.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

/// A record's place in its shard: 15 bits of epoch above 48 bits of count.
///
/// Offsets are dense within an epoch only. An epoch rises before the first append that follows an
/// unclean recovery, so a number that was handed out once is never handed out again, even if its
/// record was lost unacknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(u64);

const COUNT_MASK: u64 = (1 << OFFSET_COUNT_BITS) - 1;

impl Offset {
    /// The first offset of every shard.
    pub const ZERO: Self = Self(0);
    /// Above every offset that can be handed out.
    pub const MAX: Self = Self((1 << 63) - 1);

    /// From the raw number; `None` if its top bit is set.
    pub const fn new(raw: u64) -> Option<Self> {
        if raw >> 63 == 0 {
            Some(Self(raw))
        } else {
            None
        }
    }

    /// The raw number; its top bit is clear.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The epoch this offset belongs to.
    pub const fn epoch(self) -> Epoch {
        Epoch((self.0 >> OFFSET_COUNT_BITS) as u16)
    }

    /// The same count in the next epoch; `None` when the epochs are used up.
    #[must_use]
    pub const fn next_epoch(self) -> Option<Self> {
        let epoch = self.epoch().0;
        if epoch == EPOCH_MAX {
            return None;
        }
        Some(Self(
            (((epoch + 1) as u64) << OFFSET_COUNT_BITS) | (self.0 & COUNT_MASK),
        ))
    }

    /// The same count in `epoch`, which must not lie before this offset's own.
    #[must_use]
    pub const fn raised_to(self, epoch: Epoch) -> Self {
        assert!(epoch.0 >= self.epoch().0, "epochs only rise");
        Self(((epoch.0 as u64) << OFFSET_COUNT_BITS) | (self.0 & COUNT_MASK))
    }

    /// This offset plus `count` records; `None` if the count would spill into the epoch.
    #[must_use]
    pub const fn checked_add(self, count: Count) -> Option<Self> {
        let next = (self.0 & COUNT_MASK) + count.0 as u64;
        if next > COUNT_MASK {
            None
        } else {
            Some(Self(self.0 + count.0 as u64))
        }
    }
}

impl Add<Count> for Offset {
    type Output = Self;

    /// Panics when 2^48 records of one epoch are passed: nine years at a million a second.
    fn add(self, count: Count) -> Self {
        self.checked_add(count)
            .expect("an epoch holds 2^48 records")
    }
}

impl Sub for Offset {
    type Output = u64;

    fn sub(self, other: Self) -> u64 {
        self.0 - other.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch().0, self.0 & COUNT_MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_rise_and_end() {
        let offset = Offset::ZERO + Count(7);
        let next = offset.next_epoch().unwrap();
        assert!(next > offset + Count(1_000_000));
        assert_eq!(next.epoch().get(), 1);
        assert_eq!(next.get() & COUNT_MASK, 7);
        assert_eq!(offset.raised_to(Epoch(1)), next);
        assert_eq!(next.raised_to(Epoch(1)), next);
        assert_eq!(Epoch(EPOCH_MAX).next(), None);
        let mut last = offset;
        for _ in 0..EPOCH_MAX {
            last = last.next_epoch().unwrap();
        }
        assert_eq!(last.next_epoch(), None);
        assert!(last.get() >> 63 == 0);
    }

    #[test]
    fn a_count_never_spills_into_the_epoch() {
        let last = Offset::new(COUNT_MASK).unwrap();
        assert_eq!(last.checked_add(Count(1)), None);
        assert_eq!(Offset::new(1 << 63), None);
    }
}
