//! The rules of what may exist.
//!
//! Owns: the control thread's copy of all streams. Never: durability; the caller writes a change to
//! the catalog before it enters it here.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_protocol::limits::{
    RETAIN_BYTES_MIN, RETENTION_MS_DEFAULT, RETENTION_MS_MAX, RETENTION_MS_MIN, STREAM_SHARDS_MAX,
    WIRE_CONTROL_BYTES_MAX,
};
use weir_protocol::model::{
    ConsumerName, HashKeyRange, ShardIndex, StreamId, StreamName, StreamStatus, Timestamp,
};
use weir_protocol::wire::response::SHARD_BYTES;

use super::change::{
    Surroundings, changed, check_distribution, check_tag_count, check_warm_throughput, record_bytes,
};
use super::store::Contents;
use crate::consumer::{Consumer, ConsumerStatus};
use crate::error::ControlError;
use crate::request::{Change, ConsumersOnDelete, CreateStream};
use crate::settings::AccountSettings;
use crate::shard::placement::core_of;
use crate::shard::routing::Routes;
use crate::stream::{Shard, Stream, Streams};

/// Most shards of one folder, over all streams: each costs a few KiB of memory.
pub const FOLDER_SHARDS_MAX: u32 = 50_000;
const _: () = assert!(
    FOLDER_SHARDS_MAX as usize * SHARD_BYTES + 1_024 <= WIRE_CONTROL_BYTES_MAX as usize,
    "one stream may have them all, closed ones too, and its description is one control part"
);

/// All streams, as committed.
#[derive(Debug)]
pub(crate) struct Model {
    named: BTreeMap<StreamName, Arc<Stream>>,
    others: Vec<Arc<Stream>>,
    next_stream: u64,
    account: AccountSettings,
    cores: u32,
}

impl Model {
    pub(crate) fn new(contents: &mut Contents, cores: u32) -> Self {
        let named = std::mem::take(&mut contents.named);
        let others = std::mem::take(&mut contents.others);
        Self {
            named: named
                .into_iter()
                .map(|s| (s.name.clone(), Arc::new(s)))
                .collect(),
            others: others.into_iter().map(Arc::new).collect(),
            next_stream: contents.next_stream,
            account: contents.account,
            cores,
        }
    }

    /// The snapshot for the cores.
    pub(crate) fn snapshot(&self) -> Arc<Streams> {
        Arc::new(Streams::new(
            self.named.values().cloned(),
            self.others.iter().cloned(),
            self.account,
        ))
    }

    pub(crate) fn account(&self) -> AccountSettings {
        self.account
    }

    /// Enters account settings that were written to the catalog.
    pub(crate) fn put_account(&mut self, account: AccountSettings) {
        self.account = account;
    }

    pub(crate) fn next_stream(&self) -> u64 {
        self.next_stream
    }

    /// The stream that `create` asks for, and the number after its own.
    pub(crate) fn create(
        &self,
        create: &CreateStream,
        status: StreamStatus,
        now: Timestamp,
    ) -> Result<(Stream, u64), ControlError> {
        if create.shards == 0 || create.shards > STREAM_SHARDS_MAX {
            return Err(ControlError::ShardCount {
                asked: create.shards,
            });
        }
        let retention_ms = retention(create.retention_ms.unwrap_or(RETENTION_MS_DEFAULT))?;
        let retain_bytes = retain_bytes(create.retain_bytes)?;
        check_tag_count(create.settings.tags.len())?;
        record_bytes(create.settings.record_bytes_max)?;
        check_distribution(&create.name, create.settings.distribution, create.mode)?;
        check_warm_throughput(create.settings.warm_throughput_mibps)?;
        if self.named.contains_key(&create.name) {
            return Err(ControlError::StreamExists {
                name: create.name.clone(),
            });
        }
        self.check_folder(create.shards)?;
        let id = StreamId::new(self.next_stream);
        let shards: Vec<Shard> = HashKeyRange::divide(create.shards)
            .zip(0..)
            .map(|(range, index)| Shard {
                index: ShardIndex(index),
                range,
                created: now,
                opened: now,
                core: core_of(id, ShardIndex(index), self.cores),
                parent: None,
                adjacent_parent: None,
                closed: None,
            })
            .collect();
        let routes = Routes::new(&shards).expect("an exact division tiles the hash space");
        let stream = Stream {
            id,
            name: create.name.clone(),
            status,
            mode: create.mode,
            retention_ms,
            expired_before: Timestamp::ZERO,
            retain_bytes,
            created: now,
            map_version: 1,
            pending: None,
            count_updates: Vec::new(),
            shards,
            settings: create.settings.clone(),
            consumers: Vec::new(),
            mode_changes: Vec::new(),
            routes,
        };
        Ok((stream, self.next_stream + 1))
    }

