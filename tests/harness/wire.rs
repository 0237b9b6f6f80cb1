//! A blocking client of the binary protocol, one connection to one core.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use weir_protocol::model::{StreamMode, StreamName, StreamStatus};
use weir_protocol::wire::error::WireError;
use weir_protocol::wire::hello::ClientHello;
use weir_protocol::wire::request::{CreateRequest, Request};
use weir_protocol::wire::response::{AppendOutcome, Response, StreamDescription};
use weir_protocol::wire::session::ClientSession;

/// Longer than anything the server does before it answers.
const PATIENCE: Duration = Duration::from_secs(30);
const RECEIVE_BYTES: usize = 256 * 1024;

/// A legal stream name.
pub(crate) fn name(text: &str) -> StreamName {
    StreamName::new(text).expect("a test's stream name is legal")
}

/// One connection. `T` comes back with each answer.
#[derive(Debug)]
pub(crate) struct Wire<T = ()> {
    socket: TcpStream,
    session: ClientSession<T>,
    received: Vec<u8>,
}

impl<T> Wire<T> {
    /// Connects and says hello for `core`.
    pub(crate) fn connect(address: SocketAddr, core: u32) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut wire = Self {
            socket,
            session: ClientSession::new(ClientHello::new(core)),
            received: vec![0; RECEIVE_BYTES],
        };
        wire.send()?;
        Ok(wire)
    }

    fn send(&mut self) -> io::Result<()> {
        self.socket.write_all(self.session.outgoing())?;
        let count = self.session.outgoing().len();
        self.session.sent(count);
        Ok(())
    }

    /// Sends a request without waiting for its answer.
    pub(crate) fn ask(&mut self, request: &Request<'_>, token: T) -> io::Result<()> {
        self.session.request(request, token);
        self.send()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.session.in_flight()
    }

    /// Waits for the next answer.
    pub(crate) fn answer<A>(&mut self, take: impl FnOnce(T, Response<'_>) -> A) -> io::Result<A> {
        loop {
            if let Some((token, response)) = self.session.poll().map_err(io::Error::other)? {
                return Ok(take(token, response));
            }
            let count = match self.socket.read(&mut self.received) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.session.received(&self.received[..count]);
        }
    }
}

impl Wire {
    /// Asks and waits, on a connection with nothing else in flight.
    pub(crate) fn call<A>(
        &mut self,
        request: &Request<'_>,
        take: impl FnOnce(Response<'_>) -> A,
    ) -> io::Result<A> {
        self.ask(request, ())?;
        self.answer(|(), response| take(response))
    }

    /// Asks for something that a description answers.
    pub(crate) fn stream(&mut self, request: &Request<'_>) -> Result<StreamDescription, WireError> {
        let answered = self.call(request, |response| match response {
            Response::Stream(stream) => Ok(stream),
            Response::Error(error) => Err(error),
            other => panic!("not a description: {other:?}"),
        });
        answered.expect("the server answers")
    }

    pub(crate) fn describe(&mut self, stream: &str) -> StreamDescription {
        let described = self.stream(&Request::Describe(name(stream)));
        described.expect("the stream is there")
    }

    /// Asks for a new stream and waits until it is ACTIVE.
    pub(crate) fn create_as(&mut self, request: CreateRequest) -> StreamDescription {
        let name = request.name.clone();
        let mut stream = self
            .stream(&Request::Create(request))
            .expect("the stream is created");
        let until = Instant::now() + PATIENCE;
        while stream.status != StreamStatus::Active {
            assert!(Instant::now() < until, "{name} does not become ACTIVE");
            stream = self.describe(name.as_str());
        }
        stream
    }

    /// Creates an on-demand stream kept for a day.
    pub(crate) fn create(&mut self, stream: &str, shards: u32) -> StreamDescription {
        self.create_as(CreateRequest {
            name: name(stream),
            shards,
            mode: StreamMode::OnDemand,
            retention_ms: None,
            retain_bytes: None,
        })
    }

    /// Appends `count` batches and says what became of them; `Err` if all were refused at once.
    pub(crate) fn append(
        &mut self,
        batches: &[u8],
        count: u32,
    ) -> Result<Vec<AppendOutcome>, WireError> {
        let request = Request::Append { count, batches };
        let answered = self.call(&request, |response| match response {
            Response::Appended(outcomes) => Ok(outcomes),
            Response::Error(error) => Err(error),
            other => panic!("not an answer to an append: {other:?}"),
        });
        answered.expect("the server answers")
    }
}
