//! Chooses each line's partition key.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher, RandomState};

use regex::bytes::Regex;
use weir_protocol::limits::PARTITION_KEY_CHARS_MAX;

/// Where keys come from.
#[derive(Debug)]
pub(crate) enum KeySource {
    /// One key for all lines.
    Fixed(String),
    /// Out of each line; lines that do not match get `no_match`, or are left out.
    Pattern {
        pattern: Regex,
        no_match: Option<String>,
    },
    /// A random key for each run of `run` lines.
    Random { run: u32 },
}

/// Chooses keys, and counts what was unusual.
#[derive(Debug)]
pub(crate) struct Keys {
    source: KeySource,
    current: String,
    run_left: u32,
    /// Lines that the pattern did not match.
    pub(crate) unmatched: u64,
    /// Keys that were not UTF-8 and were converted.
    pub(crate) converted: u64,
    /// Keys that were cut to the longest legal length.
    pub(crate) cut: u64,
}

impl Keys {
    pub(crate) fn new(source: KeySource) -> Self {
        Self {
            source,
            current: String::new(),
            run_left: 0,
            unmatched: 0,
            converted: 0,
            cut: 0,
        }
    }

    /// The key of `line`; `None` if the line is to be left out.
    pub(crate) fn of<'a>(&'a mut self, line: &'a [u8]) -> Option<Cow<'a, str>> {
        match &self.source {
            KeySource::Fixed(key) => Some(Cow::Borrowed(key)),
            KeySource::Random { run } => {
                if self.run_left == 0 {
                    self.run_left = *run;
                    self.current = format!("{:016x}", random());
                }
                self.run_left -= 1;
                Some(Cow::Borrowed(&self.current))
            }
            KeySource::Pattern { pattern, no_match } => {
                let found = if pattern.captures_len() > 1 {
                    let captures = pattern.captures(line);
                    captures
                        // A group that takes no part leaves the whole match.
                        .and_then(|c| c.get(1).or_else(|| c.get(0)))
                        .map(|found| found.as_bytes())
                } else {
                    pattern.find(line).map(|found| found.as_bytes())
                };
                // An empty match is no key: a partition key has at least one character.
                let Some(bytes) = found.filter(|bytes| !bytes.is_empty()) else {
                    self.unmatched += 1;
                    return no_match.as_deref().map(Cow::Borrowed);
                };
                let text = String::from_utf8_lossy(bytes);
                self.converted += u64::from(matches!(text, Cow::Owned(_)));
                match text.char_indices().nth(PARTITION_KEY_CHARS_MAX) {
                    None => Some(text),
                    Some((end, _)) => {
                        self.cut += 1;
                        Some(match text {
                            Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
                            Cow::Owned(mut text) => {
                                text.truncate(end);
                                Cow::Owned(text)
                            }
                        })
                    }
                }
            }
        }
    }

    /// The input paused: the next line begins a run of its own.
    pub(crate) fn end_run(&mut self) {
        self.run_left = 0;
    }
}

/// Sixty-four random bits: the standard library seeds every new hasher state from the system.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_pattern(pattern: &str, no_match: Option<&str>) -> Keys {
        Keys::new(KeySource::Pattern {
            pattern: Regex::new(pattern).unwrap(),
            no_match: no_match.map(str::to_owned),
        })
    }

    #[test]
    fn a_pattern_gives_its_first_group_or_its_whole_match() {
        let mut keys = by_pattern(r"status (\S+)", Some("-"));
        assert_eq!(keys.of(b"10:00 status installed tar").unwrap(), "installed");
        assert_eq!(keys.of(b"startup archives").unwrap(), "-");
        assert_eq!(keys.unmatched, 1);
        let mut keys = by_pattern(r"\d+", None);
        assert_eq!(keys.of(b"pid 17 ends").unwrap(), "17");
        assert_eq!(keys.of(b"none"), None);
        assert_eq!(by_pattern("x(q)?", None).of(b"axe").unwrap(), "x");
        assert_eq!(by_pattern("x*", Some("-")).of(b"abc").unwrap(), "-");
    }

    #[test]
    fn keys_that_no_record_can_have_are_made_legal_and_counted() {
        let mut keys = by_pattern(r"(?s-u)k=(.*)", Some("-"));
        assert_eq!(keys.of(b"k=a\xffb").unwrap(), "a\u{fffd}b");
        assert_eq!(keys.converted, 1);
        let long = format!("k={}", "é".repeat(300));
        assert_eq!(keys.of(long.as_bytes()).unwrap(), "é".repeat(256));
        assert_eq!(keys.cut, 1);
    }

    #[test]
    fn without_a_key_runs_share_a_random_one() {
        let mut keys = Keys::new(KeySource::Random { run: 2 });
        let drawn: Vec<_> = (0..4)
            .map(|_| keys.of(b"x").unwrap().into_owned())
            .collect();
        assert_eq!(drawn[0], drawn[1]);
        assert_ne!(drawn[1], drawn[2]);
        keys.of(b"x");
        keys.end_run();
        assert_eq!(keys.run_left, 0);
    }
}
