//! TLS: which certificate, which versions, and the bytes between socket and hyper.
//!
//! Owns: rustls. Never: files and flags; the server reads them.

mod certificate;
mod stream;

pub use certificate::{SelfSigned, Tls, TlsError};
pub(super) use stream::TlsStream;
