//! Which stream a request is about: by name, by ARN, or by both.

use crate::arn;
use crate::error::ServiceError;
use crate::member::Members;
use crate::validation::{Pattern, STREAM_NAME, TextRule, Violations};

const STREAM_ARN: TextRule = TextRule {
    required: false,
    pattern: Some(Pattern::StreamArn),
    length: Some((1, 2048)),
    one_of: &[],
};

/// The members `StreamName`, `StreamARN` and `StreamId` of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamReference<'v> {
    name: Option<&'v str>,
    arn: Option<&'v str>,
}

impl<'v> StreamReference<'v> {
    /// Reads the members. `StreamId` is a hint for the client's choice of a host and says nothing
    /// to us.
    pub(crate) fn read(members: Members<'v>) -> Result<Self, ServiceError> {
        let _hint = members.text("StreamId")?;
        Ok(Self {
            name: members.text("StreamName")?,
            arn: members.text("StreamARN")?,
        })
    }

    /// Checks the form, and that one of them is there.
    pub(crate) fn validate(&self, violations: &mut Violations) {
        if self.is_absent() {
            violations.add_null("streamName");
        }
        self.validate_form(violations);
    }

    /// Checks the form of what is there.
    pub(crate) fn validate_form(&self, violations: &mut Violations) {
        violations.text("streamName", self.name, &STREAM_NAME);
        violations.text("streamARN", self.arn, &STREAM_ARN);
    }

    /// Whether the request names no stream.
    pub(crate) fn is_absent(&self) -> bool {
        self.name.is_none() && self.arn.is_none()
    }

    /// The stream's name, of a reference that passed [`Self::validate`].
    pub(crate) fn resolve(&self) -> Result<&'v str, ServiceError> {
        let by_arn = self.arn.and_then(arn::stream_name);
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

    fn resolve(body: &str) -> Result<String, ServiceError> {
        let value = json::parse(body.as_bytes()).unwrap();
        let reference = StreamReference::read(Members::of_request(&value, Encoding::Json)?)?;
        let mut violations = Violations::default();
        reference.validate(&mut violations);
        violations.finish()?;
        reference.resolve().map(str::to_owned)
    }

    #[test]
    fn name_and_arn_must_agree() {
        let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/a";
        assert_eq!(resolve(r#"{"StreamName":"a"}"#).unwrap(), "a");
        let by_arn = format!("{{\"StreamARN\":\"{arn}\"}}");
        assert_eq!(resolve(&by_arn).unwrap(), "a");
        let both = format!("{{\"StreamName\":\"b\",\"StreamARN\":\"{arn}\"}}");
        assert!(resolve(&both).unwrap_err().text.unwrap().contains("same"));
        let bad = resolve(r#"{"StreamARN":"x"}"#).unwrap_err();
        assert!(bad.text.unwrap().contains("'streamARN'"));
        assert_eq!(
            resolve("{}").unwrap_err().text.unwrap(),
            "1 validation error detected: Value null at 'streamName' failed to satisfy constraint: \
             Member must not be null"
        );
    }
}
