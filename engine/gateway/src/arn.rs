//! ARNs of streams, written and read.

use std::fmt;

use weir_protocol::limits::STREAM_NAME_BYTES_MAX;
use weir_protocol::model::ConsumerName;

/// The ARN of a stream, in the region and account that the client named.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamArn<'a> {
    pub(crate) region: &'a str,
    pub(crate) account: &'a str,
    pub(crate) stream: &'a str,
}

impl fmt::Display for StreamArn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partition = if self.region.starts_with("cn-") {
            "aws-cn"
        } else if self.region.starts_with("us-gov-") {
            "aws-us-gov"
        } else {
            "aws"
        };
        write!(
            f,
            "arn:{partition}:kinesis:{}:{}:stream/{}",
            self.region, self.account, self.stream
        )
    }
}

/// The stream's name in an ARN of any partition, region and account; `None` if it is no stream's
/// ARN.
pub(crate) fn stream_name(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let is_arn = parts.next() == Some("arn");
    let partition = parts.next()?;
    let is_kinesis = parts.next() == Some("kinesis");
    let _region = parts.next()?;
    let account = parts.next()?;
    let name = parts.next()?.strip_prefix("stream/")?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let named = (1..=STREAM_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(legal);
    let numbered = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    (is_arn && partition.starts_with("aws") && is_kinesis && numbered && named).then_some(name)
}

/// The ARN of a registered consumer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConsumerArn<'a> {
    pub(crate) stream: StreamArn<'a>,
    pub(crate) consumer: &'a str,
    /// When it was registered, in seconds since 1970.
    pub(crate) registered_secs: u64,
}

impl fmt::Display for ConsumerArn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stream,
            consumer,
            registered_secs,
        } = self;
        write!(f, "{stream}/consumer/{consumer}:{registered_secs}")
    }
}

/// What the ARN of a consumer, of any partition, region and account, names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConsumerReference<'a> {
    pub(crate) stream: &'a str,
    pub(crate) consumer: &'a str,
    pub(crate) registered_secs: u64,
}

/// The consumer that an ARN names; `None` if it is no consumer's ARN.
pub(crate) fn consumer(arn: &str) -> Option<ConsumerReference<'_>> {
    let (stream, consumer) = arn.split_once("/consumer/")?;
    let (consumer, registered) = consumer.split_once(':')?;
    let is_number = registered.bytes().all(|b| b.is_ascii_digit());
    Some(ConsumerReference {
        stream: stream_name(stream)?,
        consumer: ConsumerName::new(consumer).is_ok().then_some(consumer)?,
        registered_secs: registered.parse().ok().filter(|_| is_number)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (region, start) in [
            ("us-east-1", "arn:aws:kinesis:us-east-1:000000000000:"),
            ("cn-north-1", "arn:aws-cn:kinesis:cn-north-1:000000000000:"),
        ] {
            let arn = StreamArn {
                region,
                account: "000000000000",
                stream: "logs.a-b_c",
            };
            let text = arn.to_string();
            assert_eq!(text, format!("{start}stream/logs.a-b_c"));
            assert_eq!(stream_name(&text), Some("logs.a-b_c"));
        }
    }

    #[test]
    fn a_consumers_arn_is_read_as_it_is_written() {
        let arn = ConsumerArn {
            stream: StreamArn {
                region: "us-gov-east-1",
                account: "000000000000",
                stream: "logs",
            },
            consumer: "app.one",
            registered_secs: 1_763_900_000,
        };
        let text = arn.to_string();
        assert_eq!(
            text,
            "arn:aws-us-gov:kinesis:us-gov-east-1:000000000000:stream/logs/consumer/app.one:\
             1763900000"
        );
        let found = consumer(&text).unwrap();
        assert_eq!((found.stream, found.consumer), ("logs", "app.one"));
        assert_eq!(found.registered_secs, 1_763_900_000);
        let stream = "arn:aws:kinesis:us-east-1:000000000000:stream/a";
        for rest in [
            "",
            "/consumer/b",
            "/consumer/b:",
            "/consumer/:1",
            "/consumer/b:+1",
        ] {
            assert_eq!(consumer(&format!("{stream}{rest}")), None, "{rest}");
        }
    }

    #[test]
    fn other_arns_name_no_stream() {
        for arn in [
            "",
            "arn:aws:kinesis:us-east-1:000000000000:stream/",
            "arn:aws:kinesis:us-east-1:000000000000:stream/a/consumer/b:1",
            "arn:aws:sqs:us-east-1:000000000000:stream/a",
            "arn:aws:kinesis:us-east-1:abc:stream/a",
            "logs",
        ] {
            assert_eq!(stream_name(arn), None, "{arn}");
        }
    }
}
