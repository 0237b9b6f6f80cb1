//! `ListStreamConsumers`.

use weir_protocol::model::ConsumerName;
use weir_reactor::Reactor;

use super::shape;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::page::ConsumerPage;
use crate::stream_reference::StreamReference;

/// Consumers of an answer when the client asks for no number.
const CONSUMERS_DEFAULT: usize = 100;

/// Lists a stream's consumers by name, a page at a time.
pub(crate) fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    let token = members.text("NextToken");
    let created_ms = members.time_ms("StreamCreationTimestamp");
    if token.is_some() && created_ms.is_some() {
        return Err(ServiceError::invalid_argument(
            "NextToken and StreamCreationTimestamp cannot be provided together.",
        ));
    }
    let stream = call.stream_created(name, created_ms)?;
    let after = match token {
        None => None,
        Some(token) => {
            let page = ConsumerPage::open(call.seal, token, call.token_time())?;
            if page.stream != stream.id {
                return Err(match call.engine.streams().by_id(page.stream) {
                    Some(_) => ServiceError::invalid_argument(
                        "StreamARN and NextToken must identify the same stream.",
                    ),
                    None => call.about(name).not_found(),
                });
            }
            Some(page.after)
        }
    };
    let is_next = |name: &ConsumerName| after.as_deref().is_none_or(|after| name.as_str() > after);
    let limit = members.integer("MaxResults");
    let limit = limit.map_or(CONSUMERS_DEFAULT, |limit| limit as usize);
    let mut rest = stream
        .consumers
        .iter()
        .filter(|c| is_next(&c.name))
        .peekable();
    let mut out = call.writer(1024);
    out.open_map().member("Consumers").open_list();
    let mut last = None;
    for consumer in rest.by_ref().take(limit) {
        out.open_map();
        shape::consumer_members(&mut out, &stream, consumer, call.identity);
        out.close_map();
        last = Some(consumer);
    }
    out.close_list();
    if let (Some(last), true) = (last, rest.peek().is_some()) {
        let page = ConsumerPage {
            stream: stream.id,
            after: last.name.to_string(),
        };
        let token = page.seal(call.seal, call.token_time(), call.ids.next());
        out.member("NextToken").plain(token);
    }
    out.close_map();
    Ok(out.into_bytes())
}
