//! `UpdateStreamRecordDistributionStrategy`.

use weir_reactor::Reactor;
use weir_stream::{Change, RecordDistribution};

use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;
use crate::stream_reference::StreamReference;

/// Changes how records find their shard; the answer is empty.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let name = StreamReference::read(members).resolve()?;
    let strategy = members.text("RecordDistributionStrategy");
    let distribution = strategy.and_then(RecordDistribution::from_aws_name);
    let change = Change::Distribution(distribution.unwrap_or_default());
    call.change(name, change).await?;
    Ok(Vec::new())
}
