//! A loopback proxy for one connection: what goes through it is cut, delayed, held and lost as its
//! fault says.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use socket2::SockRef;

use super::fault::{End, Fault, Shape, Way};
use super::lie::{Filter, Lie};
use crate::chance::Chance;

/// How often a pump that has nothing to do looks whether it is over.
const LOOK: Duration = Duration::from_millis(10);
/// No connection lasts longer, so that a rig ends.
const LIFE: Duration = Duration::from_secs(30);
const PIECE_BYTES: usize = 64 << 10;
/// Bytes that go one at a time.
const SINGLE_BYTES: u64 = 2_000;
/// Pieces that come late.
const LATE_PIECES: u64 = 60;

/// A proxy that waits for its connection, or has it.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    thread: JoinHandle<()>,
    state: Arc<State>,
    lie: Option<Lie>,
}

#[derive(Default)]
struct State {
    /// Bytes that were given to the server.
    up: AtomicU64,
    over: AtomicBool,
    /// The client was let go of.
    released: AtomicBool,
    /// The fault happened.
    happened: AtomicBool,
}

/// What became of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    /// Bytes that the server was given.
    pub(super) up: u64,
    pub(super) happened: bool,
}

impl Proxy {
    /// Listens for one connection, which goes to `server`.
    pub(super) fn open(
        server: SocketAddr,
        fault: Fault,
        lie: Option<Lie>,
        seed: u64,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            // A broken connection is what it is for.
            let _ = carry(&listener, server, fault, lie, seed, &shared);
            shared.over.store(true, Ordering::SeqCst);
        });
        Ok(Self {
            address,
            thread,
            state,
            lie,
        })
    }

    /// Waits until its connection is over on both sides. To be called when the client is done.
    pub(super) fn close(self) -> Result<Passed> {
        self.state.released.store(true, Ordering::SeqCst);
        if !self.thread.is_finished() {
            // In case nobody ever came.
            let _ = TcpStream::connect_timeout(&self.address, LOOK);
        }
        self.thread
            .join()
            .map_err(|_| anyhow!("a proxy panicked"))?;
        let up = self.state.up.load(Ordering::SeqCst);
        Ok(Passed {
            up: match self.lie {
                None => up,
                Some(Lie::Understate) => up - 1,
                // What it gave to the server is not what it was given.
                Some(_) => u64::MAX,
            },
            happened: self.state.happened.load(Ordering::SeqCst),
        })
    }
}

fn carry(
    listener: &TcpListener,
    server: SocketAddr,
    fault: Fault,
    lie: Option<Lie>,
    seed: u64,
    state: &Arc<State>,
) -> io::Result<()> {
    let (client, _) = listener.accept()?;
    let server = TcpStream::connect(server)?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(LOOK))?;
        socket.set_write_timeout(Some(LIFE))?;
    }
    let (client, server) = (Arc::new(client), Arc::new(server));
    let filter = Arc::new(Mutex::new(Filter::new(lie)));
    let until = Instant::now() + LIFE;
    let pump = |way, from: &Arc<TcpStream>, to: &Arc<TcpStream>| {
        let pump = Pump {
            way,
            from: Arc::clone(from),
            to: Arc::clone(to),
            fault,
            state: Arc::clone(state),
            filter: Arc::clone(&filter),
            chance: Chance::new(seed ^ way as u64),
            passed: 0,
            until,
        };
        thread::spawn(move || pump.run())
    };
    let up = pump(Way::Up, &client, &server);
    let down = pump(Way::Down, &server, &client);
    let _ = (up.join(), down.join());
    Ok(())
}

struct Pump {
    way: Way,
    from: Arc<TcpStream>,
    to: Arc<TcpStream>,
    fault: Fault,
    state: Arc<State>,
    filter: Arc<Mutex<Filter>>,
    chance: Chance,
    passed: u64,
    until: Instant,
}

impl Pump {
    fn run(mut self) {
        if self.pass().is_ok() {
            // The other way may have something to say yet.
            let _ = self.to.shutdown(std::net::Shutdown::Write);
        } else {
            self.state.over.store(true, Ordering::SeqCst);
        }
    }

