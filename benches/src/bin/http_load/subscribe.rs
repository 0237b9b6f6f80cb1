//! Subscriptions under load: how long after a put's answer its event reaches the subscriber.
//!
//! Owns: consumers, and connections. The first record of every put carries a mark, which the event
//! stream shows again; the rest of an event is not looked at. One thread and one clock watch all.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use base64_simd::STANDARD;
use memchr::memmem;
use mio::{Events, Poll};
use serde_json::{Value, json};

use crate::arguments::{Arguments, Encoding};
use crate::bodies;
use crate::connection::Connection;
use crate::dial::Dial;
use crate::drive::{cpu_seconds, open, pin, records_of};
use crate::marks::{MARK_BYTES, Measure, SHOWN_BYTES, SHOWN_WORD, mark};
use crate::setup::call;

/// Requests of each putter, sent in turn.
const VARIANTS: usize = 4;
const READ_BYTES: usize = 1 << 20;
const WARM_UP: Duration = Duration::from_secs(1);
/// How long a consumer may take to become ACTIVE, and a subscription to be answered.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest turn of the loop.
const TURN_MAX: Duration = Duration::from_millis(100);
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// A subscription lives five minutes.
const SECONDS_MAX: u64 = 240;

struct Putter {
    connection: Connection,
    /// Requests, and where the first record's mark is in each.
    requests: Vec<(Vec<u8>, usize)>,
    turn: usize,
    /// The number of the put that waits for its answer.
    waiting: Option<usize>,
}

struct Subscription {
    connection: Connection,
    request: Vec<u8>,
    /// The end of what was received, in which a mark may have begun.
    kept: Vec<u8>,
    is_open: bool,
}

/// Registers consumers, measures, and deregisters them however it ended.
pub(crate) fn run(arguments: &Arguments, dial: &Dial) -> anyhow::Result<String> {
    if arguments.seconds > SECONDS_MAX {
        bail!(
            "--seconds {}: at most {SECONDS_MAX}, for a subscription ends by itself",
            arguments.seconds
        );
    }
    let desk = Desk::new(arguments, dial);
    let mut consumers = Vec::new();
    let requests = desk.register(&mut consumers);
    let measured = requests.and_then(|requests| Run::new(arguments, dial, requests)?.drive());
    for consumer in &consumers {
        let body = json!({"ConsumerARN": consumer});
        if let Err(error) = desk.ask("DeregisterStreamConsumer", &body) {
            eprintln!("http-load: {consumer} stays: {error}");
        }
    }
    measured
}

/// Calls about streams and consumers, in JSON.
struct Desk<'a> {
    arguments: Arguments,
    dial: &'a Dial,
}

impl<'a> Desk<'a> {
    fn new(arguments: &Arguments, dial: &'a Dial) -> Self {
        let arguments = Arguments {
            encoding: Encoding::Json,
            ..arguments.clone()
        };
        Self { arguments, dial }
    }

