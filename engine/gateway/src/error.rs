//! AWS's error names, statuses and bodies: the one place that chooses them.
//!
//! Owns: what a client's SDK decides its retries by. Never: 429, which no Kinesis client knows.

use weir_protocol::model::{ConsumerName, HashKeyRange, ShardIndex, StreamStatus, Timestamp};
use weir_stream::{AppendError, ControlError, ReadError, SubscribeError, Subscriber};

use crate::encoding::Encoding;
use crate::writer::Writer;

/// An error's kind; its name is what SDKs look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    DryRunOperation,
    ExpiredIterator,
    ExpiredNextToken,
    IncompleteSignature,
    InternalFailure,
    InvalidArgument,
    InvalidSignature,
    LimitExceeded,
    MissingAuthenticationToken,
    ProvisionedThroughputExceeded,
    ResourceInUse,
    ResourceNotFound,
    Serialization,
    UnknownOperation,
    UnrecognizedClient,
    Validation,
}

impl ErrorKind {
    /// The bare name, without a namespace.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::DryRunOperation => "DryRunOperationException",
            Self::ExpiredIterator => "ExpiredIteratorException",
            Self::ExpiredNextToken => "ExpiredNextTokenException",
            Self::IncompleteSignature => "IncompleteSignatureException",
            Self::InternalFailure => "InternalFailure",
            Self::InvalidArgument => "InvalidArgumentException",
            Self::InvalidSignature => "InvalidSignatureException",
            Self::LimitExceeded => "LimitExceededException",
            Self::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Self::ProvisionedThroughputExceeded => "ProvisionedThroughputExceededException",
            Self::ResourceInUse => "ResourceInUseException",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::Serialization => "SerializationException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::Validation => "ValidationException",
        }
    }

    /// The HTTP status.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::InternalFailure => 500,
            _ => 400,
        }
    }
}

/// A refusal in AWS's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceError {
    pub(crate) kind: ErrorKind,
    /// What a person reads; some errors have none.
    pub(crate) text: Option<String>,
}

impl ServiceError {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: Some(text.into()),
        }
    }

    pub(crate) fn without_text(kind: ErrorKind) -> Self {
        Self { kind, text: None }
    }

    pub(crate) fn invalid_argument(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, text)
    }

    /// A fault of ours. The text tells the operator what happened; SDKs only see that a retry may
    /// help.
    pub(crate) fn internal(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::InternalFailure, text)
    }

    /// The body. Mistyped members are told with a capital `Message`: AWS's own slip, which client
    /// tests pin.
    pub(crate) fn to_body(&self, encoding: Encoding) -> Vec<u8> {
        let mut out = Writer::new(encoding, 128);
        out.open_map().member("__type").plain(self.kind.name());
        if let Some(text) = &self.text {
            let capital = self.kind == ErrorKind::Serialization;
            out.member(if capital { "Message" } else { "message" });
            out.text(text);
        }
        out.close_map();
        out.into_bytes()
    }
}

/// The names that an error's text is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) stream: &'a str,
    pub(crate) account: &'a str,
}