    fn is_over(&self) -> bool {
        self.state.over.load(Ordering::SeqCst) || Instant::now() > self.until
    }

    /// Until the sending side ends, or an error when all is over.
    fn pass(&mut self) -> io::Result<()> {
        let mut bytes = vec![0; PIECE_BYTES];
        loop {
            let count = match (&*self.from).read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if is_timeout(&error) => {
                    if self.is_over() {
                        return Err(error);
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut piece = self.shape(&mut bytes, count)?;
            {
                let mut filter = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
                piece = filter.pass(self.way, piece);
            }
            self.give(&piece)?;
        }
    }

    /// What goes on of what came, and when.
    fn shape(&mut self, bytes: &mut [u8], count: usize) -> io::Result<Vec<u8>> {
        let mut piece = bytes[..count].to_vec();
        match self.shape_of() {
            Shape::Gathered => {
                let until = Instant::now() + Duration::from_millis(self.chance.between(5, 40));
                while Instant::now() < until && piece.len() < PIECE_BYTES {
                    match (&*self.from).read(bytes) {
                        Ok(0) => break,
                        Ok(count) => piece.extend_from_slice(&bytes[..count]),
                        Err(error) if is_timeout(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Shape::Late if self.passed < LATE_PIECES * 100 => {
                thread::sleep(Duration::from_millis(self.chance.between(1, 15)));
            }
            _ => {}
        }
        Ok(piece)
    }

    fn shape_of(&self) -> Shape {
        match self.way {
            Way::Up => self.fault.up,
            Way::Down => self.fault.down,
        }
    }

    fn give(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut count = match self.shape_of() {
                Shape::Single if self.passed < SINGLE_BYTES => 1,
                Shape::Single | Shape::Pieces => self.chance.between(1, 300) as usize,
                _ => bytes.len(),
            };
            count = count.min(bytes.len());
            let is_due = self.fault.end != End::Lasts && self.fault.way == self.way;
            let left = self.fault.at.saturating_sub(self.passed) as usize;
            if is_due && left > 0 {
                count = count.min(left);
            }
            if self.way == Way::Up {
                // Before they go: of a write that fails, some may have gone.
                self.state.up.fetch_add(count as u64, Ordering::SeqCst);
            }
            (&*self.to).write_all(&bytes[..count])?;
            self.passed += count as u64;
            bytes = &bytes[count..];
            if is_due && left > 0 && self.passed == self.fault.at {
                self.break_it()?;
            }
            if self.is_over() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
        }
        Ok(())
    }

    fn break_it(&mut self) -> io::Result<()> {
        let over = || ErrorKind::ConnectionAborted.into();
        self.state.happened.store(true, Ordering::SeqCst);
        let hold = Duration::from_millis(self.fault.hold_ms);
        match self.fault.end {
            End::Lasts => Ok(()),
            End::Reset => {
                reset(&self.from);
                reset(&self.to);
                Err(over())
            }
            End::Finish => {
                self.to.shutdown(std::net::Shutdown::Write)?;
                self.swallow()
            }
            End::Stall => {
                self.wait(hold);
                Ok(())
            }
            End::Vanish | End::BlackHole => {
                // The other way stops at its next piece: nothing of either side is taken any more.
                self.state.over.store(true, Ordering::SeqCst);
                thread::sleep(hold);
                let (client, server) = match self.way {
                    Way::Up => (&self.from, &self.to),
                    Way::Down => (&self.to, &self.from),
                };
                reset(client);
                let _ = client.shutdown(std::net::Shutdown::Both);
                // The server's side stays open, and silent, until now.
                thread::sleep(hold);
                if self.fault.end == End::BlackHole {
                    reset(server);
                }
                Err(over())
            }
        }
    }

    fn wait(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.is_over() {
            thread::sleep(LOOK);
        }
    }

    /// Takes the rest and keeps it.
    fn swallow(&mut self) -> io::Result<()> {
        let mut bytes = vec![0; PIECE_BYTES];
        loop {
            match (&*self.from).read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {
                    if self.is_over() || self.state.released.load(Ordering::SeqCst) {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Has the socket's end be a reset.
fn reset(socket: &TcpStream) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
