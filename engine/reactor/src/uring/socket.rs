//! A TCP connection on a core.

use std::cell::Cell;
use std::io::{self, IoSlice, Read};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use socket2::SockRef;

use super::readiness::{Readiness, Way};
use crate::seam::Socket;

/// No call on a socket waits or raises a signal: waiting is the readiness's.
const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// A connection. Clones share it: one receives while another sends. Dropping the last one ends it.
#[derive(Clone)]
pub struct TcpSocket {
    inner: Rc<Inner>,
}

struct Inner {
    stream: TcpStream,
    readiness: Rc<Readiness>,
    key: u64,
    given_away: Cell<bool>,
}

impl TcpSocket {
    /// Takes a connection over on this core, with small answers sent at once.
    pub fn adopt(descriptor: OwnedFd) -> io::Result<Self> {
        let stream = TcpStream::from(descriptor);
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        // An urgent byte would end a receive early, and what is behind it would not be told.
        SockRef::from(&stream).set_out_of_band_inline(true)?;
        let readiness = Readiness::here();
        let inner = Inner {
            key: readiness.enter(stream.as_raw_fd()),
            readiness,
            stream,
            given_away: Cell::new(false),
        };
        Ok(Self {
            inner: Rc::new(inner),
        })
    }

    /// Gives the connection to another core. No byte is lost: a receive never takes more than was
    /// asked for. Clones that remain must not be used.
    pub fn into_descriptor(self) -> io::Result<OwnedFd> {
        let descriptor = OwnedFd::from(self.inner.stream.try_clone()?);
        self.inner.given_away.set(true);
        Ok(descriptor)
    }

    /// Ends sending; what the other side sends still comes.
    pub fn finish(&self) -> io::Result<()> {
        self.inner.socket().shutdown(Shutdown::Write)
    }
}

impl Inner {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.stream)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The kernel's poll holds the socket for a while after it is closed; the other side shall
        // know at once.
        if !self.given_away.get() {
            let _ = self.socket().shutdown(Shutdown::Both);
        }
        self.readiness.leave(self.key);
    }
}

impl Socket for TcpSocket {
    fn poll_receive(&self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        assert!(!into.is_empty(), "a receive needs room");
        let Inner { readiness, key, .. } = &*self.inner;
        let room = into.len();
        let received = readiness.poll(*key, Way::In, context, || (&self.inner.stream).read(into));
        if let Poll::Ready(Ok(received)) = received
            && received < room
        {
            // There was no more; what comes later is told.
            readiness.drained(*key);
        }
        received
    }

    fn poll_send(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!bytes.is_empty(), "a send needs bytes");
        let Inner { readiness, key, .. } = &*self.inner;
        readiness.poll(*key, Way::Out, context, || {
            self.inner.socket().send_with_flags(bytes, FLAGS)
        })
    }

    fn poll_send_vectored(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Inner { readiness, key, .. } = &*self.inner;
        readiness.poll(*key, Way::Out, context, || {
            self.inner.socket().send_vectored_with_flags(slices, FLAGS)
        })
    }

    fn shutdown(&self) {
        // It fails only where the other side was faster.
        let _ = self.inner.socket().shutdown(Shutdown::Both);
    }
}
