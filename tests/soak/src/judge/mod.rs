//! The judge: a process that knows the ledger, asks the server over HTTP what is there, and says
//! what is wrong. Nothing of the engine is in it, and nothing of our own client either.
//!
//! It reads lines "check ADDRESS" (what is new), "check ADDRESS all" (everything once more) and
//! "gone ADDRESS" (all of it has had its time), and answers each with "ok RECORDS UNPROMISED DIGEST"
//! or "wrong WHAT".

mod http;
mod known;
mod number;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use self::http::{Http, Record};
use self::known::{Batch, Known, Sent};
use crate::chance::{hash, mix};

/// The stream that every rig writes.
pub(crate) const STREAM: &str = "ledger";

/// Answers lines from stdin until it ends.
pub(crate) fn serve(ledger: PathBuf, until: u64) -> Result<()> {
    let mut judge = Judge {
        ledger,
        until,
        known: Known::default(),
        shards: HashMap::new(),
    };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let verb = words.next();
        let address = words.next().context("no address")?.parse()?;
        let said = match verb {
            Some("gone") => judge.gone(address),
            _ => judge.check(address, words.next() == Some("all")),
        };
        let said = match said {
            Ok(verdict) => format!(
                "ok {} {} {:x}",
                verdict.records, verdict.unpromised, verdict.digest
            ),
            Err(wrong) => format!("wrong {wrong:#}").replace('\n', " "),
        };
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{said}")?;
        stdout.flush()?;
    }
    Ok(())
}

struct Judge {
    ledger: PathBuf,
    until: u64,
    known: Known,
    shards: HashMap<u32, Shard>,
}

/// What is known of one shard over all lives.
#[derive(Debug, Default)]
struct Shard {
    /// Which batch begins at which index.
    begins: BTreeMap<u64, u64>,
    /// The last record found: where the next check goes on.
    last: Option<(u64, String)>,
    /// The newest batch of each connection.
    newest: HashMap<u64, u64>,
    /// The batch that must go on, and with which place.
    open: Option<(u64, u32)>,
    /// Indexes at which a batch began in this check.
    found: Vec<u64>,
    records: u64,
    unpromised: u64,
    /// Of every record found in this check: its number and its data.
    digest: u64,
}

impl Judge {
    fn check(&mut self, address: SocketAddr, all: bool) -> Result<Verdict> {
        self.known.take_in(&self.ledger, self.until)?;
        for (serial, batch) in &self.known.batches {
            if let Some(number) = &batch.number {
                let index = number::index(number).with_context(|| format!("number {number}"))?;
                let shard = self.shards.entry(batch.shard).or_default();
                let before = shard.begins.insert(index, *serial);
                ensure!(
                    before.is_none_or(|before| before == *serial),
                    "number {number} was given to batch {serial:x} and to {before:x?}"
                );
            }
        }
        let mut http = Http::connect(address)?;
        let shards = shards(&mut http)?;
        // No rig runs as long as a shard without records is kept, or changes the ledger's stream.
        let mut known = self.shards.iter();
        let missing = known.find(|(index, shard)| {
            !shard.begins.is_empty() && !shards.iter().any(|(listed, _)| listed == *index)
        });
        if let Some((index, _)) = missing {
            bail!("lost: shard {index}, which has records, is gone from ListShards");
        }
        let mut verdict = Verdict::default();
        for (index, name) in shards {
            let shard = self.shards.entry(index).or_default();
            if all {
                shard.last = None;
                shard.newest.clear();
            }
            walk(&mut http, &name, index, shard, &mut self.known).with_context(|| name.clone())?;
            verdict.records += shard.records;
            verdict.unpromised += shard.unpromised;
            verdict.digest ^= mix(shard.digest ^ u64::from(index));
        }
        self.nothing_missing()?;
        Ok(verdict)
    }

