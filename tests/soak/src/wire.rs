//! A blocking connection of the binary protocol to one core.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use weir_protocol::batch::{BatchBuilder, ProducerMark};
use weir_protocol::model::{ShardId, StreamMode, StreamName, StreamStatus};
use weir_protocol::wire::error::ErrorCode;
use weir_protocol::wire::hello::{CORE_ANY, ClientHello};
use weir_protocol::wire::request::{CreateRequest, Request};
use weir_protocol::wire::response::{AppendOutcome, Response, StreamDescription};
use weir_protocol::wire::session::ClientSession;

use crate::judge::STREAM;

/// Longer than anything the server does before it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// `T` comes back with each answer.
pub(crate) struct Wire<T = ()> {
    socket: TcpStream,
    session: ClientSession<T>,
    received: Vec<u8>,
    sent: u64,
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
            sent: 0,
        };
        wire.send()?;
        Ok(wire)
    }

    fn send(&mut self) -> io::Result<()> {
        self.socket.write_all(self.session.outgoing())?;
        let count = self.session.outgoing().len();
        self.session.sent(count);
        self.sent += count as u64;
        Ok(())
    }

    pub(crate) fn ask(&mut self, request: &Request<'_>, token: T) -> io::Result<()> {
        self.session.request(request, token);
        self.send()
    }

    /// Bytes given to the connection so far.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent
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

fn name_of(name: &str) -> Result<StreamName> {
    StreamName::new(name).with_context(|| format!("not a stream's name: {name}"))
}

pub(crate) fn describe(address: SocketAddr) -> Result<StreamDescription> {
    describe_named(address, STREAM)
}

/// Any stream there is.
pub(crate) fn describe_named(address: SocketAddr, name: &str) -> Result<StreamDescription> {
    described(address, &Request::Describe(name_of(name)?))
}

/// Creates the rigs' stream and waits until it is ACTIVE.
pub(crate) fn create(address: SocketAddr, shards: u32) -> Result<()> {
    create_named(address, STREAM, shards)
}

/// Creates another stream and waits until it is ACTIVE.
pub(crate) fn create_named(address: SocketAddr, name: &str, shards: u32) -> Result<()> {
    let request = Request::Create(CreateRequest {
        name: name_of(name)?,
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
        stream = described(address, &Request::Describe(name_of(name)?))?;
    }
    Ok(())
}

/// Deletes a stream.
pub(crate) fn delete(address: SocketAddr, name: &str) -> Result<()> {
    let mut wire = Wire::connect(address, CORE_ANY)?;
    wire.ask(&Request::Delete(name_of(name)?), ())?;
    wire.answer(|(), response| match response {
        Response::Deleted => Ok(()),
        other => bail!("not deleted: {other:?}"),
    })?
}

/// How a stream is; `None` if there is none.
pub(crate) fn status(address: SocketAddr, name: &str) -> Result<Option<StreamStatus>> {
    let mut wire = Wire::connect(address, CORE_ANY)?;
    wire.ask(&Request::Describe(name_of(name)?), ())?;
    wire.answer(|(), response| match response {
        Response::Stream(stream) => Ok(Some(stream.status)),
        Response::Error(wrong) if wrong.code == ErrorCode::StreamNotFound => Ok(None),
        other => bail!("not a description: {other:?}"),
    })?
}

/// Appends records to a stream's first shard until it was given so many bytes; each is acknowledged.
pub(crate) fn fill(address: SocketAddr, name: &str, bytes: usize) -> Result<()> {
    const DATA_BYTES: usize = 64 << 10;
    let stream = described(address, &Request::Describe(name_of(name)?))?;
    let shard = stream.shards.first().context("no shard")?;
    let mut wire = Wire::connect(address, shard.core)?;
    let id = ShardId::new(stream.id, shard.index);
    for _ in 0..bytes.div_ceil(DATA_BYTES) {
        let mut batch = Vec::new();
        let mut builder =
            BatchBuilder::new(&mut batch, id, stream.map_version, ProducerMark::default());
        let pushed = builder.push_with("key", DATA_BYTES, |room| room.fill(b'x'));
        pushed.expect("a rig's batch fits");
        builder.finish();
        let (count, batches) = (1, &batch[..]);
        wire.ask(&Request::Append { count, batches }, ())?;
        wire.answer(|(), response| match response {
            Response::Appended(outcomes)
                if matches!(outcomes[..], [AppendOutcome::Stored { .. }]) =>
            {
                Ok(())
            }
            other => bail!("not stored: {other:?}"),
        })??;
    }
    Ok(())
}
