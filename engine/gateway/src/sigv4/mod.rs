//! Signature Version 4: what a request claims about its signer, and whether that is true.
//!
//! In reading order: `claim` (both forms of it), `moment` (when it was signed), `canonical` (what was
//! signed), `key_ring` (by whom), `signing_keys` (with what), `verify` (the order of checks and
//! AWS's texts).

mod canonical;
mod claim;
mod key_ring;
mod moment;
mod signing_keys;
mod verify;

pub(crate) use canonical::Digest;
pub(crate) use claim::Claim;
pub(crate) use key_ring::is_account;
pub use key_ring::{KeyRing, KeyRingError};
pub(crate) use signing_keys::SigningKeys;
pub(crate) use verify::{Asked, check_head, is_region, verify};

#[cfg(test)]
mod tests;