    /// Every record of the ledger is older than its stream keeps records: none may be there.
    fn gone(&mut self, address: SocketAddr) -> Result<Verdict> {
        self.known.take_in(&self.ledger, self.until)?;
        let mut http = Http::connect(address)?;
        for (_, name) in shards(&mut http)? {
            let mut iterator = http.iterator(STREAM, &name, None)?;
            loop {
                let part = http.records(&iterator)?;
                if let Some(record) = part.records.first() {
                    bail!(
                        "expired late: record {} of {name} is still there",
                        record.sequence_number
                    );
                }
                match part.next_shard_iterator {
                    Some(next) if part.millis_behind_latest != Some(0) => iterator = next,
                    _ => break,
                }
            }
        }
        Ok(Verdict::default())
    }

    /// What was promised without a number, or in a shard that is not there.
    fn nothing_missing(&self) -> Result<()> {
        for (serial, batch) in &self.known.batches {
            let there = batch
                .number
                .as_ref()
                .and_then(|number| number::index(number));
            let reached = self
                .shards
                .get(&batch.shard)
                .and_then(|shard| shard.last.as_ref());
            ensure!(
                !batch.promised || there.is_some_and(|at| reached.is_some_and(|(to, _)| at <= *to)),
                "lost: batch {serial:x} of {} records, acknowledged, is not in shard {}",
                batch.records,
                batch.shard
            );
        }
        Ok(())
    }
}

/// The shards there are: index and name.
fn shards(http: &mut Http) -> Result<Vec<(u32, String)>> {
    let names = http.shards(STREAM)?.into_iter();
    let with_index = names.map(|name| {
        let index = name.rsplit('-').next().unwrap_or_default();
        let index = index.parse().with_context(|| format!("shard {name}"))?;
        Ok((index, name))
    });
    with_index.collect()
}

/// Reads a shard from where the last check ended, and compares.
fn walk(
    http: &mut Http,
    name: &str,
    index: u32,
    shard: &mut Shard,
    known: &mut Known,
) -> Result<()> {
    shard.found.clear();
    (shard.records, shard.unpromised, shard.open) = (0, 0, None);
    shard.digest = 0;
    let from = shard.last.as_ref().map_or(0, |(index, _)| index + 1);
    let after = shard.last.as_ref().map(|(_, number)| number.clone());
    let mut iterator = http.iterator(STREAM, name, after.as_deref())?;
    loop {
        let part = http.records(&iterator)?;
        for record in &part.records {
            shard
                .take(index, record, known)
                .with_context(|| format!("record {}", record.sequence_number))?;
        }
        let at_tip = part.millis_behind_latest == Some(0) && part.records.is_empty();
        match part.next_shard_iterator {
            Some(next) if !at_tip => iterator = next,
            _ => break,
        }
    }
    if let Some((serial, place)) = shard.open {
        bail!("a hole: the shard ends before place {place} of batch {serial:x}");
    }
    let missing = shard
        .begins
        .range(from..)
        .find(|(at, _)| shard.found.binary_search(at).is_err());
    if let Some((at, serial)) = missing {
        let number = known.batches[serial].number.as_deref().unwrap_or("?");
        // No rig runs as long as its stream keeps records.
        let how = match shard.found.first() {
            Some(first) if from == 0 && at < first => ": it expired early, and all before it",
            None if from == 0 => ": it expired early, and all others",
            _ => "",
        };
        bail!("lost: batch {serial:x}, acknowledged or read before at {number}, is not there{how}");
    }
    Ok(())
}