    /// The stream `name` on its way out.
    pub(crate) fn delete(
        &self,
        name: &StreamName,
        consumers: ConsumersOnDelete,
    ) -> Result<Stream, ControlError> {
        let stream = self.find(name)?;
        if stream.status == StreamStatus::Deleting {
            return Err(ControlError::NotActive {
                name: name.clone(),
                status: stream.status,
            });
        }
        if consumers == ConsumersOnDelete::Keep && !stream.consumers.is_empty() {
            return Err(ControlError::HasConsumers { name: name.clone() });
        }
        let mut deleted = Stream::clone(stream);
        deleted.status = StreamStatus::Deleting;
        deleted.pending = None;
        Ok(deleted)
    }

    /// The stream `name` as it is, and after `change`.
    pub(crate) fn change(
        &self,
        name: &StreamName,
        change: &Change,
        around: &Surroundings,
    ) -> Result<(Arc<Stream>, Stream), ControlError> {
        let before = self.find(name)?;
        let after = changed(before, change, around)?;
        Ok((Arc::clone(before), after))
    }

    /// The stream with this number after the state delay of its consumer `name`, if that is still in
    /// `status`: it is usable, or gone.
    pub(crate) fn settle_consumer(
        &self,
        id: StreamId,
        name: &ConsumerName,
        status: ConsumerStatus,
    ) -> Option<Stream> {
        let is_meant = |consumer: &Consumer| consumer.name == *name && consumer.status == status;
        let stream = self.by_id(id)?;
        let at = stream.consumers.iter().position(is_meant)?;
        let mut settled = Stream::clone(stream);
        match status {
            ConsumerStatus::Creating => settled.consumers[at].status = ConsumerStatus::Active,
            ConsumerStatus::Deleting => drop(settled.consumers.remove(at)),
            ConsumerStatus::Active => return None,
        }
        Some(settled)
    }

    /// The stream with this number, if it is still in `status`, with its name.
    pub(crate) fn in_status(&self, id: StreamId, status: StreamStatus) -> Option<&Arc<Stream>> {
        self.named
            .values()
            .find(|stream| stream.id == id && stream.status == status)
    }

    /// Whether `stream` is entered as it is given.
    pub(crate) fn holds(&self, stream: &Stream) -> bool {
        let known = self.named.get(&stream.name);
        known.is_some_and(|known| **known == *stream)
    }

    /// Enters a stream that was written to the catalog.
    pub(crate) fn put(&mut self, stream: Stream, next_stream: u64) -> Arc<Stream> {
        let stream = Arc::new(stream);
        self.next_stream = self.next_stream.max(next_stream);
        self.named.insert(stream.name.clone(), Arc::clone(&stream));
        stream
    }

    /// Forgets a stream that was removed from the catalog.
    pub(crate) fn remove(&mut self, name: &StreamName) {
        self.named.remove(name);
    }

    /// Whether the folder may hold `asked` more shards.
    pub(super) fn check_folder(&self, asked: u32) -> Result<(), ControlError> {
        let all = self.named.values().chain(&self.others);
        let current = all.map(|stream| stream.shards.len() as u32).sum();
        let limit = FOLDER_SHARDS_MAX;
        if asked > limit.saturating_sub(current) {
            return Err(ControlError::TooManyShards {
                asked,
                current,
                limit,
            });
        }
        Ok(())
    }

    pub(super) fn cores(&self) -> u32 {
        self.cores
    }

    /// The stream with this number.
    pub(super) fn by_id(&self, id: StreamId) -> Option<&Arc<Stream>> {
        self.named.values().find(|stream| stream.id == id)
    }

    pub(super) fn find(&self, name: &StreamName) -> Result<&Arc<Stream>, ControlError> {
        self.named
            .get(name)
            .ok_or_else(|| ControlError::StreamNotFound { name: name.clone() })
    }
}

pub(super) fn retention(millis: u64) -> Result<u64, ControlError> {
    if (RETENTION_MS_MIN..=RETENTION_MS_MAX).contains(&millis) {
        Ok(millis)
    } else {
        Err(ControlError::InvalidRetention { millis })
    }
}