impl About<'_> {
    pub(crate) fn not_found(self) -> ServiceError {
        ServiceError::new(
            ErrorKind::ResourceNotFound,
            format!(
                "Stream {} under account {} not found.",
                self.stream, self.account
            ),
        )
    }

    pub(crate) fn already_exists(self) -> ServiceError {
        ServiceError::new(
            ErrorKind::ResourceInUse,
            format!(
                "Stream {} under account {} already exists.",
                self.stream, self.account
            ),
        )
    }

    pub(crate) fn not_active(self, status: StreamStatus) -> ServiceError {
        ServiceError::new(
            ErrorKind::ResourceInUse,
            format!(
                "Stream {} under account {} not ACTIVE, instead in state {}",
                self.stream,
                self.account,
                status.aws_name()
            ),
        )
    }

    /// A shard's name that names no number at all.
    pub(crate) fn unresolved_shard(self, name: &str) -> ServiceError {
        ServiceError::new(
            ErrorKind::ResourceNotFound,
            format!(
                "Could not find shard {name} in stream {} under account {}.",
                self.stream, self.account
            ),
        )
    }

    /// A shard, or its whole stream, that is not there.
    pub(crate) fn missing_shard(self, shard: ShardIndex) -> ServiceError {
        ServiceError::new(
            ErrorKind::ResourceNotFound,
            format!(
                "Shard {shard} in stream {} under account {} does not exist",
                self.stream, self.account
            ),
        )
    }

    pub(crate) fn rate_exceeded_text(self, shard: ShardIndex) -> String {
        format!(
            "Rate exceeded for shard {shard} in stream {} under account {}.",
            self.stream, self.account
        )
    }

    fn rate_exceeded(self, shard: ShardIndex) -> ServiceError {
        let text = self.rate_exceeded_text(shard);
        ServiceError::new(ErrorKind::ProvisionedThroughputExceeded, text)
    }

    /// Why an append of one record was refused.
    pub(crate) fn append_refused(self, shard: ShardIndex, error: &AppendError) -> ServiceError {
        match error {
            AppendError::Throttled { .. } => self.rate_exceeded(shard),
            AppendError::StreamNotFound { .. }
            | AppendError::StreamNotActive { .. }
            | AppendError::ShardNotFound { .. } => self.not_found(),
            other => ServiceError::internal(other.to_string()),
        }
    }

    /// Why a read or a seek was refused.
    pub(crate) fn read_refused(self, shard: ShardIndex, error: &ReadError) -> ServiceError {
        match error {
            ReadError::Throttled { .. } => self.rate_exceeded(shard),
            ReadError::StreamNotFound { .. }
            | ReadError::StreamNotActive { .. }
            | ReadError::ShardNotFound { .. } => self.missing_shard(shard),
            other => ServiceError::internal(other.to_string()),
        }
    }

    pub(crate) fn consumer_not_found(self, consumer: &str) -> ServiceError {
        let text = format!("Consumer {consumer}, account {} not found.", self.account);
        ServiceError::new(ErrorKind::ResourceNotFound, text)
    }

    /// A consumer that is being registered or deregistered.
    pub(crate) fn consumer_not_active(self, subscriber: &Subscriber) -> ServiceError {
        let text = format!(
            "Consumer {} with creation timestamp {} under stream: {} , account {} is not in \
             ACTIVE status.",
            subscriber.consumer,
            subscriber.registered.as_secs(),
            self.stream,
            self.account
        );
        ServiceError::new(ErrorKind::ResourceInUse, text)
    }

    /// The same where its tags or its policy are to be changed. AWS words it in two ways.
    fn consumer_not_changeable(self, consumer: &ConsumerName, created: Timestamp) -> ServiceError {
        let text = format!(
            "Consumer {consumer} with creation timestamp {} under stream {} and account {} is not \
             in ACTIVE status.",
            created.as_secs(),
            self.stream,
            self.account
        );
        ServiceError::new(ErrorKind::ResourceInUse, text)
    }

    /// A shard that the consumer has subscribed to already, or again.
    pub(crate) fn subscribed_elsewhere(self, subscriber: &Subscriber) -> ServiceError {
        let text = format!(
            "Another active subscription exists for this consumer: {}:{}:{}:{}",
            self.account, self.stream, subscriber.shard.index, subscriber.consumer
        );
        ServiceError::new(ErrorKind::ResourceInUse, text)
    }

    /// Why a subscription was not granted.
    pub(crate) fn subscribe_refused(
        self,
        subscriber: &Subscriber,
        error: &SubscribeError,
    ) -> ServiceError {
        match error {
            SubscribeError::StreamNotFound { .. } => self.not_found(),
            SubscribeError::ShardNotFound { .. } => self.missing_shard(subscriber.shard.index),
            SubscribeError::ConsumerNotFound { consumer } => {
                self.consumer_not_found(consumer.as_str())
            }
            SubscribeError::ConsumerNotActive { .. } => self.consumer_not_active(subscriber),
            SubscribeError::InUse { .. } => self.subscribed_elsewhere(subscriber),
            SubscribeError::TooOften { .. } => ServiceError::new(
                ErrorKind::LimitExceeded,
                format!(
                    "Rate exceeded for consumer {} and shard {} in stream {} under account {}.",
                    subscriber.consumer, subscriber.shard.index, self.stream, self.account
                ),
            ),
            SubscribeError::TooMany => ServiceError::new(
                ErrorKind::LimitExceeded,
                format!("This server holds as many subscriptions as it may: {error}."),
            ),
            other => ServiceError::internal(other.to_string()),
        }
    }

    fn consumer_exists(self, consumer: &ConsumerName) -> ServiceError {
        ServiceError::new(
            ErrorKind::ResourceInUse,
            format!(
                "Consumer {consumer} under stream {} already exists for account {}.",
                self.stream, self.account
            ),
        )
    }

    fn has_consumers(self) -> ServiceError {
        ServiceError::new(
            ErrorKind::ResourceInUse,
            format!(
                "DeleteStream can\u{2019}t delete {}:{1} because there are consumers associated with \
                 this data stream. To delete {1} anyway, set the EnforceConsumerDeletion parameter \
                 to true to force the deletion of all the consumers that are associated with it.",
                self.account, self.stream
            ),
        )
    }

    /// Something that only on-demand streams have.
    pub(crate) fn provisioned(self) -> ServiceError {
        ServiceError::new(
            ErrorKind::Validation,
            format!(
                "Request is invalid. Stream {} under account {} is in Provisioned mode.",
                self.stream, self.account
            ),
        )
    }

    /// A provisioned stream that is to find the shards of its records by itself. AWS's words are not
    /// known, only the kind.
    fn provisioned_spread(self) -> ServiceError {
        ServiceError::invalid_argument(format!(
            "RecordDistributionStrategy AUTO needs ON_DEMAND mode. Stream {} under account {} is in \
             Provisioned mode.",
            self.stream, self.account
        ))
    }

    /// AWS's own number, whatever the limit.
    fn too_many_tags(self) -> ServiceError {
        ServiceError::invalid_argument(format!(
            "Failed to add tags to stream {} under account {} because a given stream cannot have \
             more than 10 tags associated with it.",
            self.stream, self.account
        ))
    }

    fn retention_refused(
        self,
        than: &str,
        millis: u64,
        present: u64,
        use_api: &str,
    ) -> ServiceError {
        const HOUR_MS: u64 = 3_600_000;
        ServiceError::invalid_argument(format!(
            "Requested retention period ({} hours) for stream {} can not be {than} than existing \
             retention period ({} hours). Use {use_api}RetentionPeriod API.",
            millis.div_ceil(HOUR_MS),
            self.stream,
            present.div_ceil(HOUR_MS)
        ))
    }

    /// A shard that a split or merge names and the stream does not have.
    pub(crate) fn shard_not_found(self, shard: ShardIndex) -> ServiceError {
        self.unresolved_shard(&shard.to_string())
    }

    fn shard_closed(self, shard: ShardIndex) -> ServiceError {
        ServiceError::invalid_argument(format!(
            "Shard {shard} in stream {} under account {} has already been merged or split, and \
             thus is not eligible for merging or splitting.",
            self.stream, self.account
        ))
    }

    fn not_adjacent(self, shard: ShardIndex, adjacent: ShardIndex) -> ServiceError {
        ServiceError::invalid_argument(format!(
            "Shards {shard} and {adjacent} in stream {} under account {} are not an adjacent pair \
             of shards eligible for merging",
            self.stream, self.account
        ))
    }

    /// A hash key that a shard cannot be split at, in the client's own digits.
    pub(crate) fn split_key(
        self,
        shard: ShardIndex,
        key: impl std::fmt::Display,
        range: HashKeyRange,
    ) -> ServiceError {
        ServiceError::invalid_argument(format!(
            "NewStartingHashKey {key} used in SplitShard() on shard {shard} in stream {} under \
             account {} is not both greater than one plus the shard's StartingHashKey {} and less \
             than the shard's EndingHashKey {}.",
            self.stream, self.account, range.start, range.end
        ))
    }

    fn on_demand(self) -> ServiceError {
        ServiceError::new(
            ErrorKind::Validation,
            format!(
                "Request is invalid. Stream {} under account {} is in On-Demand mode.",
                self.stream, self.account
            ),
        )
    }

    /// Words of ours, where AWS's are not known.
    fn sentence(error: &ControlError) -> String {
        let mut text = error.to_string();
        if let Some(first) = text.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        text + "."
    }

    /// Why a change of what exists was refused.
    pub(crate) fn control_refused(self, region: &str, error: &ControlError) -> ServiceError {
        match error {
            ControlError::StreamExists { .. } => self.already_exists(),
            ControlError::StreamNotFound { .. } => self.not_found(),
            ControlError::NotActive { status, .. } => self.not_active(*status),
            ControlError::TooManyShards {
                asked,
                current,
                limit,
            } => shard_limit(self.account, region, *current, *limit, *asked),
            ControlError::RetentionNotLonger { millis, present } => {
                self.retention_refused("shorter", *millis, *present, "Decrease")
            }
            ControlError::RetentionNotShorter { millis, present } => {
                self.retention_refused("longer", *millis, *present, "Increase")
            }
            ControlError::TooManyTags { .. } => self.too_many_tags(),
            ControlError::NotOnDemand { .. } => self.provisioned(),
            ControlError::HasConsumers { .. } => self.has_consumers(),
            ControlError::ConsumerNotActive {
                consumer, created, ..
            } => self.consumer_not_changeable(consumer, *created),
            ControlError::ProvisionedSpread { .. } => self.provisioned_spread(),
            ControlError::ConsumerExists { consumer, .. } => self.consumer_exists(consumer),
            ControlError::ConsumerNotFound { consumer, .. } => {
                self.consumer_not_found(consumer.as_str())
            }
            ControlError::ShardNotFound { shard, .. } => self.shard_not_found(*shard),
            ControlError::ShardClosed { shard, .. } => self.shard_closed(*shard),
            ControlError::NotAdjacent {
                shard, adjacent, ..
            } => self.not_adjacent(*shard, *adjacent),
            ControlError::SplitKey {
                shard, at, range, ..
            } => self.split_key(*shard, at, *range),
            ControlError::OnDemand { .. } => self.on_demand(),
            ControlError::ScaledUpTooFar { current, target } => {
                scaled_too_far("up over double", *current, *target)
            }
            ControlError::ScaledDownTooFar { current, target } => {
                scaled_too_far("down over half of", *current, *target)
            }
            ControlError::TooManyCountUpdates { .. }
            | ControlError::WarmThroughput { .. }
            | ControlError::ModeChangedOften { .. }
            | ControlError::TooManyConsumers { .. }
            | ControlError::TooManyConsumersCreating { .. } => {
                ServiceError::new(ErrorKind::LimitExceeded, Self::sentence(error))
            }
            ControlError::NoPolicy => {
                ServiceError::new(ErrorKind::ResourceNotFound, Self::sentence(error))
            }
            ControlError::ShardCount { .. }
            | ControlError::InvalidRecordBytes { .. }
            | ControlError::PolicyTooLong { .. }
            | ControlError::InvalidRetention { .. }
            | ControlError::InvalidRetainBytes { .. } => {
                ServiceError::invalid_argument(error.to_string())
            }
            other => ServiceError::internal(other.to_string()),
        }
    }
}

