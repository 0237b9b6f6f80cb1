//! One kept connection: a request out, an answer in.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, bail};
use memchr::memmem;
use mio::net::TcpStream;

/// Room for one look at the socket.
const READ_BYTES: usize = 1 << 20;

/// A connection and the call in flight on it.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// Bytes of the request sent so far.
    sent: usize,
    answer: Vec<u8>,
    filled: usize,
    pub(crate) began: Instant,
}

impl Connection {
    pub(crate) fn open(server: SocketAddr) -> anyhow::Result<Self> {
        let stream = std::net::TcpStream::connect(server)
            .with_context(|| format!("no connection to {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            sent: 0,
            answer: Vec::new(),
            filled: 0,
            began: Instant::now(),
        })
    }

    /// Begins the next call.
    pub(crate) fn begin(&mut self) {
        self.sent = 0;
        self.filled = 0;
        self.began = Instant::now();
    }

    /// Sends what the socket takes; true when all of `request` is out.
    pub(crate) fn send(&mut self, request: &[u8]) -> anyhow::Result<bool> {
        while self.sent < request.len() {
            match self.stream.write(&request[self.sent..]) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Receives what there is; the body once the answer is whole.
    pub(crate) fn receive(&mut self) -> anyhow::Result<Option<&[u8]>> {
        let whole = loop {
            if let Some((body, end)) = self.frame()?
                && self.filled >= end
            {
                break body..end;
            }
            if self.answer.len() < self.filled + READ_BYTES {
                self.answer.resize(self.filled + READ_BYTES, 0);
            }
            match self.stream.read(&mut self.answer[self.filled..]) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        let head = String::from_utf8_lossy(&self.answer[..whole.start]);
        if !head.starts_with("HTTP/1.1 200") {
            let body = String::from_utf8_lossy(&self.answer[whole.clone()]);
            bail!("the server answered {head}{body}");
        }
        Ok(Some(&self.answer[whole]))
    }

    /// Where the body begins and ends, once the head is there.
    fn frame(&self) -> anyhow::Result<Option<(usize, usize)>> {
        let bytes = &self.answer[..self.filled];
        let Some(head) = memmem::find(&bytes[..bytes.len().min(4_096)], b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..head])?.to_ascii_lowercase();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .with_context(|| format!("no content length in {text}"))?;
        let length: usize = length.trim().parse()?;
        Ok(Some((head + 4, head + 4 + length)))
    }
}
