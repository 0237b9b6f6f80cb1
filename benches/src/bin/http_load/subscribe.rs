//! Subscriptions under load: how long after a put's answer its event reaches the subscriber.
//!
//! Owns: marks. The first record of every put carries one, which the event stream shows again; the
//! rest of an event is not looked at. Puts and subscriptions are watched by one thread and one clock.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use base64_simd::STANDARD;
use hdrhistogram::Histogram;
use memchr::memmem;
use mio::{Events, Poll};
use serde_json::{Value, json};

use crate::arguments::{Arguments, Encoding};
use crate::bodies;
use crate::connection::Connection;
use crate::dial::Dial;
use crate::drive::{cpu_seconds, open, pin, records_of};
use crate::setup::call;

/// Bytes of a mark: a word, then digits. Both are a multiple of three, so that base64 shows each by
/// itself.
pub(crate) const MARK_BYTES: usize = WORD.len() + DIGITS;
const WORD: &[u8; 9] = b"WEIR-MARK";
const DIGITS: usize = 15;
/// The same in base64.
const SHOWN_WORD: &[u8; 12] = b"V0VJUi1NQVJL";
const SHOWN_DIGITS: usize = DIGITS / 3 * 4;
const SHOWN_BYTES: usize = SHOWN_WORD.len() + SHOWN_DIGITS;

/// Requests of each putter, sent in turn.
const VARIANTS: usize = 4;
const READ_BYTES: usize = 1 << 20;
const WARM_UP: Duration = Duration::from_secs(1);
/// How long a consumer may take to become ACTIVE, an answer to come, and the last events.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// A subscription lives five minutes.
const SECONDS_MAX: u64 = 240;

/// What is known of one put.
struct Mark {
    sent: Instant,
    answered: Option<Instant>,
    is_measured: bool,
    /// Subscribers that have seen it.
    seen: u32,
}

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

struct Measure {
    marks: Vec<Mark>,
    /// From the answer to the event, in microseconds; an event that was there first counts as 0.
    delay: Histogram<u64>,
    /// From the put's sending to the event.
    whole: Histogram<u64>,
    /// From the put's sending to its answer.
    put: Histogram<u64>,
    before_answer: u64,
    bytes: u64,
}

/// Registers consumers, measures, and deregisters them however it ended.
pub(crate) fn run(arguments: &Arguments, dial: &Dial) -> anyhow::Result<String> {
    if arguments.seconds > SECONDS_MAX {
        bail!(
            "--seconds {}: at most {SECONDS_MAX}, for a subscription ends by itself",
            arguments.seconds
        );
    }
    let json = Arguments {
        encoding: Encoding::Json,
        ..arguments.clone()
    };
    let ask = |operation: &str, body: &Value| -> anyhow::Result<Value> {
        let answer = call(&json, dial, operation, &body.to_string())?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&answer)?)
    };
    let stream = json!({"StreamName": arguments.stream});
    let about = ask("DescribeStreamSummary", &stream)?;
    let arn = &about["StreamDescriptionSummary"]["StreamARN"];
    let shards = json!({"StreamName": arguments.stream, "ShardFilter": {"Type": "AT_LATEST"}});
    let shards = ask("ListShards", &shards)?;
    let shards: Vec<&str> = shards["Shards"]
        .as_array()
        .context("no shards")?
        .iter()
        .filter_map(|shard| shard["ShardId"].as_str())
        .collect();
    let mut consumers = Vec::new();
    let measured = (|| {
        for number in 0..arguments.consumers {
            let name = format!("http-load-{}-{number}", std::process::id());
            let body = json!({"StreamARN": arn, "ConsumerName": name});
            let answer = ask("RegisterStreamConsumer", &body)?;
            let consumer = answer["Consumer"]["ConsumerARN"].as_str();
            consumers.push(consumer.context("no consumer")?.to_owned());
            let body = json!({"ConsumerARN": consumers.last()});
            let until = Instant::now() + PATIENCE;
            loop {
                let found = ask("DescribeStreamConsumer", &body)?;
                if found["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE" {
                    break;
                }
                if Instant::now() > until {
                    bail!("consumer {name} does not become ACTIVE");
                }
                std::thread::sleep(LOOK_PAUSE);
            }
        }
        let mut requests = Vec::new();
        for consumer in &consumers {
            for shard in &shards {
                let body = json!({
                    "ConsumerARN": consumer, "ShardId": shard,
                    "StartingPosition": {"Type": "LATEST"},
                });
                let body = body.to_string();
                requests.push(bodies::request(&json, "SubscribeToShard", body.as_bytes()));
            }
        }
        measure(arguments, dial, requests)
    })();
    for consumer in &consumers {
        let body = json!({"ConsumerARN": consumer});
        if let Err(error) = ask("DeregisterStreamConsumer", &body) {
            eprintln!("http-load: {consumer} stays: {error}");
        }
    }
    measured
}

