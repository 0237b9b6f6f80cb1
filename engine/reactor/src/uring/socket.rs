//! A TCP connection on a core.

#![expect(
    unsafe_code,
    reason = "the runtime takes and shows its socket as a raw descriptor"
)]

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

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
    fn poll_receive(&self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        assert!(!into.is_empty(), "a receive needs room");
        let mut stream = self.inner.stream.borrow_mut();
        Pin::new(&mut *stream).poll_read(context, into)
    }

    fn poll_send(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!bytes.is_empty(), "a send needs bytes");
        let mut stream = self.inner.stream.borrow_mut();
        loop {
            match ready!(Pin::new(&mut *stream).poll_write(context, bytes)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    fn poll_send_vectored(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let sent = self
            .inner
            .with_descriptor(|fd| SockRef::from(&fd).send_vectored_with_flags(slices, flags));
        match sent {
            // The runtime tries the first slice again, and waits for room.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                let first = slices.iter().find(|slice| !slice.is_empty());
                self.poll_send(context, first.expect("a send needs bytes"))
            }
            sent => Poll::Ready(sent),
        }
    }

    fn shutdown(&self) {
        // It fails only where the other side was faster.
        let _ = self
            .inner
            .with_descriptor(|fd| SockRef::from(&fd).shutdown(Shutdown::Both));
    }
}
