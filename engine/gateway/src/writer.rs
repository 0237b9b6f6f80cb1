//! Answers out: one writer, whose caller does not know the encoding.
//!
//! Owns: the syntax of what we say. Never: what members are called; the actions know that.
//! In CBOR maps and lists have no length up front, so that both encodings are written front to
//! back.

use std::fmt;
use std::io::Write as _;

use base64_simd::STANDARD;
use weir_protocol::model::Timestamp;

use crate::encoding::Encoding;

/// CBOR's major types, in the upper three bits.
const UNSIGNED: u8 = 0x00;
const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
const LIST_UNTIL_BREAK: u8 = 0x9f;
const MAP_UNTIL_BREAK: u8 = 0xbf;
const TIME_TAG: u8 = 0xc1;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const BREAK: u8 = 0xff;

/// Writes one document from front to back; commas come by themselves.
#[derive(Debug)]
pub(crate) struct Writer {
    out: Vec<u8>,
    encoding: Encoding,
    after_value: bool,
    /// The time written last, and its text in JSON.
    last_time: (Timestamp, String),
}

impl Writer {
    /// A writer with room for about `bytes`.
    pub(crate) fn new(encoding: Encoding, bytes: usize) -> Self {
        Self::behind(encoding, Vec::with_capacity(bytes))
    }

    /// A writer that begins in an empty buffer.
    pub(crate) fn over(encoding: Encoding, out: Vec<u8>) -> Self {
        assert!(out.is_empty(), "a document begins at the beginning");
        Self::behind(encoding, out)
    }

    /// A writer whose document goes behind what `out` holds already.
    pub(crate) fn behind(encoding: Encoding, out: Vec<u8>) -> Self {
        Self {
            out,
            encoding,
            after_value: false,
            last_time: (Timestamp::ZERO, "0".to_owned()),
        }
    }

