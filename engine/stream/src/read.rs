//! The door for reading: where a read begins, what it waits for, what it may cost.
//!
//! Up: sessions. Down: [`weir_log::Log::read`].

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use weir_log::ReadBatches;
use weir_protocol::batch::{BATCH_HEADER_BYTES, field};
use weir_protocol::bytes::{u32_at, u64_at};
use weir_protocol::limits::READ_WAIT_MS_MAX;
use weir_protocol::model::{Offset, ShardId, StreamStatus, Timestamp};
use weir_protocol::wire::request::ReadFrom;
use weir_reactor::Reactor;

use crate::engine::Engine;
use crate::error::ReadError;
use crate::request::{ReadAnswer, ReadHere, ReadOwned, ReadRequest};
use crate::stream::Closed;

impl<R: Reactor> Engine<R> {
    /// Reads a shard of this core, waiting for the first record if asked to.
    pub async fn read_here(&self, request: &ReadRequest) -> Result<ReadHere<R>, ReadError> {
        let shard = request.shard;
        self.check_readable(shard)?;
        if request.polling {
            self.charge_call(shard)?;
        }
        let from = self.seek_here(shard, request.from).await?;
        let wait = Duration::from_millis(u64::from(request.wait_ms.min(READ_WAIT_MS_MAX)));
        let deadline = self.monotonic().plus(wait);
        loop {
            let batches = self
                .log()
                .read(shard, from, request.bytes_max as usize)
                .await;
            let batches = batches.map_err(|error| self.unread(error))?;
            let closed = self.check_readable(shard)?;
            let at_end = closed.is_some_and(|closed| batches.next >= closed.next);
            let left = deadline.since(self.monotonic());
            if batches.count > 0 || batches.next > from || at_end || left.is_zero() {
                return Ok(self.answer_read(request, from, batches, at_end));
            }
            drop(batches);
            let data = pin!(self.log().wait_data(shard, from));
            let timer = pin!(self.reactor().sleep(left));
            // Whichever came, the next round looks at the shard again.
            match select(data, timer).await {
                Either::Left(_) | Either::Right(_) => {}
            }
            if self.is_stopping() {
                return Err(ReadError::Stopping);
            }
        }
    }

    fn answer_read(
        &self,
        request: &ReadRequest,
        from: Offset,
        batches: ReadBatches<R>,
        at_end: bool,
    ) -> ReadHere<R> {
        let bytes = batches.bytes as u64;
        let (records, last) = look_over(batches.chunks());
        self.count(|counters| {
            counters.reads += 1;
            counters.read_records += records;
            counters.read_bytes += bytes;
        });
        let (next, tip) = (batches.next, batches.durable_next);
        let behind_ms = if next >= tip {
            0
        } else {
            // Nothing was returned at a hole only: then the newest record says how far behind.
            let newest = self.log().tip(request.shard).map(|tip| tip.durable_arrival);
            let now = self.wall();
            last.or(newest)
                .map_or(0, |arrival| now.millis_since(arrival))
        };
        ReadHere {
            batches,
            from,
            next,
            tip,
            behind_ms,
            at_end,
        }
    }

    /// Reads a shard of this core and copies what was found, unless that is too long.
    pub(crate) async fn read_owned_here(
        &self,
        request: &ReadRequest,
        longest: usize,
    ) -> Result<ReadOwned, ReadError> {
        let read = self.read_here(request).await?;
        Ok(read.no_longer_than(request.shard, longest)?.into_owned())
    }

    /// Reads any shard.
    pub async fn read(&self, request: ReadRequest) -> Result<ReadOwned, ReadError> {
        match self.reader_of(request.shard)? {
            owner if owner == self.core() => self.read_owned_here(&request, usize::MAX).await,
            owner => self.read_there(owner, request, usize::MAX).await,
        }
    }

    /// Reads any shard, without a copy if it is this core's. A batch of more than `longest` bytes
    /// is refused as [`ReadError::LongBatch`]: the caller makes room for it and asks again. At the
    /// end of a shard [`Engine::streams`] has its children.
    pub async fn read_in_place(
        &self,
        request: ReadRequest,
        longest: usize,
    ) -> Result<ReadAnswer<R>, ReadError> {
        let shard = request.shard;
        let read = match self.reader_of(shard)? {
            owner if owner == self.core() => {
                let read = self.read_here(&request).await?;
                ReadAnswer::Here(read.no_longer_than(shard, longest)?)
            }
            owner => ReadAnswer::There(self.read_there(owner, request, longest).await?),
        };
        if read.at_end() {
            self.knows_end_of(shard).await;
        }
        Ok(read)
    }

    /// Charges the pollers' quota of a metered shard for `bytes` that a read gave out. A read itself
    /// charges its call only: what a client gets of the batches found is the caller's to know.
    pub fn charge_read(&self, shard: ShardId, bytes: u64) {
        match self.reader_of(shard) {
            Ok(owner) if owner == self.core() => self.charge_read_here(shard, bytes),
            Ok(owner) => self.charge_read_there(owner, shard, bytes),
            // It was deleted since: nobody reads it any more.
            Err(_) => {}
        }
    }

