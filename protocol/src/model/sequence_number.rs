//! The outside face of an offset: AWS's 56-digit decimal.

use std::fmt;

use thiserror::Error;

use super::decimal::{self, Digits};
use super::{Offset, ShardIndex, Timestamp};

/// AWS's sequence number: 186 bits, printed as a decimal that starts with 49 and has 56 digits.
///
/// As 47 hex digits, from the left: `2`, nine of the shard's creation time in seconds, one of the
/// shard index's low nibble, sixteen of the sequence index, `00`, nine of the record's time in
/// seconds, eight of the shard index, and the version `2`.
///
/// Beside records, a number can stand for *progress*: everything before an offset was given out.
/// Such a number has `01` for the `00`. So it is larger than the number of the record before that
/// place, however late that one came, and smaller than the one of the record behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber {
    high: u64,
    low: u128,
}

/// A decimal that is no sequence number of this layout.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{text}\" is not a sequence number")]
pub struct InvalidSequenceNumber {
    /// What was found, cut to 64 characters.
    pub text: String,
}

const SECONDS_MASK: u64 = (1 << 36) - 1;
/// Times at or above this many seconds are refused, as AWS does.
const SECONDS_END: u64 = 16_025_175_000;
/// Numbers of the layout that AWS gave up long ago have this bit, the 32nd hex digit, and none above:
/// nine digits of the shard's creation time follow, and the last four are the shard's index. It is added
/// where it lacks, as AWS does.
const ANCIENT: u128 = 1 << 124;
/// The version of another layout that AWS gave up, which is as long as today's: the record's time stands
/// where the index stands today.
const SECOND_LAYOUT: u128 = 1;
const INDEX_CLOSED: u64 = 0x7fff_ffff_ffff_ffff;
/// Marks progress, in the eight bits between index and time that are zero otherwise.
const PROGRESS: u128 = 1 << 72;

impl SequenceNumber {
    /// The number of the record at `offset`: its index is the offset plus one.
    pub fn of_record(
        shard: ShardIndex,
        created: Timestamp,
        offset: Offset,
        arrival: Timestamp,
    ) -> Self {
        Self::build(shard, created, offset.get() + 1, arrival)
    }

    /// A shard's starting number: index 0 at its creation time.
    pub fn of_shard_start(shard: ShardIndex, created: Timestamp) -> Self {
        Self::build(shard, created, 0, created)
    }

    /// A closed shard's ending number.
    pub fn of_shard_end(shard: ShardIndex, created: Timestamp, closed: Timestamp) -> Self {
        Self::build(shard, created, INDEX_CLOSED, closed)
    }

    /// The number that says at `time` that every record before `next` was given out.
    pub fn of_progress(
        shard: ShardIndex,
        created: Timestamp,
        next: Offset,
        time: Timestamp,
    ) -> Self {
        let mut number = Self::build(shard, created, next.get(), time);
        number.low |= PROGRESS;
        number
    }

    fn build(shard: ShardIndex, created: Timestamp, index: u64, time: Timestamp) -> Self {
        let created = created.as_secs() & SECONDS_MASK;
        let time = time.as_secs() & SECONDS_MASK;
        let high = (2 << 56) | (created << 20) | (u64::from(shard.0 & 0xf) << 16) | (index >> 48);
        let low = (u128::from(index & 0xffff_ffff_ffff) << 80)
            | (u128::from(time) << 36)
            | (u128::from(shard.0) << 4)
            | 2;
        Self { high, low }
    }

    /// The sequence index: 0 for a shard's start, the offset plus one for a record.
    pub fn index(self) -> u64 {
        if self.is_ancient() {
            return 0;
        }
        ((self.high & 0xffff) << 48) | (self.low >> 80) as u64
    }

    /// The offset of the record with this number; `None` for a shard's start or end.
    pub fn offset(self) -> Option<Offset> {
        match self.index() {
            0 | INDEX_CLOSED => None,
            index => Offset::new(index - 1),
        }
    }

    /// Whether this number stands for progress; then [`Self::offset`] is the one of the record
    /// before the place that was reached.
    pub fn is_progress(self) -> bool {
        !self.is_ancient() && self.low & PROGRESS != 0
    }

    /// The shard that this number encodes.
    pub fn shard(self) -> ShardIndex {
        if self.high == 0 {
            return ShardIndex((self.low & 0xffff) as u32);
        }
        ShardIndex((self.low >> 4) as u32)
    }

