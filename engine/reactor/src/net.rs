//! Listening: an ordinary thread accepts and hands each connection over as a descriptor.
//!
//! Owns: listeners. Never: a byte of a connection (`uring::TcpSocket`, on a core).

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

/// Connections the kernel keeps for us before we accept them.
const BACKLOG: i32 = 1_024;
/// How long to leave the kernel alone when it has no descriptor left for us: no event tells when
/// one is free.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(20);

/// A bound, listening socket.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// Binds and listens. Port 0 lets the kernel choose.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        Ok(Self {
            listener: socket.into(),
        })
    }

    /// Where it listens.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Starts a thread that calls `take` with every connection until it is stopped. A connection
    /// that `take` drops is closed.
    pub fn start_accepting(
        self,
        name: &str,
        mut take: impl FnMut(OwnedFd, SocketAddr) + Send + 'static,
    ) -> io::Result<Acceptor> {
        let address = self.local_address()?;
        let listener = Arc::new(self.listener);
        let stopping = Arc::new(AtomicBool::new(false));
        let (accepting, stop) = (Arc::clone(&listener), Arc::clone(&stopping));
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    match accepting.accept() {
                        Ok((connection, peer)) => hand_over(connection, peer, &mut take),
                        Err(error) => survive(&error, &stop),
                    }
                }
            })?;
        Ok(Acceptor {
            address,
            listener,
            stopping,
            thread: Some(thread),
        })
    }
}

fn hand_over(connection: TcpStream, peer: SocketAddr, take: &mut impl FnMut(OwnedFd, SocketAddr)) {
    // A connection that is over already refuses; whoever takes it will see.
    let _ = connection.set_nodelay(true);
    take(connection.into(), peer);
}

#[expect(
    clippy::disallowed_methods,
    reason = "no event tells that a descriptor became free"
)]
fn survive(error: &io::Error, stop: &AtomicBool) {
    let shortage = matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    );
    if shortage {
        tracing::warn!(%error, "can not accept a connection");
    }
    // Other errors belong to the connection that failed; an unknown one must not spin either.
    if (shortage || error.raw_os_error() == Some(libc::EINVAL)) && !stop.load(Ordering::Acquire) {
        std::thread::sleep(SHORTAGE_PAUSE);
    }
}

/// A thread that accepts. Dropping it stops it.
#[derive(Debug)]
pub struct Acceptor {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting and waits for the thread; connections not yet accepted are refused.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Wakes the thread: accept on a socket that was shut down returns.
        let _ = SockRef::from(&self.listener.as_fd()).shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
