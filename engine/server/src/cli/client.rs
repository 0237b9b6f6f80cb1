//! A blocking client of the binary protocol: one socket, one request at a time.
//!
//! Owns: connecting, the hello, and cutting answers out of the byte stream. Never: what is asked.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use weir_protocol::model::{StreamName, StreamStatus};
use weir_protocol::wire::error::{ErrorCode, WireError};
use weir_protocol::wire::frame::{self, WireFrame};
use weir_protocol::wire::hello::{CORE_ANY, ClientHello, HELLO_BYTES, HelloStatus, ServerHello};
use weir_protocol::wire::request::{ListRequest, Request};
use weir_protocol::wire::response::{Response, StreamDescription, StreamSummary};
use weir_protocol::wire::session::{ClientSession, SessionError};

use super::clock;
use super::failure::Failure;

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may take to answer anything that does not wait for data by itself.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stream may stay CREATING before a command gives up on it.
const ACTIVE_PATIENCE: Duration = Duration::from_secs(30);
const ACTIVE_LOOK: Duration = Duration::from_millis(5);
/// Between two looks at a change that takes longer.
const SETTLED_LOOK_MAX: Duration = Duration::from_millis(200);
const RECEIVE_BYTES: usize = 256 * 1024;

/// Connects to `server` ("host:port").
fn connect(server: &str) -> Result<TcpStream, Failure> {
    let addresses = server.to_socket_addrs().map_err(|error| {
        Failure::could_not_run(format!("\"{server}\" is not a server's host:port: {error}"))
    })?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(socket) => {
                socket
                    .set_nodelay(true)
                    .and_then(|()| socket.set_read_timeout(Some(ANSWER_TIMEOUT)))
                    .and_then(|()| socket.set_write_timeout(Some(ANSWER_TIMEOUT)))
                    .map_err(|error| lost(server, &error))?;
                return Ok(socket);
            }
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(|| "it has no address".to_owned(), |e| e.to_string());
    Err(Failure::could_not_run(format!(
        "no server at {server} ({why}): start one with \"weir serve\" or name it with --server"
    )))
}

/// The sentence for a connection that broke.
pub(crate) fn lost(server: &str, error: &std::io::Error) -> Failure {
    let why = match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())
        }
        ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        _ => error.to_string(),
    };
    Failure::could_not_run(format!("lost the server at {server}: {why}"))
}

fn nonsense(server: &str, error: impl std::fmt::Display) -> Failure {
    Failure::could_not_run(format!("the server at {server} sent nonsense: {error}"))
}

/// The sentence for a connection that cannot go on.
fn ended(server: &str, error: &SessionError) -> Failure {
    match error {
        SessionError::Refused {
            status: HelloStatus::Busy,
            ..
        } => Failure::busy(server),
        SessionError::Refused { .. } => Failure::could_not_run(error.to_string()),
        _ => nonsense(server, error),
    }
}

/// The sentence for a refusal.
pub(crate) fn refusal(error: &WireError) -> Failure {
    let text = if error.text.is_empty() {
        format!("the server refused: {:?}", error.code)
    } else {
        error.text.clone()
    };
    match error.code {
        ErrorCode::InvalidArgument => Failure::usage(text),
        ErrorCode::Damaged => Failure::data_wrong(text),
        _ => Failure::could_not_run(text),
    }
}

/// Connects to the core that owns some shards, for pipelined frames: says hello, and gives back
/// the socket with nothing but frames ahead of it.
pub(crate) fn connect_core(server: &str, core: u32) -> Result<TcpStream, Failure> {
    let mut socket = connect(server)?;
    let mut bytes = [0; HELLO_BYTES];
    socket
        .write_all(&ClientHello::new(core).encode())
        .and_then(|()| socket.read_exact(&mut bytes))
        .map_err(|error| lost(server, &error))?;
    let hello = ServerHello::decode(&bytes).map_err(|error| nonsense(server, error))?;
    match hello.status {
        HelloStatus::Welcome => Ok(socket),
        HelloStatus::Busy => Err(Failure::busy(server)),
        HelloStatus::UnknownCore => Err(Failure::could_not_run(format!(
            "the server at {server} has {} cores and no core {core}",
            hello.cores
        ))),
        HelloStatus::UnknownVersion => Err(Failure::could_not_run(format!(
            "the server at {server} speaks protocol version {}",
            hello.version
        ))),
    }
}

/// Cuts frames out of a socket's bytes.
pub(crate) struct FrameReader {
    socket: TcpStream,
    server: String,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl FrameReader {
    pub(crate) fn new(socket: TcpStream, server: &str) -> Self {
        Self {
            socket,
            server: server.to_owned(),
            bytes: vec![0; RECEIVE_BYTES],
            start: 0,
            end: 0,
        }
    }

    /// The next frame; blocks until it is whole.
    pub(crate) fn next(&mut self) -> Result<WireFrame<'_>, Failure> {
        let length = loop {
            let have = &self.bytes[self.start..self.end];
            let length =
                frame::frame_length(have).map_err(|error| nonsense(&self.server, error))?;
            match length {
                Some(length) if have.len() >= length => break length,
                _ => self.fill(length.unwrap_or(0))?,
            }
        };
        let from = self.start;
        self.start += length;
        match frame::decode(&self.bytes[from..from + length]) {
            Ok(Some((frame, _))) => Ok(frame),
            Ok(None) => unreachable!("a frame of checked length is whole"),
            Err(error) => Err(nonsense(&self.server, error)),
        }
    }

