//! CRC-32C, the one checksum of the disk and the wire.
//!
//! Owns: the choice of polynomial and crate, behind three functions. Castagnoli's polynomial is the
//! one that processors compute in hardware.

/// CRC-32C of `bytes`.
pub fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
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
