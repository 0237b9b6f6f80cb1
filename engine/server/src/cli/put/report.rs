//! What a `put` did, in words.

use weir_protocol::model::StreamName;
use weir_protocol::wire::error::ErrorCode;

use super::keys::Keys;
use crate::units::show_count;

/// What became of the lines.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) lines: u64,
    pub(super) too_long: u64,
    pub(super) empty: u64,
    pub(super) left_out: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) resent: u64,
}

impl Counts {
    /// Says on stderr what became of everything that was read.
    pub(super) fn report(&self, stream: &StreamName, shards: usize, keys: &Keys, missing: u64) {
        let acknowledged = if missing == 0 {
            "all acknowledged".to_owned()
        } else {
            format!("{} NOT acknowledged", show_count(missing))
        };
        eprintln!(
            "weir: {} records of {} bytes of data stored in {stream} on {} shards, {acknowledged}",
            show_count(self.records),
            show_count(self.bytes),
            show_count(shards as u64),
        );
        for (count, what) in [
            (self.too_long, "lines were too long and were not sent"),
            (self.empty, "empty lines were skipped"),
            (
                self.left_out,
                "lines did not match the pattern and were skipped",
            ),
            (
                keys.unmatched - self.left_out,
                "lines did not match the pattern and got the key of --no-match-key",
            ),
            (keys.converted, "keys were not UTF-8 and were converted"),
            (keys.cut, "keys were cut to 256 characters"),
            (
                self.resent,
                "records were refused or left unanswered at first and sent again",
            ),
        ] {
            if count > 0 {
                eprintln!("weir: {} {what}", show_count(count));
            }
        }
    }
}

/// Why a batch was not stored, for a person.
pub(super) fn describe_refusal(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::StreamNotFound => "the stream was deleted",
        ErrorCode::StreamNotActive => "the stream is not active",
        ErrorCode::ShardClosed | ErrorCode::ShardNotFound => {
            "the stream was given other shards: start the command again"
        }
        ErrorCode::NotOwner => "the shard moved to another core",
        ErrorCode::Throttled => "the shard's quota is used up",
        ErrorCode::Overloaded => "the server has no memory left for this",
        ErrorCode::DiskFull => "the server's disk is full",
        ErrorCode::LogFailed => "the server's log failed and is being recovered",
        ErrorCode::ReadOnly => "the server's log takes no writes",
        ErrorCode::Stopping => "the server is stopping",
        ErrorCode::InvalidBatch => "the server found a batch invalid",
        _ => "the server refused a batch",
    }
}
