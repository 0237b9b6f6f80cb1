//! The words of `weir stream`, as clap reads them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use weir_protocol::limits::{
    BATCH_RECORDS_MAX, RETENTION_MS_MAX, RETENTION_MS_MIN, STREAM_SHARDS_MAX,
};
use weir_protocol::model::{
    HashKey, PartitionKey, ShardIndex, StreamMode, StreamName, StreamQuota,
};

use crate::units;

/// Daily work on streams.
#[derive(Debug, Subcommand)]
pub(crate) enum StreamCommand {
    /// Create a stream
    #[command(after_help = "Examples:
  weir stream create logs --shards 4
  weir stream create clicks --shards 16 --retention 7d --retain-bytes 50GiB
  weir stream create metered --shards 2 --mode provisioned --output json")]
    Create(Create),
    /// List streams
    #[command(after_help = "Examples:
  weir stream ls
  weir stream ls --output json
  weir stream ls --server 10.0.0.5:4568")]
    Ls(OutputArguments),
    /// Describe a stream and its shards
    #[command(after_help = "Examples:
  weir stream describe logs
  weir stream describe logs --output json
  weir stream describe logs --server 10.0.0.5:4568")]
    Describe(Named),
    /// Send lines of a file or of stdin, one record a line
    #[command(
        long_about = PUT_ABOUT,
        after_help = "Examples:
  weir stream put logs --key-regex 'status (\\S+)' /var/log/dpkg.log
  journalctl -f | weir stream put logs
  weir stream put clicks --key user-42 --skip-empty < clicks.jsonl"
    )]
    Put(Put),
    /// Print records, all shards merged
    #[command(
        long_about = TAIL_ABOUT,
        after_help = "Examples:
  weir stream tail logs --from trim-horizon
  weir stream tail logs --follow --from -10m --output json
  weir stream tail logs --shard shardId-000000000000 --from 2026-11-23T04:12:00Z"
    )]
    Tail(Tail),
    /// Change a stream's settings; what is not named stays
    #[command(after_help = "Examples:
  weir stream set logs --retention 7d
  weir stream set logs --mode provisioned --retain-bytes none
  weir stream set logs --quota off")]
    Set(Set),
    /// Split a shard in two
    #[command(
        long_about = SPLIT_ABOUT,
        after_help = "Examples:
  weir stream split logs shardId-000000000000
  weir stream split logs 2 --at 85070591730234615865843651857942052864
  weir stream split logs 0 --wait 0s --output json"
    )]
    Split(Split),
    /// Merge two neighbouring shards into one
    #[command(
        long_about = MERGE_ABOUT,
        after_help = "Examples:
  weir stream merge logs shardId-000000000002 shardId-000000000003
  weir stream merge logs 2 3
  weir stream merge logs 2 3 --output json"
    )]
    Merge(Merge),
    /// Divide a stream evenly among another number of shards
    #[command(
        long_about = SCALE_ABOUT,
        after_help = "Examples:
  weir stream scale logs --shards 16
  weir stream scale logs --shards 1 --wait 5m
  weir stream scale logs --shards 6 --output json"
    )]
    Scale(Scale),
    /// Delete a stream and its records
    #[command(after_help = "Examples:
  weir stream delete logs
  weir stream delete logs --output json
  weir stream delete logs --server 10.0.0.5:4568")]
    Delete(Named),
}

const PUT_ABOUT: &str = "\
Send lines of a file or of stdin, one record a line.

A record's data is the line without its newline. A carriage return before the newline is kept \
unless --crlf is given. An empty line is an empty record unless --skip-empty is given. A last line \
without a newline is sent like any other. Bytes that are not UTF-8 are sent as they are. A line \
that is longer together with its key than the stream takes, 1 MiB unless it was told otherwise, is \
not sent: it is reported with its number, the others are sent, and the command ends with code 3.

The key decides the shard, and lines of one key keep their order. Without --key and --key-regex \
each run of up to --batch-records lines gets a random key: runs spread over all shards, and order \
holds within a run. A key found by --key-regex that is not UTF-8 is converted, and one of more \
than 256 characters is cut; both are counted.

A shard that is throttled or not ready is tried again, without overtaking within the shard. Ends \
with code 1 if any record was not acknowledged. Acknowledged means on disk. If the connection \
breaks, records whose acknowledgement was lost are sent again and may be stored twice. Ctrl-C \
ends the input; what was read of it is still stored.";

const TAIL_ABOUT: &str = "\
Print records, all shards merged: by arrival time where several shards have records ready, and \
always in order within a shard.

Text output is each record's data and a newline, byte for byte. Without --follow it ends at what \
was there when it began. Ctrl-C and a closed pipe end it cleanly; with --follow it ends with code 1 \
when the server goes away.";

const SPLIT_ABOUT: &str = "\
Split a shard in two: keys below --at stay in the lower child, the others go to the upper one.

