//! The generator's own client: [`control`] asks and waits, [`connection`] keeps many appends in
//! flight without waiting.
//!
//! Owns: sockets. Never: what is measured or checked.

pub(crate) mod connection;
pub(crate) mod control;

use std::io;

use thiserror::Error;
use weir_protocol::wire::error::WireError;
use weir_protocol::wire::frame::WireFrameError;
use weir_protocol::wire::hello::{HelloError, HelloStatus};
use weir_protocol::wire::request::Malformed;

/// The server cannot be used, or not any more.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    #[error("cannot connect to {server}: {source}")]
    Connect { server: String, source: io::Error },
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("the server said nothing for {0:?}")]
    Silent(std::time::Duration),
    #[error("the server's hello: {0}")]
    Hello(#[from] HelloError),
    #[error(
        "the server refused the connection: {status:?} (it speaks version {version}, has {cores} \
         cores)"
    )]
    Refused {
        status: HelloStatus,
        version: u16,
        cores: u32,
    },
    #[error(
        "the server asks for frames of at most {most} bytes, a batch of this run needs {needed}"
    )]
    FrameCap { most: u32, needed: usize },
    #[error("the server's answer: {0}")]
    Frame(#[from] WireFrameError),
    #[error("the server's answer: {0}")]
    Malformed(#[from] Malformed),
    #[error("an answer of kind {kind:#06x} to {correlation}, which waits for none such")]
    Unexpected { kind: u16, correlation: u64 },
    #[error("the server answered: {} ({:?})", .0.text, .0.code)]
    Server(WireError),
}

impl ClientError {
    /// A read or write error, told apart from a timeout of a blocking socket.
    fn of_io(source: io::Error, timeout: std::time::Duration) -> Self {
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent(timeout),
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Broken(source),
        }
    }
}
