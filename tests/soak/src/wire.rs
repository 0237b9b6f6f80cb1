//! A blocking connection of the binary protocol to one core.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use weir_protocol::model::{StreamMode, StreamName, StreamStatus};
use weir_protocol::wire::hello::{CORE_ANY, ClientHello};
use weir_protocol::wire::request::{CreateRequest, Request};
use weir_protocol::wire::response::{Response, StreamDescription};
use weir_protocol::wire::session::ClientSession;

use crate::judge::STREAM;

/// Longer than anything the server does before it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// `T` comes back with each answer.
pub(crate) struct Wire<T = ()> {
    socket: TcpStream,
    session: ClientSession<T>,
    received: Vec<u8>,
}

impl<T> Wire<T> {
    pub(crate) fn connect(address: SocketAddr, core: u32) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut wire = Self {
            socket,
            session: ClientSession::new(ClientHello::new(core)),
            received: vec![0; 64 << 10],
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
            let count = self.socket.read(&mut self.received)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.session.received(&self.received[..count]);
        }
    }
}

/// Asks for something that a description answers.
fn described(address: SocketAddr, request: &Request<'_>) -> Result<StreamDescription> {
    let mut wire = Wire::connect(address, CORE_ANY)?;
    wire.ask(request, ())?;
    wire.answer(|(), response| match response {
        Response::Stream(stream) => Ok(stream),
        other => bail!("not a description: {other:?}"),
    })?
}

fn name() -> Result<StreamName> {
    StreamName::new(STREAM).context("the rigs' stream has a legal name")
}

pub(crate) fn describe(address: SocketAddr) -> Result<StreamDescription> {
    described(address, &Request::Describe(name()?))
}

/// Creates the rigs' stream and waits until it is ACTIVE.
pub(crate) fn create(address: SocketAddr, shards: u32) -> Result<()> {
    let request = Request::Create(CreateRequest {
        name: name()?,
        shards,
        mode: StreamMode::OnDemand,
        retention_ms: None,
        retain_bytes: None,
    });
    let mut stream = described(address, &request)?;
    let until = Instant::now() + PATIENCE;
    while stream.status != StreamStatus::Active {
        if Instant::now() > until {
            bail!("the stream does not become ACTIVE");
        }
        stream = describe(address)?;
    }
    Ok(())
}