impl Shard {
    /// One record against all that is known.
    fn take(&mut self, shard: u32, record: &Record<'_>, known: &mut Known) -> Result<()> {
        let data = record.data()?;
        let found = hash(&data);
        let sent = known.records.get(&found).copied();
        let sent = sent.with_context(|| format!("never sent: {} bytes", data.len()))?;
        let batch = known
            .batches
            .get_mut(&sent.serial)
            .context("no such batch")?;
        ensure!(
            !batch.held,
            "a partial frame was appended: the last byte of batch {:x} never reached the server",
            sent.serial
        );
        ensure!(batch.shard == shard, "it was sent to shard {}", batch.shard);
        let key = hash(record.partition_key.as_bytes());
        ensure!(
            key == sent.key,
            "its key is not the one sent: {}",
            record.partition_key
        );
        let number = record.sequence_number.as_ref();
        let index = number::index(number).context("not a sequence number")?;
        if let Some((before, _)) = &self.last {
            ensure!(index > *before, "order: index {index} comes after {before}");
            ensure!(
                index == before + 1 || number::epoch(index) > number::epoch(*before),
                "a hole: index {index} comes after {before}"
            );
        }
        if let Some(expected) = self.open.take() {
            ensure!(
                expected == (sent.serial, sent.place),
                "order: place {} of batch {:x} where place {} of {:x} must be",
                sent.place,
                sent.serial,
                expected.1,
                expected.0
            );
        } else {
            self.begin(sent, index, number, batch)?;
        }
        if sent.place + 1 < batch.records {
            self.open = Some((sent.serial, sent.place + 1));
        }
        self.records += 1;
        self.digest = mix(self.digest ^ found ^ hash(number.as_bytes()));
        self.last = Some((index, number.to_owned()));
        Ok(())
    }

    /// The first record of a batch.
    fn begin(&mut self, sent: Sent, index: u64, number: &str, batch: &mut Batch) -> Result<()> {
        ensure!(
            sent.place == 0,
            "a hole: batch {:x} begins with its place {}",
            sent.serial,
            sent.place
        );
        if !batch.promised {
            // Whoever read it may count on it from now on.
            batch.promised = true;
            self.unpromised += 1;
        }
        match &batch.number {
            Some(told) => ensure!(told == number, "twice: it is also at {told}"),
            None => batch.number = Some(number.to_owned()),
        }
        let before = self.begins.insert(index, sent.serial);
        ensure!(
            before.is_none_or(|before| before == sent.serial),
            "this number was given to batch {before:x?} before"
        );
        let newest = self.newest.insert(sent.serial >> 40, sent.serial);
        ensure!(
            newest.is_none_or(|newest| newest < sent.serial),
            "order: batch {:x} comes after {newest:x?} of its connection",
            sent.serial
        );
        self.found.push(index);
        Ok(())
    }
}

/// What a judge said.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Verdict {
    pub(crate) records: u64,
    /// Batches there that nobody was told of.
    pub(crate) unpromised: u64,
    /// Two checks of the same records at the same numbers agree on it.
    pub(crate) digest: u64,
}

/// A judge in a process of its own, seen from a rig.
pub(crate) struct Hearing {
    process: std::process::Child,
    said: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

impl Hearing {
    /// `until`: the last moment whose acknowledgements count.
    pub(crate) fn open(ledger: &Path, until: Option<u64>) -> Result<Self> {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.arg("judging").arg(ledger);
        if let Some(until) = until {
            command.args(["--until", &until.to_string()]);
        }
        let mut process = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().context("stdout is piped")?;
        let said = std::io::BufReader::new(stdout).lines();
        Ok(Self { process, said })
    }

    /// Lets it look at the server at `address`; what is wrong comes back as an error.
    pub(crate) fn check(&mut self, address: SocketAddr, all: bool) -> Result<Verdict> {
        self.ask(&format!("check {address}{}", if all { " all" } else { "" }))
    }

    /// Lets it look whether everything has expired that it ever knew of.
    pub(crate) fn gone(&mut self, address: SocketAddr) -> Result<()> {
        self.ask(&format!("gone {address}")).map(|_| ())
    }

    fn ask(&mut self, line: &str) -> Result<Verdict> {
        let stdin = self.process.stdin.as_mut().context("stdin is piped")?;
        writeln!(stdin, "{line}")?;
        stdin.flush()?;
        let said = self.said.next().context("the judge ended")??;
        let Some(numbers) = said.strip_prefix("ok ") else {
            bail!("{}", said.strip_prefix("wrong ").unwrap_or(&said));
        };
        let mut numbers = numbers.split(' ');
        let mut next = || numbers.next().context("three numbers");
        Ok(Verdict {
            records: next()?.parse()?,
            unpromised: next()?.parse()?,
            digest: u64::from_str_radix(next()?, 16)?,
        })
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
