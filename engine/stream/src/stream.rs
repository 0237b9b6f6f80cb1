//! What exists: streams and their shards, as every core sees them.
//!
//! A [`Streams`] never changes; the control thread publishes a new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use weir_protocol::limits::RETENTION_MS_DEFAULT;
use weir_protocol::model::{
    HashKey, HashKeyRange, Offset, ShardId, ShardIndex, StreamId, StreamMode, StreamName,
    StreamStatus, Timestamp,
};

use crate::consumer::Consumer;
use crate::reshard::Reshard;
use crate::settings::{AccountSettings, StreamSettings};
use crate::shard::routing::Routes;

/// All streams of the folder at one moment.
#[derive(Debug, Default)]
pub struct Streams {
    /// Those of the account and region that the server was started with.
    by_name: BTreeMap<StreamName, Arc<Stream>>,
    by_id: FxHashMap<StreamId, Arc<Stream>>,
    account: AccountSettings,
}

impl Streams {
    /// The snapshot that holds `named`, and `others`, which have no name under the server's account
    /// and region but are kept all the same.
    pub(crate) fn new(
        named: impl IntoIterator<Item = Arc<Stream>>,
        others: impl IntoIterator<Item = Arc<Stream>>,
        account: AccountSettings,
    ) -> Self {
        let mut all = Self {
            account,
            ..Self::default()
        };
        for stream in named {
            all.by_name.insert(stream.name.clone(), Arc::clone(&stream));
            all.by_id.insert(stream.id, stream);
        }
        all.by_id
            .extend(others.into_iter().map(|stream| (stream.id, stream)));
        all
    }

    /// The stream called `name`.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Stream>> {
        let name = StreamName::new(name).ok()?;
        self.by_name.get(&name)
    }

    /// The stream with this number.
    pub fn by_id(&self, id: StreamId) -> Option<&Arc<Stream>> {
        self.by_id.get(&id)
    }

    /// All streams, sorted by name.
    pub fn in_name_order(&self) -> impl Iterator<Item = &Arc<Stream>> {
        self.by_name.values()
    }

    /// Every stream of the folder, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Stream>> {
        self.by_id.values()
    }

    /// What the account is told.
    pub fn account(&self) -> AccountSettings {
        self.account
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// One stream at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stream {
    /// Its number; never used twice in a folder.
    pub id: StreamId,
    /// Its name.
    pub name: StreamName,
    /// Where it stands between creation and end.
    pub status: StreamStatus,
    /// What meters its shards.
    pub mode: StreamMode,
    /// How long records are kept, in milliseconds.
    pub retention_ms: u64,
    /// What arrived before this has expired for good: a longer retention does not bring it back.
    pub(crate) expired_before: Timestamp,
    /// Byte cap of the whole stream; `None` for no cap.
    pub retain_bytes: Option<u64>,
    /// When it was created.
    pub created: Timestamp,
    /// Rises whenever the set of open shards changes.
    pub map_version: u32,
    /// All shards, in index order. Closed ones stay until retention has forgotten their records.
    pub shards: Vec<Shard>,
    /// What else it is told.
    pub settings: StreamSettings,
    /// Its registered consumers, in name order.
    pub consumers: Vec<Consumer>,
    /// When its mode was changed within the last day.
    pub(crate) mode_changes: Vec<Timestamp>,
    /// What a stream that is UPDATING is on its way to, if that is about its shards.
    pub pending: Option<Reshard>,
    /// When its shard count was changed within the last day.
    pub(crate) count_updates: Vec<Timestamp>,
    /// The way from a hash key to an open shard.
    pub(crate) routes: Routes,
}

/// One shard at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its number within the stream.
    pub index: ShardIndex,
    /// The hash keys it takes.
    pub range: HashKeyRange,
    /// The time that its sequence numbers begin with. Above that of its parents: every number of a
    /// child is larger than every number of its parents. So it may lie ahead of the clock.
    pub created: Timestamp,
    /// When it began to take records.
    pub opened: Timestamp,
    /// The core that appends to it and reads from it in this run of the server.
    pub core: u32,
    /// The shard it came from by a split or merge.
    pub parent: Option<ShardIndex>,
    /// The other shard it came from by a merge.
    pub adjacent_parent: Option<ShardIndex>,
    /// Set when a split or merge ended it.
    pub closed: Option<Closed>,
}

/// The end of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// When it was closed.
    pub at: Timestamp,
    /// One past its last record.
    pub next: Offset,
}

impl Stream {
    /// What arrived before this has expired when the expiry clock shows `expiry`.
    pub fn horizon(&self, expiry: Timestamp) -> Timestamp {
        let kept = expiry.minus_millis(self.retention_ms);
        kept.max(self.expired_before)
    }

    /// An active on-demand stream of `shards` with 24 hours of retention, as the catalog would make
    /// it: for tests of what stands above this crate. `None` if the open shards leave a gap.
    pub fn of_shards(id: StreamId, name: StreamName, shards: Vec<Shard>) -> Option<Self> {
        Some(Self {
            id,
            name,
            status: StreamStatus::Active,
            mode: StreamMode::OnDemand,
            retention_ms: RETENTION_MS_DEFAULT,
            expired_before: Timestamp::ZERO,
            retain_bytes: None,
            created: shards.first()?.created,
            map_version: 1,
            pending: None,
            count_updates: Vec::new(),
            routes: Routes::new(&shards).ok()?,
            shards,
            settings: StreamSettings::default(),
            consumers: Vec::new(),
            mode_changes: Vec::new(),
        })
    }

    /// The open shard that takes `key`.
    pub fn route(&self, key: HashKey) -> &Shard {
        &self.shards[self.routes.place(key)]
    }

    /// The shard of this index, open or closed.
    pub fn shard(&self, index: ShardIndex) -> Option<&Shard> {
        let at = self
            .shards
            .binary_search_by_key(&index, |shard| shard.index);
        at.ok().map(|at| &self.shards[at])
    }

    /// The consumer of this name.
    pub fn consumer(&self, name: &str) -> Option<&Consumer> {
        let at = self
            .consumers
            .binary_search_by(|consumer| consumer.name.as_str().cmp(name));
        at.ok().map(|at| &self.consumers[at])
    }

    /// The shards that go on where `index` ended, in index order.
    pub fn children(&self, index: ShardIndex) -> impl Iterator<Item = &Shard> {
        let is_child = move |shard: &&Shard| {
            shard.parent == Some(index) || shard.adjacent_parent == Some(index)
        };
        self.shards.iter().filter(is_child)
    }

    /// The shards that take records, in index order.
    pub fn open_shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter(|shard| shard.closed.is_none())
    }

    /// The folder-wide name of shard `index` of this stream.
    pub fn shard_id(&self, index: ShardIndex) -> ShardId {
        ShardId::new(self.id, index)
    }

    /// Whether appends and reads are taken.
    pub fn is_usable(&self) -> bool {
        matches!(self.status, StreamStatus::Active | StreamStatus::Updating)
    }
}
