//! `ListShards`.

use weir_protocol::model::{ShardIndex, StreamStatus, Timestamp};
use weir_reactor::Reactor;
use weir_stream::{Shard, Stream};

use super::shape;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::page::{Filter, ShardPage};
use crate::stream_reference::StreamReference;
use crate::writer::Writer;

/// Shards of an answer when the client asks for no number.
const SHARDS_DEFAULT: usize = 1000;

/// The member `ShardFilter`, as it came.
#[derive(Debug, Clone, Copy)]
struct FilterMember<'v> {
    kind: Option<&'v str>,
    shard: Option<&'v str>,
    time_ms: Option<i64>,
}

/// The members of a request, before anything exists that they speak of.
#[derive(Debug, Clone, Copy)]
struct Request<'v> {
    reference: StreamReference<'v>,
    token: Option<&'v str>,
    after: Option<&'v str>,
    limit: usize,
    filter: Option<FilterMember<'v>>,
    created_ms: Option<i64>,
}

fn read(members: Members<'_>) -> Result<Request<'_>, ServiceError> {
    let after = members.text("ExclusiveStartShardId");
    let limit = members.integer("MaxResults");
    let token = members.text("NextToken");
    let created = members.time_ms("StreamCreationTimestamp");
    let filter = members.structure("ShardFilter").map(|f| FilterMember {
        kind: f.text("Type"),
        shard: f.text("ShardId"),
        time_ms: f.time_ms("Timestamp"),
    });
    let reference = StreamReference::read(members);

    if reference.is_absent() && token.is_none() {
        return Err(ServiceError::invalid_argument(
            "Either NextToken or StreamName should be provided.",
        ));
    }
    if token.is_some() {
        let beside = [
            (!reference.is_absent(), "StreamName"),
            (after.is_some(), "ExclusiveStartShardId"),
            (filter.is_some(), "ShardFilter"),
            (created.is_some(), "StreamCreationTimestamp"),
        ];
        if let Some((_, name)) = beside.iter().find(|(given, _)| *given) {
            return Err(ServiceError::invalid_argument(format!(
                "NextToken and {name} cannot be provided together."
            )));
        }
    }
    Ok(Request {
        reference,
        token,
        after,
        limit: limit.map_or(SHARDS_DEFAULT, |limit| limit as usize),
        filter,
        created_ms: created,
    })
}

/// Lists a page of the stream's shards.
pub(crate) fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let request = read(members)?;
    let streams = call.engine.streams();
    let (stream, after, filter) = if let Some(token) = request.token {
        let page = ShardPage::open(call.seal, token, call.token_time())?;
        let stream = streams.by_id(page.stream).cloned().ok_or_else(|| {
            ServiceError::invalid_argument("Invalid NextToken: its stream does not exist.")
        })?;
        (stream, Some(page.after), page.filter)
    } else {
        let name = request.reference.resolve()?;
        let stream = call.stream_created(name, request.created_ms)?;
        let resolve = |shard: &str| {
            ShardIndex::parse(shard).ok_or_else(|| call.about(name).unresolved_shard(shard))
        };
        let after = request.after.map(resolve).transpose()?;
        let (filter, filter_after) = match request.filter {
            None => (Filter::All, None),
            Some(member) => filter_of(&member, &stream, call.now(), resolve)?,
        };
        (stream, after.max(filter_after), filter)
    };
    if stream.status == StreamStatus::Creating {
        return Err(call.about(stream.name.as_str()).not_active(stream.status));
    }
    let next = |last: ShardIndex| {
        let page = ShardPage {
            stream: stream.id,
            after: last,
            filter,
        };
        page.seal(call.seal, call.token_time(), call.ids.next())
    };
    let out = call.writer(64 + 400 * request.limit.min(stream.shards.len()));
    Ok(list(out, &stream, after, filter, request.limit, next))
}

