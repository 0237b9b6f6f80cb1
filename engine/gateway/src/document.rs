//! A request's body, decoded but not yet understood: the same tree for every encoding.
//!
//! Owns: the tree. Never: what members mean; that is [`crate::member`].
//! Text that needed no unescaping is borrowed from the body, so that a record's data is not copied
//! on its way to the batch.

use std::borrow::Cow;

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
    /// A list.
    List(Vec<Value<'a>>),
    /// Members by name, in the order they came. A name that comes twice counts the last time.
    Map(Vec<(Cow<'a, str>, Value<'a>)>),
}
