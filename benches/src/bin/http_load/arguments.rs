//! What is measured.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Parser, ValueEnum};

use crate::marks::MARK_BYTES;

/// Drives one operation of a Kinesis endpoint over HTTP/1.1 and says how fast it went
#[derive(Debug, Clone, Parser)]
pub(crate) struct Arguments {
    /// The Kinesis endpoint
    #[arg(long, default_value = "127.0.0.1:4567")]
    pub(crate) server: SocketAddr,
    /// Speak TLS to it; the certificate is trusted with --ca FILE or --insecure
    #[arg(long, requires = "trust")]
    pub(crate) tls: bool,
    /// The certificate to be trusted, as PEM: the server's own if it signed it itself
    #[arg(long, value_name = "FILE", requires = "tls", group = "trust")]
    pub(crate) ca: Option<PathBuf>,
    /// Trust whatever certificate comes
    #[arg(long, requires = "tls", group = "trust")]
    pub(crate) insecure: bool,
    /// A new connection for every call, with its handshake: for some seconds only, as each takes a
    /// port that the system keeps for a minute
    #[arg(long)]
    pub(crate) reconnect: bool,
    /// What is called
    #[arg(long, value_enum, default_value_t = Operation::PutRecords)]
    pub(crate) operation: Operation,
    /// How calls and answers are written
    #[arg(long, value_enum, default_value_t = Encoding::Json)]
    pub(crate) encoding: Encoding,
    /// The stream; it must be there
    #[arg(long, default_value = "bench")]
    pub(crate) stream: String,
    /// Connections, each with one call in flight
    #[arg(long, default_value_t = 8)]
    pub(crate) connections: usize,
    /// Records of one `PutRecords` call
    #[arg(long, default_value_t = 500)]
    pub(crate) records: usize,
    /// Bytes of one record's data
    #[arg(long, default_value_t = 1_000)]
    pub(crate) bytes: usize,
    /// How long to measure, in seconds, after one second of warming up
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
    /// Stop after so many bytes of record data instead
    #[arg(long)]
    pub(crate) total_bytes: Option<u64>,
    /// Consumers, each with a subscription to every shard: at most 20 of one stream (subscribe)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) consumers: u32,
    /// Calls a second over all connections; as many as are answered if it is missing (subscribe)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// The CPU to run on
    #[arg(long)]
    pub(crate) pin: Option<usize>,
    /// The server's process, whose CPU time is shown
    #[arg(long)]
    pub(crate) server_pid: Option<u32>,
}

/// A data operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    /// One record a call
    PutRecord,
    /// Many records a call
    PutRecords,
    /// Reads every shard from its horizon, over and over
    GetRecords,
    /// `PutRecords` under subscriptions: how long after a put's answer its event comes
    Subscribe,
}

impl Arguments {
    /// Refuses what would be ignored.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let subscribes = self.operation == Operation::Subscribe;
        if !subscribes && (self.rate.is_some() || self.consumers != 1) {
            bail!("--rate and --consumers go with --operation subscribe");
        }
        if subscribes && (self.reconnect || self.total_bytes.is_some()) {
            bail!("--reconnect and --total-bytes do not go with --operation subscribe");
        }
        if subscribes && self.bytes < MARK_BYTES {
            bail!(
                "--bytes {}: a record of --operation subscribe carries a mark of {MARK_BYTES}",
                self.bytes
            );
        }
        Ok(())
    }
}

impl Operation {
    /// The name in `X-Amz-Target`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PutRecord => "PutRecord",
            Self::PutRecords => "PutRecords",
            Self::GetRecords => "GetRecords",
            Self::Subscribe => "SubscribeToShard",
        }
    }
}

/// An encoding of the AWS protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// JSON 1.1
    Json,
    /// CBOR 1.1
    Cbor,
}

impl Encoding {
    /// The content type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }
}
