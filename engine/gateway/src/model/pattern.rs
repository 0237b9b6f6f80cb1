//! Patterns of texts, as AWS prints them.
//!
//! Owns: matching in time linear in the text, whatever a client sends. The patterns that every put
//! needs are looked at by hand.

use std::sync::OnceLock;

use regex::bytes::Regex;

/// Longest value that is held against a compiled pattern in bytes; the longest legal one has 2,048
/// characters.
const LOOKED_AT_BYTES_MAX: usize = 64 * 1024;

/// What characters a text may be made of.
#[derive(Debug)]
pub(super) struct Pattern {
    /// As it is printed: without anchors.
    text: &'static str,
    matcher: Matcher,
}

#[derive(Debug)]
enum Matcher {
    Names,
    /// Numbers of at most so many digits.
    Decimals(usize),
    Compiled(OnceLock<Regex>),
}

impl Pattern {
    /// Any pattern; it is compiled when it is first needed.
    pub(super) const fn new(text: &'static str) -> Self {
        Self {
            text,
            matcher: Matcher::Compiled(OnceLock::new()),
        }
    }

    /// The names of streams and shards.
    pub(super) const fn of_names(text: &'static str) -> Self {
        Self {
            text,
            matcher: Matcher::Names,
        }
    }

    /// Numbers without leading zeros.
    pub(super) const fn of_decimals(text: &'static str, digits_max: usize) -> Self {
        Self {
            text,
            matcher: Matcher::Decimals(digits_max),
        }
    }

    /// As AWS prints it.
    pub(super) fn text(&self) -> &'static str {
        self.text
    }

    /// Whether the whole of `value` is of this form.
    pub(super) fn matches(&self, value: &str) -> bool {
        match &self.matcher {
            Matcher::Names => {
                let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
                !value.is_empty() && value.bytes().all(legal)
            }
            Matcher::Decimals(digits_max) => is_decimal(value, *digits_max),
            // No legal value is that long; the length is told as well. A core has other work.
            Matcher::Compiled(_) if value.len() > LOOKED_AT_BYTES_MAX => false,
            Matcher::Compiled(regex) => {
                // Java's classes are those of ASCII.
                let compile = || Regex::new(&format!(r"(?-u)\A(?:{})\z", self.text));
                let regex = regex.get_or_init(|| compile().expect("patterns are constants"));
                regex.is_match(value.as_bytes())
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "[a-zA-Z0-9_.-]+";
    const HASH_KEYS: &str = r"0|([1-9]\d{0,38})";

    #[test]
    fn by_hand_and_compiled_they_are_the_same() {
        let names = [Pattern::of_names(NAMES), Pattern::new(NAMES)];
        for text in ["", "a", "a b", "shardId-0_.", "ü", "a\n"] {
            assert_eq!(names[0].matches(text), names[1].matches(text), "{text}");
        }
        let numbers = [Pattern::of_decimals(HASH_KEYS, 39), Pattern::new(HASH_KEYS)];
        let (nines, more) = ("9".repeat(39), "9".repeat(40));
        for text in ["", "0", "00", "01", "-1", "10", "1x", "٣", &nines, &more] {
            assert_eq!(numbers[0].matches(text), numbers[1].matches(text), "{text}");
        }
        assert!(numbers[0].matches(&nines) && !numbers[0].matches(&more));
    }

    #[test]
    fn long_texts_take_no_time() {
        let pattern = Pattern::new(r"arn:aws.*:kinesis:.*:\d{12}:.*(stream|channel|queue)/\S+");
        for times in [2_000, 500_000] {
            let hostile = format!("arn:aws{}", ":kinesis::123456789012:".repeat(times));
            assert!(!pattern.matches(&hostile));
        }
    }
}
