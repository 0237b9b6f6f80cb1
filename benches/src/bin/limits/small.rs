//! Many callers of little: each sends a request, waits until it is durable and answered, and sends the
//! next; all that wait are written together. What no server of small durable calls can pass here.
#![expect(
    unsafe_code,
    reason = "io_uring is measured without a layer: the kernel is handed raw pointers"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a measurement has the real clock; nothing here runs in the simulator"
)]

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Context;
use io_uring::{IoUring, opcode, types};
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use weir_reactor::start_thread;

use crate::ring::{BLOCK_BYTES, Block};
use crate::samples::{Percentiles, Samples};

/// Callers, each with one request on its way.
pub(crate) const CALLERS: usize = 32;
/// A signed `PutRecord` of 1,000 bytes as JSON, and its answer.
pub(crate) const REQUEST_BYTES: usize = 1_750;
pub(crate) const ANSWER_BYTES: usize = 300;
const WARM_UP: Duration = Duration::from_millis(500);
/// No call of a healthy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The token of the ring; connections have those below.
const RING: Token = Token(CALLERS);

/// What the callers saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Small {
    pub(crate) calls_per_second: f64,
    pub(crate) each: Percentiles,
}

/// Serves on this thread and calls from one on `generator`, for `time`.
pub(crate) fn measure(file: &File, generator: usize, time: Duration) -> anyhow::Result<Small> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for _ in 0..CALLERS {
        let connected = std::net::TcpStream::connect(address)?;
        let accepted = listener.accept()?.0;
        for (socket, end) in [(connected, &mut here), (accepted, &mut there)] {
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            end.push(TcpStream::from_std(socket));
        }
    }
    let callers = start_thread("limits-callers", Some(generator), move || call(here, time))?;
    let served = Server::new(file, there)?.serve();
    let called = callers.join();
    served.context("the server's end")?;
    let called = called.map_err(|_| anyhow::anyhow!("the callers' end panicked"))?;
    called.context("the callers' end")
}

/// Sends `bytes` whole: they fit the socket's buffer, for nothing else is in it.
fn send(mut socket: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    match socket.write(bytes)? {
        sent if sent == bytes.len() => Ok(()),
        sent => Err(io::Error::other(format!("{sent} bytes fit a socket"))),
    }
}

/// Bytes that came; `None` when the other end is gone.
fn receive(mut socket: &TcpStream, into: &mut [u8]) -> io::Result<Option<usize>> {
    match socket.read(into) {
        Ok(0) => Ok(None),
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Some(0)),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error),
    }
}

fn watch(sockets: &mut [TcpStream]) -> io::Result<Poll> {
    let poll = Poll::new()?;
    for (number, socket) in sockets.iter_mut().enumerate() {
        poll.registry()
            .register(socket, Token(number), Interest::READABLE)?;
    }
    Ok(poll)
}

fn call(mut sockets: Vec<TcpStream>, time: Duration) -> io::Result<Small> {
    let mut poll = watch(&mut sockets)?;
    let request = [7; REQUEST_BYTES];
    let mut answer = [0; 2 * ANSWER_BYTES];
    let began = Instant::now();
    let mut begun = [began; CALLERS];
    let mut received = [0; CALLERS];
    let mut samples = Samples::default();
    let mut calls = 0_u64;
    let mut started: Option<Instant> = None;
    for socket in &sockets {
        send(socket, &request)?;
    }
    let mut events = Events::with_capacity(CALLERS);
    while started.is_none_or(|started| started.elapsed() < time) {
        poll.poll(&mut events, Some(PATIENCE))?;
        if events.is_empty() {
            return Err(ErrorKind::TimedOut.into());
        }
        for event in &events {
            let number = event.token().0;
            let Some(count) = receive(&sockets[number], &mut answer)? else {
                return Err(ErrorKind::UnexpectedEof.into());
            };
            received[number] += count;
            if received[number] < ANSWER_BYTES {
                continue;
            }
            received[number] = 0;
            let now = Instant::now();
            if started.is_some() {
                calls += 1;
                samples.push(now.duration_since(begun[number]));
            } else if began.elapsed() >= WARM_UP {
                started = Some(now);
            }
            begun[number] = now;
            send(&sockets[number], &request)?;
        }
    }
    let measured = started.map_or(time, |started| started.elapsed());
    Ok(Small {
        calls_per_second: calls as f64 / measured.as_secs_f64(),
        each: samples.percentiles(),
    })
}

