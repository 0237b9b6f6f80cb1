//! Members of a request by name and type, refused in AWS's words when they are of another type.
//!
//! Owns: the `SerializationException` texts. Never: bounds and patterns; that is
//! [`crate::validation`].

use std::borrow::Cow;

use base64_simd::STANDARD;

use crate::document::Value;
use crate::encoding::Encoding;
use crate::error::{ErrorKind, ServiceError};

const LIST_START: &str = "Start of list found where not expected";
const MAP_START: &str = "Start of structure or map found where not expected.";
/// Whole numbers saturate here, as Java's do.
const INTEGER_MAX: i64 = i32::MAX as i64;
/// Characters of a client's value that an error text repeats at most.
const ECHO_CHARS_MAX: usize = 1024;

/// The members of one structure. They may be read once [`crate::model::Operation::check`] has seen
/// them: what is absent, null or of another type is then only what may be absent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Members<'v> {
    members: &'v [(Cow<'v, str>, Value<'v>)],
    encoding: Encoding,
}

/// Bytes as they came; base64 is checked but not decoded: that happens once, where they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blob<'v> {
    /// Of JSON, and of a CBOR client that writes text.
    Base64 {
        text: &'v [u8],
        /// Length of the decoded bytes.
        bytes: usize,
    },
    /// Of CBOR.
    Raw(&'v [u8]),
}

impl<'v> Blob<'v> {
    /// Base64, if it is that.
    pub(crate) fn of_base64(text: &'v [u8]) -> Option<Self> {
        STANDARD.check(text).ok()?;
        let bytes = decoded_bytes(text);
        Some(Self::Base64 { text, bytes })
    }

    /// Length of the decoded bytes.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Base64 { bytes, .. } => bytes,
            Self::Raw(raw) => raw.len(),
        }
    }

    /// Decodes into `out`, which is exactly as long as [`Self::bytes`] says.
    pub(crate) fn decode_into(self, out: &mut [u8]) {
        assert_eq!(out.len(), self.bytes(), "the caller made room for the blob");
        match self {
            Self::Base64 { text, .. } => {
                let decoded = STANDARD.decode(text, base64_simd::Out::from_slice(out));
                assert!(decoded.is_ok(), "the blob was checked when it was read");
            }
            Self::Raw(raw) => out.copy_from_slice(raw),
        }
    }
}

fn mistyped(text: impl Into<String>) -> ServiceError {
    ServiceError::new(ErrorKind::Serialization, text)
}

impl<'v> Members<'v> {
    /// The members of the request itself.
    pub(crate) fn of_request(
        body: &'v Value<'v>,
        encoding: Encoding,
    ) -> Result<Self, ServiceError> {
        match body {
            Value::Map(members) => Ok(Self { members, encoding }),
            Value::List(_) => Err(mistyped(LIST_START)),
            _ => Err(ServiceError::without_text(ErrorKind::Serialization)),
        }
    }

    /// The members of a list's item or of a member; a null has none.
    pub(crate) fn inner(self, value: &'v Value<'v>) -> Result<Self, ServiceError> {
        let members: &[_] = match value {
            Value::Null => &[],
            Value::Map(members) => members,
            Value::List(_) => return Err(mistyped(LIST_START)),
            _ => return Err(mistyped("Expected null")),
        };
        Ok(Self { members, ..self })
    }

    /// A member as it came; a null is an absent one.
    pub(crate) fn get(self, name: &str) -> Option<&'v Value<'v>> {
        let found = self.members.iter().rev().find(|(n, _)| n == name);
        found.map(|(_, value)| value).filter(|v| **v != Value::Null)
    }

