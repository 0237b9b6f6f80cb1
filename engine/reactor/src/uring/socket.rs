//! A TCP connection on a core.

#![expect(
    unsafe_code,
    reason = "the runtime takes and shows its socket as a raw descriptor"
)]

use std::cell::{Cell, RefCell};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;

use futures_util::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use socket2::SockRef;

use crate::seam::Socket;

/// A connection. Clones share it: one receives while another sends. Dropping the last one ends it.
#[derive(Clone)]
pub struct TcpSocket {
    inner: Rc<Inner>,
}

struct Inner {
    /// Borrowed for the length of a poll only: receiving and sending keep separate state in it.
    stream: RefCell<TcpStream>,
    given_away: Cell<bool>,
}

impl TcpSocket {
    /// Takes a connection over on this core, with small answers sent at once.
    pub fn adopt(descriptor: OwnedFd) -> io::Result<Self> {
        SockRef::from(&descriptor).set_tcp_nodelay(true)?;
        // SAFETY: the descriptor is a socket that we own and give away here.
        let stream = unsafe { TcpStream::from_raw_fd(descriptor.into_raw_fd()) };
        let inner = Inner {
            stream: RefCell::new(stream),
            given_away: Cell::new(false),
        };
        Ok(Self {
            inner: Rc::new(inner),
        })
    }

    /// Gives the connection to another core. No byte is lost: a receive never takes more than was
    /// asked for. Clones that remain must not be used.
    pub fn into_descriptor(self) -> io::Result<OwnedFd> {
        let descriptor = self
            .inner
            .with_descriptor(|descriptor| descriptor.try_clone_to_owned())?;
        self.inner.given_away.set(true);
        Ok(descriptor)
    }

    /// Ends sending; what the other side sends still comes.
    pub fn finish(&self) -> io::Result<()> {
        self.inner
            .with_descriptor(|fd| SockRef::from(&fd).shutdown(Shutdown::Write))
    }
}

impl Inner {
    fn with_descriptor<T>(&self, act: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        let stream = self.stream.borrow();
        // SAFETY: the stream holds the descriptor open while it is borrowed.
        act(unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The runtime's pending poll keeps the socket alive for a while after it is closed; the
        // other side shall know at once.
        if !self.given_away.get() {
            let _ = self.with_descriptor(|fd| SockRef::from(&fd).shutdown(Shutdown::Both));
        }
    }
}

impl Socket for TcpSocket {
    async fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        assert!(!into.is_empty(), "a receive needs room");
        std::future::poll_fn(|context| {
            let mut stream = self.inner.stream.borrow_mut();
            Pin::new(&mut *stream).poll_read(context, into)
        })
        .await
    }

    async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while sent < bytes.len() {
            let more = std::future::poll_fn(|context| {
                let mut stream = self.inner.stream.borrow_mut();
                Pin::new(&mut *stream).poll_write(context, &bytes[sent..])
            });
            match more.await {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn shutdown(&self) {
        // It fails only where the other side was faster.
        let _ = self
            .inner
            .with_descriptor(|fd| SockRef::from(&fd).shutdown(Shutdown::Both));
    }
}
