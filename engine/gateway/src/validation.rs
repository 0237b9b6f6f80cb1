//! Bounds, patterns and enums of members, refused in AWS's words, several at once.
//!
//! Owns: the `ValidationException` texts. Never: types; that is [`crate::member`].

use crate::error::{ErrorKind, ServiceError};
use crate::member::Blob;

/// AWS reports so many violations and no more.
const VIOLATIONS_MAX: usize = 10;
/// Characters of a client's value that one violation repeats at most.
const ECHO_CHARS_MAX: usize = 4096;

/// What characters a text may be made of; printed without anchors, as AWS does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Names of streams and shards.
    Name,
    /// A 128-bit number.
    HashKey,
    /// A sequence number.
    SequenceNumber,
    /// The ARN of a stream.
    StreamArn,
}

impl Pattern {
    fn text(self) -> &'static str {
        match self {
            Self::Name => "[a-zA-Z0-9_.-]+",
            Self::HashKey => r"0|([1-9]\d{0,38})",
            Self::SequenceNumber => r"0|([1-9]\d{0,128})",
            Self::StreamArn => r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+",
        }
    }

    fn matches(self, text: &str) -> bool {
        match self {
            Self::Name => {
                let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
                !text.is_empty() && text.bytes().all(legal)
            }
            Self::HashKey => is_decimal(text, 39),
            Self::SequenceNumber => is_decimal(text, 129),
            Self::StreamArn => crate::arn::stream_name(text).is_some(),
        }
    }
}

fn is_decimal(text: &str, digits_max: usize) -> bool {
    text == "0"
        || (!text.is_empty()
            && text.len() <= digits_max
            && !text.starts_with('0')
            && text.bytes().all(|b| b.is_ascii_digit()))
}

/// What a text member must be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TextRule {
    pub(crate) required: bool,
    pub(crate) pattern: Option<Pattern>,
    /// Shortest and longest, in characters.
    pub(crate) length: Option<(usize, usize)>,
    pub(crate) one_of: &'static [&'static str],
}

/// What a number member must be; no number is required anywhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberRule {
    pub(crate) least: i64,
    pub(crate) most: Option<i64>,
}

/// A stream's name where one is given.
pub(crate) const STREAM_NAME: TextRule = TextRule {
    required: false,
    pattern: Some(Pattern::Name),
    length: Some((1, 128)),
    one_of: &[],
};
/// A shard's name where one is given.
pub(crate) const SHARD_NAME: TextRule = STREAM_NAME;
/// How many items a page may have.
pub(crate) const PAGE: NumberRule = NumberRule {
    least: 1,
    most: Some(10_000),
};

/// What is wrong with a request, in the order it was found.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    found: Vec<String>,
}

