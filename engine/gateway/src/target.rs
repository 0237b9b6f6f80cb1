//! From the operation a request names to its action.

use weir_reactor::Reactor;

use crate::action;
use crate::call::{Call, Reply};
use crate::error::{ErrorKind, ServiceError};
use crate::member::Members;
use crate::model::Operation;

/// The value of `X-Amz-Target` before the dot.
const SERVICE: &str = "Kinesis_20131202";

impl Operation {
    /// Reads the value of `X-Amz-Target`.
    pub(crate) fn of_target(target: &str) -> Option<Self> {
        let (service, name) = target.split_once('.')?;
        (service == SERVICE).then(|| Self::of_name(name)).flatten()
    }

    /// Runs the action with members that were checked; its answer comes with a 200.
    pub(crate) async fn run<R: Reactor>(
        self,
        call: Call<'_, R>,
        members: Members<'_>,
    ) -> Result<Reply, ServiceError> {
        let body = match self {
            Self::CreateStream => action::create_stream::answer(call, members).await,
            Self::DeleteStream => action::delete_stream::answer(call, members).await,
            Self::DescribeStream => action::describe_stream::answer(call, members),
            Self::DescribeStreamSummary => action::describe_stream_summary::answer(call, members),
            Self::GetRecords => action::get_records::answer(call, members).await,
            Self::GetShardIterator => action::get_shard_iterator::answer(call, members).await,
            Self::ListShards => action::list_shards::answer(call, members),
            Self::ListStreams => action::list_streams::answer(call, members),
            Self::PutRecord => action::put_record::answer(call, members).await,
            Self::PutRecords => action::put_records::answer(call, members).await,
            Self::SubscribeToShard => {
                let events = action::subscribe_to_shard::answer(call, members).await;
                return events.map(Reply::Events);
            }
            _ => Err(self.not_here()),
        };
        body.map(Reply::Body)
    }

    /// The refusal of an operation that this server does not have; never a success that is none.
    fn not_here(self) -> ServiceError {
        ServiceError::new(
            ErrorKind::UnknownOperation,
            format!(
                "{} is not an operation of this server; docs/aws-compat.md lists those that are.",
                self.name()
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_name_operations() {
        assert_eq!(
            Operation::of_target("Kinesis_20131202.PutRecords"),
            Some(Operation::PutRecords)
        );
        for target in [
            "",
            "PutRecords",
            "Kinesis_20131202",
            "Kinesis_20131202.",
            "Kinesis_20131202.Nonsense",
            "DynamoDB_20120810.PutRecords",
            "kinesis_20131202.PutRecords",
        ] {
            assert_eq!(Operation::of_target(target), None, "{target}");
        }
    }
}
