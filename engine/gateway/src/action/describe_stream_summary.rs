//! `DescribeStreamSummary`.

use weir_protocol::limits::KIB;
use weir_protocol::model::StreamStatus;
use weir_reactor::Reactor;

use super::shape;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Describes the stream without its shards.
pub(crate) fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let stream = call.stream(StreamReference::read(members).resolve()?)?;
    let open = match stream.status {
        StreamStatus::Creating => 0,
        _ => stream.open_shards().count(),
    };
    let mut out = call.writer(512);
    out.open_map().member("StreamDescriptionSummary").open_map();
    shape::stream_members(&mut out, &stream, call.identity);
    shape::description_members(&mut out, &stream);
    out.member("OpenShardCount").number(open as u64);
    out.member("ConsumerCount")
        .number(stream.consumers.len() as u64);
    let settings = &stream.settings;
    if let Some(mibps) = settings.warm_throughput_mibps {
        shape::warm_throughput(&mut out, mibps, mibps);
    }
    out.member("MaxRecordSizeInKiB")
        .number(u64::from(settings.record_bytes_max / KIB));
    out.member("RecordDistributionStrategy")
        .plain(settings.distribution.aws_name());
    out.member("ChannelCount").number(0);
    out.member("QueueCount").number(0);
    out.close_map().close_map();
    Ok(out.into_bytes())
}