    /// When its shard was created, to the second.
    pub fn shard_created(self) -> Timestamp {
        let seconds = if self.high == 0 {
            (self.low >> 88) as u64
        } else {
            self.high >> 20
        };
        Timestamp::from_millis((seconds & SECONDS_MASK) * 1000)
    }

    /// The record's time, to the second; in the oldest layout that is the shard's creation.
    pub fn time(self) -> Timestamp {
        let seconds = match self.low & 0xf {
            _ if self.high == 0 => return self.shard_created(),
            SECOND_LAYOUT => (self.high & 0xff) << 28 | (self.low >> 100) as u64,
            _ => (self.low >> 36) as u64,
        };
        Timestamp::from_millis((seconds & SECONDS_MASK) * 1000)
    }

    /// Reads the decimal. Values below 2^128 are numbers of a layout that AWS gave up long ago, "0" and
    /// "5" among them; their index is 0.
    pub fn parse(text: &str) -> Result<Self, InvalidSequenceNumber> {
        let invalid = || InvalidSequenceNumber {
            text: text.chars().take(64).collect(),
        };
        let canonical = text == "0" || !text.starts_with('0');
        if text.is_empty() || text.len() > 57 || !canonical {
            return Err(invalid());
        }
        let (mut high, mut low) = (0_u64, 0_u128);
        for byte in text.bytes() {
            if !byte.is_ascii_digit() {
                return Err(invalid());
            }
            // value = value * 10 + digit, over 192 bits in steps of 64.
            let digit = u128::from(byte - b'0');
            let step0 = (low & u128::from(u64::MAX)) * 10 + digit;
            let step1 = (low >> 64) * 10 + (step0 >> 64);
            let step2 = u128::from(high) * 10 + (step1 >> 64);
            low = (step1 << 64) | (step0 & u128::from(u64::MAX));
            high = u64::try_from(step2).map_err(|_| invalid())?;
        }
        if high == 0 {
            let low = (low & (ANCIENT - 1)) | ANCIENT;
            let ancient = Self { high, low };
            let is_time = ancient.shard_created().as_secs() < SECONDS_END;
            return is_time.then_some(ancient).ok_or_else(invalid);
        }
        let number = Self { high, low };
        let is_second = low & 0xf == SECOND_LAYOUT;
        let whole = high >> 56 == 2 && (is_second || low & 0xf == 2);
        let mark = is_second || (low >> 72) as u8 <= 1;
        let is_shard = number.shard().0 >> 31 == 0;
        let nibble = (high >> 16) & 0xf == u64::from(number.shard().0 & 0xf);
        let times =
            number.time().as_secs() < SECONDS_END && number.shard_created().as_secs() < SECONDS_END;
        if whole && mark && is_shard && nibble && times && number.index() >> 63 == 0 {
            Ok(number)
        } else {
            Err(invalid())
        }
    }

    /// The decimal: every record of every answer has one, so it is made without a formatter.
    pub fn digits(self) -> Digits {
        decimal::digits([self.low as u64, (self.low >> 64) as u64, self.high])
    }

    /// Whether this is a number of one of the two given-up layouts.
    pub fn is_ancient(self) -> bool {
        self.high == 0 || self.low & 0xf == SECOND_LAYOUT
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits().as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CREATED: Timestamp = Timestamp::from_millis(1_763_900_000_000);

    #[test]
    fn it_looks_like_the_ones_of_aws() {
        let start = SequenceNumber::of_shard_start(ShardIndex(0), CREATED).to_string();
        assert_eq!(start.len(), 56);
        assert!(start.starts_with("49"), "{start}");
        let record = SequenceNumber::of_record(ShardIndex(0), CREATED, Offset::ZERO, CREATED);
        assert!(record.to_string() > start);
        assert_eq!(record.index(), 1);
    }

    #[test]
    fn progress_at_the_start_of_a_shard_names_no_record() {
        let start = SequenceNumber::of_progress(ShardIndex(0), CREATED, Offset::ZERO, CREATED);
        assert!(start > SequenceNumber::of_shard_start(ShardIndex(0), CREATED));
        assert_eq!(start.offset(), None);
        assert_eq!(start.index(), 0);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "x",
            "-1",
            "007",
            "1e5",
            &"9".repeat(57),
            &"9".repeat(56),
        ] {
            assert!(SequenceNumber::parse(text).is_err(), "{text}");
        }
        assert_eq!(SequenceNumber::parse("0").unwrap().index(), 0);
    }

