//! Bad input and bad machines: refused in one clear sentence with the documented code, nothing lost.

mod frames;
mod full_disk;
mod machine;
mod start;

use std::collections::HashMap;

use weir_protocol::wire::hello::CORE_ANY;
use weir_protocol::wire::request::ReadFrom;
use weir_protocol::wire::response::StreamDescription;

use crate::harness::{Ended, Noted, Reader, Victim, Wire, parse};

/// The server ended with `code` and one sentence that holds each of `words`.
#[track_caller]
fn refused(ended: Result<Victim, Ended>, code: i32, words: &[&str]) {
    let Err(ended) = ended else {
        panic!("the server started, expected a refusal with {words:?}");
    };
    assert_eq!(ended.code, Some(code), "{}", ended.said);
    let sentences = ended.said.lines().filter(|line| line.starts_with("weir: "));
    let sentences: Vec<_> = sentences.collect();
    assert_eq!(sentences.len(), 1, "one sentence: {}", ended.said);
    for word in words {
        assert!(sentences[0].contains(word), "{word:?} in: {}", sentences[0]);
    }
    assert!(!ended.said.contains("panicked"), "{}", ended.said);
}

fn connect(victim: &Victim) -> Wire {
    Wire::connect(victim.wire, CORE_ANY).expect("the server takes connections")
}

/// Everything that was acknowledged is there at its number, once.
#[track_caller]
fn holds(victim: &Victim, stream: &StreamDescription, noted: &Noted) {
    let mut reader = Reader::new(victim.wire);
    let mut firsts = HashMap::new();
    let mut records = 0_u64;
    for shard in 0..stream.shards.len() as u32 {
        reader.all(stream, shard, ReadFrom::TrimHorizon, |record| {
            let content = parse(record.data).expect("a record of ours");
            records += 1;
            if content.index == 0 {
                let before = firsts.insert(content.batch, (shard, record.offset));
                assert_eq!(before, None, "a batch is there once");
            }
        });
    }
    for placed in &noted.stored {
        let found = firsts.get(&placed.batch);
        assert_eq!(found, Some(&(placed.shard, placed.first)), "{placed:?}");
    }
    assert!(
        records >= noted.records(),
        "{records} of {} records",
        noted.records()
    );
}
