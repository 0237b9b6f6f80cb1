//! A client of the binary protocol without I/O: bytes in, bytes out.
//!
//! It says hello, numbers requests, keeps what is in flight, and hands out answers with the request
//! they belong to. Whoever holds the socket (blocking, polled or async) moves the bytes.

use std::collections::HashMap;

use thiserror::Error;

use crate::wire::frame::{self, Correlation, WireFrameError};
use crate::wire::hello::{ClientHello, HELLO_BYTES, HelloError, HelloStatus, ServerHello};
use crate::wire::request::{Malformed, Request};
use crate::wire::response::Response;

/// The connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SessionError {
    /// The server's first bytes are no hello.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The server does not go on after the hello.
    #[error(
        "the server refused the connection: {status:?} (it speaks version {version} and has {cores} cores)"
    )]
    Refused {
        /// Why.
        status: HelloStatus,
        /// The version it speaks.
        version: u16,
        /// How many cores it has.
        cores: u32,
    },
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] WireFrameError),
    /// A frame that is no answer.
    #[error("answer {correlation:?}: {source}")]
    Malformed {
        /// The request it claims to answer.
        correlation: Correlation,
        /// What is wrong with it.
        source: Malformed,
    },
    /// An answer to a request that was not made, or not of that kind.
    #[error("answer of kind {kind:#06x} to {correlation:?}, which waits for none such")]
    Unexpected {
        /// The number found.
        correlation: Correlation,
        /// The kind found.
        kind: u16,
    },
}

/// A client's side of one connection. `T` is what the caller wants back with each answer.
#[derive(Debug)]
pub struct ClientSession<T> {
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    consumed: usize,
    server: Option<ServerHello>,
    next: u64,
    waiting: HashMap<Correlation, (u16, T)>,
}

impl<T> ClientSession<T> {
    /// Starts with the client's hello in [`Self::outgoing`].
    pub fn new(hello: ClientHello) -> Self {
        Self {
            outgoing: hello.encode().to_vec(),
            incoming: Vec::new(),
            consumed: 0,
            server: None,
            next: 1,
            waiting: HashMap::new(),
        }
    }

    /// Queues a request; `token` comes back with its answer.
    pub fn request(&mut self, request: &Request<'_>, token: T) -> Correlation {
        let correlation = Correlation(self.next);
        self.next += 1;
        request.encode(correlation, &mut self.outgoing);
        self.waiting.insert(correlation, (request.kind(), token));
        correlation
    }

    /// Bytes to be sent.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// Says that the first `count` bytes of [`Self::outgoing`] were sent.
    pub fn sent(&mut self, count: usize) {
        self.outgoing.drain(..count);
    }

    /// Room for at least `count` received bytes; give back what was not filled by
    /// [`Self::received`].
    pub fn room(&mut self, count: usize) -> &mut Vec<u8> {
        if self.consumed > 0 {
            self.incoming.drain(..self.consumed);
            self.consumed = 0;
        }
        self.incoming.reserve(count);
        &mut self.incoming
    }

    /// Takes in received bytes.
    pub fn received(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).extend_from_slice(bytes);
    }

    /// The server's hello, once it came.
    pub fn server(&self) -> Option<&ServerHello> {
        self.server.as_ref()
    }

    /// Requests without an answer yet.
    pub fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// Takes every token that still waits: after the connection broke.
    pub fn abandon(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.waiting)
            .into_values()
            .map(|(_, token)| token)
    }

    /// The next answer with its token; `None` until more bytes are received.
    pub fn poll(&mut self) -> Result<Option<(T, Response<'_>)>, SessionError> {
        if self.server.is_none() && !self.poll_hello()? {
            return Ok(None);
        }
        let rest = &self.incoming[self.consumed..];
        let Some((frame, length)) = frame::decode(rest)? else {
            return Ok(None);
        };
        self.consumed += length;
        let correlation = frame.correlation;
        let answers = |asked: u16| {
            frame.kind == asked | crate::wire::request::kind::ANSWER
                || frame.kind == crate::wire::request::kind::ERROR
        };
        match self.waiting.remove(&correlation) {
            Some((asked, token)) if answers(asked) => {
                let response =
                    Response::decode(&frame).map_err(|source| SessionError::Malformed {
                        correlation,
                        source,
                    })?;
                Ok(Some((token, response)))
            }
            _ => Err(SessionError::Unexpected {
                correlation,
                kind: frame.kind,
            }),
        }
    }

    fn poll_hello(&mut self) -> Result<bool, SessionError> {
        let Some((bytes, _)) = self.incoming[self.consumed..].split_first_chunk::<HELLO_BYTES>()
        else {
            return Ok(false);
        };
        let hello = ServerHello::decode(bytes)?;
        self.consumed += HELLO_BYTES;
        if hello.status != HelloStatus::Welcome {
            let ServerHello {
                status,
                version,
                cores,
                ..
            } = hello;
            return Err(SessionError::Refused {
                status,
                version,
                cores,
            });
        }
        self.server = Some(hello);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::kind;

    fn welcome() -> [u8; HELLO_BYTES] {
        ServerHello {
            version: 1,
            status: HelloStatus::Welcome,
            features: 0,
            core: 0,
            cores: 1,
            frame_bytes_max: 1,
            in_flight_bytes_max: 1,
        }
        .encode()
    }

    #[test]
    fn answers_find_their_requests_in_any_order_and_pieces() {
        let mut session = ClientSession::new(ClientHello::new(0));
        let first = session.request(&Request::Ping, "first");
        let second = session.request(&Request::Ping, "second");
        assert_eq!(session.in_flight(), 2);
        let mut bytes = welcome().to_vec();
        Response::Pong.encode(kind::PING, second, &mut bytes);
        Response::Pong.encode(kind::PING, first, &mut bytes);
        let mut order = Vec::new();
        for byte in bytes {
            session.received(&[byte]);
            while let Some((token, response)) = session.poll().unwrap() {
                assert_eq!(response, Response::Pong);
                order.push(token);
            }
        }
        assert_eq!(order, ["second", "first"]);
        assert_eq!(session.in_flight(), 0);
    }

    #[test]
    fn an_answer_nobody_waits_for_ends_the_session() {
        let mut session = ClientSession::new(ClientHello::new(0));
        let asked = session.request(&Request::Ping, ());
        let mut bytes = welcome().to_vec();
        Response::Deleted.encode(kind::DELETE, asked, &mut bytes);
        session.received(&bytes);
        assert!(matches!(
            session.poll(),
            Err(SessionError::Unexpected { .. })
        ));
    }

    #[test]
    fn a_refusal_is_an_error_that_says_why() {
        let mut session = ClientSession::<()>::new(ClientHello::new(9));
        let hello = ServerHello::decode(&welcome()).unwrap();
        session.received(
            &ServerHello {
                status: HelloStatus::UnknownCore,
                cores: 2,
                ..hello
            }
            .encode(),
        );
        let expected = SessionError::Refused {
            status: HelloStatus::UnknownCore,
            version: 1,
            cores: 2,
        };
        assert_eq!(session.poll(), Err(expected));
    }
}