The shard closes and keeps its records; its two children take what comes from then on. Writers and \
readers go on meanwhile, and every key keeps its order for those who read parents before children. \
Waits until the stream is ACTIVE again and prints its shards.";

const MERGE_ABOUT: &str = "\
Merge two neighbouring shards into one: the keys of both go to their child.

Both shards close and keep their records. Waits until the stream is ACTIVE again and prints its \
shards.";

const SCALE_ABOUT: &str = "\
Divide a stream evenly among another number of shards, by splits and merges in as many rounds as it \
takes: one for twice or half as many, about as many as the number's logarithm for others.

Shards that close keep their records until retention has passed. Waits until the stream is ACTIVE \
again and prints its shards.";

/// The server.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Host and port of the server's binary protocol
    #[arg(
        long,
        env = "WEIR_SERVER",
        default_value = "127.0.0.1:4568",
        value_name = "HOST:PORT"
    )]
    pub server: String,
}

/// The server, and how to print.
#[derive(Debug, Args)]
pub(crate) struct OutputArguments {
    #[command(flatten)]
    pub server: Server,
    /// How to print
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// What meters a stream's shards.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Mode {
    /// As fast as the hardware
    OnDemand,
    /// Metered per shard as AWS does: 1 MiB/s and 1,000 records/s in, 2 MiB/s out
    Provisioned,
}

/// Whether a stream's shards are metered.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Quota {
    /// As the server's own --quota says
    Server,
    /// If the stream is provisioned
    Mode,
    /// Always
    Aws,
    /// Never
    Off,
}

impl From<Quota> for StreamQuota {
    fn from(quota: Quota) -> Self {
        match quota {
            Quota::Server => Self::Server,
            Quota::Mode => Self::Mode,
            Quota::Aws => Self::Aws,
            Quota::Off => Self::Off,
        }
    }
}

impl From<Mode> for StreamMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::OnDemand => Self::OnDemand,
            Mode::Provisioned => Self::Provisioned,
        }
    }
}

/// `weir stream create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name: 1 to 128 of a-z A-Z 0-9 _ . -
    #[arg(value_parser = StreamName::new)]
    pub name: StreamName,
    /// How many shards
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(STREAM_SHARDS_MAX)))]
    pub shards: u32,
    /// What meters the shards
    #[arg(long, value_enum, default_value_t = Mode::OnDemand)]
    pub mode: Mode,
    /// How long records are kept, for example 24h [default: 24h]
    #[arg(long, value_parser = retention, value_name = "TIME")]
    pub retention: Option<u64>,
    /// Keep at most this much, for example 50GiB; the oldest records go first
    #[arg(long, value_parser = some_size, value_name = "SIZE")]
    pub retain_bytes: Option<u64>,
    #[command(flatten)]
    pub show: OutputArguments,
}

/// `weir stream set`.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The stream
    #[arg(value_parser = StreamName::new)]
    pub name: StreamName,
    /// What meters the shards
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// How long records are kept, for example 7d
    #[arg(long, value_parser = retention, value_name = "TIME")]
    pub retention: Option<u64>,
    /// Keep at most this much, for example 50GiB; "none" or 0B lifts the cap
    #[arg(long, value_parser = size_or_none, value_name = "SIZE")]
    pub retain_bytes: Option<u64>,
    /// Whether the shards are metered, whatever the server is told
    #[arg(long, value_enum)]
    pub quota: Option<Quota>,
    #[command(flatten)]
    pub show: OutputArguments,
}

fn retention(text: &str) -> Result<u64, String> {
    let millis = units::millis(text).map_err(|error| error.to_string())?;
    if (RETENTION_MS_MIN..=RETENTION_MS_MAX).contains(&millis) {
        return Ok(millis);
    }
    Err(format!(
        "{} is not a retention: expected {} to {}",
        units::show_millis(millis),
        units::show_millis(RETENTION_MS_MIN),
        units::show_millis(RETENTION_MS_MAX)
    ))
}

