//! Registered consumers of a stream: their names.

use std::fmt;

use thiserror::Error;

use crate::limits::STREAM_NAME_BYTES_MAX;

/// A consumer's name within its stream: 1 to 128 of `[a-zA-Z0-9_.-]`, as a stream's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerName(Box<str>);

impl ConsumerName {
    /// Checks length and characters.
    pub fn new(name: &str) -> Result<Self, InvalidConsumerName> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if name.is_empty() || name.len() > STREAM_NAME_BYTES_MAX || !name.bytes().all(legal) {
            let shown: String = name.chars().take(STREAM_NAME_BYTES_MAX).collect();
            return Err(InvalidConsumerName {
                name: shown.escape_debug().to_string(),
            });
        }
        Ok(Self(name.into()))
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for ConsumerName {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

/// A name that no consumer can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "\"{name}\" is not a consumer name: expected 1 to {STREAM_NAME_BYTES_MAX} of a-z A-Z 0-9 _ . -"
)]
pub struct InvalidConsumerName {
    /// The name, escaped and cut to the longest legal length.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_aws_pattern() {
        for name in ["a", "app.eu-west_1", &"x".repeat(128)] {
            assert_eq!(ConsumerName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "a b", "ü", "a/b", "a:1", &"x".repeat(129)] {
            assert!(ConsumerName::new(name).is_err(), "{name}");
        }
    }
}
