//! The command line, and the workload it means.
//!
//! Owns: flags, their bounds, and the examples of `--help`. Never: anything that talks to a server.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use weir_protocol::batch::{BATCH_HEADER_BYTES, RECORD_HEADER_BYTES};
use weir_protocol::limits::{
    BATCH_PAYLOAD_BYTES_MAX, BATCH_RECORDS_MAX, CONNECTION_REQUESTS_MAX, RECORD_BYTES_CEILING,
    RETAIN_BYTES_MIN, STREAM_SHARDS_MAX,
};
use weir_protocol::model::StreamName;

use crate::payload::{KEY_BYTES, RECORD_HEAD_BYTES};
use crate::units;

const EXAMPLES: &str = "\
Examples:
  weir-load run --shards 16 --record-bytes 1000 --batch-records 500 --duration 10s
  weir-load run --shards 4 --rate 200k --arrivals poisson --duration 30s --output json
  weir-load run --shards 1000 --total-bytes 8GB --retain-bytes 16MiB --verify sample --pin 1

Exit codes: 0 all held; 1 could not run; 2 bad usage; 3 an assertion failed;
            4 the run is invalid (the generator was late); 5 data wrong.";

/// Load for a Weir server, and a witness that checks what it kept.
#[derive(Debug, Parser)]
#[command(name = "weir-load", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Append records, measure every append, then read them back and check each one
    Run(RunArgs),
}

/// When open-loop sends are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    /// At equal distances
    Constant,
    /// At random, independent of each other, with the same mean
    Poisson,
}

/// How much of what was acknowledged is read back after the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verify {
    /// Every record of every shard
    All,
    /// Every record of one shard in eight, chosen by the seed
    Sample,
    /// Nothing: the run proves speed only
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table and a sentence
    Text,
    /// One JSON object
    Json,
}

/// What meters the shards of a stream that this run creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// The hardware's speed
    OnDemand,
    /// What AWS's shard takes
    Provisioned,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// The server's binary port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4568")]
    server: String,
    /// Stream to write to, created if it does not exist, and kept [default: a fresh one, deleted
    /// at the end]
    #[arg(long, value_name = "NAME", value_parser = stream_name)]
    stream: Option<StreamName>,
    /// Keep the fresh stream
    #[arg(long)]
    keep: bool,
    /// Shards of a stream that is created; must match one that exists [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(STREAM_SHARDS_MAX)))]
    shards: Option<u32>,
    /// What meters the shards of a stream that is created
    #[arg(long, value_enum, default_value_t = Mode::OnDemand)]
    mode: Mode,
    /// Data bytes of each record, without its partition key
    #[arg(long, value_name = "BYTES", default_value = "1000", value_parser = units::bytes_or_bare)]
    record_bytes: u64,
    /// Records of each batch; an append call carries one batch
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=i64::from(BATCH_RECORDS_MAX)))]
    batch_records: u32,
    /// Measured time, after the warm-up [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = units::duration, conflicts_with = "total_bytes")]
    duration: Option<Duration>,
    /// Record data to append after the warm-up, instead of a time
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    total_bytes: Option<u64>,
    /// Connections, at least one for each core that owns shards
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Records a second, sent on a schedule [default: as many as the window lets through]
    #[arg(long, value_name = "RECORDS", value_parser = units::count)]
    rate: Option<u64>,
    /// When scheduled sends are due
    #[arg(long, value_enum, default_value_t = Arrivals::Constant, requires = "rate")]
    arrivals: Arrivals,
    /// Unanswered batches allowed on each connection [default: 8; with --rate 1024]
    #[arg(long, value_name = "BATCHES", value_parser = clap::value_parser!(u32).range(1..=CONNECTION_REQUESTS_MAX as i64))]
    in_flight: Option<u32>,
    /// Load before the measured time, checked but not measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = units::duration)]
    warmup: Duration,
    /// Byte cap of a stream that is created, so that the disk stays bounded
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    retain_bytes: Option<u64>,
    /// Threads that send
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Pin the first thread to this CPU, the next to the one after
    #[arg(long, value_name = "CPU")]
    pin: Option<usize>,
    /// Seed of fill bytes, arrivals and samples
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// What is read back and checked after the run
    #[arg(long, value_enum, default_value_t = Verify::All)]
    verify: Verify,
    /// With --rate: how late the generator may be before the run is invalid
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = units::duration)]
    max_lag: Duration,
    /// Give up when the server says nothing for this long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    timeout: Duration,
    /// What goes to standard output
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

fn stream_name(text: &str) -> Result<StreamName, weir_protocol::model::InvalidStreamName> {
    StreamName::new(text)
}

/// What ends the measured part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Time(Duration),
    /// Batches sent after the warm-up, over all connections.
    Batches(u64),
}

/// The size of everything that is sent: every batch of a run is alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Data bytes of a record, the witness's head included.
    pub(crate) record_bytes: usize,
    pub(crate) batch_records: u32,
}

impl Shape {
    /// Bytes of one record in a batch: header, key, data.
    pub(crate) const fn record_stride(&self) -> usize {
        RECORD_HEADER_BYTES + KEY_BYTES + self.record_bytes
    }

    /// Bytes of one batch.
    pub(crate) const fn batch_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.batch_records as usize * self.record_stride()
    }

    /// Record data of one batch in bytes: what rates are counted in.
    pub(crate) const fn data_bytes(&self) -> u64 {
        self.record_bytes as u64 * self.batch_records as u64
    }
}

