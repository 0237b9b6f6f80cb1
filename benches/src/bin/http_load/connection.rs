//! One kept connection: a request out, an answer in.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use anyhow::{Context, bail};
use memchr::memmem;
use mio::net::TcpStream;
use rustls::ClientConnection;

use crate::dial::Dial;

/// Room for one look at the socket.
const READ_BYTES: usize = 1 << 20;

/// A connection and the call in flight on it.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Bytes of the request sent so far.
    sent: usize,
    answer: Vec<u8>,
    filled: usize,
    pub(crate) began: Instant,
}

impl Connection {
    pub(crate) fn open(dial: &Dial) -> anyhow::Result<Self> {
        let (server, began) = (dial.server, Instant::now());
        let stream = std::net::TcpStream::connect(server)
            .with_context(|| format!("no connection to {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            tls: dial.tls()?.map(Box::new),
            sent: 0,
            answer: Vec::new(),
            filled: 0,
            began,
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
        if self.tls.is_some() {
            return self.send_secret(request);
        }
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

    fn send_secret(&mut self, request: &[u8]) -> anyhow::Result<bool> {
        let Some(tls) = &mut self.tls else {
            bail!("the connection is plain");
        };
        loop {
            while tls.wants_write() {
                match tls.write_tls(&mut self.stream) {
                    Ok(0) => bail!("the server closed the connection"),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if tls.is_handshaking() {
                if !take_in(tls, &mut self.stream)? {
                    return Ok(false);
                }
            } else if self.sent == request.len() {
                return Ok(true);
            } else {
                self.sent += tls.writer().write(&request[self.sent..])?;
            }
        }
    }

    /// Receives some bytes of whatever comes: 0 at the end.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read(&mut self.stream, self.tls.as_deref_mut(), into)
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
            let room = &mut self.answer[self.filled..];
            match read(&mut self.stream, self.tls.as_deref_mut(), room) {
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

/// Takes in what the socket has for TLS; false if it has nothing now.
fn take_in(tls: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<bool> {
    match tls.read_tls(stream) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(_) => match tls.process_new_packets() {
            Ok(_) => Ok(true),
            Err(error) => Err(io::Error::new(ErrorKind::InvalidData, error)),
        },
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
        Err(error) => Err(error),
    }
}

fn read(
    stream: &mut TcpStream,
    tls: Option<&mut ClientConnection>,
    into: &mut [u8],
) -> io::Result<usize> {
    let Some(tls) = tls else {
        return stream.read(into);
    };
    loop {
        match tls.reader().read(into) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if !take_in(tls, stream)? {
                    return Err(error);
                }
            }
            taken => return taken,
        }
    }
}