    #[test]
    fn ancient_numbers_name_a_shard() {
        for (text, shard, whole) in [
            ("0", 0, "21267647932558653966460912964485513216"),
            ("5", 5, "21267647932558653966460912964485513221"),
            (
                "425352958651173072921826052383309826",
                2,
                "21693000891209827039382739016868823042",
            ),
            // 0xf3bb2cc3d7ff7fffffffffffffff0000: whatever the first digit is.
            (
                "323974270430642978495705530411780079616",
                0,
                "26227199374821822965252748908982894592",
            ),
        ] {
            let number = SequenceNumber::parse(text).unwrap();
            assert!(number.is_ancient() && !number.is_progress(), "{text}");
            assert_eq!(number.shard(), ShardIndex(shard), "{text}");
            assert_eq!((number.index(), number.offset()), (0, None), "{text}");
            assert_eq!(number.to_string(), whole);
        }
        // A creation time that is too large: 0x13bb2cc3d80000000000000000000000.
        assert!(SequenceNumber::parse("26227199374822427428162556223570313216").is_err());
    }

    #[test]
    fn the_second_layout_has_its_time_elsewhere() {
        // 2, nine digits of zero, 0, 00, nine digits of the time, zeros, the shard 7, 1.
        let bits = |seconds: u64| SequenceNumber {
            high: (2 << 56) | (7 << 16) | (seconds >> 28),
            low: (u128::from(seconds) << 100) | (7 << 4) | 1,
        };
        let number = bits(1_763_900_000);
        assert_eq!(SequenceNumber::parse(&number.to_string()), Ok(number));
        assert!(number.is_ancient());
        assert_eq!(number.time().as_secs(), 1_763_900_000);
        assert_eq!((number.shard(), number.offset()), (ShardIndex(7), None));
        assert!(SequenceNumber::parse(&bits(SECONDS_END).to_string()).is_err());
    }

    #[test]
    fn indices_have_no_top_bit() {
        for text in [
            "49039857307719593840066370180380661734935976090628259842",
            "49039857307708443467467104868809893875799651944235008002",
        ] {
            assert!(SequenceNumber::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_survives_its_decimal(
            shard in 0_u32..10_000,
            raw in 0_u64..(1 << 63) - 1,
            created in 1_500_000_000_000_u64..4_000_000_000_000,
            age in 0_u64..1_000_000_000,
        ) {
            let offset = Offset::new(raw).unwrap();
            prop_assume!(raw + 1 < INDEX_CLOSED);
            let created = Timestamp::from_millis(created);
            let arrival = Timestamp::from_millis(created.as_millis() + age);
            let number = SequenceNumber::of_record(ShardIndex(shard), created, offset, arrival);
            let back = SequenceNumber::parse(&number.to_string()).unwrap();
            prop_assert_eq!(back, number);
            prop_assert_eq!(back.offset(), Some(offset));
            prop_assert_eq!(back.shard(), ShardIndex(shard));
            prop_assert_eq!(back.time().as_secs(), arrival.as_secs());
        }

        #[test]
        fn progress_lies_between_two_records(
            raw in 1_u64..1 << 62,
            early in 1_700_000_000_000_u64..1_800_000_000_000,
            late in 1_700_000_000_000_u64..1_800_000_000_000,
            later in 0_u64..1_000_000,
        ) {
            let at = |raw, time| SequenceNumber::of_record(
                ShardIndex(3), CREATED, Offset::new(raw).unwrap(), Timestamp::from_millis(time));
            let next = Offset::new(raw).unwrap();
            let progress = |time| SequenceNumber::of_progress(
                ShardIndex(3), CREATED, next, Timestamp::from_millis(time));
            let reached = progress(early);
            prop_assert!(at(raw - 1, late) < reached);
            prop_assert!(reached < at(raw, late));
            prop_assert!(reached <= progress(early + later));
            let back = SequenceNumber::parse(&reached.to_string()).unwrap();
            prop_assert_eq!(back, reached);
            prop_assert!(back.is_progress() && !at(raw, late).is_progress());
            prop_assert_eq!(back.offset(), Offset::new(raw - 1));
        }

        #[test]
        fn it_orders_by_index(a in 0_u64..1 << 62, b in 0_u64..1 << 62) {
            let at = |raw| SequenceNumber::of_record(
                ShardIndex(3), CREATED, Offset::new(raw).unwrap(), CREATED);
            prop_assert_eq!(at(a).cmp(&at(b)), a.cmp(&b));
        }
    }
}
