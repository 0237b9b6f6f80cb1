//! What a stream, a consumer and an account are told, beyond what a stream cannot be without.
//!
//! Owns: the settings' types and their words. Never: who may change them; see
//! [`crate::catalog::change`].

use std::collections::BTreeMap;

use weir_protocol::limits::RECORD_BYTES_MAX;
use weir_protocol::model::{StreamMode, StreamQuota, Timestamp};

use crate::folder::QuotaSwitch;

/// Tags by key, in key order.
pub type Tags = BTreeMap<String, String>;

/// Most warm throughput of a stream in MiB a second (AWS: 10 GiB).
pub(crate) const WARM_THROUGHPUT_MIBPS_MAX: u32 = 10 * 1024;

/// What a stream is told. Some of it has no effect here and is kept to be shown again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSettings {
    /// Its tags.
    pub tags: Tags,
    /// The key it was asked to be encrypted with; shown, not used. `None` for no encryption.
    pub encryption_key: Option<String>,
    /// The metrics it was asked to report per shard; shown only.
    pub monitoring: ShardMetrics,
    /// Who may do what, as JSON; shown only.
    pub policy: Option<String>,
    /// Throughput asked to be held ready, in MiB per second; shown only.
    pub warm_throughput_mibps: Option<u32>,
    /// Longest record it takes in bytes, data plus partition key.
    pub record_bytes_max: u32,
    /// How records without a partition key find their shard.
    pub distribution: RecordDistribution,
    /// Whether its shards are metered, beside the server's switch.
    pub quota: StreamQuota,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            tags: Tags::new(),
            encryption_key: None,
            monitoring: ShardMetrics::default(),
            policy: None,
            warm_throughput_mibps: None,
            record_bytes_max: RECORD_BYTES_MAX,
            distribution: RecordDistribution::default(),
            quota: StreamQuota::default(),
        }
    }
}

/// Whether the shards of a stream of this mode and override are metered.
pub(crate) fn is_metered(server: QuotaSwitch, stream: StreamQuota, mode: StreamMode) -> bool {
    let by_mode = mode == StreamMode::Provisioned;
    match (stream, server) {
        (StreamQuota::Aws, _) | (StreamQuota::Server, QuotaSwitch::Aws) => true,
        (StreamQuota::Off, _) | (StreamQuota::Server, QuotaSwitch::Off) => false,
        (StreamQuota::Mode, _) | (StreamQuota::Server, QuotaSwitch::Mode) => by_mode,
    }
}

/// Whether a stream is held to every number of AWS's, also to those that protect AWS only.
pub(crate) fn is_as_aws(server: QuotaSwitch, stream: StreamQuota) -> bool {
    match stream {
        StreamQuota::Aws => true,
        StreamQuota::Server => server == QuotaSwitch::Aws,
        StreamQuota::Mode | StreamQuota::Off => false,
    }
}

/// How records without a partition key find their shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordDistribution {
    /// They do not: a partition key is required.
    #[default]
    UserPartitionKey,
    /// The server spreads them.
    Auto,
}

impl RecordDistribution {
    /// AWS's word for it.
    pub const fn aws_name(self) -> &'static str {
        match self {
            Self::UserPartitionKey => "USER_PARTITION_KEY",
            Self::Auto => "AUTO",
        }
    }

    /// From AWS's word.
    pub fn from_aws_name(name: &str) -> Option<Self> {
        [Self::UserPartitionKey, Self::Auto]
            .into_iter()
            .find(|distribution| distribution.aws_name() == name)
    }
}

/// A set of the seven metrics that a shard can report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardMetrics(u8);

impl ShardMetrics {
    /// AWS's names, in AWS's order; a set has one bit for each.
    pub const NAMES: [&'static str; 7] = [
        "IncomingBytes",
        "IncomingRecords",
        "OutgoingBytes",
        "OutgoingRecords",
        "WriteProvisionedThroughputExceeded",
        "ReadProvisionedThroughputExceeded",
        "IteratorAgeMilliseconds",
    ];

    /// All seven.
    pub const ALL: Self = Self((1 << Self::NAMES.len()) - 1);

    /// The set that `name` stands for; `ALL` for all seven.
    pub fn named(name: &str) -> Option<Self> {
        if name == "ALL" {
            return Some(Self::ALL);
        }
        let at = Self::NAMES.iter().position(|known| *known == name)?;
        Some(Self(1 << at))
    }

    /// This and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The names, in AWS's order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let has = move |at: usize| self.0 & (1 << at) != 0;
        (0..Self::NAMES.len())
            .filter(move |at| has(*at))
            .map(|at| Self::NAMES[at])
    }
}

/// What the account is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountSettings {
    /// The promise to pay for a minimum of throughput. Here it only raises the number of consumers
    /// that an on-demand stream may have, as at AWS.
    pub commitment: Commitment,
}

/// A promise to pay for a minimum of throughput.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Commitment {
    /// Whether it stands.
    pub is_enabled: bool,
    /// When it was last made.
    pub started: Option<Timestamp>,
    /// When it was last taken back; `None` while it stands.
    pub ended: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streams_own_quota_goes_before_the_servers() {
        use QuotaSwitch as Server;
        let provisioned = StreamMode::Provisioned;
        let on_demand = StreamMode::OnDemand;
        for (server, stream, mode, expected) in [
            (Server::Mode, StreamQuota::Server, provisioned, true),
            (Server::Mode, StreamQuota::Server, on_demand, false),
            (Server::Aws, StreamQuota::Server, on_demand, true),
            (Server::Off, StreamQuota::Server, provisioned, false),
            (Server::Off, StreamQuota::Mode, provisioned, true),
            (Server::Aws, StreamQuota::Mode, on_demand, false),
            (Server::Off, StreamQuota::Aws, on_demand, true),
            (Server::Aws, StreamQuota::Off, provisioned, false),
        ] {
            assert_eq!(
                is_metered(server, stream, mode),
                expected,
                "{server:?} {stream:?}"
            );
        }
        assert!(is_as_aws(Server::Off, StreamQuota::Aws));
        assert!(!is_as_aws(Server::Aws, StreamQuota::Mode));
    }

    #[test]
    fn metrics_are_a_set() {
        let two = ShardMetrics::named("OutgoingBytes")
            .unwrap()
            .with(ShardMetrics::named("IncomingBytes").unwrap());
        assert!(two.names().eq(["IncomingBytes", "OutgoingBytes"]));
        assert_eq!(ShardMetrics::ALL.names().count(), 7);
        assert_eq!(
            ShardMetrics::ALL.without(two).with(two),
            ShardMetrics::named("ALL").unwrap()
        );
        assert_eq!(ShardMetrics::named("Incoming"), None);
    }
}