fn measure(arguments: &Arguments, dial: &Dial, requests: Vec<Vec<u8>>) -> anyhow::Result<String> {
    pin(arguments)?;
    let mut poll = Poll::new()?;
    let putters = arguments.connections;
    let mut puts = Vec::new();
    for number in 0..putters {
        puts.push(Putter::new(arguments, dial, &poll, number)?);
    }
    let mut subscriptions = Vec::new();
    for (number, request) in requests.into_iter().enumerate() {
        subscriptions.push(Subscription {
            connection: open(dial, poll.registry(), putters + number)?,
            request,
            kept: Vec::new(),
            is_open: false,
        });
    }
    let mut measure = Measure::new()?;
    let mut events = Events::with_capacity(1_024);
    let mut room = vec![0; READ_BYTES];
    let began = Instant::now();
    let mut all_open: Option<Instant> = None;
    let (mut due, mut own_cpu, mut server_cpu) = (0_u64, 0.0, None);
    let end = WARM_UP + Duration::from_secs(arguments.seconds);
    let pid = arguments.server_pid.map(|pid| pid.to_string());
    loop {
        let now = Instant::now();
        let since = all_open.map(|at| now - at);
        if since.is_some_and(|since| since >= end) && !measure.owes(arguments, now, &puts) {
            break;
        }
        let mut patience = PATIENCE;
        if let (Some(since), Some(start)) = (since, all_open)
            && since < end
        {
            let is_measured = since >= WARM_UP;
            if is_measured && own_cpu == 0.0 {
                own_cpu = cpu_seconds("self")?;
                server_cpu = pid.as_deref().map(cpu_seconds).transpose()?;
            }
            for putter in puts.iter_mut().filter(|putter| putter.waiting.is_none()) {
                if let Some(rate) = arguments.rate {
                    let at = Duration::from_secs_f64(due as f64 / f64::from(rate));
                    if start + at > now {
                        patience = start + at - now;
                        break;
                    }
                    due += 1;
                }
                putter.begin(arguments.encoding, &mut measure, is_measured);
                putter.go_on(arguments, &mut measure)?;
            }
        }
        patience = patience.min(Duration::from_millis(100));
        poll.poll(&mut events, Some(patience))?;
        for event in &events {
            match event.token().0 {
                number if number < putters => puts[number].go_on(arguments, &mut measure)?,
                number => subscriptions[number - putters].go_on(&mut measure, &mut room)?,
            }
        }
        if all_open.is_none() && subscriptions.iter().all(|one| one.is_open) {
            all_open = Some(Instant::now());
        }
        if all_open.is_none() && now > began + PATIENCE {
            bail!("not every subscription was answered within {PATIENCE:?}");
        }
    }
    let seconds = arguments.seconds as f64;
    let mut text = measure.text(arguments, subscriptions.len());
    let own = cpu_seconds("self")? - own_cpu;
    if let (Some(pid), Some(before)) = (pid, server_cpu) {
        let busy = (cpu_seconds(&pid)? - before) / seconds;
        let _ = write!(text, ", server {:.0} % CPU", 100.0 * busy);
    }
    let _ = write!(text, ", generator {:.0} % CPU", 100.0 * own / seconds);
    Ok(text)
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
        let number = measure.marks.len();
        self.turn = (self.turn + 1) % self.requests.len();
        let (request, at) = &mut self.requests[self.turn];
        let mark = [&WORD[..], format!("{number:015}").as_bytes()].concat();
        let bytes = match encoding {
            Encoding::Json => STANDARD.encode_to_string(&mark).into_bytes(),
            Encoding::Cbor => mark,
        };
        request[*at..*at + bytes.len()].copy_from_slice(&bytes);
        self.connection.begin();
        self.waiting = Some(number);
        measure.marks.push(Mark {
            sent: self.connection.began,
            answered: None,
            is_measured,
            seen: 0,
        });
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
        measure.bytes += bytes.len() as u64;
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

impl Measure {
    fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3);
        Ok(Self {
            marks: Vec::new(),
            delay: histogram()?,
            whole: histogram()?,
            put: histogram()?,
            before_answer: 0,
            bytes: 0,
        })
    }

    fn answered(&mut self, number: usize) {
        let now = Instant::now();
        let mark = &mut self.marks[number];
        mark.answered = Some(now);
        if mark.is_measured {
            self.put
                .saturating_record((now - mark.sent).as_micros() as u64);
        }
    }

    /// A mark that a subscriber has received, if it is whole and of this run.
    fn found(&mut self, shown: &[u8]) {
        let Some(digits) = shown.get(SHOWN_WORD.len()..SHOWN_BYTES) else {
            return;
        };
        let digits = STANDARD.decode_to_vec(digits).unwrap_or_default();
        let number = std::str::from_utf8(&digits)
            .ok()
            .and_then(|d| d.parse::<usize>().ok());
        let Some(mark) = number.and_then(|number| self.marks.get_mut(number)) else {
            return;
        };
        mark.seen += 1;
        if !mark.is_measured {
            return;
        }
        let now = Instant::now();
        self.whole
            .saturating_record((now - mark.sent).as_micros() as u64);
        let delay = mark.answered.map(|at| (now - at).as_micros() as u64);
        self.before_answer += u64::from(delay.is_none());
        self.delay.saturating_record(delay.unwrap_or(0));
    }

    /// Whether answers or events of measured puts are still to come, and may be waited for.
    fn owes(&self, arguments: &Arguments, now: Instant, puts: &[Putter]) -> bool {
        let is_due = |mark: &Mark| mark.seen < arguments.consumers && now < mark.sent + PATIENCE;
        puts.iter().any(|putter| putter.waiting.is_some())
            || self.marks.iter().rev().take(10_000).any(is_due)
    }

    fn text(&self, arguments: &Arguments, subscriptions: usize) -> String {
        let seconds = arguments.seconds as f64;
        let millis = |times: &Histogram<u64>, q: f64| times.value_at_quantile(q) as f64 / 1_000.0;
        let shown = |times: &Histogram<u64>| {
            format!(
                "p50 {:.2} ms, p99 {:.2} ms, max {:.1} ms",
                millis(times, 0.5),
                millis(times, 0.99),
                times.max() as f64 / 1_000.0
            )
        };
        let puts = self.put.len();
        format!(
            "SubscribeToShard: {subscriptions} subscriptions, {:.0} puts/s of {} records; event after \
             the put's answer {} ({} of {} came first); event after the put's sending {}; the put \
             itself {}; {} of {} events seen, {:.0} MB/s in",
            puts as f64 / seconds,
            arguments.records,
            shown(&self.delay),
            self.before_answer,
            self.delay.len(),
            shown(&self.whole),
            shown(&self.put),
            self.delay.len(),
            puts * u64::from(arguments.consumers),
            self.bytes as f64 / seconds / 1e6,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_shows_as_base64_of_its_own() {
        let mark = [&WORD[..], b"000000000000042"].concat();
        assert_eq!(mark.len(), MARK_BYTES);
        let data = [&mark[..], b"and more"].concat();
        let shown = STANDARD.encode_to_string(&data);
        assert!(shown.as_bytes().starts_with(SHOWN_WORD));
    }
}