    /// Receives more, with room for a frame of `wanted` bytes, whose length was checked.
    fn fill(&mut self, wanted: usize) -> Result<(), Failure> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() < wanted.max(self.end + 1) {
            self.bytes.resize(wanted.max(self.end + RECEIVE_BYTES), 0);
        }
        loop {
            match self.socket.read(&mut self.bytes[self.end..]) {
                Ok(0) => return Err(lost(&self.server, &ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.end += count;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(&self.server, &error)),
            }
        }
    }
}

/// A connection for control requests.
pub(crate) struct Client {
    server: String,
    socket: TcpStream,
    session: ClientSession<()>,
}

/// An answer that owns what it says.
enum Answer {
    Stream(StreamDescription),
    Streams(Vec<StreamSummary>, bool),
    Deleted,
}

impl Client {
    pub(crate) fn connect(server: &str) -> Result<Self, Failure> {
        Ok(Self {
            server: server.to_owned(),
            socket: connect(server)?,
            session: ClientSession::new(ClientHello::new(CORE_ANY)),
        })
    }

    fn ask(&mut self, request: &Request<'_>) -> Result<Answer, Failure> {
        self.session.request(request, ());
        // A server that is busy says so and hangs up: then the words lie ready to be read.
        let sent = self.socket.write_all(self.session.outgoing());
        let mut unsent = sent.err();
        let count = self.session.outgoing().len();
        self.session.sent(count);
        let mut piece = vec![0; 64 * 1024];
        loop {
            let polled = self.session.poll();
            match polled.map_err(|error| ended(&self.server, &error))? {
                Some(((), Response::Stream(stream))) => return Ok(Answer::Stream(stream)),
                Some(((), Response::Streams { streams, more })) => {
                    return Ok(Answer::Streams(streams, more));
                }
                Some(((), Response::Deleted)) => return Ok(Answer::Deleted),
                Some(((), Response::Error(error))) => return Err(refusal(&error)),
                Some(_) => return Err(nonsense(&self.server, "an answer of another kind")),
                None => {}
            }
            match self.socket.read(&mut piece) {
                Ok(0) => return Err(lost(&self.server, &ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.session.received(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(&self.server, &unsent.take().unwrap_or(error))),
            }
        }
    }

    /// Asks something that is answered with a stream's description.
    pub(crate) fn stream(&mut self, request: &Request<'_>) -> Result<StreamDescription, Failure> {
        match self.ask(request)? {
            Answer::Stream(stream) => Ok(stream),
            _ => Err(nonsense(&self.server, "an answer of another kind")),
        }
    }

    pub(crate) fn describe(&mut self, name: &StreamName) -> Result<StreamDescription, Failure> {
        self.stream(&Request::Describe(name.clone()))
    }

    /// Describes a stream once it is usable: one that was created just now becomes so by itself.
    pub(crate) fn describe_active(
        &mut self,
        name: &StreamName,
    ) -> Result<StreamDescription, Failure> {
        let give_up = clock::now() + ACTIVE_PATIENCE;
        loop {
            let stream = self.describe(name)?;
            match stream.status {
                StreamStatus::Active | StreamStatus::Updating => return Ok(stream),
                StreamStatus::Creating if clock::now() < give_up => {
                    // The server sends no event for this; it takes milliseconds.
                    std::thread::park_timeout(ACTIVE_LOOK);
                }
                status => {
                    return Err(Failure::could_not_run(format!(
                        "stream {name} is {}, not ACTIVE",
                        status.aws_name()
                    )));
                }
            }
        }
    }

    /// Asks for the stream until it is ACTIVE, for `patience` at most; what it is by then.
    pub(crate) fn describe_settled(
        &mut self,
        name: &StreamName,
        patience: Duration,
    ) -> Result<StreamDescription, Failure> {
        let give_up = clock::now() + patience;
        let mut pause = ACTIVE_LOOK;
        loop {
            let stream = self.describe(name)?;
            let left = give_up.saturating_duration_since(clock::now());
            if stream.status == StreamStatus::Active || left.is_zero() {
                return Ok(stream);
            }
            // The server sends no event for this. A change takes milliseconds, one in many rounds
            // seconds.
            std::thread::park_timeout(pause.min(left));
            pause = (2 * pause).min(SETTLED_LOOK_MAX);
        }
    }

    pub(crate) fn delete(&mut self, name: &StreamName) -> Result<(), Failure> {
        match self.ask(&Request::Delete(name.clone()))? {
            Answer::Deleted => Ok(()),
            _ => Err(nonsense(&self.server, "an answer of another kind")),
        }
    }

    /// All streams, in name order, page by page.
    pub(crate) fn list(&mut self) -> Result<Vec<StreamSummary>, Failure> {
        let mut all: Vec<StreamSummary> = Vec::new();
        loop {
            let after = all.last().map(|stream| stream.name.clone());
            match self.ask(&Request::List(ListRequest { after, limit: 1000 }))? {
                Answer::Streams(streams, more) => {
                    let more = more && !streams.is_empty();
                    all.extend(streams);
                    if !more {
                        return Ok(all);
                    }
                }
                _ => return Err(nonsense(&self.server, "an answer of another kind")),
            }
        }
    }
}