/// A checked command line.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) server: SocketAddr,
    pub(crate) stream: Option<StreamName>,
    pub(crate) keep: bool,
    pub(crate) shards: Option<u32>,
    pub(crate) mode: Mode,
    pub(crate) shape: Shape,
    pub(crate) extent: Extent,
    pub(crate) connections: u32,
    pub(crate) rate: Option<u64>,
    pub(crate) arrivals: Arrivals,
    pub(crate) in_flight: usize,
    pub(crate) warmup: Duration,
    pub(crate) retain_bytes: Option<u64>,
    pub(crate) threads: u32,
    pub(crate) pin: Option<usize>,
    pub(crate) seed: u64,
    pub(crate) verify: Verify,
    pub(crate) max_lag: Duration,
    pub(crate) timeout: Duration,
    pub(crate) output: Output,
}

/// Shards of a created stream when none were asked for.
pub(crate) const SHARDS_DEFAULT: u32 = 16;

impl RunArgs {
    /// Checks what one flag alone cannot; the error is a sentence for the user.
    pub(crate) fn into_workload(self) -> Result<Workload, String> {
        let server = self
            .server
            .to_socket_addrs()
            .map_err(|e| format!("--server {}: {e}", self.server))?
            .next()
            .ok_or_else(|| format!("--server {}: no address", self.server))?;
        let most = u64::from(RECORD_BYTES_CEILING) - KEY_BYTES as u64;
        if self.record_bytes < RECORD_HEAD_BYTES as u64 || self.record_bytes > most {
            return Err(format!(
                "--record-bytes {}: expected {RECORD_HEAD_BYTES} (what the witness needs) to {most}",
                self.record_bytes
            ));
        }
        let shape = Shape {
            record_bytes: self.record_bytes as usize,
            batch_records: self.batch_records,
        };
        if shape.batch_bytes() - BATCH_HEADER_BYTES > BATCH_PAYLOAD_BYTES_MAX as usize {
            return Err(format!(
                "a batch of {} records of {} bytes is longer than the {BATCH_PAYLOAD_BYTES_MAX} \
                 bytes a batch may have: lower --batch-records",
                self.batch_records, self.record_bytes
            ));
        }
        if self.rate == Some(0) {
            return Err("--rate 0: expected at least 1 record a second".into());
        }
        if self.threads > self.connections {
            return Err(format!(
                "--threads {} is more than --connections {}: a thread needs a connection",
                self.threads, self.connections
            ));
        }
        if let Some(bytes) = self.retain_bytes.filter(|bytes| *bytes < RETAIN_BYTES_MIN) {
            return Err(format!(
                "--retain-bytes {bytes}B: expected at least {RETAIN_BYTES_MIN}B"
            ));
        }
        if self.timeout < Duration::from_millis(1) {
            return Err("--timeout: expected at least 1ms".into());
        }
        let extent = match (self.duration, self.total_bytes) {
            (Some(Duration::ZERO), _) => return Err("--duration: expected more than 0s".into()),
            (_, Some(total)) => Extent::Batches(total.div_ceil(shape.data_bytes()).max(1)),
            (duration, None) => Extent::Time(duration.unwrap_or(Duration::from_secs(10))),
        };
        let in_flight = self
            .in_flight
            .unwrap_or(if self.rate.is_some() { 1024 } else { 8 });
        Ok(Workload {
            server,
            stream: self.stream,
            keep: self.keep,
            shards: self.shards,
            mode: self.mode,
            shape,
            extent,
            connections: self.connections,
            rate: self.rate,
            arrivals: self.arrivals,
            in_flight: in_flight as usize,
            warmup: self.warmup,
            retain_bytes: self.retain_bytes,
            threads: self.threads,
            pin: self.pin,
            seed: self.seed,
            verify: self.verify,
            max_lag: self.max_lag,
            timeout: self.timeout,
            output: self.output,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(line: &str) -> Result<Workload, String> {
        let words = ["weir-load", "run"]
            .into_iter()
            .chain(line.split_whitespace());
        let Command::Run(args) = Cli::try_parse_from(words)
            .map_err(|e| e.to_string())?
            .command;
        args.into_workload()
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let work = workload("").unwrap();
        assert_eq!(work.extent, Extent::Time(Duration::from_secs(10)));
        assert_eq!((work.in_flight, work.connections, work.threads), (8, 8, 1));
        assert_eq!(work.shape.data_bytes(), 500_000);
        assert_eq!(workload("--rate 1k").unwrap().in_flight, 1024);
        let total = workload("--total-bytes 8GB").unwrap();
        assert_eq!(total.extent, Extent::Batches(16_000));
    }

    #[test]
    fn the_examples_of_help_are_legal() {
        for line in EXAMPLES
            .lines()
            .filter_map(|l| l.strip_prefix("  weir-load run "))
        {
            workload(line).unwrap();
        }
    }

    #[test]
    fn bad_usage_names_the_value() {
        for (line, said) in [
            ("--duration 10", "has no unit"),
            ("--record-bytes 39", "--record-bytes 39"),
            (
                "--record-bytes 1MiB --batch-records 500",
                "lower --batch-records",
            ),
            ("--threads 9", "--threads 9"),
            ("--rate 0", "--rate 0"),
            ("--arrivals poisson", "--rate"),
            ("--shards 0", "0 is not in"),
            ("--duration 1s --total-bytes 1GB", "cannot be used with"),
        ] {
            let error = workload(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
