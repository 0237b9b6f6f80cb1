//! `DescribeStreamConsumer`.

use weir_reactor::Reactor;

use super::shape;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::named_consumer::NamedConsumer;

/// Describes a consumer, in any state.
pub(crate) fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let (stream, consumer) = NamedConsumer::read(members)?.find(&call)?;
    let mut out = call.writer(512);
    out.open_map().member("ConsumerDescription").open_map();
    shape::consumer_members(&mut out, &stream, &consumer, call.identity);
    shape::stream_arn(&mut out, &stream, call.identity);
    out.close_map().close_map();
    Ok(out.into_bytes())
}
