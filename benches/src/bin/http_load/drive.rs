//! The clock, the loop over connections, and what came of it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use memchr::memmem;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::arguments::{Arguments, Encoding, Operation};
use crate::connection::Connection;
use crate::dial::Dial;
use crate::setup::{Prepared, next_token, read_at};

const WARM_UP: Duration = Duration::from_secs(1);
/// The kernel counts CPU time in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// What was measured.
pub(crate) struct Outcome {
    calls: u64,
    records: u64,
    elapsed: Duration,
    latency: Histogram<u64>,
    server_cpu: Option<f64>,
    own_cpu: f64,
}

/// One connection and what it sends.
struct Lane {
    connection: Connection,
    number: usize,
    /// The call of a reader; putters send the prepared ones in turn.
    read: Vec<u8>,
    turn: usize,
}

/// Keeps this thread on the CPU that was asked for.
pub(crate) fn pin(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(cpu) = arguments.pin
        && !core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
    {
        bail!("CPU {cpu} is not there for us");
    }
    Ok(())
}

pub(crate) fn drive(
    arguments: &Arguments,
    dial: &Dial,
    prepared: Prepared,
) -> anyhow::Result<Outcome> {
    pin(arguments)?;
    let mut poll = Poll::new()?;
    let mut lanes = Vec::new();
    for number in 0..arguments.connections {
        let mut lane = Lane {
            connection: open(dial, poll.registry(), number)?,
            number,
            read: Vec::new(),
            turn: number,
        };
        lane.next(arguments, &prepared, None);
        lanes.push(lane);
    }
    let mut tally = Tally::new(arguments)?;
    let mut events = Events::with_capacity(1_024);
    while !tally.is_over(arguments) {
        poll.poll(&mut events, Some(Duration::from_secs(10)))?;
        if events.is_empty() {
            bail!("the server was silent for 10 s");
        }
        for event in &events {
            let lane = &mut lanes[event.token().0];
            lane.go_on(arguments, &prepared, &mut tally, (dial, poll.registry()))?;
        }
    }
    tally.outcome(arguments)
}

impl Lane {
    fn next(&mut self, arguments: &Arguments, prepared: &Prepared, token: Option<String>) {
        self.turn += 1;
        match prepared {
            Prepared::Puts(_) => {}
            Prepared::Horizons(horizons) => {
                let token = token.unwrap_or_else(|| horizons[self.turn % horizons.len()].clone());
                self.read = read_at(arguments, &token);
            }
        }
        self.connection.begin();
    }

    fn send(&mut self, prepared: &Prepared) -> anyhow::Result<bool> {
        let request = match prepared {
            Prepared::Puts(requests) => &requests[self.turn % requests.len()],
            Prepared::Horizons(_) => &self.read,
        };
        self.connection.send(request)
    }

    fn go_on(
        &mut self,
        arguments: &Arguments,
        prepared: &Prepared,
        tally: &mut Tally,
        (dial, registry): (&Dial, &Registry),
    ) -> anyhow::Result<()> {
        while self.send(prepared)? {
            let began = self.connection.began;
            let Some(answer) = self.connection.receive()? else {
                return Ok(());
            };
            let records = records_of(arguments, answer)?;
            let token = match arguments.operation {
                Operation::GetRecords if records > 0 => next_token(answer, arguments.encoding),
                _ => None,
            };
            tally.count(records, began);
            self.next(arguments, prepared, token);
            if arguments.reconnect {
                self.connection = open(dial, registry, self.number)?;
            }
        }
        Ok(())
    }
}

/// A new connection that the loop watches.
pub(crate) fn open(dial: &Dial, registry: &Registry, token: usize) -> anyhow::Result<Connection> {
    let mut connection = Connection::open(dial)?;
    let interest = Interest::READABLE | Interest::WRITABLE;
    registry.register(&mut connection.stream, Token(token), interest)?;
    Ok(connection)
}