fn scaled_too_far(how: &str, current: u32, target: u32) -> ServiceError {
    ServiceError::invalid_argument(format!(
        "UpdateShardCount cannot scale {how} your current open shard count. Current open shard \
         count: {current} Target shard count: {target}"
    ))
}

/// More shards than there may be; clients read the two numbers from this text.
pub(crate) fn shard_limit(
    account: &str,
    region: &str,
    current: u32,
    limit: u32,
    asked: u32,
) -> ServiceError {
    ServiceError::new(
        ErrorKind::LimitExceeded,
        format!(
            "This request would exceed the shard limit for the account {account} in {region}. \
             Current shard count for the account: {current}. Limit: {limit}. Number of additional \
             shards that would have resulted from this request: {asked}. Refer to the AWS Service \
             Limits page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) \
             for current limits and how to request higher limits."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About<'_> = About {
        stream: "logs",
        account: "000000000000",
    };

    fn body(error: &ServiceError) -> String {
        String::from_utf8(error.to_body(Encoding::Json)).unwrap()
    }

    #[test]
    fn bodies_have_the_bare_name_and_the_text() {
        assert_eq!(
            body(&ABOUT.not_found()),
            r#"{"__type":"ResourceNotFoundException","message":"Stream logs under account 000000000000 not found."}"#
        );
        assert_eq!(
            body(&ServiceError::without_text(ErrorKind::Serialization)),
            r#"{"__type":"SerializationException"}"#
        );
        let mistyped = ServiceError::new(ErrorKind::Serialization, "Expected null");
        assert_eq!(
            body(&mistyped),
            r#"{"__type":"SerializationException","Message":"Expected null"}"#
        );
    }

    #[test]
    fn server_faults_are_five_hundreds_and_nothing_else_is() {
        for fault in [
            AppendError::DiskFull,
            AppendError::LogFailed,
            AppendError::Overloaded,
            AppendError::ReadOnly,
            AppendError::Stopping,
        ] {
            let error = ABOUT.append_refused(ShardIndex(0), &fault);
            assert_eq!(error.kind.status(), 500);
            assert_eq!(error.kind.name(), "InternalFailure");
        }
        let shard = weir_protocol::model::ShardId::new(
            weir_protocol::model::StreamId::new(1),
            ShardIndex(3),
        );
        let throttled = AppendError::Throttled {
            shard,
            what: "bytes",
        };
        let error = ABOUT.append_refused(ShardIndex(3), &throttled);
        assert_eq!(error.kind.status(), 400);
        assert_eq!(
            error.text.unwrap(),
            "Rate exceeded for shard shardId-000000000003 in stream logs under account 000000000000."
        );
    }

    #[test]
    fn the_shard_limit_can_be_parsed_from_its_text() {
        let text = shard_limit("1", "us-east-1", 3, 50, 100_000).text.unwrap();
        assert!(text.contains("Limit: 50. Number of additional"));
    }
}