    /// Characters.
    pub(crate) fn text(self, name: &str) -> Option<&'v str> {
        text(self.get(name)?).ok().flatten()
    }

    /// A whole number.
    pub(crate) fn integer(self, name: &str) -> Option<i64> {
        integer(self.get(name)?).ok().flatten()
    }

    /// True or false.
    pub(crate) fn boolean(self, name: &str) -> Option<bool> {
        boolean(self.get(name)?).ok().flatten()
    }

    /// A moment in milliseconds since 1970. May be negative.
    pub(crate) fn time_ms(self, name: &str) -> Option<i64> {
        self.time_of(self.get(name)?).ok().flatten()
    }

    /// Bytes.
    pub(crate) fn blob(self, name: &str) -> Option<Blob<'v>> {
        blob(self.get(name)?)
    }

    /// A structure.
    pub(crate) fn structure(self, name: &str) -> Option<Self> {
        self.inner(self.get(name)?).ok()
    }

    /// A list.
    pub(crate) fn list(self, name: &str) -> Option<&'v [Value<'v>]> {
        list(self.get(name)?).ok()
    }

    /// The characters in a list; nulls are left out.
    pub(crate) fn texts(self, name: &str) -> impl Iterator<Item = &'v str> {
        let items = self.list(name).unwrap_or_default();
        items.iter().filter_map(|item| text(item).ok().flatten())
    }

    /// The entries of a map from text to text; nulls are left out. A name that comes twice comes
    /// twice here.
    pub(crate) fn map(self, name: &str) -> impl Iterator<Item = (&'v str, &'v str)> {
        let entries = self.get(name).and_then(|value| map(value).ok());
        let entries = entries.unwrap_or_default().iter();
        entries.filter_map(|(name, value)| Some((&**name, text(value).ok().flatten()?)))
    }

    /// Refuses a call that is only to be tried; asked when nothing else refuses it.
    pub(crate) fn refuse_dry_run(self) -> Result<(), ServiceError> {
        if self.boolean("DryRun") == Some(true) {
            return Err(ServiceError::new(
                ErrorKind::DryRunOperation,
                "The request was rejected because the DryRun parameter was specified.",
            ));
        }
        Ok(())
    }

    /// A moment in milliseconds: of a number without a tag the encoding says what it counts.
    pub(crate) fn time_of(self, value: &Value<'_>) -> Result<Option<i64>, ServiceError> {
        match value {
            Value::Null => Ok(None),
            Value::Time(millis) => Ok(Some(*millis)),
            Value::Integer(units) => Ok(Some(units.saturating_mul(self.unit_ms()))),
            // A float's cast saturates. Only CBOR can say what is not finite.
            Value::Float(units) if units.is_finite() => {
                Ok(Some((units * self.unit_ms() as f64).round() as i64))
            }
            Value::Text(_) => Err(mistyped(
                "class java.lang.String can not be converted to milliseconds since epoch",
            )),
            Value::Boolean(_) => Err(mistyped(
                "class java.lang.Boolean can not be converted to milliseconds since epoch",
            )),
            other => Err(not_scalar(other, "milliseconds since epoch")),
        }
    }

    fn unit_ms(self) -> i64 {
        match self.encoding {
            Encoding::Json => 1000,
            Encoding::Cbor => 1,
        }
    }
}

/// Characters.
pub(crate) fn text<'v>(value: &'v Value<'_>) -> Result<Option<&'v str>, ServiceError> {
    match value {
        Value::Null => Ok(None),
        Value::Text(text) => Ok(Some(text)),
        other => Err(not_scalar(other, "an String")),
    }
}

/// A whole number: fractions are cut down, large numbers saturate.
pub(crate) fn integer(value: &Value<'_>) -> Result<Option<i64>, ServiceError> {
    match value {
        Value::Null => Ok(None),
        Value::Integer(value) => Ok(Some((*value).clamp(-INTEGER_MAX - 1, INTEGER_MAX))),
        Value::Float(value) if !value.is_nan() => {
            let whole = value.floor().clamp(i32::MIN as f64, i32::MAX as f64);
            Ok(Some(whole as i64))
        }
        other => Err(not_scalar(other, "an Integer")),
    }
}

/// True or false.
pub(crate) fn boolean(value: &Value<'_>) -> Result<Option<bool>, ServiceError> {
    match value {
        Value::Null => Ok(None),
        Value::Boolean(value) => Ok(Some(*value)),
        Value::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(Some(true)),
            "false" | "no" | "0" => Ok(Some(false)),
            _ => Err(mistyped(format!(
                "'{}' can not be converted to an Boolean",
                echo(text).to_uppercase()
            ))),
        },
        other => Err(not_scalar(other, "an Boolean")),
    }
}

