//! JSON in: bytes to a [`Value`].
//!
//! Owns: its syntax. Never: answers; those are written by [`crate::writer`].

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::document::{NotADocument, VALUES_MAX, Value};

/// Reads a whole document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value<'_>, NotADocument> {
    let left = Cell::new(VALUES_MAX);
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let value = Tree { left: &left }
        .deserialize(&mut source)
        .map_err(|_| NotADocument)?;
    source.end().map_err(|_| NotADocument)?;
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
            assert_eq!(parse(text.as_bytes()), Err(NotADocument), "{text}");
        }
        assert_eq!(parse(&[b'"', 0xff, b'"']), Err(NotADocument));
        let deep = vec![b'['; 100_000];
        assert_eq!(parse(&deep), Err(NotADocument));
    }

    #[test]
    fn values_are_counted() {
        let most = VALUES_MAX as usize - 1;
        let list = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
        assert!(parse(list(most).as_bytes()).is_ok());
        assert_eq!(parse(list(most + 1).as_bytes()), Err(NotADocument));
    }
}
