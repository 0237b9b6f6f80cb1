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
            Self::GetRecords => {
                let page = action::get_records::answer(call, members).await;
                return page.map(|(bytes, permit)| Reply::Records(bytes, permit));
            }
            Self::GetShardIterator => action::get_shard_iterator::answer(call, members).await,
            Self::ListShards => action::list_shards::answer(call, members),
            Self::ListStreams => action::list_streams::answer(call, members),
            Self::MergeShards => action::merge_shards::answer(call, members).await,
            Self::PutRecord => action::put_record::answer(call, members).await,
            Self::PutRecords => action::put_records::answer(call, members).await,
            Self::SplitShard => action::split_shard::answer(call, members).await,
            Self::SubscribeToShard => {
                let events = action::subscribe_to_shard::answer(call, members).await;
                return events.map(Reply::Events);
            }
            Self::UpdateShardCount => action::update_shard_count::answer(call, members).await,
            _ => self.run_setting(call, members).await,
        };
        body.map(Reply::Body)
    }

    /// Runs an action about what streams, consumers and the account are told.
    async fn run_setting<R: Reactor>(
        self,
        call: Call<'_, R>,
        members: Members<'_>,
    ) -> Result<Vec<u8>, ServiceError> {
        match self {
            Self::AddTagsToStream => action::add_tags_to_stream::answer(call, members).await,
            Self::DecreaseStreamRetentionPeriod => {
                action::decrease_stream_retention_period::answer(call, members).await
            }
            Self::DeleteResourcePolicy => {
                action::delete_resource_policy::answer(call, members).await
            }
            Self::DeregisterStreamConsumer => {
                action::deregister_stream_consumer::answer(call, members).await
            }
            Self::DescribeAccountSettings => Ok(action::describe_account_settings::answer(&call)),
            Self::DescribeLimits => Ok(action::describe_limits::answer(&call)),
            Self::DescribeStreamConsumer => action::describe_stream_consumer::answer(call, members),
            Self::DisableEnhancedMonitoring => {
                action::disable_enhanced_monitoring::answer(call, members).await
            }
            Self::EnableEnhancedMonitoring => {
                action::enable_enhanced_monitoring::answer(call, members).await
            }
            Self::GetResourcePolicy => action::get_resource_policy::answer(call, members),
            Self::IncreaseStreamRetentionPeriod => {
                action::increase_stream_retention_period::answer(call, members).await
            }
            Self::ListStreamConsumers => action::list_stream_consumers::answer(call, members),
            Self::ListTagsForResource => action::list_tags_for_resource::answer(call, members),
            Self::ListTagsForStream => action::list_tags_for_stream::answer(call, members),
            Self::PutResourcePolicy => action::put_resource_policy::answer(call, members).await,
            Self::RegisterStreamConsumer => {
                action::register_stream_consumer::answer(call, members).await
            }
            Self::RemoveTagsFromStream => {
                action::remove_tags_from_stream::answer(call, members).await
            }
            Self::StartStreamEncryption => {
                action::start_stream_encryption::answer(call, members).await
            }
            Self::StopStreamEncryption => {
                action::stop_stream_encryption::answer(call, members).await
            }
            Self::TagResource => action::tag_resource::answer(call, members).await,
            Self::UntagResource => action::untag_resource::answer(call, members).await,
            Self::UpdateAccountSettings => {
                action::update_account_settings::answer(call, members).await
            }
            Self::UpdateMaxRecordSize => {
                action::update_max_record_size::answer(call, members).await
            }
            Self::UpdateStreamMode => action::update_stream_mode::answer(call, members).await,
            Self::UpdateStreamRecordDistributionStrategy => {
                action::update_stream_record_distribution_strategy::answer(call, members).await
            }
            Self::UpdateStreamWarmThroughput => {
                action::update_stream_warm_throughput::answer(call, members).await
            }
            _ => Err(self.not_here()),
        }
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
