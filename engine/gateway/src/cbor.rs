//! CBOR in: bytes to a [`Value`], in the dialect of the Java SDKs.
//!
//! Owns: its syntax: definite and indefinite lengths, tag 1 for times, in milliseconds. Never:
//! answers; those are written by [`crate::writer`].
//! No room is made for a length that a client only claims: a list grows as its items come.

use std::borrow::Cow;

use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};

use crate::document::{NotADocument, VALUES_MAX, Value};

/// How deep values may be nested; the deepest legal request has five levels.
const DEPTH_MAX: u32 = 128;
/// The tag of a time (RFC 8949); AWS counts milliseconds in it.
const TIME_TAG: u64 = 1;

/// Reads a whole document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value<'_>, NotADocument> {
    let mut tree = Tree {
        source: Decoder::new(bytes),
        left: VALUES_MAX,
    };
    let value = tree.value(DEPTH_MAX)?;
    let is_all = tree.source.position() == bytes.len();
    is_all.then_some(value).ok_or(NotADocument)
}

impl From<Error> for NotADocument {
    fn from(_: Error) -> Self {
        Self
    }
}

struct Tree<'a> {
    source: Decoder<'a>,
    /// Values that may still come.
    left: u32,
}

/// Counts a value, or a piece of one: an empty piece takes a byte, and a piece its turn.
fn count(left: &mut u32) -> Result<(), NotADocument> {
    *left = left.checked_sub(1).ok_or(NotADocument)?;
    Ok(())
}

impl<'a> Tree<'a> {
    fn value(&mut self, depth: u32) -> Result<Value<'a>, NotADocument> {
        count(&mut self.left)?;
        let depth = depth.checked_sub(1).ok_or(NotADocument)?;
        Ok(match self.source.datatype()? {
            Type::Null => {
                self.source.null()?;
                Value::Null
            }
            Type::Undefined => {
                self.source.undefined()?;
                Value::Null
            }
            Type::Bool => Value::Boolean(self.source.bool()?),
            Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int => {
                let wide = i128::from(self.source.int()?);
                Value::Integer(wide.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
            }
            Type::F16 | Type::F32 | Type::F64 => Value::Float(self.source.f64()?),
            Type::Bytes => Value::Bytes(Cow::Borrowed(self.source.bytes()?)),
            Type::BytesIndef => {
                let mut whole = Vec::new();
                for piece in self.source.bytes_iter()? {
                    count(&mut self.left)?;
                    whole.extend_from_slice(piece?);
                }
                Value::Bytes(Cow::Owned(whole))
            }
            Type::String | Type::StringIndef => Value::Text(self.text()?),
            Type::Array | Type::ArrayIndef => self.list(depth)?,
            Type::Map | Type::MapIndef => self.map(depth)?,
            Type::Tag => {
                let is_time = self.source.tag()?.as_u64() == TIME_TAG;
                match self.value(depth)? {
                    Value::Integer(millis) if is_time => Value::Time(millis),
                    // A float's cast saturates; what is no number is no time either.
                    Value::Float(millis) if is_time && millis.is_finite() => {
                        Value::Time(millis.round() as i64)
                    }
                    other => other,
                }
            }
            Type::Simple | Type::Break | Type::Unknown(_) => return Err(NotADocument),
        })
    }

