//! `ListStreams`.

use std::sync::Arc;

use weir_reactor::Reactor;
use weir_stream::Stream;

use super::shape;
use crate::call::Call;
use crate::error::ServiceError;
use crate::identity::Identity;
use crate::member::Members;
use crate::page;
use crate::writer::Writer;

/// Streams of an answer when the client asks for no number.
const STREAMS_DEFAULT: usize = 100;

/// Lists the streams by name, a page at a time.
pub(crate) fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let limit = members.integer("Limit");
    let after = members.text("ExclusiveStartStreamName");
    let token = members.text("NextToken");
    let after = match (after, token) {
        (Some(_), Some(_)) => {
            return Err(ServiceError::invalid_argument(
                "NextToken and ExclusiveStartStreamName cannot be provided together.",
            ));
        }
        (Some(name), None) => name.to_owned(),
        (None, Some(token)) => page::open_stream_page(call.seal, token, call.token_time())?,
        (None, None) => String::new(),
    };
    let limit = limit.map_or(STREAMS_DEFAULT, |limit| limit as usize);
    let next =
        |name: &str| page::seal_stream_page(call.seal, name, call.token_time(), call.ids.next());
    let streams = call.engine.streams();
    let streams = streams.in_name_order();
    Ok(list(
        call.writer(4096),
        streams,
        call.identity,
        &after,
        limit,
        next,
    ))
}

fn list<'s>(
    mut out: Writer,
    streams: impl Iterator<Item = &'s Arc<Stream>>,
    identity: &Identity,
    after: &str,
    limit: usize,
    next: impl Fn(&str) -> String,
) -> Vec<u8> {
    let mut rest = streams.filter(|s| s.name.as_str() > after).peekable();
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let more = rest.peek().is_some();

    out.open_map().member("StreamNames").open_list();
    for stream in &page {
        out.plain(&stream.name);
    }
    out.close_list();
    out.member("HasMoreStreams").boolean(more);
    out.member("StreamSummaries").open_list();
    for stream in &page {
        out.open_map();
        shape::stream_members(&mut out, stream, identity);
        out.close_map();
    }
    out.close_list();
    if let (true, Some(last)) = (more, page.last()) {
        out.member("NextToken").plain(next(last.name.as_str()));
    }
    out.close_map();
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Encoding;
    use serde_json::Value;
    use weir_protocol::model::StreamName;

    #[test]
    fn names_come_sorted_and_in_pages() {
        let streams = ["a", "b", "c"].map(|name| {
            let mut stream = shape::example::stream(1);
            stream.name = StreamName::new(name).unwrap();
            Arc::new(stream)
        });
        let identity = Identity {
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let page = |after: &str, limit: usize| -> Value {
            let out = Writer::new(Encoding::Json, 0);
            let bytes = list(out, streams.iter(), &identity, after, limit, |name| {
                format!("after {name}")
            });
            serde_json::from_slice(&bytes).unwrap()
        };
        let first = page("", 2);
        assert_eq!(first["StreamNames"], serde_json::json!(["a", "b"]));
        assert_eq!(first["HasMoreStreams"], true);
        assert_eq!(first["NextToken"], "after b");
        assert_eq!(first["StreamSummaries"][1]["StreamName"], "b");
        let last = page("b", 2);
        assert_eq!(last["StreamNames"], serde_json::json!(["c"]));
        assert_eq!(last["HasMoreStreams"], false);
        assert_eq!(last.get("NextToken"), None);
        // The name to start after need not exist.
        assert_eq!(page("aa", 9)["StreamNames"], serde_json::json!(["b", "c"]));
    }
}
