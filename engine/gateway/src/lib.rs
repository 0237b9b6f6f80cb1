//! The Kinesis HTTP API: AWS's words at the door, the engine's behind it.
//!
//! Owns: HTTP, AWS's encodings, identities, validation and error texts, iterator tokens.
//! Never: routing between cores, quotas, storage; that is `weir-stream` and below.
//!
//! Start reading at [`Gateway::serve`]; the life of a record goes on in
//! `action/put_records.rs` and then in the stream crate's `append.rs`.

mod action;
mod arn;
mod call;
mod caller;
mod cbor;
mod clock_text;
mod document;
mod encoding;
mod error;
mod event_stream;
mod failures;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing_http;
mod gateway;
pub mod http;
mod identity;
mod iterator;
mod json;
mod member;
mod model;
mod named_consumer;
mod pace;
mod page;
mod read_budget;
mod resource;
mod scan;
mod seal;
mod sigv4;
mod stream_reference;
mod subscription;
mod sync;
mod target;
mod validation;
mod writer;

pub use caller::Caller;
pub use gateway::{Gateway, GatewayCounters, GatewaySettings};
pub use identity::Authentication;
pub use pace::Pace;
pub use read_budget::{Permit, ReadBudget, Reserving, Wish};
pub use sigv4::{KeyRing, KeyRingError};