    fn text(&mut self) -> Result<Cow<'a, str>, NotADocument> {
        if self.source.datatype()? == Type::String {
            return Ok(Cow::Borrowed(self.source.str()?));
        }
        let mut whole = String::new();
        for piece in self.source.str_iter()? {
            count(&mut self.left)?;
            whole.push_str(piece?);
        }
        Ok(Cow::Owned(whole))
    }

    fn list(&mut self, depth: u32) -> Result<Value<'a>, NotADocument> {
        let mut rest = self.source.array()?;
        let mut list = Vec::new();
        while self.goes_on(&mut rest)? {
            list.push(self.value(depth)?);
        }
        Ok(Value::List(list))
    }

    fn map(&mut self, depth: u32) -> Result<Value<'a>, NotADocument> {
        let mut rest = self.source.map()?;
        let mut map = Vec::new();
        while self.goes_on(&mut rest)? {
            let name = self.text()?;
            map.push((name, self.value(depth)?));
        }
        Ok(Value::Map(map))
    }

    /// Whether another item comes: by the count that was told, or until the break.
    fn goes_on(&mut self, rest: &mut Option<u64>) -> Result<bool, NotADocument> {
        if let Some(rest) = rest {
            let goes_on = *rest > 0;
            *rest = rest.saturating_sub(1);
            return Ok(goes_on);
        }
        let is_end = self.source.datatype()? == Type::Break;
        if is_end {
            self.source.set_position(self.source.position() + 1);
        }
        Ok(!is_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        let byte = |pair: &[u32]| (pair[0] * 16 + pair[1]) as u8;
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn both_kinds_of_length_mean_the_same() {
        let expected = Value::Map(vec![
            (
                "a".into(),
                Value::List(vec![Value::Integer(1), Value::Integer(-2)]),
            ),
            ("b".into(), Value::Text("xy".into())),
            ("c".into(), Value::Bytes(Cow::Borrowed(b"\x01\x02"))),
        ]);
        let definite = hex("a3 6161 82 01 21 6162 62 7879 6163 42 0102");
        let indefinite = hex("bf 6161 9f 01 21 ff 6162 7f 6178 6179 ff 6163 5f 4101 4102 ff ff");
        assert_eq!(parse(&definite), Ok(expected.clone()));
        assert_eq!(parse(&indefinite), Ok(expected));
        assert_eq!(parse(&hex("bfff")), Ok(Value::Map(Vec::new())));
    }

    #[test]
    fn times_are_milliseconds() {
        for (text, expected) in [
            (
                "c1 1b 0000019aaf2a1b40",
                Value::Time(0x0000_019a_af2a_1b40_i64),
            ),
            ("c1 fb 4059000000000000", Value::Time(100)),
            ("c1 20", Value::Time(-1)),
            ("c1 f9 7c00", Value::Float(f64::INFINITY)),
            ("fb 4059000000000000", Value::Float(100.0)),
            ("f9 3c00", Value::Float(1.0)),
            ("1b ffffffffffffffff", Value::Integer(i64::MAX)),
            ("3b ffffffffffffffff", Value::Integer(i64::MIN)),
            ("f6", Value::Null),
            ("f7", Value::Null),
            ("f5", Value::Boolean(true)),
            ("d9d9f7 a0", Value::Map(Vec::new())),
        ] {
            assert_eq!(parse(&hex(text)), Ok(expected), "{text}");
        }
    }

    #[test]
    fn plain_bytes_are_borrowed() {
        assert!(matches!(
            parse(&hex("43 010203")),
            Ok(Value::Bytes(Cow::Borrowed(b"\x01\x02\x03")))
        ));
    }

    #[test]
    fn what_is_no_cbor_is_refused() {
        for text in [
            "",
            "bf",
            "a1",
            "a1 6161",
            "a1 01 02",
            "01 01",
            "ff",
            "9f 01",
            "bf 6161 ff",
            "62 ff41",
            "7f 4161 ff",
            "1c",
            "e0",
            "9b ffffffffffffffff 01",
            "bb ffffffffffffffff 6161 01",
            "5b ffffffffffffffff 01",
            "7b ffffffffffffffff 61",
            "c1",
        ] {
            assert_eq!(parse(&hex(text)), Err(NotADocument), "{text}");
        }
        for deep in [0x81, 0x9f, 0xc1] {
            assert_eq!(parse(&vec![deep; 100_000]), Err(NotADocument));
        }
    }

    #[test]
    fn values_are_counted() {
        let list = |count: usize| {
            let mut bytes = vec![0x01; count + 2];
            bytes[0] = 0x9f;
            bytes[count + 1] = 0xff;
            bytes
        };
        let most = VALUES_MAX as usize - 1;
        assert!(parse(&list(most)).is_ok());
        assert_eq!(parse(&list(most + 1)), Err(NotADocument));
    }

    #[test]
    fn pieces_are_counted_as_values_are() {
        // Byte strings, texts, and names of members, in pieces that are empty.
        for (open, piece) in [(&[0x5f][..], 0x40), (&[0x7f], 0x60), (&[0xbf, 0x7f], 0x60)] {
            let body = |pieces: usize| {
                let mut bytes = open.to_vec();
                bytes.resize(bytes.len() + pieces, piece);
                bytes.push(0xff);
                if open.len() == 2 {
                    bytes.extend([0x01, 0xff]);
                }
                bytes
            };
            assert!(parse(&body(1000)).is_ok());
            assert_eq!(parse(&body(VALUES_MAX as usize)), Err(NotADocument));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _either = parse(&bytes);
        }

        #[test]
        fn no_change_of_a_document_breaks_it(at in 0_usize..30, to in any::<u8>()) {
            let mut bytes = hex("bf 6161 9f 01 21 ff 6162 7f 6178 6179 ff 6163 5f 4101 4102 ff ff");
            let at = at % bytes.len();
            bytes[at] = to;
            let _either = parse(&bytes);
        }
    }
}
