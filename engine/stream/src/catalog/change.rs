//! The rules of changing a stream and its consumers.
//!
//! Owns: what a change makes of a stream, and why it may not. Never: durability, publication.

use weir_protocol::limits::{
    POLICY_BYTES_MAX, RECORD_BYTES_CEILING, RECORD_BYTES_MAX, RESOURCE_TAGS_MAX,
    STREAM_CONSUMERS_COMMITTED_MAX, STREAM_CONSUMERS_CREATING_MAX, STREAM_CONSUMERS_MAX,
    STREAM_MODE_CHANGES_PER_DAY,
};
use weir_protocol::model::{ConsumerName, StreamMode, StreamName, StreamStatus, Timestamp};

use super::model::{retain_bytes, retention};
use crate::consumer::{Consumer, ConsumerStatus};
use crate::error::ControlError;
use crate::folder::QuotaSwitch;
use crate::request::{Change, ConsumerKey, StreamChange};
use crate::settings::{RecordDistribution, Tags, WARM_THROUGHPUT_MIBPS_MAX, is_as_aws};
use crate::stream::Stream;

const DAY_MS: u64 = 24 * 3_600_000;

/// What a change depends on beside the stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    /// When the change was asked for.
    pub(crate) now: Timestamp,
    /// What the clock that deletes showed then.
    pub(crate) expiry: Timestamp,
    /// What the server is told about quotas.
    pub(crate) quota: QuotaSwitch,
    /// Whether the account is committed to a minimum throughput.
    pub(crate) is_committed: bool,
    /// Whether there is no state delay, so that a change passes through no state.
    pub(crate) is_instant: bool,
}

/// `stream` after `change`.
pub(crate) fn changed(
    stream: &Stream,
    change: &Change,
    around: &Surroundings,
) -> Result<Stream, ControlError> {
    let may = if is_passing(change) {
        stream.status == StreamStatus::Active
    } else {
        stream.is_usable()
    };
    if !may {
        return Err(ControlError::NotActive {
            name: stream.name.clone(),
            status: stream.status,
        });
    }
    let mut after = Stream::clone(stream);
    match change {
        Change::Settings(settings) => set(&mut after, settings)?,
        Change::IncreaseRetention(millis) => {
            let (millis, present) = (retention(*millis)?, stream.retention_ms);
            if millis < present {
                return Err(ControlError::RetentionNotLonger { millis, present });
            }
            after.retention_ms = millis;
        }
        Change::DecreaseRetention(millis) => {
            let (millis, present) = (retention(*millis)?, stream.retention_ms);
            if millis > present {
                return Err(ControlError::RetentionNotShorter { millis, present });
            }
            after.retention_ms = millis;
        }
        Change::Tag(tags) => add_tags(&mut after.settings.tags, tags)?,
        Change::Untag(keys) => remove_tags(&mut after.settings.tags, keys),
        Change::EnableMonitoring(metrics) => {
            after.settings.monitoring = stream.settings.monitoring.with(*metrics);
        }
        Change::DisableMonitoring(metrics) => {
            after.settings.monitoring = stream.settings.monitoring.without(*metrics);
        }
        Change::Policy(policy) => set_policy(&mut after.settings.policy, policy.as_deref())?,
        Change::Mode {
            mode,
            warm_throughput_mibps,
        } => change_mode(&mut after, *mode, *warm_throughput_mibps, around)?,
        Change::Encryption(key) => after.settings.encryption_key.clone_from(key),
        Change::WarmThroughput(mibps) => {
            if stream.mode != StreamMode::OnDemand {
                let name = stream.name.clone();
                return Err(ControlError::NotOnDemand { name });
            }
            check_warm_throughput(Some(*mibps))?;
            after.settings.warm_throughput_mibps = Some(*mibps);
        }
        Change::RecordBytesMax(bytes) => after.settings.record_bytes_max = record_bytes(*bytes)?,
        Change::Distribution(distribution) => {
            check_distribution(&stream.name, *distribution, stream.mode)?;
            after.settings.distribution = *distribution;
        }
        Change::RegisterConsumer { name, tags } => register(&mut after, name, tags, around)?,
        Change::DeregisterConsumer(key) => deregister(&mut after, key, around)?,
        Change::TagConsumer(key, tags) => add_tags(&mut find_active(&mut after, key)?.tags, tags)?,
        Change::UntagConsumer(key, keys) => {
            remove_tags(&mut find_active(&mut after, key)?.tags, keys);
        }
        Change::ConsumerPolicy(key, policy) => {
            set_policy(&mut find_active(&mut after, key)?.policy, policy.as_deref())?;
        }
    }
    if after.retention_ms > stream.retention_ms {
        let gone = around.expiry.minus_millis(stream.retention_ms);
        after.expired_before = stream.expired_before.max(gone);
    }
    if is_passing(change) && !around.is_instant {
        after.status = StreamStatus::Updating;
    }
    Ok(after)
}

