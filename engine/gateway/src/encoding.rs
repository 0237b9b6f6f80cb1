//! The two encodings of the API: what a request came in, its answer goes out in.
//!
//! Owns: their content types. Never: their bytes; see [`crate::json`], [`crate::cbor`] and
//! [`crate::writer`].

use crate::document::{NotADocument, Value};
use crate::{cbor, json};

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// `application/x-amz-json-1.1`: what most clients speak.
    Json,
    /// `application/x-amz-cbor-1.1`: what the Java SDKs speak.
    Cbor,
}

impl Encoding {
    /// The encoding of a content type, parameters and blanks removed; its case does not matter.
    pub(crate) fn of_content_type(content_type: &str) -> Option<Self> {
        [Self::Json, Self::Cbor]
            .into_iter()
            .find(|encoding| content_type.eq_ignore_ascii_case(encoding.content_type()))
    }

    /// Its content type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// Reads a whole document.
    pub(crate) fn parse(self, bytes: &[u8]) -> Result<Value<'_>, NotADocument> {
        match self {
            Self::Json => json::parse(bytes),
            Self::Cbor => cbor::parse(bytes),
        }
    }
}
