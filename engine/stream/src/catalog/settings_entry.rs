//! How settings and consumers are written in a stream's entry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_protocol::model::{ConsumerName, StreamQuota, Timestamp};

use super::entry::{EntryError, wrong};
use crate::consumer::{Consumer, ConsumerStatus};
use crate::settings::{RecordDistribution, ShardMetrics, StreamSettings};

/// A stream's settings; what is not there has its default.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SettingsEntry {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encryption_key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    monitoring: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warm_throughput_mibps: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record_bytes_max: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    distribution: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota: Option<String>,
}

/// A registered consumer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ConsumerEntry {
    name: String,
    created_ms: u64,
    status: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

impl SettingsEntry {
    pub(super) fn of(settings: &StreamSettings) -> Self {
        Self {
            tags: settings.tags.clone(),
            encryption_key: settings.encryption_key.clone(),
            monitoring: settings.monitoring.names().map(str::to_owned).collect(),
            policy: settings.policy.clone(),
            warm_throughput_mibps: settings.warm_throughput_mibps,
            record_bytes_max: Some(settings.record_bytes_max),
            distribution: Some(settings.distribution.aws_name().to_owned()),
            quota: Some(settings.quota.word().to_owned()),
        }
    }

    pub(super) fn into_settings(self) -> Result<StreamSettings, EntryError> {
        let default = StreamSettings::default();
        let mut monitoring = ShardMetrics::default();
        for name in &self.monitoring {
            let metric = ShardMetrics::named(name).ok_or_else(|| wrong("metric", name))?;
            monitoring = monitoring.with(metric);
        }
        let distribution = match &self.distribution {
            None => default.distribution,
            Some(name) => RecordDistribution::from_aws_name(name)
                .ok_or_else(|| wrong("record distribution", name))?,
        };
        let quota = match &self.quota {
            None => default.quota,
            Some(word) => StreamQuota::from_word(word).ok_or_else(|| wrong("quota", word))?,
        };
        Ok(StreamSettings {
            tags: self.tags,
            encryption_key: self.encryption_key,
            monitoring,
            policy: self.policy,
            warm_throughput_mibps: self.warm_throughput_mibps,
            record_bytes_max: self.record_bytes_max.unwrap_or(default.record_bytes_max),
            distribution,
            quota,
        })
    }
}

impl ConsumerEntry {
    pub(super) fn of(consumer: &Consumer) -> Self {
        Self {
            name: consumer.name.to_string(),
            created_ms: consumer.created.as_millis(),
            status: consumer.status.aws_name().to_owned(),
            tags: consumer.tags.clone(),
            policy: consumer.policy.clone(),
        }
    }

    pub(super) fn into_consumer(self) -> Result<Consumer, EntryError> {
        Ok(Consumer {
            name: ConsumerName::new(&self.name).map_err(|_| wrong("consumer name", &self.name))?,
            created: Timestamp::from_millis(self.created_ms),
            status: ConsumerStatus::from_aws_name(&self.status)
                .ok_or_else(|| wrong("consumer status", &self.status))?,
            tags: self.tags,
            policy: self.policy,
        })
    }
}
