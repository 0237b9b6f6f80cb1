//! `UpdateStreamWarmThroughput`.

use weir_reactor::Reactor;
use weir_stream::Change;

use super::shape;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Notes the throughput to be held ready: here an on-demand stream always runs at the hardware's.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    let mibps = members.integer("WarmThroughputMiBps").unwrap_or_default();
    let change = Change::WarmThroughput(mibps as u32);
    let changed = call.change(name, change).await?;
    let present = changed.before.settings.warm_throughput_mibps;
    let mut out = call.writer(256);
    out.open_map();
    shape::stream_names(&mut out, &changed.after, call.identity);
    shape::warm_throughput(&mut out, mibps as u32, present.unwrap_or_default());
    out.close_map();
    Ok(out.into_bytes())
}
