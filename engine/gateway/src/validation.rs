//! Violations of bounds, patterns and enums, told in AWS's words, several at once.
//!
//! Owns: the `ValidationException` texts. Never: what is violated; that is [`crate::model`].

use std::fmt::{self, Display, Write as _};

use crate::error::{ErrorKind, ServiceError};

/// AWS reports so many violations and no more.
const VIOLATIONS_MAX: usize = 10;
/// Characters of a client's value that one violation repeats at most.
pub(crate) const ECHO_CHARS_MAX: usize = 4096;

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
    pub(crate) fn add(&mut self, shown: &impl Display, path: &impl Display, constraint: &str) {
        if self.is_full() {
            return;
        }
        let shown = Echo::of(shown);
        self.found.push(format!(
            "Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}"
        ));
    }

    /// Adds the violation of an absent value.
    pub(crate) fn add_null(&mut self, path: &impl Display) {
        if self.is_full() {
            return;
        }
        self.found.push(format!(
            "Value null at '{path}' failed to satisfy constraint: Member must not be null"
        ));
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

/// The beginning of a value's text; the rest is not even written.
struct Echo {
    text: String,
    left: usize,
}

impl Echo {
    fn of(shown: &impl Display) -> String {
        let mut echo = Self {
            text: String::new(),
            left: ECHO_CHARS_MAX,
        };
        // An error only says that it is long enough.
        let _cut = write!(echo, "{shown}");
        echo.text
    }
}

impl fmt::Write for Echo {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(character);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_several_are_told_as_at_aws() {
        let mut violations = Violations::default();
        violations.add_null(&"streamName");
        assert_eq!(
            violations.finish().unwrap_err().text.unwrap(),
            "1 validation error detected: Value null at 'streamName' failed to satisfy constraint: \
             Member must not be null"
        );
        let mut violations = Violations::default();
        violations.add(
            &0,
            &"limit",
            "Member must have value greater than or equal to 1",
        );
        violations.add_null(&"streamName");
        assert_eq!(
            violations.finish().unwrap_err().text.unwrap(),
            "2 validation errors detected: Value '0' at 'limit' failed to satisfy constraint: \
             Member must have value greater than or equal to 1; Value null at 'streamName' failed \
             to satisfy constraint: Member must not be null"
        );
        assert_eq!(Violations::default().finish(), Ok(()));
    }

    #[test]
    fn ten_are_told_at_most_and_none_at_any_length() {
        let mut violations = Violations::default();
        for _ in 0..20 {
            violations.add(&"x".repeat(100_000), &"a", "no");
        }
        let text = violations.finish().unwrap_err().text.unwrap();
        assert!(text.starts_with("10 validation errors detected: "));
        assert!(text.len() < 10 * (ECHO_CHARS_MAX + 100));
    }
}
