//! What operators do meanwhile: they create, delete, split, merge, and change settings.

use weir_protocol::model::{ConsumerName, HashKey, StreamMode, StreamName, StreamQuota};
use weir_reactor::Reactor;
use weir_stream::{
    Change, ConsumerKey, ConsumersOnDelete, CreateStream, Reshard, ReshardRules, Shard, Stream,
    StreamChange, StreamSettings, Tags,
};

use super::life::Life;
use crate::story::is_verbose;

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];
const CONSUMERS: [&str; 2] = ["one", "two"];
/// Shards of a stream at most.
const SHARDS_MAX: usize = 8;

impl Life {
    /// Splits, merges and counts.
    pub(super) async fn reshard(&self) {
        while !self.ends.get() {
            self.pause(60).await;
            let Some(stream) = self.any_stream().filter(|stream| stream.is_usable()) else {
                continue;
            };
            let mut open: Vec<&Shard> = stream.open_shards().collect();
            open.sort_by_key(|shard| shard.range.start);
            let any = self.below(open.len() as u64) as usize;
            let asked = match self.below(3) {
                0 if open.len() < SHARDS_MAX => {
                    let range = open[any].range;
                    let width = range.end.get() - range.start.get();
                    let beyond = u128::from(self.reactor.random()) << 56;
                    let at = HashKey::new(range.start.get() + 1 + beyond % (width / 2).max(1));
                    let shard = open[any].index;
                    Reshard::Split { shard, at }
                }
                1 if open.len() > 1 => {
                    let low = any.min(open.len() - 2);
                    let (shard, adjacent) = (open[low].index, open[low + 1].index);
                    Reshard::Merge { shard, adjacent }
                }
                _ => Reshard::Count {
                    target: 1 + self.below(SHARDS_MAX as u64) as u32,
                },
            };
            let engine = self.engine().clone();
            let name = &stream.name;
            engine
                .reshard_stream(name, asked, ReshardRules::Operator)
                .await
                .ok();
        }
    }

    /// Creates, deletes, and changes what streams are told.
    pub(super) async fn change(&self) {
        while !self.ends.get() {
            let existing = self.any_stream();
            let draw = self.below(12);
            match existing {
                Some(stream) if draw == 0 => self.delete(&stream).await,
                Some(stream) if draw < 9 => self.change_one(&stream, draw).await,
                _ => self.create().await,
            }
            self.pause(60).await;
        }
    }

    async fn create(&self) {
        let retention_ms = self.world.retention(self.reactor.random());
        let asked = CreateStream {
            name: name(NAMES[self.below(3) as usize]),
            shards: 1 + self.below(4) as u32,
            mode: StreamMode::Provisioned,
            retention_ms: Some(retention_ms),
            retain_bytes: None,
            settings: StreamSettings::default(),
        };
        let engine = self.engine().clone();
        let created = engine.create_stream(asked).await;
        if is_verbose() {
            eprintln!("created for {retention_ms}: {created:?}");
        }
        if let Ok(stream) = created {
            self.world.judge.borrow_mut().created(&stream, retention_ms);
        }
    }

    async fn delete(&self, stream: &Stream) {
        self.world.judge.borrow_mut().asks_to_delete(stream.id);
        let engine = self.engine().clone();
        let deleted = engine
            .delete_stream(&stream.name, ConsumersOnDelete::Delete)
            .await;
        if deleted.is_ok() {
            self.world.judge.borrow_mut().deleted(stream.id);
        }
    }

    async fn change_one(&self, stream: &Stream, draw: u64) {
        let engine = self.engine().clone();
        let consumer = CONSUMERS[self.below(2) as usize];
        let (judge, id) = (&self.world.judge, stream.id);
        judge.borrow_mut().meets(stream);
        match draw {
            1..4 => {
                let millis = self.world.retention(self.reactor.random());
                judge.borrow_mut().asks_to_keep(id, millis);
                let change = StreamChange {
                    retention_ms: Some(millis),
                    ..StreamChange::default()
                };
                let change = Change::Settings(change);
                let changed = engine.change_stream(&stream.name, change).await;
                if is_verbose() {
                    let changed = changed.as_ref().map(|changed| &changed.after);
                    eprintln!("{} keeps for {millis}: {changed:?}", stream.name);
                }
                if changed.is_ok() {
                    judge.borrow_mut().keeps(id, millis);
                }
            }
            4 | 5 => {
                let quota = [StreamQuota::Off, StreamQuota::Aws, StreamQuota::Server];
                let quota = Some(quota[self.below(3) as usize]);
                let change = Change::Settings(StreamChange {
                    quota,
                    ..StreamChange::default()
                });
                engine.change_stream(&stream.name, change).await.ok();
            }
            _ => {
                let is_new = draw < 8;
                judge.borrow_mut().asks_for_consumer(id, consumer, is_new);
                let name = ConsumerName::new(consumer).expect("a good name");
                let change = if is_new {
                    let tags = Tags::new();
                    Change::RegisterConsumer { name, tags }
                } else {
                    let created_secs = None;
                    Change::DeregisterConsumer(ConsumerKey { name, created_secs })
                };
                if engine.change_stream(&stream.name, change).await.is_ok() {
                    judge.borrow_mut().has_consumer(id, consumer, is_new);
                }
            }
        }
    }
}

fn name(text: &str) -> StreamName {
    StreamName::new(text).expect("a good name")
}
