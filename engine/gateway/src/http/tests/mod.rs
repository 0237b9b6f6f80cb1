//! Connections on the simulated network: every byte comes late, in pieces of any size.

mod http1;
mod http2;
mod service;
mod streams;
mod tls;