/// How many records an answer is about; a failed one ends the run.
pub(crate) fn records_of(arguments: &Arguments, answer: &[u8]) -> anyhow::Result<u64> {
    let numbers = memmem::find_iter(answer, b"SequenceNumber").count() as u64;
    let expected = match arguments.operation {
        Operation::GetRecords => return Ok(numbers),
        Operation::PutRecord => 1,
        Operation::PutRecords | Operation::Subscribe => arguments.records as u64,
    };
    if numbers != expected {
        let text = match arguments.encoding {
            Encoding::Json => String::from_utf8_lossy(&answer[..answer.len().min(1_000)]),
            Encoding::Cbor => String::from_utf8_lossy(&answer[..answer.len().min(200)]),
        };
        bail!("{numbers} of {expected} records were stored: {text}");
    }
    Ok(numbers)
}

struct Tally {
    began: Instant,
    started: Option<Instant>,
    calls: u64,
    records: u64,
    latency: Histogram<u64>,
    server_cpu: Option<f64>,
    own_cpu: f64,
}

impl Tally {
    fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        if let Some(pid) = arguments.server_pid {
            cpu_seconds(&pid.to_string())?;
        }
        Ok(Self {
            began: Instant::now(),
            started: None,
            calls: 0,
            records: 0,
            latency: Histogram::new_with_bounds(1, 60_000_000, 3)?,
            server_cpu: None,
            own_cpu: 0.0,
        })
    }

    fn count(&mut self, records: u64, began: Instant) {
        if self.started.is_some() {
            self.calls += 1;
            self.records += records;
            let micros = began.elapsed().as_micros() as u64;
            self.latency.saturating_record(micros);
        }
    }

    fn is_over(&mut self, arguments: &Arguments) -> bool {
        let Some(started) = self.started else {
            if self.began.elapsed() >= WARM_UP {
                self.started = Some(Instant::now());
                let pid = arguments.server_pid.map(|pid| pid.to_string());
                self.server_cpu = pid.and_then(|pid| cpu_seconds(&pid).ok());
                self.own_cpu = cpu_seconds("self").unwrap_or(0.0);
            }
            return false;
        };
        match arguments.total_bytes {
            Some(bytes) => self.records * arguments.bytes as u64 >= bytes,
            None => started.elapsed() >= Duration::from_secs(arguments.seconds),
        }
    }

    fn outcome(self, arguments: &Arguments) -> anyhow::Result<Outcome> {
        let started = self.started.context("nothing was measured")?;
        let server_cpu = match (arguments.server_pid, self.server_cpu) {
            (Some(pid), Some(before)) => Some(cpu_seconds(&pid.to_string())? - before),
            _ => None,
        };
        Ok(Outcome {
            calls: self.calls,
            records: self.records,
            elapsed: started.elapsed(),
            latency: self.latency,
            server_cpu,
            own_cpu: cpu_seconds("self")? - self.own_cpu,
        })
    }
}

/// CPU time of a process so far.
pub(crate) fn cpu_seconds(process: &str) -> anyhow::Result<f64> {
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let fields = text.rsplit_once(')').context("no process there")?.1;
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    Ok(ticks / TICKS_PER_SECOND)
}

impl Outcome {
    /// One line for people.
    pub(crate) fn text(&self, arguments: &Arguments) -> String {
        let seconds = self.elapsed.as_secs_f64();
        let per_second = |count: u64| count as f64 / seconds;
        let quantile = |q: f64| self.latency.value_at_quantile(q) as f64 / 1_000.0;
        let server = self.server_cpu.map_or(String::new(), |cpu| {
            format!(
                ", server {:.0} % CPU, {:.2} us per record",
                100.0 * cpu / seconds,
                cpu * 1e6 / self.records.max(1) as f64
            )
        });
        format!(
            "{} {:?}: {:.0} calls/s, {:.0} records/s, {:.0} MB/s of data, p50 {:.2} ms, p99 {:.2} \
             ms, max {:.1} ms{server}, generator {:.0} % CPU",
            arguments.operation.name(),
            arguments.encoding,
            per_second(self.calls),
            per_second(self.records),
            per_second(self.records * arguments.bytes as u64) / 1e6,
            quantile(0.5),
            quantile(0.99),
            self.latency.max() as f64 / 1_000.0,
            100.0 * self.own_cpu / seconds,
        )
    }
}
