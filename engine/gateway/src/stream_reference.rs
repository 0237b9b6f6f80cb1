//! Which stream a request is about: by name, by ARN, or by both.

use crate::arn;
use crate::error::ServiceError;
use crate::member::Members;

/// The members `StreamName` and `StreamARN` of a request. `StreamId` is a hint for the client's
/// choice of a host and says nothing to us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamReference<'v> {
    name: Option<&'v str>,
    arn: Option<&'v str>,
}

impl<'v> StreamReference<'v> {
    /// Reads the members.
    pub(crate) fn read(members: Members<'v>) -> Self {
        Self {
            name: members.text("StreamName"),
            arn: members.text("StreamARN"),
        }
    }

    /// Of members that were read elsewhere.
    pub(crate) fn new(name: Option<&'v str>, arn: Option<&'v str>) -> Self {
        Self { name, arn }
    }

    /// Whether the request names no stream.
    pub(crate) fn is_absent(&self) -> bool {
        self.name.is_none() && self.arn.is_none()
    }

    /// The stream's name.
    pub(crate) fn resolve(&self) -> Result<&'v str, ServiceError> {
        let by_arn = match self.arn {
            None => None,
            Some(arn) => Some(arn::stream_name(arn).ok_or_else(|| {
                ServiceError::invalid_argument(format!("StreamARN {arn} is not that of a stream."))
            })?),
        };
        match (self.name, by_arn) {
            (Some(name), Some(other)) if name != other => Err(ServiceError::invalid_argument(
                "StreamName and StreamARN must identify the same stream.",
            )),
            (Some(name), _) | (None, Some(name)) => Ok(name),
            (None, None) => Err(ServiceError::invalid_argument(
                "Either StreamARN or StreamName should be provided.",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Encoding;
    use crate::json;

    fn resolve(body: &str) -> Result<String, String> {
        let value = json::parse(body.as_bytes()).unwrap();
        let members = Members::of_request(&value, Encoding::Json).unwrap();
        let resolved = StreamReference::read(members).resolve();
        resolved.map(str::to_owned).map_err(|e| e.text.unwrap())
    }

    #[test]
    fn name_and_arn_must_agree() {
        let arn = "arn:aws-cn:kinesis:us-east-1:000000000000:stream/a";
        assert_eq!(resolve(r#"{"StreamName":"a"}"#).unwrap(), "a");
        let by_arn = format!("{{\"StreamARN\":\"{arn}\"}}");
        assert_eq!(resolve(&by_arn).unwrap(), "a");
        let both = format!("{{\"StreamName\":\"b\",\"StreamARN\":\"{arn}\"}}");
        assert!(resolve(&both).unwrap_err().contains("same"));
        let consumer = format!("{{\"StreamARN\":\"{arn}/consumer/b:1\"}}");
        assert!(
            resolve(&consumer)
                .unwrap_err()
                .ends_with("is not that of a stream.")
        );
        assert!(resolve("{}").unwrap_err().starts_with("Either StreamARN"));
    }
}