/// Whether a stream passes through UPDATING by this change, and must be ACTIVE before it.
fn is_passing(change: &Change) -> bool {
    matches!(
        change,
        Change::Mode { .. }
            | Change::Encryption(_)
            | Change::WarmThroughput(_)
            | Change::RecordBytesMax(_)
            | Change::Distribution(_)
    )
}

/// An operator's change is neither counted nor passes through a state.
fn set(after: &mut Stream, change: &StreamChange) -> Result<(), ControlError> {
    set_mode(after, change.mode.unwrap_or(after.mode));
    if let Some(millis) = change.retention_ms {
        after.retention_ms = retention(millis)?;
    }
    if change.retain_bytes.is_some() {
        after.retain_bytes = retain_bytes(change.retain_bytes)?;
    }
    after.settings.quota = change.quota.unwrap_or(after.settings.quota);
    Ok(())
}

fn change_mode(
    after: &mut Stream,
    mode: StreamMode,
    warm_throughput_mibps: Option<u32>,
    around: &Surroundings,
) -> Result<(), ControlError> {
    let name = || after.name.clone();
    if warm_throughput_mibps.is_some() && mode != StreamMode::OnDemand {
        return Err(ControlError::NotOnDemand { name: name() });
    }
    check_warm_throughput(warm_throughput_mibps)?;
    let now = around.now;
    after
        .mode_changes
        .retain(|changed| now.millis_since(*changed) < DAY_MS);
    if mode != after.mode {
        let often = after.mode_changes.len() >= STREAM_MODE_CHANGES_PER_DAY;
        if often && is_as_aws(around.quota, after.settings.quota) {
            return Err(ControlError::ModeChangedOften { name: name() });
        }
        // Where nobody counts, only as many are kept as counting would need.
        if often {
            after.mode_changes.remove(0);
        }
        after.mode_changes.push(now);
    }
    set_mode(after, mode);
    after.settings.warm_throughput_mibps = match mode {
        StreamMode::OnDemand => warm_throughput_mibps.or(after.settings.warm_throughput_mibps),
        StreamMode::Provisioned => None,
    };
    Ok(())
}

/// Gives a stream its mode. One that becomes provisioned goes by its records' keys again.
fn set_mode(after: &mut Stream, mode: StreamMode) {
    after.mode = mode;
    if mode == StreamMode::Provisioned {
        after.settings.distribution = RecordDistribution::default();
    }
}

/// Refuses more warm throughput than a stream may have.
pub(crate) fn check_warm_throughput(mibps: Option<u32>) -> Result<(), ControlError> {
    match mibps {
        Some(asked) if asked > WARM_THROUGHPUT_MIBPS_MAX => {
            Err(ControlError::WarmThroughput { asked })
        }
        _ => Ok(()),
    }
}

/// Refuses a provisioned stream that would find the shards of its records by itself.
pub(crate) fn check_distribution(
    name: &StreamName,
    distribution: RecordDistribution,
    mode: StreamMode,
) -> Result<(), ControlError> {
    if mode == StreamMode::Provisioned && distribution == RecordDistribution::Auto {
        return Err(ControlError::ProvisionedSpread { name: name.clone() });
    }
    Ok(())
}