fn some_size(text: &str) -> Result<u64, String> {
    match units::size(text) {
        Ok(0) => Err("a new stream has no cap unless one is given: leave it out".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

fn size_or_none(text: &str) -> Result<u64, units::UnitError> {
    if text == "none" {
        Ok(0)
    } else {
        units::size(text)
    }
}

/// A change of shards: how long to wait for it, and how to print what came of it.
#[derive(Debug, Args)]
pub(crate) struct ChangeArguments {
    /// How long to wait until the stream is ACTIVE again; 0s for not at all
    #[arg(long, value_parser = units::duration, default_value = "60s", value_name = "TIME")]
    pub wait: Duration,
    #[command(flatten)]
    pub show: OutputArguments,
}

/// `weir stream split`.
#[derive(Debug, Args)]
pub(crate) struct Split {
    /// The stream
    #[arg(value_parser = StreamName::new)]
    pub name: StreamName,
    /// The shard, for example shardId-000000000000 or 0
    #[arg(value_parser = shard_index)]
    pub shard: ShardIndex,
    /// First hash key of the upper child, in decimal [default: the middle]
    #[arg(long, value_parser = hash_key, value_name = "HASHKEY")]
    pub at: Option<HashKey>,
    #[command(flatten)]
    pub change: ChangeArguments,
}

/// `weir stream merge`.
#[derive(Debug, Args)]
pub(crate) struct Merge {
    /// The stream
    #[arg(value_parser = StreamName::new)]
    pub name: StreamName,
    /// One shard, for example shardId-000000000000 or 0
    #[arg(value_parser = shard_index)]
    pub shard: ShardIndex,
    /// Its neighbour, whose hash keys end or begin where its own begin or end
    #[arg(value_parser = shard_index)]
    pub adjacent: ShardIndex,
    #[command(flatten)]
    pub change: ChangeArguments,
}

/// `weir stream scale`.
#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// The stream
    #[arg(value_parser = StreamName::new)]
    pub name: StreamName,
    /// How many open shards it shall have
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(STREAM_SHARDS_MAX)))]
    pub shards: u32,
    #[command(flatten)]
    pub change: ChangeArguments,
}

fn hash_key(text: &str) -> Result<HashKey, String> {
    HashKey::parse_decimal(text).map_err(|_| {
        format!(
            "\"{text}\" is not a hash key: expected a decimal number from 0 to {}",
            HashKey::MAX
        )
    })
}

/// A stream's name and nothing else.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The stream
    #[arg(value_parser = StreamName::new)]
    pub name: StreamName,
    #[command(flatten)]
    pub show: OutputArguments,
}

fn partition_key(text: &str) -> Result<String, String> {
    PartitionKey::new(text)
        .map(|key| key.as_str().to_owned())
        .map_err(|error| error.to_string())
}

/// `weir stream put`.
#[derive(Debug, Args)]
pub(crate) struct Put {
    /// The stream
    #[arg(value_parser = StreamName::new)]
    pub name: StreamName,
    /// The file to send; stdin if it is missing or "-"
    pub file: Option<PathBuf>,
    /// One partition key for all lines
    #[arg(long, value_parser = partition_key, conflicts_with = "key_regex")]
    pub key: Option<String>,
    /// Take the partition key out of each line: the pattern's first group, else its whole match
    #[arg(long, value_name = "PATTERN")]
    pub key_regex: Option<regex::bytes::Regex>,
    /// Key of the lines that --key-regex does not match; they are counted
    #[arg(
        long,
        value_parser = partition_key,
        default_value = "-",
        value_name = "KEY",
        conflicts_with = "skip_no_match"
    )]
    pub no_match_key: String,
    /// Do not send the lines that --key-regex does not match; they are counted
    #[arg(long, requires = "key_regex")]
    pub skip_no_match: bool,
    /// Do not send empty lines
    #[arg(long)]
    pub skip_empty: bool,
    /// Strip a carriage return before the newline
    #[arg(long)]
    pub crlf: bool,
    /// How long a record may wait for others to share its batch
    #[arg(long, value_parser = units::duration, default_value = "20ms", value_name = "TIME")]
    pub linger: Duration,
    /// Records after which a batch need not wait; behind one on its way the next may grow larger
    #[arg(
        long,
        default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(BATCH_RECORDS_MAX)),
        value_name = "COUNT"
    )]
    pub batch_records: u32,
    /// How long a refused batch is tried again before the command gives up
    #[arg(long, value_parser = units::duration, default_value = "60s", value_name = "TIME")]
    pub retry_for: Duration,
    #[command(flatten)]
    pub server: Server,
}

fn shard_index(text: &str) -> Result<ShardIndex, String> {
    ShardIndex::parse(text)
        .ok_or_else(|| format!("\"{text}\" is not a shard: write shardId-000000000000 or 0"))
}

/// `weir stream tail`.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// The stream
    #[arg(value_parser = StreamName::new)]
    pub name: StreamName,
    /// Where to begin: trim-horizon, latest, an age like -10m, a time like 2026-11-23T04:12:00Z,
    /// or milliseconds since 1970 [default: latest with --follow, else trim-horizon]
    #[arg(long, allow_hyphen_values = true, value_name = "PLACE")]
    pub from: Option<String>,
    /// Go on with records as they come
    #[arg(long)]
    pub follow: bool,
    /// Only this shard
    #[arg(long, value_parser = shard_index)]
    pub shard: Option<ShardIndex>,
    /// Print each record's partition key and a tab before its data (text output)
    #[arg(long)]
    pub keys: bool,
    #[command(flatten)]
    pub show: OutputArguments,
}
