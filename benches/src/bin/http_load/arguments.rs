//! What is measured.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

/// Drives one operation of a Kinesis endpoint over HTTP/1.1 and says how fast it went
#[derive(Debug, Clone, Parser)]
pub(crate) struct Arguments {
    /// The Kinesis endpoint
    #[arg(long, default_value = "127.0.0.1:4567")]
    pub(crate) server: SocketAddr,
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
}

impl Operation {
    /// The name in `X-Amz-Target`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PutRecord => "PutRecord",
            Self::PutRecords => "PutRecords",
            Self::GetRecords => "GetRecords",
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