fn register(
    after: &mut Stream,
    name: &ConsumerName,
    tags: &Tags,
    around: &Surroundings,
) -> Result<(), ControlError> {
    let at = after.consumers.binary_search_by(|c| c.name.cmp(name));
    let Err(at) = at else {
        return Err(ControlError::ConsumerExists {
            stream: after.name.clone(),
            consumer: name.clone(),
        });
    };
    let limit = if around.is_committed && after.mode == StreamMode::OnDemand {
        STREAM_CONSUMERS_COMMITTED_MAX
    } else {
        STREAM_CONSUMERS_MAX
    };
    if after.consumers.len() >= limit {
        let name = after.name.clone();
        return Err(ControlError::TooManyConsumers { name, limit });
    }
    let is_creating = |c: &&Consumer| c.status == ConsumerStatus::Creating;
    if after.consumers.iter().filter(is_creating).count() >= STREAM_CONSUMERS_CREATING_MAX {
        let name = after.name.clone();
        return Err(ControlError::TooManyConsumersCreating { name });
    }
    check_tag_count(tags.len())?;
    let status = if around.is_instant {
        ConsumerStatus::Active
    } else {
        ConsumerStatus::Creating
    };
    let consumer = Consumer {
        name: name.clone(),
        created: around.now,
        status,
        tags: tags.clone(),
        policy: None,
    };
    after.consumers.insert(at, consumer);
    Ok(())
}

fn deregister(
    after: &mut Stream,
    key: &ConsumerKey,
    around: &Surroundings,
) -> Result<(), ControlError> {
    find(after, key)?.status = ConsumerStatus::Deleting;
    if around.is_instant {
        after.consumers.retain(|consumer| consumer.name != key.name);
    }
    Ok(())
}

fn find<'s>(stream: &'s mut Stream, key: &ConsumerKey) -> Result<&'s mut Consumer, ControlError> {
    let found = stream.consumers.iter_mut().find(|consumer| {
        let same_time = |secs| secs == consumer.created.as_secs();
        consumer.name == key.name && key.created_secs.is_none_or(same_time)
    });
    found.ok_or_else(|| ControlError::ConsumerNotFound {
        stream: stream.name.clone(),
        consumer: key.name.clone(),
    })
}

/// The consumer, which must be neither on its way in nor out.
fn find_active<'s>(
    stream: &'s mut Stream,
    key: &ConsumerKey,
) -> Result<&'s mut Consumer, ControlError> {
    let name = stream.name.clone();
    let consumer = find(stream, key)?;
    if consumer.status == ConsumerStatus::Active {
        Ok(consumer)
    } else {
        Err(ControlError::ConsumerNotActive {
            stream: name,
            consumer: consumer.name.clone(),
            created: consumer.created,
        })
    }
}

fn add_tags(present: &mut Tags, added: &Tags) -> Result<(), ControlError> {
    let new = added.keys().filter(|key| !present.contains_key(*key));
    check_tag_count(present.len() + new.count())?;
    let added = added
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()));
    present.extend(added);
    Ok(())
}

fn remove_tags(present: &mut Tags, keys: &[String]) {
    for key in keys {
        present.remove(key);
    }
}

/// Refuses more tags than a stream or consumer may have.
pub(crate) fn check_tag_count(asked: usize) -> Result<(), ControlError> {
    if asked > RESOURCE_TAGS_MAX {
        return Err(ControlError::TooManyTags { asked });
    }
    Ok(())
}

fn set_policy(present: &mut Option<String>, policy: Option<&str>) -> Result<(), ControlError> {
    match policy {
        None if present.is_none() => return Err(ControlError::NoPolicy),
        Some(policy) if policy.len() > POLICY_BYTES_MAX => {
            let bytes = policy.len();
            return Err(ControlError::PolicyTooLong { bytes });
        }
        _ => *present = policy.map(str::to_owned),
    }
    Ok(())
}

/// Refuses a longest record outside its bounds.
pub(crate) fn record_bytes(bytes: u32) -> Result<u32, ControlError> {
    if (RECORD_BYTES_MAX..=RECORD_BYTES_CEILING).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(ControlError::InvalidRecordBytes { bytes })
    }
}

#[cfg(test)]
mod tests;
