//! One connection's TLS: bytes of records on one side, plain bytes on the other.
//!
//! Owns: the session and its handshake. Never: the socket's buffer, nor what the bytes say.

use std::io::{self, IoSlice, Write};
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use weir_reactor::{Reactor, Socket};

use super::Tls;
use crate::http::socket_io::SocketIo;

/// Plain bytes that are encrypted and not sent yet, at most.
const UNSENT_BYTES_MAX: usize = 256 * 1024;
/// For a client that forgot the s.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
    content-type: text/plain\r\ncontent-length: 37\r\n\r\nthis port speaks TLS: ask by https://";

/// A socket behind TLS.
pub(in crate::http) struct TlsStream<S: Socket, R: Reactor> {
    io: SocketIo<S, R>,
    session: ServerConnection,
    /// Nothing was received yet.
    is_new: bool,
    /// What is left to say to a client that does not speak TLS.
    refusal: Option<&'static [u8]>,
    /// The client was told that nothing more comes.
    ended: bool,
}

/// The socket as rustls writes to it.
struct Records<'a, 'b, S: Socket, R: Reactor> {
    io: &'a mut SocketIo<S, R>,
    context: &'a mut Context<'b>,
}

impl<S: Socket, R: Reactor> Write for Records<'_, '_, S, R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.io.poll_send(self.context, slices) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Socket, R: Reactor> TlsStream<S, R> {
    pub(in crate::http) fn new(io: SocketIo<S, R>, tls: &Tls) -> io::Result<Self> {
        let mut session = ServerConnection::new(tls.config.clone()).map_err(io::Error::other)?;
        session.set_buffer_limit(Some(UNSENT_BYTES_MAX));
        Ok(Self {
            io,
            session,
            is_new: true,
            refusal: None,
            ended: false,
        })
    }

    /// Completes when plain bytes may be exchanged.
    pub(in crate::http) fn poll_handshake(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            while let Some(text) = &mut self.refusal {
                if text.is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                let count = ready!(self.io.poll_send(context, &[IoSlice::new(text)]))?;
                *text = &text[count..];
            }
            ready!(self.poll_flush(context))?;
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let held = ready!(self.io.poll_held(context))?;
            if held.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            // No TLS connection begins with a letter.
            if self.is_new && held[0].is_ascii_uppercase() {
                self.refusal = Some(NOT_TLS);
                continue;
            }
            self.is_new = false;
            self.take_records(context)?;
        }
    }

    /// Hands what the socket gave to the session.
    fn take_records(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let count = self.session.read_tls(&mut self.io.held())?;
        self.io.consume(count);
        let taken = self.session.process_new_packets();
        if let Err(error) = taken {
            // The client is told why, if it can be.
            let _ = self.poll_flush(context);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(())
    }

    /// Completes when plain bytes are here; with none, the client sends no more.
    pub(in crate::http) fn poll_held(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<&[u8]>> {
        loop {
            match self.session.reader().into_first_chunk() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => break,
            }
            ready!(self.io.poll_held(context))?;
            self.take_records(context)?;
            if self.session.wants_write()
                && let Poll::Ready(sent) = self.poll_flush(context)
            {
                sent?;
            }
        }
        // Many clients close without a word; HTTP tells by itself whether something is missing.
        Poll::Ready(Ok(self.session.reader().into_first_chunk().unwrap_or(&[])))
    }

    /// Takes the first `count` bytes of those [`TlsStream::poll_held`] gave.
    pub(in crate::http) fn consume(&mut self, count: usize) {
        io::BufRead::consume(&mut self.session.reader(), count);
    }

    /// Encrypts some of `slices`; they are sent by and by, at the latest by
    /// [`TlsStream::poll_flush`].
    pub(in crate::http) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let count = self.session.writer().write_vectored(slices)?;
            let flushed = self.poll_flush(context);
            if let Poll::Ready(Err(error)) = flushed {
                return Poll::Ready(Err(error));
            }
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
            ready!(flushed)?;
        }
    }

    /// Completes when all that was encrypted is sent.
    pub(in crate::http) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut records = Records {
                io: &mut self.io,
                context: &mut *context,
            };
            match self.session.write_tls(&mut records) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Completes when the client is gone, while nobody takes its bytes.
    pub(in crate::http) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.io.poll_gone(context)
    }

    /// Completes when the client was told that nothing more comes.
    pub(in crate::http) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            self.session.send_close_notify();
            self.ended = true;
        }
        self.poll_flush(context)
    }

    /// Ends both directions.
    pub(in crate::http) fn shutdown(&self) {
        self.io.shutdown();
    }
}
