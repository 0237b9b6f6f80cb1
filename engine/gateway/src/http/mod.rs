//! HTTP/1.1 and HTTP/2 on a shard core: hyper over the reactor's sockets.
//!
//! Owns: one connection's life, from its first byte to its last, its deadlines and its bounds.
//! Never: what requests mean. The admin port uses it too.

mod body;
mod connection_io;
mod crowd;
mod dozing;
mod frame_watch;
mod hall;
mod lease;
mod outgoing;
mod pulse;
mod room;
mod serve;
mod socket_io;
mod tls;

pub use body::{AnswerBody, LeasedBody};
pub(crate) use body::{
    BODY_BYTES_MAX, Ceiling, CollectError, EventBody, collect, discard, leased, permitted,
};
pub use crowd::Crowd;
pub use hall::Hall;
pub(crate) use lease::Lease;
pub use serve::{serve, serve_tls};
pub use tls::{SelfSigned, Tls, TlsError};

#[cfg(test)]
mod tests;