/// Zero stands for no cap.
pub(super) fn retain_bytes(bytes: Option<u64>) -> Result<Option<u64>, ControlError> {
    match bytes {
        None | Some(0) => Ok(None),
        Some(bytes) if bytes >= RETAIN_BYTES_MIN => Ok(Some(bytes)),
        Some(bytes) => Err(ControlError::InvalidRetainBytes { bytes }),
    }
}

#[cfg(test)]
mod tests {
    use weir_protocol::model::{StreamMode, StreamQuota};

    use super::*;
    use crate::folder::QuotaSwitch;
    use crate::request::StreamChange;
    use crate::settings::StreamSettings;

    fn empty() -> Model {
        let (named, others) = (BTreeMap::new(), Vec::new());
        Model {
            named,
            others,
            next_stream: 1,
            account: AccountSettings::default(),
            cores: 2,
        }
    }

    fn asked(name: &str, shards: u32) -> CreateStream {
        CreateStream {
            name: StreamName::new(name).unwrap(),
            shards,
            mode: StreamMode::OnDemand,
            retention_ms: None,
            retain_bytes: None,
            settings: StreamSettings::default(),
        }
    }

    fn create(model: &mut Model, name: &str, shards: u32) -> Result<Arc<Stream>, ControlError> {
        let now = Timestamp::from_millis(5);
        let (stream, next) = model.create(&asked(name, shards), StreamStatus::Active, now)?;
        Ok(model.put(stream, next))
    }

    #[test]
    fn numbers_are_never_used_twice() {
        let mut model = empty();
        let first = create(&mut model, "a", 3).unwrap();
        assert_eq!(first.retention_ms, RETENTION_MS_DEFAULT);
        assert_eq!(first.shards.len(), 3);
        model.delete(&first.name, ConsumersOnDelete::Keep).unwrap();
        model.remove(&first.name);
        let second = create(&mut model, "a", 3).unwrap();
        assert!(second.id > first.id);
    }

    #[test]
    fn bounds_are_kept() {
        let mut model = empty();
        create(&mut model, "a", 1).unwrap();
        let name = StreamName::new("a").unwrap();
        assert_eq!(
            create(&mut model, "a", 1),
            Err(ControlError::StreamExists { name })
        );
        for asked in [0, STREAM_SHARDS_MAX + 1] {
            assert_eq!(
                create(&mut model, "b", asked),
                Err(ControlError::ShardCount { asked })
            );
        }
        for i in 0..4 {
            create(&mut model, &format!("c{i}"), 10_000).unwrap();
        }
        create(&mut model, "d", 9_999).unwrap();
        let refused = create(&mut model, "e", 1);
        let current = FOLDER_SHARDS_MAX;
        let limit = FOLDER_SHARDS_MAX;
        assert_eq!(
            refused,
            Err(ControlError::TooManyShards {
                asked: 1,
                current,
                limit
            })
        );
    }

    #[test]
    fn settings_change_within_their_bounds() {
        let mut model = empty();
        let stream = create(&mut model, "a", 1).unwrap();
        let around = Surroundings {
            now: Timestamp::from_millis(5),
            expiry: Timestamp::from_millis(5),
            quota: QuotaSwitch::Mode,
            is_committed: false,
            is_instant: false,
        };
        let make = |model: &Model, retention_ms, retain_bytes| {
            let change = Change::Settings(StreamChange {
                mode: Some(StreamMode::Provisioned),
                retention_ms,
                retain_bytes,
                quota: Some(StreamQuota::Off),
            });
            let (_, after) = model.change(&stream.name, &change, &around)?;
            Ok::<_, ControlError>(after)
        };
        let changed = make(&model, Some(20_000), Some(1 << 30)).unwrap();
        assert_eq!(changed.retention_ms, 20_000);
        assert_eq!(changed.retain_bytes, Some(1 << 30));
        assert_eq!(changed.mode, StreamMode::Provisioned);
        assert_eq!(changed.settings.quota, StreamQuota::Off);
        model.put(changed, 0);
        let uncapped = make(&model, None, Some(0)).unwrap();
        assert_eq!(uncapped.retain_bytes, None);
        assert!(make(&model, Some(999), None).is_err());
        assert!(make(&model, None, Some(1)).is_err());
    }
}
