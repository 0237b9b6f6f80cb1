//! One request after the other, waiting for each answer: for streams, and for reading back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use weir_protocol::model::{StreamName, StreamStatus};
use weir_protocol::wire::error::ErrorCode;
use weir_protocol::wire::frame::{self, Correlation, WIRE_HEADER_BYTES};
use weir_protocol::wire::hello::{ClientHello, HELLO_BYTES, HelloStatus, ServerHello};
use weir_protocol::wire::request::{CreateRequest, Request, kind};
use weir_protocol::wire::response::{Response, StreamDescription};

use super::ClientError;

/// A blocking connection. Every wait on the socket ends after the timeout.
pub(crate) struct Control {
    socket: TcpStream,
    server: ServerHello,
    timeout: Duration,
    next: u64,
    outgoing: Vec<u8>,
}

impl Control {
    /// Connects and says hello, wanting `core`.
    pub(crate) fn connect(
        server: SocketAddr,
        core: u32,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let failed = |source| ClientError::Connect {
            server: server.to_string(),
            source,
        };
        let mut socket = TcpStream::connect_timeout(&server, timeout).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        socket.set_read_timeout(Some(timeout)).map_err(failed)?;
        socket.set_write_timeout(Some(timeout)).map_err(failed)?;
        let broken = |source| ClientError::of_io(source, timeout);
        socket
            .write_all(&ClientHello::new(core).encode())
            .map_err(broken)?;
        let mut hello = [0; HELLO_BYTES];
        socket.read_exact(&mut hello).map_err(broken)?;
        let hello = ServerHello::decode(&hello)?;
        if hello.status != HelloStatus::Welcome {
            return Err(ClientError::Refused {
                status: hello.status,
                version: hello.version,
                cores: hello.cores,
            });
        }
        Ok(Self {
            socket,
            server: hello,
            timeout,
            next: 1,
            outgoing: Vec::new(),
        })
    }

    /// What the server said of itself.
    pub(crate) fn server(&self) -> &ServerHello {
        &self.server
    }

    /// The socket, nothing asked and nothing unread.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// Sends a request; [`Self::receive`] takes its answer.
    pub(crate) fn send(&mut self, request: &Request<'_>) -> Result<Correlation, ClientError> {
        let correlation = Correlation(self.next);
        self.next += 1;
        self.outgoing.clear();
        request.encode(correlation, &mut self.outgoing);
        self.socket
            .write_all(&self.outgoing)
            .map_err(|source| ClientError::of_io(source, self.timeout))?;
        Ok(correlation)
    }

    /// Waits for the answer to the oldest request, into `buffer`, which only grows, up to the
    /// longest frame.
    pub(crate) fn receive<'b>(
        &mut self,
        correlation: Correlation,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Response<'b>, ClientError> {
        let timeout = self.timeout;
        let broken = |source| ClientError::of_io(source, timeout);
        if buffer.len() < WIRE_HEADER_BYTES {
            buffer.resize(WIRE_HEADER_BYTES, 0);
        }
        self.socket
            .read_exact(&mut buffer[..WIRE_HEADER_BYTES])
            .map_err(broken)?;
        let length = frame::frame_length(&buffer[..WIRE_HEADER_BYTES])?
            .expect("a whole header tells the length");
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        self.socket
            .read_exact(&mut buffer[WIRE_HEADER_BYTES..length])
            .map_err(broken)?;
        let (frame, _) = frame::decode(&buffer[..length])?.expect("the frame is whole");
        if frame.correlation != correlation {
            return Err(ClientError::Unexpected {
                kind: frame.kind,
                correlation: frame.correlation.0,
            });
        }
        Ok(Response::decode(&frame)?)
    }

    fn call(&mut self, request: &Request<'_>) -> Result<StreamDescription, ClientError> {
        let correlation = self.send(request)?;
        let mut buffer = Vec::new();
        match self.receive(correlation, &mut buffer)? {
            Response::Stream(stream) => Ok(stream),
            Response::Error(error) => Err(ClientError::Server(error)),
            _ => Err(ClientError::Unexpected {
                kind: request.kind(),
                correlation: correlation.0,
            }),
        }
    }

    /// Describes a stream; `None` if there is none.
    pub(crate) fn describe(
        &mut self,
        name: &StreamName,
    ) -> Result<Option<StreamDescription>, ClientError> {
        match self.call(&Request::Describe(name.clone())) {
            Err(ClientError::Server(error)) if error.code == ErrorCode::StreamNotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Creates a stream; it may not be active yet.
    pub(crate) fn create(&mut self, create: CreateRequest) -> Result<(), ClientError> {
        self.call(&Request::Create(create)).map(|_| ())
    }

    /// Waits until a stream is active. The protocol has no event for it, so this asks again every
    /// 20 ms until the timeout.
    pub(crate) fn active(&mut self, name: &StreamName) -> Result<StreamDescription, ClientError> {
        let pause = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        loop {
            match self.describe(name)? {
                Some(stream)
                    if matches!(stream.status, StreamStatus::Active | StreamStatus::Updating) =>
                {
                    return Ok(stream);
                }
                _ if waited >= self.timeout => return Err(ClientError::Silent(waited)),
                _ => std::thread::sleep(pause),
            }
            waited += pause;
        }
    }

    /// Deletes a stream.
    pub(crate) fn delete(&mut self, name: &StreamName) -> Result<(), ClientError> {
        let correlation = self.send(&Request::Delete(name.clone()))?;
        let mut buffer = Vec::new();
        match self.receive(correlation, &mut buffer)? {
            Response::Deleted => Ok(()),
            Response::Error(error) => Err(ClientError::Server(error)),
            _ => Err(ClientError::Unexpected {
                kind: kind::DELETE,
                correlation: correlation.0,
            }),
        }
    }
}
