//! The 128-bit space that shards divide among themselves.

use std::fmt;
use std::ops::RangeInclusive;

use md5::{Digest, Md5};
use thiserror::Error;

use super::key_hash;

/// A point of the hash space: MD5 of a partition key, or a producer's own choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashKey(u128);

impl HashKey {
    /// The lowest point.
    pub const MIN: Self = Self(0);
    /// The highest point.
    pub const MAX: Self = Self(u128::MAX);

    /// From the number itself.
    pub const fn new(raw: u128) -> Self {
        Self(raw)
    }

    /// The number itself.
    pub const fn get(self) -> u128 {
        self.0
    }

    /// The MD5 of the key's UTF-8 bytes, read as a big-endian number: AWS's contract.
    pub fn of_partition_key(key: &str) -> Self {
        Self::of_bytes(key.as_bytes())
    }

    fn of_bytes(key: &[u8]) -> Self {
        let digest = Md5::digest(key);
        // The contract reads the digest as one big-endian number; nothing else here is big-endian.
        Self(
            digest
                .iter()
                .fold(0, |value, byte| (value << 8) | u128::from(*byte)),
        )
    }

    /// [`Self::of_partition_key`] of many keys, several at a time, in their order.
    pub fn of_partition_keys<'k>(keys: impl IntoIterator<Item = &'k str>) -> Vec<Self> {
        let mut hashed = Vec::new();
        // Keys that wait for a full set of lanes, and their places.
        let mut waiting = [(0, &b""[..]); key_hash::LANES];
        let mut count = 0;
        for (place, key) in keys.into_iter().enumerate() {
            if key.len() > key_hash::KEY_BYTES_MAX {
                hashed.push(Self::of_partition_key(key));
                continue;
            }
            hashed.push(Self::MIN);
            waiting[count] = (place, key.as_bytes());
            count += 1;
            if count == waiting.len() {
                let digests = key_hash::digests(waiting.map(|(_, key)| key));
                for ((place, _), digest) in waiting.iter().zip(digests) {
                    hashed[*place] = Self(digest);
                }
                count = 0;
            }
        }
        for (place, key) in &waiting[..count] {
            hashed[*place] = Self::of_bytes(key);
        }
        hashed
    }

    /// Reads an explicit hash key: `0|([1-9]\d{0,38})`, below 2^128.
    pub fn parse_decimal(text: &str) -> Result<Self, InvalidHashKey> {
        let canonical = text == "0"
            || (!text.starts_with('0')
                && (1..=39).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_digit()));
        match text.parse::<u128>() {
            Ok(value) if canonical => Ok(Self(value)),
            _ => Err(InvalidHashKey {
                text: text.chars().take(64).collect(),
            }),
        }
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An explicit hash key outside the hash space.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{text}\" is not a hash key: expected a decimal number of the range [0, 2^128-1]")]
pub struct InvalidHashKey {
    /// What was found, cut to 64 characters.
    pub text: String,
}

/// The part of the hash space that a shard takes; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashKeyRange {
    /// Lowest key.
    pub start: HashKey,
    /// Highest key.
    pub end: HashKey,
}

impl HashKeyRange {
    /// The whole space.
    pub const ALL: Self = Self {
        start: HashKey::MIN,
        end: HashKey::MAX,
    };

    /// Whether `key` belongs to this range.
    pub fn contains(&self, key: HashKey) -> bool {
        RangeInclusive::new(self.start, self.end).contains(&key)
    }

    /// Divides the space as AWS does: every part has `floor(2^128 / count)` keys but the last,
    /// which also takes the remainder. Panics if `count` is zero.
    pub fn divide(count: u32) -> impl ExactSizeIterator<Item = Self> {
        assert!(count > 0, "a stream has at least one shard");
        // floor(2^128 / n) from (2^128 - 1): equal unless n divides 2^128.
        let n = u128::from(count);
        let size = if count == 1 {
            0 // never used as a step: the only part is the whole
        } else if u128::MAX % n == n - 1 {
            u128::MAX / n + 1
        } else {
            u128::MAX / n
        };
        (0..count).map(move |i| {
            let start = size * u128::from(i);
            let end = if i + 1 == count {
                u128::MAX
            } else {
                start + (size - 1)
            };
            Self {
                start: HashKey(start),
                end: HashKey(end),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_division_is_exact() {
        let halves: Vec<_> = HashKeyRange::divide(2).collect();
        assert_eq!(
            halves[1].start.to_string(),
            "170141183460469231731687303715884105728"
        );
        for count in [1, 2, 3, 4, 5, 7, 16, 1000, 10_000] {
            let parts: Vec<_> = HashKeyRange::divide(count).collect();
            assert_eq!(parts[0].start, HashKey::MIN);
            assert_eq!(parts[count as usize - 1].end, HashKey::MAX);
            for pair in parts.windows(2) {
                assert_eq!(pair[0].end.get() + 1, pair[1].start.get());
            }
        }
        let thirds: Vec<_> = HashKeyRange::divide(3).collect();
        assert_eq!(
            thirds[0].end.to_string(),
            "113427455640312821154458202477256070484"
        );
    }

    proptest! {
        #[test]
        fn many_keys_hash_as_each_does(
            keys in prop::collection::vec("[a-zü]{1,80}", 0..40),
        ) {
            let each: Vec<_> = keys.iter().map(|key| HashKey::of_partition_key(key)).collect();
            let all = HashKey::of_partition_keys(keys.iter().map(String::as_str));
            prop_assert_eq!(all, each);
        }
    }

    #[test]
    fn md5_is_read_big_endian() {
        // MD5("A") = 7fc56270e7a70fa81a5935b72eacbe29
        let expected = 0x7fc5_6270_e7a7_0fa8_1a59_35b7_2eac_be29;
        assert_eq!(HashKey::of_partition_key("A").get(), expected);
    }

    #[test]
    fn explicit_keys_are_canonical_decimals() {
        assert_eq!(HashKey::parse_decimal("0").unwrap(), HashKey::MIN);
        assert_eq!(
            HashKey::parse_decimal("340282366920938463463374607431768211455").unwrap(),
            HashKey::MAX
        );
        for text in [
            "",
            "00",
            "-1",
            "+1",
            "340282366920938463463374607431768211456",
            "1e3",
        ] {
            assert!(HashKey::parse_decimal(text).is_err(), "{text}");
        }
    }
}
