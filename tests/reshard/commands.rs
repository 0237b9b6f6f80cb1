//! `weir stream split`, `merge` and `scale`, as an operator types them.

use std::process::Command;

use serde_json::Value;

use super::PATIENCE;
use crate::harness::{Ran, Setup, Victim, run, temporary};

fn ask(victim: &Victim, words: &str) -> Ran {
    let words: Vec<&str> = words.split(' ').collect();
    let mut command: Command = victim.stream(&words);
    run(&mut command, [], PATIENCE)
}

fn json(ran: Ran) -> Value {
    serde_json::from_slice(&ran.succeeded().stdout).expect("one JSON object")
}

/// Open shards in hash order: name, first and last hash key; panics unless they cover all keys.
fn open(stream: &Value) -> Vec<(String, u128, u128)> {
    let key = |shard: &Value, which: &str| -> u128 {
        shard[which]
            .as_str()
            .expect("a text")
            .parse()
            .expect("digits")
    };
    let mut open: Vec<_> = stream["shards"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|shard| shard["closed"] == false)
        .map(|shard| {
            let name = shard["shard"].as_str().expect("a name").to_owned();
            (
                name,
                key(shard, "hash_key_start"),
                key(shard, "hash_key_end"),
            )
        })
        .collect();
    open.sort_by_key(|(_, start, _)| *start);
    let mut next = Some(0);
    for (name, start, end) in &open {
        assert_eq!(next, Some(*start), "{name}: {open:?}");
        next = end.checked_add(1);
    }
    assert_eq!(next, None, "{open:?}");
    open
}

#[test]
fn shards_are_split_merged_and_counted_and_no_line_is_lost() {
    let folder = temporary("reshard-commands");
    let victim = Setup::new(folder.path())
        .with("--stream", "logs:1")
        .start_on(2);
    let lines: Vec<String> = (0..4_000).map(|i| format!("k{} {i}", i % 50)).collect();
    let put = |part: usize| {
        let mut command = victim.stream(&["put", "logs", "--key-regex", "^k[0-9]+"]);
        let text = lines[part * 1_000..(part + 1) * 1_000].join("\n");
        run(&mut command, text, PATIENCE).succeeded();
    };
    put(0);
    // The middle, unless it is said; the command ends when the children are there.
    let stream = json(ask(&victim, "split logs 0 --output json"));
    assert_eq!(stream["status"], "ACTIVE");
    let found = open(&stream);
    assert_eq!(found.len(), 2, "{stream}");
    assert_eq!(
        (found[0].0.as_str(), found[1].1),
        ("shardId-000000000001", 1 << 127)
    );
    put(1);
    let text = ask(&victim, "split logs shardId-000000000001 --at 1000").succeeded();
    let text = text.text();
    assert!(text.contains("status   ACTIVE"), "{text}");
    assert!(text.contains("shards   3 open, 2 closed"), "{text}");
    assert!(
        text.contains("shardId-000000000001     "),
        "as describe has it: {text}"
    );
    assert!(text.contains("closed  0 - "), "{text}");
    assert!(text.contains("open    0 - 999"), "{text}");
    put(2);
    // Neighbours in either order.
    let stream = json(ask(&victim, "merge logs 4 3 --output json"));
    assert_eq!(open(&stream).len(), 2, "{stream}");
    // An on-demand stream, and more than twice the shards: the operator's own machine.
    let stream = json(ask(&victim, "scale logs --shards 7 --output json"));
    assert_eq!(stream["mode"], "ON_DEMAND");
    let found = open(&stream);
    assert_eq!(found.len(), 7, "{stream}");
    assert!(
        found
            .iter()
            .all(|(_, start, _)| start % (u128::MAX / 7) == 0)
    );
    put(3);
    let stream = json(ask(&victim, "scale logs --shards 1 --output json"));
    assert_eq!(open(&stream).len(), 1, "{stream}");

    // Parents before children: every line once, and each key's in order.
    let tail = ask(&victim, "tail logs --from trim-horizon").succeeded();
    let text = tail.text();
    for key in 0..50 {
        let key = format!("k{key} ");
        let found: Vec<&str> = text.lines().filter(|l| l.starts_with(&key)).collect();
        let sent: Vec<&String> = lines.iter().filter(|l| l.starts_with(&key)).collect();
        assert_eq!(found, sent);
    }
    assert_eq!(text.lines().count(), lines.len());
    victim.stop();
}

#[test]
fn what_cannot_be_done_is_refused_with_what_there_is() {
    let folder = temporary("reshard-refused");
    let victim = Setup::new(folder.path())
        .with("--stream", "logs:4")
        .with("--state-delay", "2s")
        .start();
    for (words, code, said) in [
        ("split nosuch 0", 1, "stream \"nosuch\" does not exist"),
        ("split logs 9", 1, "stream logs has no shardId-000000000009"),
        ("split logs nine", 2, "\"nine\" is not a shard"),
        ("split logs 0 --at -1", 2, "unexpected argument '-1'"),
        ("split logs 0 --at 0x10", 2, "\"0x10\" is not a hash key"),
        (
            "split logs 0 --at 1",
            2,
            "--at 1 does not split shardId-000000000000: expected 2 to ",
        ),
        (
            "merge logs 0 2",
            1,
            "next to shardId-000000000000 is shardId-000000000001",
        ),
        ("merge logs 1 1", 1, "are not neighbours"),
        (
            "scale logs --shards 0",
            2,
            "invalid value '0' for '--shards <SHARDS>'",
        ),
        ("scale logs", 2, "--shards <SHARDS>"),
        ("split logs 0 --wait 5", 2, "5"),
    ] {
        let ran = ask(&victim, words);
        ran.refused(code, said);
    }
    // Begun, and not waited for; meanwhile another change is refused, and a short wait says so.
    let begun = json(ask(&victim, "split logs 0 --wait 0s --output json"));
    assert_eq!(begun["status"], "UPDATING");
    ask(&victim, "split logs 1").refused(1, "stream logs is UPDATING, not ACTIVE");
    let mut command = victim.stream(&["describe", "logs", "--output", "json"]);
    let stream = crate::harness::wait_for("ACTIVE", PATIENCE, || {
        let stream = json(run(&mut command, [], PATIENCE));
        (stream["status"] == "ACTIVE").then_some(stream)
    });
    assert_eq!(open(&stream).len(), 5);
    ask(&victim, "split logs 0").refused(1, "shardId-000000000000 of stream logs is closed");
    ask(&victim, "split logs 1 --wait 20ms").refused(1, "is still UPDATING after 20ms");
    victim.stop();
}
