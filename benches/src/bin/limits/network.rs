//! Loopback between two pinned threads, with blocking calls: N and R.
#![expect(
    clippy::disallowed_methods,
    reason = "a measurement has the real clock; nothing here runs in the simulator"
)]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context;
use weir_reactor::start_thread;

use crate::machine::{Cpus, on_cpu};
use crate::samples::{Percentiles, Samples};

const STREAM_CALL_BYTES: usize = 256 << 10;
const ROUND_TRIP_BYTES: usize = 1 << 10;
const WARM_UP_ROUNDS: usize = 1_000;
/// No single call of a healthy loopback takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `server` and `client` at the two ends of a connection and gives what the client measured.
fn between<T: Send + 'static>(
    cpus: Cpus,
    server: impl FnOnce(TcpStream) -> io::Result<()> + Send + 'static,
    client: impl FnOnce(TcpStream) -> io::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let prepared = |socket: TcpStream| {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok::<_, io::Error>(socket)
    };
    // Connected before anybody accepts: neither end can wait for one that failed.
    let here = prepared(TcpStream::connect(address)?)?;
    let there = prepared(listener.accept()?.0)?;
    let thread = start_thread("limits-server", Some(cpus.server), move || server(there))?;
    let measured = on_cpu(cpus.generator, move || client(here))?;
    let served = thread.join();
    let value = measured.context("the generator's end")?;
    served
        .map_err(|_| anyhow::anyhow!("the server's end panicked"))?
        .context("the server's end")?;
    Ok(value)
}

/// N: bytes per second that one stream carries.
pub(crate) fn stream(cpus: Cpus, bytes: u64) -> anyhow::Result<f64> {
    let server = |mut socket: TcpStream| {
        let mut buffer = vec![0; STREAM_CALL_BYTES];
        while socket.read(&mut buffer)? > 0 {}
        // One byte back: the sender's clock stops when all has arrived.
        socket.write_all(&[1])
    };
    let client = move |mut socket: TcpStream| {
        let buffer = vec![7; STREAM_CALL_BYTES];
        let started = Instant::now();
        let calls = bytes.div_ceil(STREAM_CALL_BYTES as u64);
        for _ in 0..calls {
            socket.write_all(&buffer)?;
        }
        socket.shutdown(std::net::Shutdown::Write)?;
        socket.read_exact(&mut [0])?;
        let sent = calls * STREAM_CALL_BYTES as u64;
        Ok(sent as f64 / started.elapsed().as_secs_f64())
    };
    between(cpus, server, client)
}

/// R: 1 KiB there and 1 KiB back, one at a time.
pub(crate) fn round_trips(cpus: Cpus, rounds: usize) -> anyhow::Result<Percentiles> {
    let server = |mut socket: TcpStream| {
        let mut buffer = [0; ROUND_TRIP_BYTES];
        loop {
            match socket.read_exact(&mut buffer) {
                Ok(()) => socket.write_all(&buffer)?,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    let client = move |mut socket: TcpStream| {
        let mut buffer = [7; ROUND_TRIP_BYTES];
        let mut samples = Samples::with_capacity(rounds);
        for round in 0..WARM_UP_ROUNDS + rounds {
            let started = Instant::now();
            socket.write_all(&buffer)?;
            socket.read_exact(&mut buffer)?;
            if round >= WARM_UP_ROUNDS {
                samples.push(started.elapsed());
            }
        }
        Ok(samples.percentiles())
    };
    between(cpus, server, client)
}
