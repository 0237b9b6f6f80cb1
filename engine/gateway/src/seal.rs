//! Opaque tokens: what a client carries for us and cannot read, change or make.
//!
//! Owns: encryption, authentication and age of tokens. Never: what they mean; see
//! [`crate::iterator`] and [`crate::page`].
//!
//! A token is 8 bytes of version, a 32-byte tag and the encrypted body, in base64. The tag is the
//! HMAC-SHA256 of the body and also what the key stream is derived from, so equal bodies are the
//! only ones that look equal, and every body carries a nonce. The key belongs to the data folder:
//! tokens outlive a restart and need no memory.

use base64_simd::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use weir_protocol::bytes::{Reader, Writer};
use weir_protocol::model::Timestamp;

/// How long a token is good for, in milliseconds (AWS: 300 seconds).
pub(crate) const TOKEN_AGE_MS_MAX: u64 = 300_000;

const VERSION: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];
const TAG_BYTES: usize = 32;
/// Bodies are padded to a multiple of this, and to at least the second number: AWS's own tokens
/// have 152 + 16 k bytes, and a test suite in wide use pins that.
const BODY_STEP: usize = 16;
const BODY_BYTES_MIN: usize = 112;
/// Kind, creation time, nonce, length of the payload.
const BODY_HEADER_BYTES: usize = 1 + 8 + 8 + 2;
/// Longest token taken in, in base64 characters.
pub(crate) const TOKEN_CHARS_MAX: usize = 512;

const _: () = assert!((VERSION.len() + TAG_BYTES + BODY_BYTES_MIN - 152).is_multiple_of(16));

/// What a token stands for; a token of one kind never passes for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TokenKind {
    /// A place in a shard.
    Iterator = 1,
    /// A page of shards.
    ShardPage = 2,
    /// A page of streams.
    StreamPage = 3,
    /// A page of consumers.
    ConsumerPage = 4,
}

/// A token that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) created: Timestamp,
    pub(crate) payload: Vec<u8>,
}

/// Makes and opens tokens.
#[derive(Clone)]
pub(crate) struct Seal {
    tag: Hmac<Sha256>,
    stream: Hmac<Sha256>,
}

impl Seal {
    /// From the folder's secret; the two keys in use are derived from it.
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let keyed = |purpose: &[u8]| {
            let key = digest(keyed_by(secret), &[purpose]);
            keyed_by(&key)
        };
        Self {
            tag: keyed(b"weir token tag 1"),
            stream: keyed(b"weir token stream 1"),
        }
    }

    /// Makes a token. `nonce` makes it differ from every other.
    pub(crate) fn close(
        &self,
        kind: TokenKind,
        created: Timestamp,
        nonce: u64,
        payload: &[u8],
    ) -> String {
        let length = u16::try_from(payload.len()).expect("payloads are names and numbers");
        let bytes = (BODY_HEADER_BYTES + payload.len()).max(BODY_BYTES_MIN);
        let bytes = bytes.next_multiple_of(BODY_STEP);
        let mut token = Vec::with_capacity(VERSION.len() + TAG_BYTES + bytes);
        token.extend_from_slice(&VERSION);
        token.extend_from_slice(&[0; TAG_BYTES]);
        let body_at = token.len();
        Writer::new(&mut token)
            .u8(kind as u8)
            .u64(created.as_millis())
            .u64(nonce)
            .u16(length)
            .raw(payload);
        token.resize(body_at + bytes, 0);
        let tag = digest(self.tag.clone(), &[&token[body_at..]]);
        token[VERSION.len()..body_at].copy_from_slice(&tag);
        self.encrypt(&tag, &mut token[body_at..]);
        STANDARD.encode_to_string(&token)
    }

    /// Opens a token of `kind`, of any age; `None` if it is none of ours.
    pub(crate) fn open(&self, kind: TokenKind, token: &str) -> Option<Opened> {
        // Some clients carry the token with the quotes it had in JSON; AWS takes that.
        let token = token
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(token);
        if token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let mut token = STANDARD.decode_to_vec(token).ok()?;
        let rest = token.strip_prefix(&VERSION)?;
        if rest.len() < TAG_BYTES + BODY_BYTES_MIN {
            return None;
        }
        let (head, body) = token.split_at_mut(VERSION.len() + TAG_BYTES);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&head[VERSION.len()..]);
        self.encrypt(&tag, body);
        self.tag
            .clone()
            .chain_update(&*body)
            .verify_slice(&tag)
            .ok()?;
        let mut body = Reader::new(body);
        let found = body.u8().ok()?;
        let created = Timestamp::from_millis(body.u64().ok()?);
        let _nonce = body.u64().ok()?;
        let length = body.u16().ok()?;
        let payload = body.take(usize::from(length)).ok()?.to_vec();
        (found == kind as u8).then_some(Opened { created, payload })
    }

    /// Encrypts, and, being the same the other way round, decrypts.
    fn encrypt(&self, tag: &[u8; TAG_BYTES], body: &mut [u8]) {
        for (number, block) in body.chunks_mut(32).enumerate() {
            let number = (number as u32).to_le_bytes();
            let stream = digest(self.stream.clone(), &[tag, &number]);
            for (byte, mask) in block.iter_mut().zip(stream) {
                *byte ^= mask;
            }
        }
    }
}

