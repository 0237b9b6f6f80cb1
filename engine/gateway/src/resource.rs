//! What an ARN of a request is about: a stream, or a consumer of one.

use std::sync::Arc;

use weir_protocol::model::ConsumerName;
use weir_reactor::Reactor;
use weir_stream::{Consumer, ConsumerKey, Stream, Tags};

use crate::arn::{self, ConsumerReference};
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;

/// The resource that the member `ResourceARN` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resource<'v> {
    arn: &'v str,
    stream: &'v str,
    consumer: Option<ConsumerReference<'v>>,
}

/// A resource that is there.
#[derive(Debug)]
pub(crate) struct Found {
    stream: Arc<Stream>,
    consumer: Option<Consumer>,
}

impl<'v> Resource<'v> {
    /// Reads the member.
    pub(crate) fn read(members: Members<'v>) -> Result<Self, ServiceError> {
        let arn = members.text("ResourceARN").unwrap_or_default();
        if let Some(stream) = arn::stream_name(arn) {
            let consumer = None;
            return Ok(Self {
                arn,
                stream,
                consumer,
            });
        }
        let consumer = arn::consumer(arn).ok_or_else(|| {
            ServiceError::invalid_argument(format!(
                "ResourceARN {arn} is not that of a stream or of a consumer."
            ))
        })?;
        Ok(Self {
            arn,
            stream: consumer.stream,
            consumer: Some(consumer),
        })
    }

    /// The ARN itself.
    pub(crate) fn arn(&self) -> &'v str {
        self.arn
    }

    /// The stream's name.
    pub(crate) fn stream(&self) -> &'v str {
        self.stream
    }

    /// The consumer; `None` if the resource is the stream.
    pub(crate) fn consumer(&self) -> Option<ConsumerKey> {
        self.consumer.and_then(|consumer| consumer.key())
    }

    /// The resource, which must be there.
    pub(crate) fn require<R: Reactor>(&self, call: &Call<'_, R>) -> Result<Found, ServiceError> {
        let stream = call.stream(self.stream)?;
        let consumer = match self.consumer {
            None => None,
            Some(named) => {
                Some(call.consumer(&stream, named.consumer, Some(named.registered_secs))?)
            }
        };
        Ok(Found { stream, consumer })
    }
}

impl Found {
    /// Its tags.
    pub(crate) fn tags(&self) -> &Tags {
        match &self.consumer {
            None => &self.stream.settings.tags,
            Some(consumer) => &consumer.tags,
        }
    }

    /// Its policy.
    pub(crate) fn policy(&self) -> Option<&str> {
        match &self.consumer {
            None => self.stream.settings.policy.as_deref(),
            Some(consumer) => consumer.policy.as_deref(),
        }
    }
}

impl ConsumerReference<'_> {
    /// What the engine knows the consumer by.
    fn key(&self) -> Option<ConsumerKey> {
        Some(ConsumerKey {
            name: ConsumerName::new(self.consumer).ok()?,
            created_secs: Some(self.registered_secs),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Operation;
    use crate::model::example::checked;

    #[test]
    fn streams_and_consumers_are_resources_and_queues_are_not() {
        let of = |arn: &str| {
            let body =
                format!("{{\"ResourceARN\":\"arn:aws:kinesis:eu-west-1:000000000000:{arn}\"}}");
            checked(Operation::GetResourcePolicy, &body, |members| {
                let found = Resource::read(members);
                let found = found.map_err(|error| error.text.unwrap())?;
                Ok((found.stream().to_owned(), found.consumer()))
            })
            .and_then(|found| found)
        };
        assert_eq!(of("stream/logs"), Ok(("logs".to_owned(), None)));
        let (stream, consumer) = of("stream/logs/consumer/app:12").unwrap();
        let key = ConsumerKey {
            name: ConsumerName::new("app").unwrap(),
            created_secs: Some(12),
        };
        assert_eq!((stream.as_str(), consumer), ("logs", Some(key)));
        for other in ["queue/a", "channel/a", "stream/a/b", "stream/a/consumer/b"] {
            assert!(
                of(other).unwrap_err().ends_with("or of a consumer."),
                "{other}"
            );
        }
    }
}
