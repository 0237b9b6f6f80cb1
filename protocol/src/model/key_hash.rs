//! MD5 of many short keys at once.
//!
//! Owns: keys of up to [`KEY_BYTES_MAX`] bytes, which fill one block of MD5 (RFC 1321). Never: longer
//! ones, or one alone; those go to the library. MD5's steps each wait for the one before, so one
//! key leaves most of a core idle; the lanes of a vector do not wait for each other.

/// Keys hashed together: as many words as the vectors have that every x86-64 processor has. Eight
/// were slower, for their state needs more registers than there are.
pub(super) const LANES: usize = 4;
/// Longest key: a block of 64 bytes less the mark of the end and the length.
pub(super) const KEY_BYTES_MAX: usize = 55;
const BLOCK_BYTES: usize = 64;

type Lane = [u32; LANES];

/// The digests of keys of at most [`KEY_BYTES_MAX`] bytes, as big-endian numbers.
pub(super) fn digests(keys: [&[u8]; LANES]) -> [u128; LANES] {
    let block = transpose(keys);
    let mut state = START.map(|word| [word; LANES]);
    turns::<0>(&mut state, &block);
    turns::<1>(&mut state, &block);
    turns::<2>(&mut state, &block);
    turns::<3>(&mut state, &block);
    std::array::from_fn(|lane| {
        let word = |at: usize| u128::from(state[at][lane].wrapping_add(START[at]).swap_bytes());
        (word(0) << 96) | (word(1) << 64) | (word(2) << 32) | word(3)
    })
}

/// The sixteen words of every key's only block.
fn transpose(keys: [&[u8]; LANES]) -> [Lane; 16] {
    let mut words = [[0; LANES]; 16];
    for (lane, key) in keys.into_iter().enumerate() {
        assert!(
            key.len() <= KEY_BYTES_MAX,
            "the caller looked at the length"
        );
        let mut block = [0; BLOCK_BYTES];
        block[..key.len()].copy_from_slice(key);
        block[key.len()] = 0x80;
        block[BLOCK_BYTES - 8..].copy_from_slice(&(8 * key.len() as u64).to_le_bytes());
        for (words, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
            words[lane] = u32::from_le_bytes(*bytes);
        }
    }
    words
}

/// One round: sixteen steps. Written out by fours, so that the words change places by name and
/// the round is known where it is compiled: half the time of two plain loops.
#[inline]
fn turns<const ROUND: usize>(state: &mut [Lane; 4], block: &[Lane; 16]) {
    for four in 0..4 {
        turn::<ROUND>(state, block, 4 * four);
        turn::<ROUND>(state, block, 4 * four + 1);
        turn::<ROUND>(state, block, 4 * four + 2);
        turn::<ROUND>(state, block, 4 * four + 3);
    }
}

/// One step; the state's words change places.
#[inline]
fn turn<const ROUND: usize>(state: &mut [Lane; 4], block: &[Lane; 16], step: usize) {
    let [a, b, c, d] = *state;
    let (place, turns) = (PLACES[ROUND][step], TURNS[ROUND][step % 4]);
    let constant = SINES[16 * ROUND + step];
    let mut next = [0; LANES];
    for lane in 0..LANES {
        let (b, c, d) = (b[lane], c[lane], d[lane]);
        let mixed = match ROUND {
            0 => d ^ (b & (c ^ d)),
            1 => c ^ (d & (b ^ c)),
            2 => b ^ c ^ d,
            _ => c ^ (b | !d),
        };
        next[lane] = a[lane]
            .wrapping_add(mixed)
            .wrapping_add(constant)
            .wrapping_add(block[place][lane])
            .rotate_left(turns)
            .wrapping_add(b);
    }
    *state = [d, next, b, c];
}

const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
const TURNS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];
/// Which word each step takes in.
const PLACES: [[usize; 16]; 4] = {
    let mut places = [[0; 16]; 4];
    let mut step = 0;
    while step < 16 {
        places[0][step] = step;
        places[1][step] = (5 * step + 1) % 16;
        places[2][step] = (3 * step + 5) % 16;
        places[3][step] = (7 * step) % 16;
        step += 1;
    }
    places
};
/// The sine of 1 to 64 radians, without its sign, times 2^32.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee,
    0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be,
    0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa,
    0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed,
    0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c,
    0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05,
    0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039,
    0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1,
    0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digests_are_those_of_the_library(
            keys in prop::collection::vec(
                prop::collection::vec(any::<u8>(), 0..=KEY_BYTES_MAX), LANES),
        ) {
            let lanes: [&[u8]; LANES] = std::array::from_fn(|lane| keys[lane].as_slice());
            for (key, digest) in lanes.into_iter().zip(digests(lanes)) {
                let expected = Md5::digest(key);
                prop_assert_eq!(digest.swap_bytes().to_le_bytes().to_vec(), expected.to_vec());
            }
        }
    }
}