    /// The document, and what it was written behind.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    fn separate(&mut self) {
        if self.after_value && self.encoding == Encoding::Json {
            self.out.push(b',');
        }
        self.after_value = true;
    }

    fn open(&mut self, json: u8, cbor: u8) -> &mut Self {
        self.separate();
        self.out.push(match self.encoding {
            Encoding::Json => json,
            Encoding::Cbor => cbor,
        });
        self.after_value = false;
        self
    }

    fn close(&mut self, json: u8) -> &mut Self {
        self.out.push(match self.encoding {
            Encoding::Json => json,
            Encoding::Cbor => BREAK,
        });
        self.after_value = true;
        self
    }

    /// Begins a structure.
    pub(crate) fn open_map(&mut self) -> &mut Self {
        self.open(b'{', MAP_UNTIL_BREAK)
    }

    /// Ends a structure.
    pub(crate) fn close_map(&mut self) -> &mut Self {
        self.close(b'}')
    }

    /// Begins a list.
    pub(crate) fn open_list(&mut self) -> &mut Self {
        self.open(b'[', LIST_UNTIL_BREAK)
    }

    /// Ends a list.
    pub(crate) fn close_list(&mut self) -> &mut Self {
        self.close(b']')
    }

    /// Writes a member's name; its value comes next. The name is one of ours and needs no escape.
    pub(crate) fn member(&mut self, name: &str) -> &mut Self {
        match self.encoding {
            Encoding::Json => {
                self.separate();
                self.out.push(b'"');
                self.out.extend_from_slice(name.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
            Encoding::Cbor => self.counted(TEXT, name.as_bytes()),
        }
        self.after_value = false;
        self
    }

    /// Writes characters of any kind.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.separate();
        if self.encoding == Encoding::Cbor {
            self.counted(TEXT, text.as_bytes());
            return self;
        }
        let plain = text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
        if plain {
            self.out.push(b'"');
            self.out.extend_from_slice(text.as_bytes());
            self.out.push(b'"');
        } else {
            serde_json::to_writer(&mut self.out, text).expect("a vector takes every byte");
        }
        self
    }

    /// Writes something whose text needs no escape: a number in quotes, a shard's name.
    pub(crate) fn plain(&mut self, value: impl fmt::Display) -> &mut Self {
        self.separate();
        match self.encoding {
            Encoding::Json => {
                self.out.push(b'"');
                self.display(value);
                self.out.push(b'"');
            }
            Encoding::Cbor => {
                // The length comes first and is known last. Few texts are long.
                let start = self.out.len();
                self.display(value);
                let length = self.out.len() - start;
                let written = self.out.len();
                self.head(TEXT, length as u64);
                self.out[start..].rotate_left(written - start);
            }
        }
        self
    }

    /// Writes text that is known to need no escape: digits, a shard's name.
    pub(crate) fn ascii(&mut self, text: &[u8]) -> &mut Self {
        self.separate();
        match self.encoding {
            Encoding::Json => {
                self.out.push(b'"');
                self.out.extend_from_slice(text);
                self.out.push(b'"');
            }
            Encoding::Cbor => self.counted(TEXT, text),
        }
        self
    }

    /// Writes a whole number.
    pub(crate) fn number(&mut self, value: u64) -> &mut Self {
        self.separate();
        match self.encoding {
            Encoding::Json => self.display(value),
            Encoding::Cbor => self.head(UNSIGNED, value),
        }
        self
    }

    /// Writes true or false.
    pub(crate) fn boolean(&mut self, value: bool) -> &mut Self {
        self.separate();
        match self.encoding {
            Encoding::Json => self.display(value),
            Encoding::Cbor => self.out.push(if value { TRUE } else { FALSE }),
        }
        self
    }

    /// Writes a time as AWS does: in JSON seconds, with a fraction of milliseconds if there is one,
    /// in CBOR whole milliseconds.
    pub(crate) fn time(&mut self, time: Timestamp) -> &mut Self {
        self.separate();
        match self.encoding {
            Encoding::Json => {
                // The records of a batch came at one time: its text is made once.
                if self.last_time.0 != time {
                    let is_whole = time.as_millis().is_multiple_of(1000);
                    self.last_time.1 = if is_whole {
                        time.as_secs().to_string()
                    } else {
                        time.to_string()
                    };
                    self.last_time.0 = time;
                }
                self.out.extend_from_slice(self.last_time.1.as_bytes());
            }
            Encoding::Cbor => {
                self.out.push(TIME_TAG);
                self.head(UNSIGNED, time.as_millis());
            }
        }
        self
    }

    /// Writes bytes: in JSON as base64.
    pub(crate) fn blob(&mut self, bytes: &[u8]) -> &mut Self {
        self.separate();
        match self.encoding {
            Encoding::Json => {
                self.out.push(b'"');
                STANDARD.encode_append(bytes, &mut self.out);
                self.out.push(b'"');
            }
            Encoding::Cbor => self.counted(BYTES, bytes),
        }
        self
    }

    fn display(&mut self, value: impl fmt::Display) {
        write!(self.out, "{value}").expect("a vector takes every byte");
    }

    /// Writes CBOR's head of a value: its type and its number in as few bytes as it needs.
    fn head(&mut self, major: u8, value: u64) {
        if value < 24 {
            self.out.push(major | value as u8);
        } else if let Ok(value) = u8::try_from(value) {
            self.out.extend_from_slice(&[major | 0x18, value]);
        } else if let Ok(value) = u16::try_from(value) {
            self.out.push(major | 0x19);
            self.out.extend(network_order(value.into(), 2));
        } else if let Ok(value) = u32::try_from(value) {
            self.out.push(major | 0x1a);
            self.out.extend(network_order(value.into(), 4));
        } else {
            self.out.push(major | 0x1b);
            self.out.extend(network_order(value, 8));
        }
    }

    fn counted(&mut self, major: u8, bytes: &[u8]) {
        self.head(major, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }
}

/// The lowest `bytes` bytes of a number, the highest of them first, as CBOR wants.
fn network_order(value: u64, bytes: u32) -> impl Iterator<Item = u8> {
    (0..bytes).rev().map(move |n| (value >> (8 * n)) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Value;
    use proptest::prelude::*;
    use std::borrow::Cow;

    fn example(encoding: Encoding) -> Vec<u8> {
        let mut out = Writer::new(encoding, 0);
        out.open_map();
        out.member("Names").open_list().text("a\"b").text("ü");
        out.close_list();
        out.member("None").open_list().close_list();
        out.member("At").time(Timestamp::from_millis(1_500));
        out.member("On").time(Timestamp::from_millis(2_000));
        out.member("Data").blob(b"happy streaming");
        out.member("More").boolean(false).member("Count").number(7);
        out.member("Inner").open_map();
        out.member("Number").plain(12).close_map();
        out.close_map();
        out.into_bytes()
    }

    #[test]
    fn json_is_written() {
        assert_eq!(
            String::from_utf8(example(Encoding::Json)).unwrap(),
            "{\"Names\":[\"a\\\"b\",\"ü\"],\"None\":[],\"At\":1.500,\"On\":2,\
             \"Data\":\"aGFwcHkgc3RyZWFtaW5n\",\"More\":false,\"Count\":7,\
             \"Inner\":{\"Number\":\"12\"}}"
        );
    }

    #[test]
    fn cbor_reads_back() {
        let bytes = example(Encoding::Cbor);
        let text = |text: &'static str| Value::Text(text.into());
        assert_eq!(
            crate::cbor::parse(&bytes),
            Ok(Value::Map(vec![
                ("Names".into(), Value::List(vec![text("a\"b"), text("ü")])),
                ("None".into(), Value::List(Vec::new())),
                ("At".into(), Value::Time(1_500)),
                ("On".into(), Value::Time(2_000)),
                ("Data".into(), Value::Bytes(b"happy streaming"[..].into())),
                ("More".into(), Value::Boolean(false)),
                ("Count".into(), Value::Integer(7)),
                (
                    "Inner".into(),
                    Value::Map(vec![("Number".into(), text("12"))])
                ),
            ]))
        );
    }

    #[test]
    fn cbor_times_are_tagged_whole_milliseconds() {
        let mut out = Writer::new(Encoding::Cbor, 0);
        out.time(Timestamp::from_millis(1_763_900_000_123));
        assert_eq!(
            out.into_bytes(),
            [0xc1, 0x1b, 0, 0, 0x01, 0x9a, 0xb0, 0xa2, 0x07, 0x7b]
        );
    }

    fn written() -> impl Strategy<Value = Value<'static>> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::Boolean),
            (0..=i64::MAX).prop_map(Value::Integer),
            (0..=i64::MAX).prop_map(Value::Time),
            "\\PC{0,300}".prop_map(|text| Value::Text(text.into())),
            proptest::collection::vec(any::<u8>(), 0..70_000)
                .prop_map(|bytes| Value::Bytes(bytes.into())),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let named = ("\\PC{0,30}".prop_map(Cow::from), inner.clone());
            prop_oneof![
                proptest::collection::vec(inner, 0..6).prop_map(Value::List),
                proptest::collection::vec(named, 0..6).prop_map(Value::Map),
            ]
        })
    }

    fn write(out: &mut Writer, value: &Value<'_>) {
        match value {
            Value::Boolean(value) => out.boolean(*value),
            Value::Integer(value) => out.number(*value as u64),
            Value::Time(millis) => out.time(Timestamp::from_millis(*millis as u64)),
            Value::Text(text) if text.len().is_multiple_of(2) => out.plain(text),
            Value::Text(text) => out.text(text),
            Value::Bytes(bytes) => out.blob(bytes),
            Value::List(items) => {
                out.open_list();
                for item in items {
                    write(out, item);
                }
                out.close_list()
            }
            Value::Map(members) => {
                out.open_map();
                for (name, value) in members {
                    write(out.member(name), value);
                }
                out.close_map()
            }
            Value::Null | Value::Float(_) => unreachable!("we never write these"),
        };
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_cbor_is_written_reads_back(value in written()) {
            let mut out = Writer::new(Encoding::Cbor, 0);
            write(&mut out, &value);
            let bytes = out.into_bytes();
            prop_assert_eq!(crate::cbor::parse(&bytes), Ok(value));
        }
    }
}