/// Refuses what is no blob.
pub(crate) fn check_blob(value: &Value<'_>) -> Result<(), ServiceError> {
    match value {
        Value::Null | Value::Bytes(_) => Ok(()),
        Value::Text(text) => match STANDARD.check(text.as_bytes()) {
            Ok(()) => Ok(()),
            Err(_) => Err(bad_base64(text)),
        },
        other => Err(not_scalar(other, "a Blob")),
    }
}

/// Bytes, of a value that passed [`check_blob`].
pub(crate) fn blob<'v>(value: &'v Value<'_>) -> Option<Blob<'v>> {
    match value {
        Value::Bytes(raw) => Some(Blob::Raw(raw)),
        Value::Text(text) => Some(Blob::Base64 {
            text: text.as_bytes(),
            bytes: decoded_bytes(text.as_bytes()),
        }),
        _ => None,
    }
}

/// The items of a list; a null has none.
pub(crate) fn list<'v, 'a>(value: &'v Value<'a>) -> Result<&'v [Value<'a>], ServiceError> {
    match value {
        Value::Null => Ok(&[]),
        Value::List(items) => Ok(items),
        Value::Map(_) => Err(mistyped(MAP_START)),
        _ => Err(mistyped("Expected list or null")),
    }
}

/// The entries of a map; a null has none.
pub(crate) fn map<'v, 'a>(
    value: &'v Value<'a>,
) -> Result<&'v [(Cow<'a, str>, Value<'a>)], ServiceError> {
    match value {
        Value::Null => Ok(&[]),
        Value::Map(entries) => Ok(entries),
        Value::List(_) => Err(mistyped(LIST_START)),
        _ => Err(mistyped("Expected map or null")),
    }
}

/// A value of the wrong type where `wanted` should be.
fn not_scalar(found: &Value<'_>, wanted: &str) -> ServiceError {
    let class = match found {
        Value::List(_) => return mistyped(LIST_START),
        Value::Map(_) => return mistyped(MAP_START),
        Value::Boolean(_) => "java.lang.Boolean",
        Value::Text(_) => "java.lang.String",
        Value::Bytes(_) => "java.nio.HeapByteBuffer",
        Value::Time(_) => "java.util.Date",
        Value::Integer(_) | Value::Float(_) | Value::Null => {
            "com.amazon.coral.value.json.numbers.TruncatingBigNumber"
        }
    };
    mistyped(format!("class {class} can not be converted to {wanted}"))
}

fn echo(text: &str) -> String {
    text.chars().take(ECHO_CHARS_MAX).collect()
}

