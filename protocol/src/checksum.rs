//! CRC-32C, the one checksum of the disk and the wire.
//!
//! Owns: the choice of polynomial and crates, behind three functions. Castagnoli's polynomial is the
//! one that processors compute in hardware. Whole payloads go through `crc-fast`, which also uses
//! wide carry-less multiplication: 53 against 19 GB/s on 512 KiB in cache, 20 against 12 GB/s from
//! memory. Continuing and combining are for a few bytes, and stay with `crc32c`.

/// CRC-32C of `bytes`.
pub fn crc(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// CRC-32C of what `so_far` covers followed by `bytes`.
pub fn extend(so_far: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(so_far, bytes)
}

/// CRC-32C of two neighbouring runs of bytes, from their checksums and the second one's length:
/// how batches are merged later without touching their payload.
pub fn combine(first: u32, second: u32, second_bytes: usize) -> u32 {
    crc32c::crc32c_combine(first, second, second_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_castagnolis() {
        assert_eq!(crc(b"123456789"), 0xe306_9283);
        assert_eq!(crc(b""), 0);
    }

    proptest! {
        #[test]
        fn pieces_and_crates_agree(
            bytes in proptest::collection::vec(any::<u8>(), 0..3_000),
            cut in 0_usize..3_000,
        ) {
            let (head, rest) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(crc(&bytes), crc32c::crc32c(&bytes));
            prop_assert_eq!(crc(&bytes), extend(crc(head), rest));
            prop_assert_eq!(crc(&bytes), combine(crc(head), crc(rest), rest.len()));
        }
    }
}