    pub(crate) fn charge_read_here(&self, shard: ShardId, bytes: u64) {
        self.with_homed(shard, |homed| {
            if let Some(quota) = homed.read_quota() {
                quota.charge_bytes(bytes);
            }
        });
    }

    /// The offset that `from` means now.
    pub async fn seek(&self, shard: ShardId, from: ReadFrom) -> Result<Offset, ReadError> {
        match self.reader_of(shard)? {
            owner if owner == self.core() => self.seek_checked_here(shard, from).await,
            owner => self.seek_there(owner, shard, from).await,
        }
    }

    /// The offset that `from` means now, for a shard that may turn out not to be here.
    pub(crate) async fn seek_checked_here(
        &self,
        shard: ShardId,
        from: ReadFrom,
    ) -> Result<Offset, ReadError> {
        self.check_readable(shard)?;
        self.seek_here(shard, from).await
    }

    /// The core that reads `shard`.
    fn reader_of(&self, shard: ShardId) -> Result<u32, ReadError> {
        let streams = self.streams();
        let stream = streams.by_id(shard.stream);
        let stream = stream.ok_or(ReadError::StreamNotFound {
            stream: shard.stream,
        })?;
        let found = stream
            .shard(shard.index)
            .ok_or(ReadError::ShardNotFound { shard })?;
        Ok(found.core)
    }

    /// Whether `shard` may be read on this core now, and where it ends if it is closed.
    pub(crate) fn check_readable(&self, shard: ShardId) -> Result<Option<Closed>, ReadError> {
        if self.is_stopping() {
            return Err(ReadError::Stopping);
        }
        // The end is told when every core knows the children.
        let here = self.with_homed(shard, |homed| {
            let closed = homed.closed.filter(|_| !homed.stands_still);
            homed.is_usable.then_some(closed)
        });
        if let Some(Some(closed)) = here {
            return Ok(closed);
        }
        let streams = self.streams();
        let stream = streams.by_id(shard.stream);
        let stream = stream.ok_or(ReadError::StreamNotFound {
            stream: shard.stream,
        })?;
        let found = stream
            .shard(shard.index)
            .ok_or(ReadError::ShardNotFound { shard })?;
        match stream.status {
            StreamStatus::Creating => {
                let (name, status) = (stream.name.clone(), stream.status);
                Err(ReadError::StreamNotActive { name, status })
            }
            StreamStatus::Deleting => Err(ReadError::StreamNotFound {
                stream: shard.stream,
            }),
            StreamStatus::Active | StreamStatus::Updating => {
                let (owner, map_version) = (found.core, stream.map_version);
                Err(ReadError::NotOwner {
                    shard,
                    owner,
                    map_version,
                })
            }
        }
    }

    /// Why the log did not read.
    pub(crate) fn unread(&self, error: weir_log::ReadError) -> ReadError {
        match error {
            weir_log::ReadError::ShardNotFound { shard } => self.gone(shard),
            weir_log::ReadError::Damaged { shard, from, what } => ReadError::Damaged {
                shard,
                text: format!("from offset {}: {what}", from.get()),
            },
            weir_log::ReadError::Io { shard, what } => ReadError::Io { shard, text: what },
        }
    }

    /// What became of a shard that the log has forgotten: its stream was deleted, or the shard has
    /// been closed for longer than its records are kept.
    pub(crate) fn gone(&self, shard: ShardId) -> ReadError {
        let streams = self.streams();
        let stream = streams.by_id(shard.stream);
        match stream.filter(|stream| stream.status != StreamStatus::Deleting) {
            Some(_) => ReadError::ShardNotFound { shard },
            None => ReadError::StreamNotFound {
                stream: shard.stream,
            },
        }
    }

    fn charge_call(&self, shard: ShardId) -> Result<(), ReadError> {
        let now = self.monotonic();
        let charged = self.with_homed(shard, |homed| {
            homed.read_quota().map_or(Ok(()), |quota| quota.call(now))
        });
        charged.unwrap_or(Ok(())).map_err(|what| {
            self.count(|counters| counters.throttled_reads += 1);
            ReadError::Throttled { shard, what }
        })
    }
}

/// Records in `chunks`, which hold whole, verified batches, and the arrival time of the last batch.
fn look_over<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (u64, Option<Timestamp>) {
    let (mut records, mut arrival) = (0, None);
    for chunk in chunks {
        let mut rest = chunk;
        while rest.len() >= BATCH_HEADER_BYTES {
            records += u64::from(u32_at(rest, field::RECORDS));
            arrival = Some(Timestamp::from_millis(u64_at(rest, field::ARRIVAL)));
            let batch_bytes = BATCH_HEADER_BYTES + u32_at(rest, field::PAYLOAD_BYTES) as usize;
            rest = rest.get(batch_bytes..).unwrap_or(&[]);
        }
    }
    (records, arrival)
}