/// Takes requests, writes those that wait together, one write at a time, and answers them.
struct Server<'a> {
    file: &'a File,
    file_bytes: u64,
    sockets: Vec<TcpStream>,
    poll: Poll,
    /// What was received of the request that is on its way, of each connection.
    received: [usize; CALLERS],
    /// Whose request came whole and is not written yet, and whose is being written.
    waiting: Vec<usize>,
    written: Vec<usize>,
    at: u64,
    open: usize,
    /// The ring is declared before the memory that it may be told of, and `serve` leaves none there.
    ring: IoUring,
    blocks: Vec<Block>,
    /// Readable when the ring has a completion.
    event: OwnedFd,
}

impl<'a> Server<'a> {
    fn new(file: &'a File, mut sockets: Vec<TcpStream>) -> io::Result<Self> {
        let poll = watch(&mut sockets)?;
        let ring = IoUring::new(4)?;
        // SAFETY: the call has no memory of ours, and its result is checked.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor just made, owned by nobody else.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        ring.submitter().register_eventfd(event.as_raw_fd())?;
        poll.registry()
            .register(&mut SourceFd(&event.as_raw_fd()), RING, Interest::READABLE)?;
        Ok(Self {
            file_bytes: file.metadata()?.len(),
            file,
            open: sockets.len(),
            sockets,
            poll,
            received: [0; CALLERS],
            waiting: Vec::with_capacity(CALLERS),
            written: Vec::with_capacity(CALLERS),
            at: 0,
            blocks: crate::ring::noise(CALLERS * REQUEST_BYTES),
            ring,
            event,
        })
    }

    /// Until every caller is gone.
    fn serve(mut self) -> io::Result<()> {
        let mut ended = Ok(());
        let mut events = Events::with_capacity(2 * CALLERS);
        while (ended.is_ok() && self.open > 0) || !self.written.is_empty() {
            let turn = self.turn(&mut events);
            if ended.is_ok() {
                ended = turn;
            } else if turn.is_err() {
                // Nothing is known of what was handed over: the memory must stay for ever.
                std::mem::forget(std::mem::take(&mut self.blocks));
                return ended;
            }
        }
        ended
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        match self.poll.poll(events, Some(PATIENCE)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        if events.is_empty() {
            return Err(ErrorKind::TimedOut.into());
        }
        for event in &*events {
            match event.token() {
                RING => self.answer()?,
                Token(number) => self.receive(number)?,
            }
        }
        if self.written.is_empty() && !self.waiting.is_empty() {
            self.write()?;
        }
        Ok(())
    }

    fn receive(&mut self, number: usize) -> io::Result<()> {
        // A caller sends nothing while it waits: a request's end is the end of what is there.
        let mut room = [0; 2 * REQUEST_BYTES];
        let Some(count) = receive(&self.sockets[number], &mut room)? else {
            self.open -= 1;
            return self.poll.registry().deregister(&mut self.sockets[number]);
        };
        self.received[number] += count;
        if self.received[number] == REQUEST_BYTES {
            self.received[number] = 0;
            self.waiting.push(number);
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        std::mem::swap(&mut self.waiting, &mut self.written);
        let bytes = (self.written.len() * REQUEST_BYTES).next_multiple_of(BLOCK_BYTES);
        if self.at + bytes as u64 > self.file_bytes {
            self.at = 0;
        }
        let memory = self.blocks.as_mut_ptr().cast::<u8>();
        let fd = types::Fd(self.file.as_raw_fd());
        let entry = opcode::Write::new(fd, memory, bytes as u32).offset(self.at);
        let entry = entry.build().user_data(bytes as u64);
        self.at += bytes as u64;
        // SAFETY: the memory is that of `blocks`, which is long enough for every caller, is not touched
        // otherwise, and stays until the completion has come: `serve` sees to it.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "one write is on its way at a time");
        self.ring.submit()?;
        Ok(())
    }

    fn answer(&mut self) -> io::Result<()> {
        // The event descriptor is looked at when it rises only; reading it makes room for the next.
        let mut count = [0; 8];
        let event = File::from(self.event.try_clone()?);
        let _ = (&event).read(&mut count);
        let Some(completion) = self.ring.completion().next() else {
            return Ok(());
        };
        let written = std::mem::take(&mut self.written);
        if completion.result() as u64 != completion.user_data() {
            return Err(io::Error::other(format!(
                "a write of {} bytes came to {}",
                completion.user_data(),
                completion.result()
            )));
        }
        for number in &written {
            match send(&self.sockets[*number], &[9; ANSWER_BYTES]) {
                // The caller is gone, and its end will be told.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                    ) => {}
                sent => sent?,
            }
        }
        Ok(())
    }
}
