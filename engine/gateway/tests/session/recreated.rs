//! A stream that is deleted and made again under its name is another stream: who still speaks of the
//! first one is told so.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cbor;
use crate::rig::{Client, Server};

const NAME: &str = "again";
const ARN: &str = "arn:aws:kinesis:eu-west-1:000000000000:stream/again";

/// Makes the stream, and answers when it was made.
fn make(client: &mut Client) -> Value {
    client.call("CreateStream", json!({"StreamName": NAME, "ShardCount": 2}));
    let found = client.call("DescribeStreamSummary", json!({"StreamName": NAME}));
    found["StreamDescriptionSummary"]["StreamCreationTimestamp"].clone()
}

fn lists(created: &Value) -> [(&'static str, Value); 2] {
    [
        (
            "ListShards",
            json!({"StreamName": NAME, "StreamCreationTimestamp": created}),
        ),
        (
            "ListStreamConsumers",
            json!({"StreamARN": ARN, "StreamCreationTimestamp": created}),
        ),
    ]
}

#[test]
fn lists_tell_a_stream_from_an_earlier_one_of_its_name() {
    let server = Server::start(1, Duration::ZERO);
    let mut client = server.connect();
    let first = make(&mut client);
    for (operation, members) in lists(&first) {
        client.call(operation, members);
    }
    client.call("DeleteStream", json!({"StreamName": NAME}));
    let second = make(&mut client);
    assert_ne!(first, second);
    for (operation, members) in lists(&first) {
        let (status, kind, text) = client.refusal(operation, members);
        assert_eq!((status, kind.as_str()), (400, "ResourceNotFoundException"));
        assert_eq!(text, "Stream again under account 000000000000 not found.");
    }
    for (operation, members) in lists(&second) {
        client.call(operation, members);
        // In CBOR moments are whole milliseconds; a number of JSON would lose some.
        let millis = (second.as_f64().unwrap() * 1_000.0).round() as i64;
        for (moment, status) in [(millis, 200), (millis - 1, 400)] {
            let name = if operation == "ListShards" {
                json!({"StreamName": NAME, "StreamCreationTimestamp": moment})
            } else {
                json!({"StreamARN": ARN, "StreamCreationTimestamp": moment})
            };
            assert_eq!(cbor::call(&mut client, operation, &name).status, status);
        }
    }
}
