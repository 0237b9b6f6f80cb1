//! A door for fuzzers: what the gateway does with bytes of strangers, without a server around it.
//!
//! Each function panics if the gateway breaks a promise. Never in a release: the feature `fuzzing`
//! is for `tests/fuzz` alone.

use ::http::request::Parts;
use weir_protocol::model::Timestamp;

use crate::encoding::Encoding;
use crate::error::ServiceError;
use crate::iterator::ShardIterator;
use crate::member::Members;
use crate::model::{Ground, Operation};
use crate::page::{ShardPage, open_stream_page};
use crate::seal::{Seal, TokenKind};
use crate::sigv4::{Asked, Claim, Digest, SigningKeys, verify};
use crate::{KeyRing, document, scan};

const NOW: Timestamp = Timestamp::from_millis(1_763_900_000_123);

/// Decodes a body, checks it as one of the operations, which its first byte chooses, and reads what
/// was checked.
pub fn body(is_cbor: bool, data: &[u8]) {
    let encoding = if is_cbor {
        Encoding::Cbor
    } else {
        Encoding::Json
    };
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    // What is taken at a glance is what a close look finds.
    let scanned = scan::agrees(encoding, bytes);
    let Ok(value) = encoding.parse(bytes) else {
        return;
    };
    let outcome = Members::of_request(&value, encoding).and_then(|members| {
        let operation = Operation::nth(choice);
        operation.check(members, &Narrow(choice & 0x80 != 0))?;
        read(operation, members);
        Ok(())
    });
    if let Err(error) = outcome {
        assert_is_told(&error);
    }
    if scanned {
        assert_no_record_is_refused(encoding, &value);
    }
}

/// The records of a call that was scanned break no rule but those of their stream.
fn assert_no_record_is_refused(encoding: Encoding, value: &document::Value) {
    let members = Members::of_request(value, encoding).expect("a call is a map");
    let legal = |b: u8| b.is_ascii_alphanumeric();
    let name = members.text("StreamName").unwrap_or_default();
    let is_named = (1..=128).contains(&name.len()) && name.bytes().all(legal);
    // What names the stream is not looked at by the scan, so only a good name is of use here.
    if is_named && members.text("StreamARN").is_none() {
        assert_eq!(Operation::PutRecords.check(members, &Wide), Ok(()));
    }
}

/// A stream of the longest records.
struct Wide;

impl Ground for Wide {
    fn spreads(&self) -> bool {
        false
    }

    fn record_bytes_max(&self) -> usize {
        weir_protocol::limits::RECORD_BYTES_CEILING as usize
    }
}

/// A stream of small records, with or without keys.
struct Narrow(bool);

impl Ground for Narrow {
    fn spreads(&self) -> bool {
        self.0
    }

    fn record_bytes_max(&self) -> usize {
        1_024
    }
}

/// Reads checked members as actions do; an operation's own, for others were not looked at.
fn read(operation: Operation, members: Members<'_>) {
    let decode = |members: Members<'_>| {
        if let Some(blob) = members.blob("Data") {
            blob.decode_into(&mut vec![0; blob.bytes()]);
        }
    };
    match operation {
        Operation::PutRecord => decode(members),
        Operation::PutRecords => {
            for record in members.list("Records").unwrap_or_default() {
                decode(members.inner(record).expect("records were checked"));
            }
        }
        _ => {}
    }
    let _text = members.text("StreamName");
    let _count = members.integer("Limit");
    let _time = members.time_ms("Timestamp");
    let _tags = members.map("Tags").count();
    let _keys = members.texts("TagKeys").count();
}

/// An error is a document of either encoding, and no longer than what it repeats.
fn assert_is_told(error: &ServiceError) {
    for encoding in [Encoding::Json, Encoding::Cbor] {
        let told = error.to_body(encoding);
        assert!(told.len() <= 1 << 20, "{} bytes of error", told.len());
        let read = encoding.parse(&told);
        assert!(matches!(read, Ok(document::Value::Map(_))), "{told:?}");
    }
}

/// Whether a request is signed with a key of the ring, at a time in seconds since 1970. It is asked
/// twice, the second time with what the first has left.
pub fn is_signed(head: &Parts, body: &[u8], ring: &KeyRing, now: u64) -> bool {
    let signing_keys = SigningKeys::default();
    let digest = Digest::of(body);
    let check = || {
        let claim = Claim::read(&head.headers, &head.uri)?;
        let asked = Asked {
            head,
            body: &digest,
            now: Timestamp::from_millis(now * 1000),
            ring,
            signing_keys: &signing_keys,
            region: None,
        };
        verify(&claim, asked)
    };
    let outcome = check();
    assert_eq!(outcome, check());
    if let Err(error) = &outcome {
        assert_is_told(error);
    }
    outcome.is_ok()
}

/// Opens a token that a stranger made, and reads what could be in one that we made.
pub fn token(data: &[u8]) {
    let seal = Seal::new(&[7; 32]);
    let kinds = [
        TokenKind::Iterator,
        TokenKind::ShardPage,
        TokenKind::StreamPage,
    ];
    let read = |token: &str| {
        for error in [
            ShardIterator::open(&seal, token, NOW).err(),
            ShardPage::open(&seal, token, NOW).err(),
            open_stream_page(&seal, token, NOW).err(),
        ]
        .iter()
        .flatten()
        {
            assert_is_told(error);
        }
    };
    if let Ok(text) = std::str::from_utf8(data) {
        for kind in kinds {
            assert_eq!(seal.open(kind, text), None, "nobody else can make a token");
        }
        read(text);
    }
    let payload = &data[..data.len().min(256)];
    for kind in kinds {
        let token = seal.close(kind, NOW, 1, payload);
        let opened = seal.open(kind, &token);
        assert_eq!(
            opened.map(|opened| opened.payload).as_deref(),
            Some(payload)
        );
        read(&token);
    }
}
