//! What a `put` did, in words.

use weir_protocol::model::StreamName;
use weir_protocol::wire::error::ErrorCode;

use super::keys::Keys;
use crate::units::{show_count, show_counted};

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
            "weir: {} of {} of data stored in {stream} on {}, {acknowledged}",
            show_counted(self.records, "record"),
            show_counted(self.bytes, "byte"),
            show_counted(shards as u64, "shard"),
        );
        for (count, noun, what) in [
            (self.empty, "empty line", "skipped"),
            (
                self.left_out,
                "line",
                "without a match of the pattern skipped",
            ),
            (
                keys.unmatched - self.left_out,
                "line",
                "without a match of the pattern got the key of --no-match-key",
            ),
            (keys.converted, "key", "not UTF-8, converted"),
            (keys.cut, "key", "cut to 256 characters"),
            (
                self.resent,
                "record",
                "refused or left unanswered at first, sent again",
            ),
        ] {
            if count > 0 {
                eprintln!("weir: {} {what}", show_counted(count, noun));
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
