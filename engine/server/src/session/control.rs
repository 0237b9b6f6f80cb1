//! Requests about streams as such: describe, create, delete, list, set, reshard.

use weir_protocol::model::StreamName;
use weir_protocol::wire::error::{ErrorCode, WireError};
use weir_protocol::wire::request::{
    CreateRequest, ListRequest, Request, ReshardRequest, SetRequest, ShardChange,
};
use weir_protocol::wire::response::{Response, ShardDescription, StreamDescription, StreamSummary};
use weir_reactor::Reactor;
use weir_stream::{
    Change, ConsumersOnDelete, CreateStream, Engine, Reshard, ReshardRules, Stream, StreamChange,
    StreamSettings,
};

use super::error::refused_control;

/// A request that owns what it asks.
#[derive(Debug)]
pub(crate) enum Control {
    Describe(StreamName),
    Create(CreateRequest),
    Delete(StreamName),
    List(ListRequest),
    Set(SetRequest),
    Reshard(ReshardRequest),
    /// Not for here.
    Other,
}

impl From<Request<'_>> for Control {
    fn from(request: Request<'_>) -> Self {
        match request {
            Request::Describe(name) => Self::Describe(name),
            Request::Create(create) => Self::Create(create),
            Request::Delete(name) => Self::Delete(name),
            Request::List(list) => Self::List(list),
            Request::Set(set) => Self::Set(set),
            Request::Reshard(reshard) => Self::Reshard(reshard),
            Request::Append { .. } | Request::Read(_) | Request::Ping => Self::Other,
        }
    }
}

/// Does what is asked; the answer owns all it says.
pub(crate) async fn run<R: Reactor>(engine: &Engine<R>, request: Control) -> Response<'static> {
    match request {
        Control::Describe(name) => match engine.streams().by_name(name.as_str()) {
            Some(stream) => Response::Stream(describe(stream, engine.cores())),
            None => Response::Error(WireError::new(
                ErrorCode::StreamNotFound,
                format!("stream \"{name}\" does not exist"),
            )),
        },
        Control::Create(create) => {
            let create = CreateStream {
                name: create.name,
                shards: create.shards,
                mode: create.mode,
                retention_ms: create.retention_ms,
                retain_bytes: create.retain_bytes,
                settings: StreamSettings::default(),
            };
            match engine.create_stream(create).await {
                Ok(stream) => Response::Stream(describe(&stream, engine.cores())),
                Err(error) => Response::Error(refused_control(&error)),
            }
        }
        Control::Set(set) => {
            let change = Change::Settings(StreamChange {
                mode: set.mode,
                retention_ms: set.retention_ms,
                retain_bytes: set.retain_bytes,
                quota: set.quota,
            });
            match engine.change_stream(&set.name, change).await {
                Ok(changed) => Response::Stream(describe(&changed.after, engine.cores())),
                Err(error) => Response::Error(refused_control(&error)),
            }
        }
        Control::Delete(name) => match engine.delete_stream(&name, ConsumersOnDelete::Delete).await
        {
            Ok(()) => Response::Deleted,
            Err(error) => Response::Error(refused_control(&error)),
        },
        Control::Reshard(ReshardRequest { name, change }) => {
            let reshard = reshard_of(change);
            let begun = engine.reshard_stream(&name, reshard, ReshardRules::Operator);
            match begun.await {
                Ok(stream) => Response::Stream(describe(&stream, engine.cores())),
                Err(error) => Response::Error(refused_control(&error)),
            }
        }
        Control::List(list) => {
            let streams = engine.streams();
            let after = |name: &StreamName| list.after.as_ref().is_none_or(|after| name > after);
            let mut rest = streams.in_name_order().filter(|stream| after(&stream.name));
            let page = rest
                .by_ref()
                .take(list.limit as usize)
                .map(|s| summary(s))
                .collect();
            Response::Streams {
                streams: page,
                more: rest.next().is_some(),
            }
        }
        Control::Other => Response::Error(WireError::new(
            ErrorCode::Internal,
            "a data request went to the control door",
        )),
    }
}

fn reshard_of(change: ShardChange) -> Reshard {
    match change {
        ShardChange::Split { shard, at } => Reshard::Split { shard, at },
        ShardChange::Merge { shard, adjacent } => Reshard::Merge { shard, adjacent },
        ShardChange::Count { target } => Reshard::Count { target },
    }
}

fn describe(stream: &Stream, cores: u32) -> StreamDescription {
    StreamDescription {
        name: stream.name.clone(),
        id: stream.id,
        status: stream.status,
        mode: stream.mode,
        retention_ms: stream.retention_ms,
        retain_bytes: stream.retain_bytes.unwrap_or(0),
        quota: stream.settings.quota,
        record_bytes_max: stream.settings.record_bytes_max,
        created: stream.created,
        map_version: stream.map_version,
        cores,
        shards: stream
            .shards
            .iter()
            .map(|shard| ShardDescription {
                index: shard.index,
                core: shard.core,
                range: shard.range,
                created: shard.created,
                closed: shard.closed.is_some(),
            })
            .collect(),
    }
}

fn summary(stream: &Stream) -> StreamSummary {
    StreamSummary {
        name: stream.name.clone(),
        id: stream.id,
        status: stream.status,
        mode: stream.mode,
        shards: stream.open_shards().count() as u32,
        retention_ms: stream.retention_ms,
    }
}