/// Decoded length of base64 that was checked.
fn decoded_bytes(text: &[u8]) -> usize {
    let padding = text.iter().rev().take_while(|b| **b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// Says what is wrong with base64 that did not decode.
fn bad_base64(text: &str) -> ServiceError {
    let head = format!("'{}' can not be converted to a Blob: ", echo(text));
    let length = text.chars().count();
    if !length.is_multiple_of(4) {
        return mistyped(format!(
            "{head}Base64 encoded length is expected a multiple of 4 bytes but found: {length}"
        ));
    }
    let data = text.trim_end_matches('=');
    let padding = text.len() - data.len();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    if let Some(bad) = data.chars().find(|c| !legal(*c)) {
        return mistyped(format!("{head}Invalid Base64 character: '{bad}'"));
    }
    if padding > 2 {
        return mistyped(format!("{head}Invalid Base64 character: '='"));
    }
    mistyped(format!(
        "{head}Invalid last non-pad Base64 character dectected"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    const NONE: Members<'static> = Members {
        members: &[],
        encoding: Encoding::Json,
    };

    fn refusal<T: std::fmt::Debug>(
        body: &str,
        read: impl FnOnce(&Value<'_>) -> Result<T, ServiceError>,
    ) -> String {
        let value = json::parse(body.as_bytes()).unwrap();
        let members = Members::of_request(&value, Encoding::Json).unwrap();
        let error = read(members.get("a").unwrap()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Serialization);
        error.text.unwrap()
    }

    #[test]
    fn texts_are_those_of_aws() {
        let number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber";
        assert_eq!(
            refusal(r#"{"a":1}"#, |v| text(v).map(drop)),
            format!("{number} can not be converted to an String")
        );
        assert_eq!(
            refusal(r#"{"a":true}"#, |v| text(v).map(drop)),
            "class java.lang.Boolean can not be converted to an String"
        );
        assert_eq!(
            refusal(r#"{"a":"1"}"#, integer),
            "class java.lang.String can not be converted to an Integer"
        );
        assert_eq!(refusal(r#"{"a":[]}"#, integer), LIST_START);
        assert_eq!(refusal(r#"{"a":{}}"#, boolean), MAP_START);
        assert_eq!(
            refusal(r#"{"a":"hello"}"#, boolean),
            "'HELLO' can not be converted to an Boolean"
        );
        assert_eq!(
            refusal(r#"{"a":1}"#, |v| list(v).map(drop)),
            "Expected list or null"
        );
        assert_eq!(
            refusal(r#"{"a":1}"#, |v| NONE.inner(v).map(drop)),
            "Expected null"
        );
        assert_eq!(
            refusal(r#"{"a":1}"#, |v| map(v).map(drop)),
            "Expected map or null"
        );
        assert_eq!(
            refusal(r#"{"a":"now"}"#, |v| NONE.time_of(v)),
            "class java.lang.String can not be converted to milliseconds since epoch"
        );
    }

    #[test]
    fn base64_is_told_what_is_wrong_with_it() {
        let blob = |text: &str| refusal(&format!("{{\"a\":\"{text}\"}}"), check_blob);
        assert_eq!(
            blob("AAAAA"),
            "'AAAAA' can not be converted to a Blob: Base64 encoded length is expected a multiple \
             of 4 bytes but found: 5"
        );
        assert_eq!(
            blob("=AAA"),
            "'=AAA' can not be converted to a Blob: Invalid Base64 character: '='"
        );
        assert_eq!(
            blob("AA*="),
            "'AA*=' can not be converted to a Blob: Invalid Base64 character: '*'"
        );
        assert_eq!(
            blob("YXN="),
            "'YXN=' can not be converted to a Blob: Invalid last non-pad Base64 character dectected"
        );
    }

    #[test]
    fn what_is_not_finite_is_no_time() {
        for units in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for encoding in [Encoding::Json, Encoding::Cbor] {
                let members = Members { encoding, ..NONE };
                let error = members.time_of(&Value::Float(units)).unwrap_err();
                assert_eq!(error.kind, ErrorKind::Serialization);
            }
        }
        assert!(integer(&Value::Float(f64::NAN)).is_err());
        assert_eq!(integer(&Value::Float(f64::INFINITY)), Ok(Some(INTEGER_MAX)));
    }

    #[test]
    fn numbers_saturate_and_floor() {
        let value = json::parse(br#"{"a":1e12,"b":-0.5,"c":99999999999,"d":null}"#).unwrap();
        let members = Members::of_request(&value, Encoding::Json).unwrap();
        assert_eq!(members.integer("a"), Some(INTEGER_MAX));
        assert_eq!(members.integer("b"), Some(-1));
        assert_eq!(members.integer("c"), Some(INTEGER_MAX));
        assert_eq!(members.integer("d"), None);
    }

    #[test]
    fn times_are_seconds_with_a_fraction() {
        let value = json::parse(br#"{"a":1458755727.016,"b":7,"c":-1.5}"#).unwrap();
        let members = Members::of_request(&value, Encoding::Json).unwrap();
        assert_eq!(members.time_ms("a"), Some(1_458_755_727_016));
        assert_eq!(members.time_ms("b"), Some(7_000));
        assert_eq!(members.time_ms("c"), Some(-1_500));
    }

    #[test]
    fn blobs_decode_in_place() {
        for data in [&b""[..], b"a", b"ab", b"abc", b"happy streaming"] {
            let text = STANDARD.encode_to_string(data);
            let body = format!("{{\"a\":\"{text}\"}}");
            let value = json::parse(body.as_bytes()).unwrap();
            let blob = Members::of_request(&value, Encoding::Json)
                .unwrap()
                .blob("a")
                .unwrap();
            let mut out = vec![0; blob.bytes()];
            blob.decode_into(&mut out);
            assert_eq!(out, data);
        }
    }
}