/// What the filter's member means: which shards, and after which one.
fn filter_of(
    member: &FilterMember<'_>,
    stream: &Stream,
    now: Timestamp,
    resolve: impl Fn(&str) -> Result<ShardIndex, ServiceError>,
) -> Result<(Filter, Option<ShardIndex>), ServiceError> {
    let kind = member.kind.unwrap_or_default();
    // A time before the stream, or one that it has forgotten, is as at the horizon.
    let horizon = stream.horizon(now).max(stream.created);
    let time = || match member.time_ms {
        Some(millis) => {
            let since_1970 = u64::try_from(millis).unwrap_or(0);
            Ok(Timestamp::from_millis(since_1970).max(horizon))
        }
        None => Err(ServiceError::invalid_argument(format!(
            "Timestamp must be provided when ShardFilter type is {kind}."
        ))),
    };
    Ok(match kind {
        "AT_LATEST" => (Filter::Open, None),
        "AT_TRIM_HORIZON" => (Filter::OpenAt(horizon), None),
        "AT_TIMESTAMP" => (Filter::OpenAt(time()?), None),
        "FROM_TIMESTAMP" => (Filter::From(time()?), None),
        "AFTER_SHARD_ID" => {
            let shard = member.shard.ok_or_else(|| {
                ServiceError::invalid_argument(format!(
                    "ShardId must be provided when ShardFilter type is {kind}."
                ))
            })?;
            (Filter::All, Some(resolve(shard)?))
        }
        _ => (Filter::All, None),
    })
}

fn passes(stream: &Stream, shard: &Shard, filter: Filter) -> bool {
    let closed = shard.closed.map(|closed| closed.at);
    match filter {
        Filter::All => true,
        Filter::Open => closed.is_none(),
        // The moment of a switch belongs to the children: a key is never in two shards at once.
        Filter::OpenAt(at) => {
            closed.is_none_or(|closed| at < closed)
                && (shard.opened <= at || !has_kept_parent(stream, shard))
        }
        // A parent may hold records of the very moment at which it closed.
        Filter::From(at) => closed.is_none_or(|closed| at <= closed),
    }
}

/// Whether a shard that it came from is still listed. One whose parents are forgotten is the oldest
/// that there is of its keys, and stands for them at every time before: a retention that was
/// increased reaches back to shards that are gone.
fn has_kept_parent(stream: &Stream, shard: &Shard) -> bool {
    [shard.parent, shard.adjacent_parent]
        .into_iter()
        .flatten()
        .any(|parent| stream.shard(parent).is_some())
}

