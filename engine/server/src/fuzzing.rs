//! A door for fuzzers: the words of a command line, and what they become.
//!
//! Panics if a promise is broken. Never in a release: the feature `fuzzing` is for `tests/fuzz` alone.

use clap::Parser;
use weir_gateway::KeyRing;
use weir_protocol::model::Timestamp;

use crate::config::ServeArguments;
use crate::units;

const NOW: Timestamp = Timestamp::from_millis(1_763_900_000_123);
/// What is read back when it is shown: more is refused as no number that could be meant.
const SHOWN_MAX: u64 = u64::MAX / 1000;

#[derive(Debug, Parser)]
struct CommandLine {
    #[command(flatten)]
    serve: ServeArguments,
}

/// The first byte says what the rest is: words of `weir serve`, one a line, a key file, or one value.
pub fn settings(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match choice % 3 {
        0 => {
            // A host's name would be asked for on the network.
            let is_asked =
                |word: &&str| !word.contains(|c: char| c.is_alphabetic()) || !word.contains(':');
            let words = text.split('\n').filter(is_asked);
            let words = std::iter::once("weir").chain(words);
            if let Ok(line) = CommandLine::try_parse_from(words) {
                // Either it fits together, or the refusal says something.
                if let Err(failure) = line.serve.check() {
                    assert!(!failure.to_string().is_empty());
                }
            }
        }
        1 => {
            if let Err(error) = KeyRing::parse(text, "000000000000") {
                let told = error.to_string();
                assert!(told.len() < 1_000, "{told}");
            }
        }
        _ => value(text),
    }
}

fn value(text: &str) {
    if let Ok(bytes) = units::size(text)
        && bytes <= SHOWN_MAX
    {
        let shown = units::show_size(bytes);
        assert_eq!(units::size(&shown).ok(), Some(bytes), "{shown}");
    }
    if let Ok(millis) = units::millis(text)
        && millis <= SHOWN_MAX
    {
        let shown = units::show_millis(millis);
        assert_eq!(units::millis(&shown).ok(), Some(millis), "{shown}");
    }
    if let Ok(moment) = units::moment(text, NOW)
        && moment.as_millis() < 253_402_300_800_000
    {
        let shown = units::calendar(moment);
        assert_eq!(units::moment(&shown, NOW).ok(), Some(moment), "{shown}");
    }
}
