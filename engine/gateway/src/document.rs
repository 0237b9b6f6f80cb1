//! A request's body, decoded but not yet understood: the same tree for every encoding.
//!
//! Owns: the tree and its bounds. Never: what members mean; that is [`crate::member`].
//! Text that needed no unescaping is borrowed from the body, so that a record's data is not copied
//! on its way to the batch.

use std::borrow::Cow;

use thiserror::Error;

/// Most values one request may hold. The longest legal request has about 2,000 (500 records of
/// three members); beyond the bound the body is refused, so that 16 MiB of brackets stay 16 MiB.
pub(crate) const VALUES_MAX: u32 = 65_536;

/// The body is no document of its encoding, or holds more than [`VALUES_MAX`] values, or nests them
/// too deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the body is not a document that this server takes")]
pub(crate) struct NotADocument;

/// One value of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    /// Nothing; the same as an absent member.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number; larger ones saturate.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Characters.
    Text(Cow<'a, str>),
    /// Bytes, which only CBOR has; JSON writes them as text.
    Bytes(Cow<'a, [u8]>),
    /// A moment in milliseconds since 1970, which only CBOR marks as such.
    Time(i64),
    /// A list.
    List(Vec<Value<'a>>),
    /// Members by name, in the order they came. A name that comes twice counts the last time.
    Map(Vec<(Cow<'a, str>, Value<'a>)>),
}