fn list(
    mut out: Writer,
    stream: &Stream,
    after: Option<ShardIndex>,
    filter: Filter,
    limit: usize,
    next: impl Fn(ShardIndex) -> String,
) -> Vec<u8> {
    let begin = stream
        .shards
        .partition_point(|s| after.is_some_and(|after| s.index <= after));
    let mut rest = stream.shards[begin..]
        .iter()
        .filter(|shard| passes(stream, shard, filter))
        .peekable();
    let mut last = None;
    out.open_map().member("Shards").open_list();
    for shard in rest.by_ref().take(limit) {
        shape::shard(&mut out, shard);
        last = Some(shard.index);
    }
    out.close_list();
    if let (Some(_), Some(last)) = (rest.peek(), last) {
        out.member("NextToken").plain(next(last));
    }
    out.close_map();
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Encoding;
    use crate::model::Operation;
    use crate::model::example::checked;
    use serde_json::Value;
    use weir_protocol::model::Offset;
    use weir_stream::Closed;

    const LATER: Timestamp = Timestamp::from_millis(shape::example::CREATED.as_millis() + 5_000);

    fn names(
        stream: &Stream,
        after: Option<u32>,
        filter: Filter,
        limit: usize,
    ) -> (Vec<u32>, Value) {
        let next = |last: ShardIndex| format!("after {}", last.0);
        let out = Writer::new(Encoding::Json, 0);
        let bytes = list(out, stream, after.map(ShardIndex), filter, limit, next);
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        let index = |s: &Value| ShardIndex::parse(s["ShardId"].as_str().unwrap()).unwrap().0;
        let found = answer["Shards"].as_array().unwrap().iter().map(index);
        (found.collect(), answer["NextToken"].clone())
    }

    #[test]
    fn pages_end_with_a_token() {
        let stream = shape::example::stream(5);
        let (found, token) = names(&stream, None, Filter::All, 2);
        assert_eq!(found, [0, 1]);
        assert_eq!(token, "after 1");
        let (found, token) = names(&stream, Some(2), Filter::All, 2);
        assert_eq!(found, [3, 4]);
        assert_eq!(token, Value::Null);
    }

    #[test]
    fn filters_look_at_when_a_shard_was_open() {
        let mut stream = shape::example::stream(3);
        stream.shards[0].closed = Some(Closed {
            at: LATER,
            next: Offset::ZERO,
        });
        stream.shards[2].opened = Timestamp::from_millis(LATER.as_millis() + 1_000);
        stream.shards[2].parent = Some(ShardIndex(1));
        let all = |filter| names(&stream, None, filter, 9).0;
        assert_eq!(all(Filter::All), [0, 1, 2]);
        assert_eq!(all(Filter::Open), [1, 2]);
        assert_eq!(all(Filter::OpenAt(shape::example::CREATED)), [0, 1]);
        assert_eq!(all(Filter::OpenAt(LATER)), [1]);
        assert_eq!(all(Filter::From(LATER)), [0, 1, 2]);
        assert_eq!(all(Filter::OpenAt(stream.shards[2].opened)), [1, 2]);
        assert_eq!(all(Filter::From(stream.shards[2].opened)), [1, 2]);
        assert_eq!(all(Filter::From(shape::example::CREATED)), [0, 1, 2]);
    }

    /// Shard 0 is split into 1 and 2 at `LATER`; 2 at once into 3 and 4.
    fn split_twice() -> Stream {
        let mut stream = shape::example::stream(5);
        for (child, parent) in [(1, 0), (2, 0), (3, 2), (4, 2)] {
            stream.shards[child].parent = Some(ShardIndex(parent));
            stream.shards[child].opened = LATER;
            stream.shards[parent as usize].closed = Some(Closed {
                at: LATER,
                next: Offset::ZERO,
            });
        }
        stream
    }

    #[test]
    fn at_any_moment_a_key_is_in_one_shard() {
        let stream = split_twice();
        let all = |filter| names(&stream, None, filter, 9).0;
        let before = Timestamp::from_millis(LATER.as_millis() - 1);
        assert_eq!(all(Filter::OpenAt(before)), [0]);
        assert_eq!(all(Filter::OpenAt(LATER)), [1, 3, 4]);
    }

    #[test]
    fn the_oldest_shards_kept_stand_for_those_that_are_forgotten() {
        let mut stream = split_twice();
        stream.shards.remove(0);
        let all = |stream: &Stream, at| names(stream, None, Filter::OpenAt(at), 9).0;
        assert_eq!(all(&stream, shape::example::CREATED), [1, 2]);
        assert_eq!(all(&stream, LATER), [1, 3, 4]);
        stream.shards.remove(1);
        assert_eq!(all(&stream, shape::example::CREATED), [1, 3, 4]);
        assert_eq!(all(&stream, Timestamp::ZERO), [1, 3, 4]);
        assert_eq!(all(&stream, LATER), [1, 3, 4]);
    }

    #[test]
    fn a_token_comes_alone() {
        let refusal = |body: &str| {
            let refuse = |members: Members<'_>| read(members).unwrap_err().text.unwrap();
            checked(Operation::ListShards, body, refuse).unwrap_or_else(|text| text)
        };
        assert_eq!(
            refusal("{}"),
            "Either NextToken or StreamName should be provided."
        );
        assert_eq!(
            refusal(r#"{"StreamName":"a","NextToken":"b"}"#),
            "NextToken and StreamName cannot be provided together."
        );
        assert_eq!(
            refusal(r#"{"NextToken":"b","ShardFilter":{"Type":"AT_LATEST"}}"#),
            "NextToken and ShardFilter cannot be provided together."
        );
        let missing = refusal(r#"{"StreamName":"a","ShardFilter":{}}"#);
        assert!(missing.contains("'shardFilter.type'"), "{missing}");
    }
}
