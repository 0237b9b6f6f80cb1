//! JSON in and out: bytes to a [`Value`], answers to bytes.
//!
//! Owns: syntax and escaping. Never: what members are called; the actions know that.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use base64_simd::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use thiserror::Error;
use weir_protocol::model::Timestamp;

use crate::document::Value;

/// Most values one request may hold. The longest legal request has about 2,000 (500 records of
/// three members); beyond the bound the body is refused, so that 16 MiB of brackets stay 16 MiB.
pub(crate) const VALUES_MAX: u32 = 65_536;

/// The body is no JSON, or holds more than [`VALUES_MAX`] values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the body is not a JSON document that this server takes")]
pub(crate) struct NotJson;

/// Reads a whole document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value<'_>, NotJson> {
    let left = Cell::new(VALUES_MAX);
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let value = Tree { left: &left }
        .deserialize(&mut source)
        .map_err(|_| NotJson)?;
    source.end().map_err(|_| NotJson)?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Tree<'c> {
    left: &'c Cell<u32>,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value<'de>, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left
            .set(left.ok_or_else(|| serde::de::Error::custom("too many values"))?);
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value<'de>, A::Error> {
        let mut map = Vec::new();
        while let Some(name) = members.next_key_seed(Name)? {
            map.push((name, members.next_value_seed(self)?));
        }
        Ok(Value::Map(map))
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Cow<'de, str>, D::Error> {
        source.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Writes one document from front to back; commas come by themselves.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
    after_value: bool,
}

impl Writer {
    /// A writer with room for about `bytes`.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
            after_value: false,
        }
    }

    /// The document.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    fn separate(&mut self) {
        if self.after_value {
            self.out.push(b',');
        }
        self.after_value = true;
    }

    fn open(&mut self, bracket: u8) -> &mut Self {
        self.separate();
        self.out.push(bracket);
        self.after_value = false;
        self
    }

    fn close(&mut self, bracket: u8) -> &mut Self {
        self.out.push(bracket);
        self.after_value = true;
        self
    }

    /// Begins a structure.
    pub(crate) fn open_map(&mut self) -> &mut Self {
        self.open(b'{')
    }

    /// Ends a structure.
    pub(crate) fn close_map(&mut self) -> &mut Self {
        self.close(b'}')
    }

    /// Begins a list.
    pub(crate) fn open_list(&mut self) -> &mut Self {
        self.open(b'[')
    }

    /// Ends a list.
    pub(crate) fn close_list(&mut self) -> &mut Self {
        self.close(b']')
    }

    /// Writes a member's name; its value comes next. The name is one of ours and needs no escape.
    pub(crate) fn member(&mut self, name: &str) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.after_value = false;
        self
    }

    /// Writes characters of any kind.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.separate();
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
        self.out.push(b'"');
        self.display(value);
        self.out.push(b'"');
        self
    }

    /// Writes a whole number.
    pub(crate) fn number(&mut self, value: u64) -> &mut Self {
        self.separate();
        self.display(value);
        self
    }

    /// Writes true or false.
    pub(crate) fn boolean(&mut self, value: bool) -> &mut Self {
        self.separate();
        self.display(value);
        self
    }

    /// Writes a time as AWS does in JSON: seconds, with a fraction of milliseconds if there is one.
    pub(crate) fn time(&mut self, time: Timestamp) -> &mut Self {
        self.separate();
        if time.as_millis().is_multiple_of(1000) {
            self.display(time.as_secs());
        } else {
            self.display(time);
        }
        self
    }

    /// Writes bytes in base64.
    pub(crate) fn blob(&mut self, bytes: &[u8]) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        STANDARD.encode_append(bytes, &mut self.out);
        self.out.push(b'"');
        self
    }

    fn display(&mut self, value: impl fmt::Display) {
        use std::io::Write as _;
        write!(self.out, "{value}").expect("a vector takes every byte");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_a_tree() {
        let text = br#"{"A":[1,-2,2.5,true,null,18446744073709551615],"b\n":{"c":"\u00fc"}}"#;
        let Value::Map(members) = parse(text).unwrap() else {
            panic!("a map was expected")
        };
        assert_eq!(
            members[0].1,
            Value::List(vec![
                Value::Integer(1),
                Value::Integer(-2),
                Value::Float(2.5),
                Value::Boolean(true),
                Value::Null,
                Value::Integer(i64::MAX),
            ])
        );
        assert_eq!(members[1].0, "b\n");
        assert_eq!(
            members[1].1,
            Value::Map(vec![("c".into(), Value::Text("ü".into()))])
        );
    }

    #[test]
    fn plain_text_is_borrowed() {
        let Value::Text(Cow::Borrowed(text)) = parse(br#""aGFwcHk=""#).unwrap() else {
            panic!("borrowed text was expected")
        };
        assert_eq!(text, "aGFwcHk=");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "{}x", "[1,]", "nul", "\"\\ud800\"", "\u{1}"] {
            assert_eq!(parse(text.as_bytes()), Err(NotJson), "{text}");
        }
        assert_eq!(parse(&[b'"', 0xff, b'"']), Err(NotJson));
        let deep = vec![b'['; 100_000];
        assert_eq!(parse(&deep), Err(NotJson));
    }

    #[test]
    fn values_are_counted() {
        let most = VALUES_MAX as usize - 1;
        let list = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
        assert!(parse(list(most).as_bytes()).is_ok());
        assert_eq!(parse(list(most + 1).as_bytes()), Err(NotJson));
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut out = Writer::default();
        out.open_map();
        out.member("Names").open_list().text("a\"b").text("ü");
        out.close_list();
        out.member("None").open_list().close_list();
        out.member("At").time(Timestamp::from_millis(1_500));
        out.member("On").time(Timestamp::from_millis(2_000));
        out.member("Data").blob(b"happy streaming");
        out.member("More").boolean(false).member("Count").number(7);
        out.close_map();
        assert_eq!(
            String::from_utf8(out.into_bytes()).unwrap(),
            "{\"Names\":[\"a\\\"b\",\"ü\"],\"None\":[],\"At\":1.500,\"On\":2,\
             \"Data\":\"aGFwcHkgc3RyZWFtaW5n\",\"More\":false,\"Count\":7}"
        );
    }
}
