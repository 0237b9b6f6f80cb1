//! `UpdateStreamMode`.

use weir_protocol::model::StreamMode;
use weir_reactor::Reactor;
use weir_stream::Change;

use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Changes the mode, and with it what meters the stream; the answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    let details = members.structure("StreamModeDetails");
    let mode = match details.and_then(|details| details.text("StreamMode")) {
        Some("ON_DEMAND") => StreamMode::OnDemand,
        _ => StreamMode::Provisioned,
    };
    let warm = members.integer("WarmThroughputMiBps");
    let change = Change::Mode {
        mode,
        warm_throughput_mibps: warm.map(|mibps| mibps as u32),
    };
    call.change(name, change).await?;
    Ok(Vec::new())
}
