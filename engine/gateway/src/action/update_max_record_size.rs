//! `UpdateMaxRecordSize`.

use weir_protocol::limits::KIB;
use weir_reactor::Reactor;
use weir_stream::Change;

use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Changes the longest record that the stream takes; the answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    let size = members.integer("MaxRecordSizeInKiB").unwrap_or_default();
    let change = Change::RecordBytesMax(size as u32 * KIB);
    call.change(name, change).await?;
    Ok(Vec::new())
}
