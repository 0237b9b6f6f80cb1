//! Which consumer a request is about: by its ARN, or by its stream's ARN and its name.

use std::sync::Arc;

use weir_protocol::model::ConsumerName;
use weir_reactor::Reactor;
use weir_stream::{Consumer, ConsumerKey, Stream};

use crate::arn;
use crate::call::Call;
use crate::error::ServiceError;
use crate::member::Members;

/// The members `ConsumerARN`, `StreamARN` and `ConsumerName` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NamedConsumer<'v> {
    pub(crate) stream: &'v str,
    pub(crate) name: &'v str,
    /// Only an ARN says it.
    created_secs: Option<u64>,
}

impl<'v> NamedConsumer<'v> {
    /// Reads the members.
    pub(crate) fn read(members: Members<'v>) -> Result<Self, ServiceError> {
        let by_stream = match (members.text("StreamARN"), members.text("ConsumerName")) {
            (Some(arn), Some(name)) => Some(Self {
                stream: arn::stream_name(arn).ok_or_else(|| not_a_streams(arn))?,
                name,
                created_secs: None,
            }),
            _ => None,
        };
        let Some(arn) = members.text("ConsumerARN") else {
            return by_stream.ok_or_else(|| {
                ServiceError::invalid_argument(
                    "Either ConsumerARN or both StreamARN and ConsumerName should be provided.",
                )
            });
        };
        let named = Self::of_arn(arn)?;
        let agrees = |other: &Self| (other.stream, other.name) == (named.stream, named.name);
        if by_stream.is_none_or(|other| agrees(&other)) {
            Ok(named)
        } else {
            Err(ServiceError::invalid_argument(
                "ConsumerARN, StreamARN and ConsumerName must identify the same consumer.",
            ))
        }
    }

    /// The consumer of this ARN.
    pub(crate) fn of_arn(arn: &'v str) -> Result<Self, ServiceError> {
        let named = arn::consumer(arn).ok_or_else(|| {
            ServiceError::invalid_argument(format!("ConsumerARN {arn} is not that of a consumer."))
        })?;
        Ok(Self {
            stream: named.stream,
            name: named.consumer,
            created_secs: Some(named.registered_secs),
        })
    }

    /// The consumer and its stream, in any state.
    pub(crate) fn find<R: Reactor>(
        &self,
        call: &Call<'_, R>,
    ) -> Result<(Arc<Stream>, Consumer), ServiceError> {
        let stream = call.stream(self.stream)?;
        let consumer = call.consumer(&stream, self.name, self.created_secs)?;
        Ok((stream, consumer))
    }

    /// What the engine knows the consumer by.
    pub(crate) fn key(&self) -> Result<ConsumerKey, ServiceError> {
        let name = ConsumerName::new(self.name);
        Ok(ConsumerKey {
            name: name.map_err(|error| ServiceError::invalid_argument(error.to_string()))?,
            created_secs: self.created_secs,
        })
    }
}

fn not_a_streams(arn: &str) -> ServiceError {
    ServiceError::invalid_argument(format!("StreamARN {arn} is not that of a stream."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Operation;
    use crate::model::example::checked;

    #[test]
    fn an_arn_or_a_stream_and_a_name() {
        let stream = "arn:aws:kinesis:eu-west-1:000000000000:stream/logs";
        let of = |body: String| {
            checked(Operation::DescribeStreamConsumer, &body, |members| {
                let found = NamedConsumer::read(members);
                let found = found.map_err(|error| error.text.unwrap())?;
                Ok((found.name.to_owned(), found.created_secs))
            })
            .and_then(|found| found)
        };
        let by_arn = format!("\"ConsumerARN\":\"{stream}/consumer/app:12\"");
        let by_name =
            |name: &str| format!("\"StreamARN\":\"{stream}\",\"ConsumerName\":\"{name}\"");
        let app = |created| Ok(("app".to_owned(), created));
        assert_eq!(of(format!("{{{by_arn}}}")), app(Some(12)));
        assert_eq!(of(format!("{{{}}}", by_name("app"))), app(None));
        assert_eq!(
            of(format!("{{{by_arn},{}}}", by_name("app"))),
            app(Some(12))
        );
        let other = of(format!("{{{by_arn},{}}}", by_name("other")));
        assert!(other.unwrap_err().ends_with("the same consumer."));
        let neither = of(format!("{{\"StreamARN\":\"{stream}\"}}"));
        assert!(neither.unwrap_err().starts_with("Either ConsumerARN"));
    }
}
