//! Numbers of 192 bits in decimal digits.
//!
//! Owns: the division, by multiplication with a reciprocal (Möller and Granlund, "Improved division
//! by invariant integers", algorithm 4): the processor's own division of 128 bits is several times
//! slower, and an answer has thousands of these numbers.

/// Digits taken off by one division.
const CHUNK_DIGITS: usize = 18;
const CHUNK: u64 = 1_000_000_000_000_000_000;
/// The divisor's highest bit is moved to the top for the reciprocal.
const SHIFT: u32 = CHUNK.leading_zeros();
const DIVISOR: u64 = CHUNK << SHIFT;
const RECIPROCAL: u64 = (u128::MAX / (DIVISOR as u128) - (1 << 64)) as u64;
/// 2^192 has 58 digits; four chunks have room for 72.
const DIGITS_MAX: usize = 4 * CHUNK_DIGITS;

/// A number's decimal digits, without leading zeros.
#[derive(Debug, Clone, Copy)]
pub struct Digits {
    bytes: [u8; DIGITS_MAX],
    begin: usize,
}

impl Digits {
    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("digits are ASCII")
    }

    /// The digits, in ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.begin..]
    }
}

/// The digits of the number whose 64-bit parts these are, lowest first.
pub(super) fn digits(mut parts: [u64; 3]) -> Digits {
    let mut bytes = [b'0'; DIGITS_MAX];
    for chunk in bytes.rchunks_exact_mut(CHUNK_DIGITS) {
        write_chunk(chunk, divide(&mut parts));
        if parts == [0; 3] {
            break;
        }
    }
    let leading = bytes.iter().take_while(|digit| **digit == b'0').count();
    Digits {
        bytes,
        begin: leading.min(DIGITS_MAX - 1),
    }
}

/// Divides by [`CHUNK`] in place; the remainder is returned.
fn divide(parts: &mut [u64; 3]) -> u64 {
    // The dividend is shifted like the divisor; what leaves the top is the first remainder.
    let mut remainder = parts[2] >> (64 - SHIFT);
    for at in (0..3).rev() {
        let below = if at == 0 {
            0
        } else {
            parts[at - 1] >> (64 - SHIFT)
        };
        (parts[at], remainder) = divide_two(remainder, (parts[at] << SHIFT) | below);
    }
    remainder >> SHIFT
}

/// Divides `high` and `low` by [`DIVISOR`]; `high` must be below it.
fn divide_two(high: u64, low: u64) -> (u64, u64) {
    let estimate =
        u128::from(RECIPROCAL) * u128::from(high) + ((u128::from(high) << 64) | u128::from(low));
    let (mut quotient, fraction) = ((estimate >> 64) as u64, estimate as u64);
    quotient = quotient.wrapping_add(1);
    let mut remainder = low.wrapping_sub(quotient.wrapping_mul(DIVISOR));
    if remainder > fraction {
        quotient = quotient.wrapping_sub(1);
        remainder = remainder.wrapping_add(DIVISOR);
    }
    if remainder >= DIVISOR {
        quotient = quotient.wrapping_add(1);
        remainder -= DIVISOR;
    }
    (quotient, remainder)
}

/// Writes `value` with leading zeros: as two halves of 32 bits, whose divisions are cheap and do not
/// wait for each other.
fn write_chunk(chunk: &mut [u8], value: u64) {
    const HALF: u64 = 1_000_000_000;
    let (high, low) = chunk.split_at_mut(CHUNK_DIGITS / 2);
    write_half(high, (value / HALF) as u32);
    write_half(low, (value % HALF) as u32);
}

/// Writes nine digits.
fn write_half(half: &mut [u8], value: u32) {
    const PAIRS: [[u8; 2]; 100] = pairs();
    let (high, low) = (value / 10_000, value % 10_000);
    let (first, middle) = (high / 10_000, high % 10_000);
    half[0] = b'0' + first as u8;
    for (pair, at) in [
        (middle / 100, 1),
        (middle % 100, 3),
        (low / 100, 5),
        (low % 100, 7),
    ] {
        half[at..at + 2].copy_from_slice(&PAIRS[pair as usize]);
    }
}

const fn pairs() -> [[u8; 2]; 100] {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the schoolbook: one digit at a time.
    fn slowly(mut parts: [u64; 3]) -> String {
        let mut text = Vec::new();
        while text.is_empty() || parts != [0; 3] {
            let mut remainder = 0_u128;
            for part in parts.iter_mut().rev() {
                let value = (remainder << 64) | u128::from(*part);
                *part = (value / 10) as u64;
                remainder = value % 10;
            }
            text.push(b'0' + remainder as u8);
        }
        text.reverse();
        String::from_utf8(text).unwrap()
    }

    fn edge() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            Just(0),
            Just(u64::MAX),
            Just(CHUNK),
            Just(CHUNK - 1),
            (0_u32..64).prop_map(|bit| 1 << bit),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]
        #[test]
        fn digits_are_those_of_the_schoolbook(low in edge(), middle in edge(), high in edge()) {
            let parts = [low, middle, high];
            prop_assert_eq!(digits(parts).as_str().to_owned(), slowly(parts));
        }

        #[test]
        fn a_division_gives_quotient_and_remainder(high in edge(), low in edge()) {
            let high = high % DIVISOR;
            let value = (u128::from(high) << 64) | u128::from(low);
            let (quotient, remainder) = divide_two(high, low);
            prop_assert_eq!(u128::from(quotient), value / u128::from(DIVISOR));
            prop_assert_eq!(u128::from(remainder), value % u128::from(DIVISOR));
        }
    }

    #[test]
    fn nothing_is_one_digit() {
        assert_eq!(digits([0; 3]).as_str(), "0");
        assert_eq!(digits([7, 0, 0]).as_str(), "7");
    }
}
