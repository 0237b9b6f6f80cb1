//! Finds a shard's batches in the sealed segments: a binary search over each log's segments, then
//! inside a footer.

use std::rc::Rc;
use std::sync::Arc;

use weir_protocol::model::{Offset, ShardId, Timestamp};
use weir_reactor::Reactor;

use crate::discipline::Discipline;
use crate::error::ReadError;
use crate::log::Log;
use crate::sealed::{LoadError, Loaded, SealedSegment};
use crate::segment::{FooterBatch, FooterShard};

pub(super) struct Found<R: Reactor> {
    pub(super) first: Offset,
    /// Where another log goes on: a settled segment may hold batches from before and after a time
    /// in which other cores, and so another log, had the shard.
    pub(super) until: Offset,
    pub(super) loaded: Rc<Loaded<R>>,
    pub(super) shard: FooterShard,
    pub(super) index: u32,
}

impl<R: Reactor> Found<R> {
    /// The earlier of two logs' next batches; it is good for as long as the other has none.
    fn or_earlier(self, other: Self) -> Self {
        let (mut earlier, later) = if other.first < self.first {
            (other, self)
        } else {
            (self, other)
        };
        earlier.until = earlier.until.min(later.first);
        earlier
    }
}

impl<R: Reactor, D: Discipline> Log<R, D> {
    /// The first batch of the sealed segments that ends behind `from`.
    pub(super) async fn locate(
        &self,
        shard: ShardId,
        from: Offset,
    ) -> Result<Option<Found<R>>, ReadError> {
        self.search(shard, from, |s| s.next > from, |b| b.next() > from)
            .await
    }

    /// The offset of the first sealed batch that arrived at or after `at`.
    pub(super) async fn seek(
        &self,
        shard: ShardId,
        at: Timestamp,
    ) -> Result<Option<Offset>, ReadError> {
        let found = self
            .search(
                shard,
                Offset::ZERO,
                |s| s.last_arrival >= at,
                |b| b.arrival >= at,
            )
            .await?;
        Ok(found.map(|f| f.first))
    }

    /// Searches each log's segments by a predicate that, once true for a shard, stays true; the
    /// earliest batch of all logs wins.
    async fn search(
        &self,
        shard: ShardId,
        from: Offset,
        segment_holds: impl Fn(&FooterShard) -> bool,
        batch_holds: impl Fn(&FooterBatch) -> bool,
    ) -> Result<Option<Found<R>>, ReadError> {
        let logs = self.inner.state.borrow().sealed.by_log();
        let mut best: Option<Found<R>> = None;
        for segments in logs {
            let (mut low, mut high) = (0, segments.len());
            while low < high {
                let middle = usize::midpoint(low, high);
                let loaded = self.load_for(shard, from, &segments[middle]).await?;
                if loaded.footer.find(shard).is_some_and(|s| segment_holds(&s)) {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            // The first segment that reaches far enough may hold none of the shard's batches.
            for meta in &segments[low..] {
                let loaded = self.load_for(shard, from, meta).await?;
                let Some(share) = loaded.footer.find(shard) else {
                    continue;
                };
                let index = loaded.footer.first_batch_where(&share, &batch_holds);
                if index < share.batches {
                    let first = loaded.footer.batch(&share, index).first;
                    let candidate = Found {
                        first,
                        until: Offset::MAX,
                        loaded,
                        shard: share,
                        index,
                    };
                    best = Some(match best {
                        None => candidate,
                        Some(best) => best.or_earlier(candidate),
                    });
                    break;
                }
            }
        }
        Ok(best)
    }

    async fn load_for(
        &self,
        shard: ShardId,
        from: Offset,
        meta: &Arc<SealedSegment>,
    ) -> Result<Rc<Loaded<R>>, ReadError> {
        self.load(meta).await.map_err(|error| match error {
            LoadError::Io(error) => ReadError::Io {
                shard,
                what: format!("{}: {error}", meta.path()),
            },
            LoadError::Footer => {
                self.inner.state.borrow_mut().counters.damaged += 1;
                let what = format!("the footer of {} does not verify", meta.path());
                ReadError::Damaged { shard, from, what }
            }
        })
    }
}