impl Violations {
    /// Whether no further violation would be told.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= VIOLATIONS_MAX
    }

    /// Adds a violation by a value that is shown as `shown`.
    pub(crate) fn add(&mut self, shown: &str, path: &str, constraint: &str) {
        if self.is_full() {
            return;
        }
        let shown: String = shown.chars().take(ECHO_CHARS_MAX).collect();
        self.found.push(format!(
            "Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}"
        ));
    }

    /// Adds the violation of an absent value.
    pub(crate) fn add_null(&mut self, path: &str) {
        if self.is_full() {
            return;
        }
        self.found.push(format!(
            "Value null at '{path}' failed to satisfy constraint: Member must not be null"
        ));
    }

    /// Checks characters.
    pub(crate) fn text(&mut self, path: &str, value: Option<&str>, rule: &TextRule) {
        let Some(value) = value else {
            if rule.required {
                self.add_null(path);
            }
            return;
        };
        if let Some(pattern) = rule.pattern
            && !pattern.matches(value)
        {
            let pattern = pattern.text();
            let constraint = format!("Member must satisfy regular expression pattern: {pattern}");
            self.add(value, path, &constraint);
        }
        if let Some((shortest, longest)) = rule.length {
            // Bytes are at least as many as characters: a short text needs no count.
            let length = if value.len() <= longest && value.len() >= 4 * shortest {
                value.len()
            } else {
                value.chars().count()
            };
            self.length(value, path, length, (shortest, longest));
        }
        if !rule.one_of.is_empty() && !rule.one_of.contains(&value) {
            let values = rule.one_of.join(", ");
            let constraint = format!("Member must satisfy enum value set: [{values}]");
            self.add(value, path, &constraint);
        }
    }

    /// Checks the length of something shown as `shown`.
    pub(crate) fn length(
        &mut self,
        shown: &str,
        path: &str,
        length: usize,
        (shortest, longest): (usize, usize),
    ) {
        if length < shortest {
            let constraint = format!("Member must have length greater than or equal to {shortest}");
            self.add(shown, path, &constraint);
        }
        if length > longest {
            let constraint = format!("Member must have length less than or equal to {longest}");
            self.add(shown, path, &constraint);
        }
    }

    /// Checks a number.
    pub(crate) fn number(&mut self, path: &str, value: Option<i64>, rule: NumberRule) {
        let Some(value) = value else { return };
        if value < rule.least {
            let constraint = format!(
                "Member must have value greater than or equal to {}",
                rule.least
            );
            self.add(&value.to_string(), path, &constraint);
        }
        if let Some(most) = rule.most
            && value > most
        {
            let constraint = format!("Member must have value less than or equal to {most}");
            self.add(&value.to_string(), path, &constraint);
        }
    }

    /// Checks bytes, which are required wherever they occur.
    pub(crate) fn blob(&mut self, path: &str, value: Option<Blob<'_>>, longest: usize) {
        let Some(value) = value else {
            self.add_null(path);
            return;
        };
        let bytes = value.bytes();
        if bytes > longest {
            let shown = format!("java.nio.HeapByteBuffer[pos=0 lim={bytes} cap={bytes}]");
            self.length(&shown, path, bytes, (0, longest));
        }
    }

    /// The refusal, if there is anything to refuse.
    pub(crate) fn finish(self) -> Result<(), ServiceError> {
        let count = self.found.len();
        if count == 0 {
            return Ok(());
        }
        let plural = if count == 1 { "" } else { "s" };
        Err(ServiceError::new(
            ErrorKind::Validation,
            format!(
                "{count} validation error{plural} detected: {}",
                self.found.join("; ")
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(violations: Violations) -> String {
        violations.finish().unwrap_err().text.unwrap()
    }

    #[test]
    fn one_and_several_are_told_as_at_aws() {
        let mut violations = Violations::default();
        let required = TextRule {
            required: true,
            ..STREAM_NAME
        };
        violations.text("streamName", None, &required);
        assert_eq!(
            text_of(violations),
            "1 validation error detected: Value null at 'streamName' failed to satisfy constraint: \
             Member must not be null"
        );
        let mut violations = Violations::default();
        violations.text("streamName", Some(""), &required);
        assert_eq!(
            text_of(violations),
            "2 validation errors detected: Value '' at 'streamName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value '' at \
             'streamName' failed to satisfy constraint: Member must have length greater than or \
             equal to 1"
        );
        let mut violations = Violations::default();
        violations.number("limit", Some(0), PAGE);
        violations.number("limit", Some(10_001), PAGE);
        assert_eq!(
            text_of(violations),
            "2 validation errors detected: Value '0' at 'limit' failed to satisfy constraint: \
             Member must have value greater than or equal to 1; Value '10001' at 'limit' failed to \
             satisfy constraint: Member must have value less than or equal to 10000"
        );
    }

    #[test]
    fn ten_are_told_at_most() {
        let mut violations = Violations::default();
        for _ in 0..20 {
            violations.add_null("records.1.member.data");
        }
        assert!(text_of(violations).starts_with("10 validation errors detected: "));
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        let rule = TextRule {
            length: Some((1, 256)),
            ..TextRule::default()
        };
        let check = |text: &str| {
            let mut violations = Violations::default();
            violations.text("partitionKey", Some(text), &rule);
            violations.finish().is_ok()
        };
        assert!(check("a"));
        assert!(check(&"ü".repeat(256)));
        assert!(!check(&"ü".repeat(257)));
        assert!(!check(""));
    }

    #[test]
    fn patterns_hold() {
        for (pattern, text, expected) in [
            (Pattern::HashKey, "0", true),
            (Pattern::HashKey, "00", false),
            (Pattern::HashKey, &"9".repeat(39), true),
            (Pattern::HashKey, &"9".repeat(40), false),
            (Pattern::SequenceNumber, &"9".repeat(129), true),
            (Pattern::SequenceNumber, "-1", false),
            (Pattern::Name, "a b", false),
        ] {
            assert_eq!(pattern.matches(text), expected, "{pattern:?} {text}");
        }
    }
}
