//! Signing keys: what a secret becomes for one day and one region.
//!
//! Owns: their derivation, and a bounded store of those in use.

use std::cell::RefCell;

use hmac::{Hmac, KeyInit, Mac};
use rustc_hash::FxHashMap;
use sha2::Sha256;

/// Signing keys that one core keeps. They are kept after a good signature only, so that nobody
/// without a secret can fill the store; beyond the bound it starts anew.
const KEPT_MAX: usize = 1_024;

/// HMAC-SHA256, keyed.
pub(super) type Keyed = Hmac<Sha256>;

/// The signing keys that a core has used.
#[derive(Default)]
pub(crate) struct SigningKeys {
    kept: RefCell<FxHashMap<String, Keyed>>,
}

impl SigningKeys {
    /// The key for a credential (`AKID/yyyymmdd/region/kinesis/aws4_request`), if it is kept.
    pub(super) fn kept(&self, credential: &str) -> Option<Keyed> {
        self.kept.borrow().get(credential).cloned()
    }

    /// Keeps the key of a credential that has proven good.
    pub(super) fn keep(&self, credential: &str, key: Keyed) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(credential.to_owned(), key);
    }

    /// Forgets all: the secrets have changed.
    pub(crate) fn forget(&self) {
        self.kept.borrow_mut().clear();
    }
}

/// Derives the signing key from the keyed secret, through the four parts of the scope.
pub(super) fn derive(secret: &Keyed, scope: &str) -> Keyed {
    scope.split('/').fold(secret.clone(), |key, part| {
        let next = key.chain_update(part).finalize().into_bytes();
        Keyed::new_from_slice(&next).expect("HMAC takes keys of any length")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_bounded() {
        let keys = SigningKeys::default();
        let key = Keyed::new_from_slice(b"AWS4").unwrap();
        for number in 0..=KEPT_MAX * 2 {
            keys.keep(&number.to_string(), key.clone());
            assert!(keys.kept.borrow().len() <= KEPT_MAX);
        }
        let last = (KEPT_MAX * 2).to_string();
        assert!(keys.kept(&last).is_some());
        keys.forget();
        assert!(keys.kept(&last).is_none());
    }
}