    fn ask(&self, operation: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = call(&self.arguments, self.dial, operation, &body.to_string())?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Registers the consumers, and gives the requests of their subscriptions to every open shard.
    fn register(&self, consumers: &mut Vec<String>) -> anyhow::Result<Vec<Vec<u8>>> {
        let stream = &self.arguments.stream;
        let about = self.ask("DescribeStreamSummary", &json!({"StreamName": stream}))?;
        let arn = &about["StreamDescriptionSummary"]["StreamARN"];
        let open = json!({"StreamName": stream, "ShardFilter": {"Type": "AT_LATEST"}});
        let shards = self.ask("ListShards", &open)?;
        let shards = shards["Shards"].as_array().context("no shards")?;
        let mut requests = Vec::new();
        for number in 0..self.arguments.consumers {
            let name = format!("http-load-{}-{number}", std::process::id());
            let body = json!({"StreamARN": arn, "ConsumerName": name});
            let answer = self.ask("RegisterStreamConsumer", &body)?;
            let consumer = answer["Consumer"]["ConsumerARN"].as_str();
            let consumer = consumer.context("no consumer")?.to_owned();
            consumers.push(consumer.clone());
            self.wait_active(&consumer)?;
            for shard in shards {
                let body = json!({
                    "ConsumerARN": consumer, "ShardId": shard["ShardId"],
                    "StartingPosition": {"Type": "LATEST"},
                });
                let body = body.to_string();
                requests.push(bodies::request(
                    &self.arguments,
                    "SubscribeToShard",
                    body.as_bytes(),
                ));
            }
        }
        Ok(requests)
    }

    fn wait_active(&self, consumer: &str) -> anyhow::Result<()> {
        let body = json!({"ConsumerARN": consumer});
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let found = self.ask("DescribeStreamConsumer", &body)?;
            if found["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE" {
                return Ok(());
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        bail!("consumer {consumer} does not become ACTIVE within {PATIENCE:?}")
    }
}

/// Puts and subscriptions, watched together.
struct Run<'a> {
    arguments: &'a Arguments,
    poll: Poll,
    puts: Vec<Putter>,
    subscriptions: Vec<Subscription>,
    measure: Measure,
    /// Since when all subscriptions are open, and puts are sent.
    start: Option<Instant>,
    /// Puts sent by the rate.
    sent: u64,
    /// CPU time of this process and of the server's when the warm-up was over.
    cpu: Option<(f64, Option<f64>)>,
}

impl<'a> Run<'a> {
    fn new(arguments: &'a Arguments, dial: &Dial, requests: Vec<Vec<u8>>) -> anyhow::Result<Self> {
        pin(arguments)?;
        let poll = Poll::new()?;
        let puts = (0..arguments.connections)
            .map(|number| Putter::new(arguments, dial, &poll, number))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut subscriptions = Vec::new();
        for (number, request) in (puts.len()..).zip(requests) {
            subscriptions.push(Subscription {
                connection: open(dial, poll.registry(), number)?,
                request,
                kept: Vec::new(),
                is_open: false,
            });
        }
        Ok(Self {
            arguments,
            poll,
            puts,
            subscriptions,
            measure: Measure::new()?,
            start: None,
            sent: 0,
            cpu: None,
        })
    }

    fn drive(mut self) -> anyhow::Result<String> {
        let mut events = Events::with_capacity(1_024);
        let mut room = vec![0; READ_BYTES];
        let began = Instant::now();
        let end = WARM_UP + Duration::from_secs(self.arguments.seconds);
        loop {
            let now = Instant::now();
            let mut patience = TURN_MAX;
            match self.start {
                Some(start) if now - start < end => {
                    patience = patience.min(self.begin_due(start, now)?);
                }
                Some(_) if !self.owes(now) => return self.text(),
                None if now - began > PATIENCE => {
                    bail!("not every subscription was answered within {PATIENCE:?}");
                }
                _ => {}
            }
            self.poll.poll(&mut events, Some(patience))?;
            let putters = self.puts.len();
            for event in &events {
                match event.token().0 {
                    number if number < putters => {
                        self.puts[number].go_on(self.arguments, &mut self.measure)?;
                    }
                    number => {
                        let subscription = &mut self.subscriptions[number - putters];
                        subscription.go_on(&mut self.measure, &mut room)?;
                    }
                }
            }
            if self.start.is_none() && self.subscriptions.iter().all(|one| one.is_open) {
                self.start = Some(Instant::now());
            }
        }
    }

    /// Begins the puts that are due, on connections that wait for nothing. How long until the next.
    fn begin_due(&mut self, start: Instant, now: Instant) -> anyhow::Result<Duration> {
        let is_measured = now - start >= WARM_UP;
        if is_measured && self.cpu.is_none() {
            self.cpu = Some((cpu_seconds("self")?, self.server_cpu()?));
        }
        for putter in self
            .puts
            .iter_mut()
            .filter(|putter| putter.waiting.is_none())
        {
            if let Some(rate) = self.arguments.rate {
                let due = start + Duration::from_secs_f64(self.sent as f64 / f64::from(rate));
                if due > now {
                    return Ok(due - now);
                }
                self.sent += 1;
            }
            putter.begin(self.arguments.encoding, &mut self.measure, is_measured);
            putter.go_on(self.arguments, &mut self.measure)?;
        }
        Ok(TURN_MAX)
    }

    fn owes(&self, now: Instant) -> bool {
        let waits = |putter: &Putter| putter.waiting.is_some();
        self.puts.iter().any(waits) || self.measure.owes(self.arguments, now)
    }

    fn server_cpu(&self) -> anyhow::Result<Option<f64>> {
        let pid = self.arguments.server_pid.map(|pid| pid.to_string());
        pid.as_deref().map(cpu_seconds).transpose()
    }

    fn text(&self) -> anyhow::Result<String> {
        let seconds = self.arguments.seconds as f64;
        let mut text = self.measure.text(self.arguments, self.subscriptions.len());
        let (own, server) = self.cpu.context("nothing was measured")?;
        if let (Some(before), Some(after)) = (server, self.server_cpu()?) {
            let busy = 100.0 * (after - before) / seconds;
            let _ = write!(text, ", server {busy:.0} % CPU");
        }
        let busy = 100.0 * (cpu_seconds("self")? - own) / seconds;
        let _ = write!(text, ", generator {busy:.0} % CPU");
        Ok(text)
    }
}

impl Putter {
    fn new(arguments: &Arguments, dial: &Dial, poll: &Poll, number: usize) -> anyhow::Result<Self> {
        let mut requests = Vec::new();
        for variant in 0..VARIANTS {
            let (request, first) = bodies::put_many(arguments, number * VARIANTS + variant);
            let first = &first[..MARK_BYTES];
            let at = match arguments.encoding {
                Encoding::Json => {
                    let shown = STANDARD.encode_to_string(first);
                    memmem::find(&request, shown.as_bytes())
                }
                Encoding::Cbor => memmem::find(&request, first),
            };
            requests.push((request, at.context("the first record is in the request")?));
        }
        Ok(Self {
            connection: open(dial, poll.registry(), number)?,
            requests,
            turn: 0,
            waiting: None,
        })
    }

    /// Begins the next put, under a number of its own.
    fn begin(&mut self, encoding: Encoding, measure: &mut Measure, is_measured: bool) {
        self.turn = (self.turn + 1) % self.requests.len();
        let (request, at) = &mut self.requests[self.turn];
        self.connection.begin();
        let number = measure.begin(self.connection.began, is_measured);
        let mark = mark(number);
        let bytes = match encoding {
            Encoding::Json => STANDARD.encode_to_string(&mark).into_bytes(),
            Encoding::Cbor => mark,
        };
        request[*at..*at + bytes.len()].copy_from_slice(&bytes);
        self.waiting = Some(number);
    }

    fn go_on(&mut self, arguments: &Arguments, measure: &mut Measure) -> anyhow::Result<()> {
        let Some(number) = self.waiting else {
            return Ok(());
        };
        if !self.connection.send(&self.requests[self.turn].0)? {
            return Ok(());
        }
        if let Some(answer) = self.connection.receive()? {
            records_of(arguments, answer)?;
            self.waiting = None;
            measure.answered(number);
        }
        Ok(())
    }
}

impl Subscription {
    fn go_on(&mut self, measure: &mut Measure, room: &mut [u8]) -> anyhow::Result<()> {
        if !self.connection.send(&self.request)? {
            return Ok(());
        }
        loop {
            match self.connection.read(room) {
                Ok(0) => bail!("a subscription ended"),
                Ok(count) => self.take(&room[..count], measure)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], measure: &mut Measure) -> anyhow::Result<()> {
        measure.received(bytes.len());
        if !self.is_open {
            self.kept.extend_from_slice(bytes);
            if memmem::find(&self.kept, b"\r\n\r\n").is_none() {
                return Ok(());
            }
            if !self.kept.starts_with(b"HTTP/1.1 200") {
                bail!(
                    "the server answered {}",
                    String::from_utf8_lossy(&self.kept)
                );
            }
            self.is_open = true;
        }
        // A mark that began in the last piece is looked for together with the head of this one.
        let head = &bytes[..bytes.len().min(SHOWN_BYTES)];
        let from = self.kept.len().saturating_sub(SHOWN_BYTES - 1);
        let seam = [&self.kept[from..], head].concat();
        let left = self.kept.len() - from;
        for at in memmem::find_iter(&seam, SHOWN_WORD) {
            // Those that lie in this piece as a whole are found below.
            if at < left {
                measure.found(&seam[at..]);
            }
        }
        for at in memmem::find_iter(bytes, SHOWN_WORD) {
            measure.found(&bytes[at..]);
        }
        let from = bytes.len().saturating_sub(SHOWN_BYTES - 1);
        if from == 0 {
            self.kept.extend_from_slice(bytes);
            let surplus = self.kept.len().saturating_sub(SHOWN_BYTES - 1);
            self.kept.drain(..surplus);
        } else {
            self.kept.clear();
            self.kept.extend_from_slice(&bytes[from..]);
        }
        Ok(())
    }
}
