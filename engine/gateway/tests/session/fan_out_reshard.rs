//! SubscribeToShard over splits and merges: a parent to its last record, then the children.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fan_out::{latest, put, register, server};
use crate::rig::Client;
use crate::subscriber::{Frame, Subscriber};

const MIDDLE: &str = "170141183460469231731687303715884105728";

/// Reads to the end of the shard: what its records say, and the event that ends it.
fn to_the_end(events: &mut Subscriber) -> (Vec<String>, Frame) {
    let mut found = Vec::new();
    loop {
        let frame = events.next().expect("the end of a shard is an event");
        assert_eq!(frame.kind, "SubscribeToShardEvent", "{frame:?}");
        found.extend(frame.data());
        let is_last = frame.payload.get("ContinuationSequenceNumber").is_none();
        assert_eq!(frame.payload.get("ChildShards").is_some(), is_last);
        if is_last {
            assert_eq!(events.next(), None);
            return (found, frame);
        }
    }
}

/// The children that an event names, each with its parents.
fn children(frame: &Frame) -> BTreeMap<String, Value> {
    let children = frame.payload["ChildShards"].as_array().unwrap();
    let child = |child: &Value| {
        assert!(child["HashKeyRange"]["StartingHashKey"].is_string());
        let name = child["ShardId"].as_str().unwrap().to_owned();
        (name, child["ParentShards"].clone())
    };
    children.iter().map(child).collect()
}

fn shard(index: u32) -> String {
    format!("shardId-{index:012}")
}

fn split(client: &mut Client) {
    let ask = json!({"StreamName": "s", "ShardToSplit": shard(0), "NewStartingHashKey": MIDDLE});
    client.call("SplitShard", ask);
    client.wait_active("s");
}

#[test]
fn a_shard_that_was_split_ends_with_its_children_and_they_go_on() {
    for cores in [1, 2] {
        let server = server(cores);
        let mut client = server.connect();
        client.call("CreateStream", json!({"StreamName": "s", "ShardCount": 1}));
        client.wait_active("s");
        let (early, late) = (register(&server, "early"), register(&server, "late"));
        let mut waiting = Subscriber::open(&server, &early, 0, latest());
        for data in ["one", "two", "three"] {
            put(&mut client, 0, 1, data);
        }
        split(&mut client);
        put(&mut client, 0, 2, "left");
        put(&mut client, 1, 2, "right");
        let horizon = json!({"Type": "TRIM_HORIZON"});
        let mut behind = Subscriber::open(&server, &late, 0, horizon.clone());
        let parent = json!([shard(0)]);
        let expected = BTreeMap::from([(shard(1), parent.clone()), (shard(2), parent)]);
        for events in [&mut waiting, &mut behind] {
            let (found, last) = to_the_end(events);
            assert_eq!(found, ["one", "two", "three"]);
            assert_eq!(children(&last), expected);
        }
        // The children hold what came after, and a merge ends both with the same child.
        let mut open =
            [1, 2].map(|index| Subscriber::open(&server, &early, index, horizon.clone()));
        let ask = json!({"StreamName": "s", "ShardToMerge": shard(1),
                         "AdjacentShardToMerge": shard(2)});
        client.call("MergeShards", ask);
        client.wait_active("s");
        let expected = BTreeMap::from([(shard(3), json!([shard(1), shard(2)]))]);
        for (events, data) in open.iter_mut().zip(["left", "right"]) {
            let (found, last) = to_the_end(events);
            assert_eq!(found, [data]);
            assert_eq!(children(&last), expected);
        }
        // Who comes late to an ended shard is told so at once.
        let mut again = Subscriber::open(&server, &late, 1, latest());
        let (found, last) = to_the_end(&mut again);
        assert!(found.is_empty());
        assert_eq!(children(&last), expected);
    }
}