fn keyed_by(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn digest(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_763_900_000_123);

    fn seal() -> Seal {
        Seal::new(&[7; 32])
    }

    #[test]
    fn what_is_sealed_opens_again() {
        for length in [0, 1, 20, 93, 94, 150] {
            let payload: Vec<u8> = (0..length).collect();
            let token = seal().close(TokenKind::Iterator, NOW, 5, &payload);
            assert!(token.len() <= TOKEN_CHARS_MAX);
            let bytes = STANDARD.decode_to_vec(&token).unwrap();
            assert_eq!(bytes[..8], VERSION);
            assert!(bytes.len() >= 152 && (bytes.len() - 152).is_multiple_of(16));
            let opened = seal().open(TokenKind::Iterator, &token).unwrap();
            assert_eq!(opened.payload, payload);
            assert_eq!(opened.created, NOW);
            let quoted = format!("\"{token}\"");
            assert_eq!(seal().open(TokenKind::Iterator, &quoted), Some(opened));
            assert_eq!(seal().open(TokenKind::ShardPage, &token), None);
            assert_eq!(Seal::new(&[8; 32]).open(TokenKind::Iterator, &token), None);
        }
    }

    #[test]
    fn a_nonce_changes_the_whole_token() {
        let a = seal().close(TokenKind::Iterator, NOW, 1, b"same");
        let b = seal().close(TokenKind::Iterator, NOW, 2, b"same");
        let equal = a.bytes().zip(b.bytes()).filter(|(x, y)| x == y).count();
        // The version is the same; of the rest one character in 64 by chance.
        assert!(equal < 40, "{equal} characters are the same");
    }

    #[test]
    fn every_changed_bit_is_seen() {
        let token = seal().close(TokenKind::Iterator, NOW, 5, b"payload");
        let bytes = STANDARD.decode_to_vec(&token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let changed = STANDARD.encode_to_string(&changed);
            assert_eq!(
                seal().open(TokenKind::Iterator, &changed),
                None,
                "bit {bit}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_and_nothing_breaks(
            text in "[A-Za-z0-9+/=\"]{0,600}",
            honest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            prop_assert_eq!(seal().open(TokenKind::Iterator, &text), None);
            let mut bytes = VERSION.to_vec();
            bytes.extend(honest);
            let text = STANDARD.encode_to_string(&bytes);
            prop_assert_eq!(seal().open(TokenKind::Iterator, &text), None);
        }
    }
}
