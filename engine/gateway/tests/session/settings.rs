//! Tags, consumers and every stored setting, in JSON and in CBOR.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cbor;
use crate::rig::{Client, Server};

const ARN: &str = "arn:aws:kinesis:eu-west-1:000000000000:stream/logs";
const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::Cbor];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Json,
    Cbor,
}

/// A client that speaks one of the encodings.
struct Caller {
    client: Client,
    encoding: Encoding,
}

impl Caller {
    fn ask(&mut self, operation: &str, body: &Value) -> (u16, Value) {
        let request = match self.encoding {
            Encoding::Json => Client::request(operation, &body.to_string()),
            Encoding::Cbor => cbor::request(operation, &cbor::encode(body)),
        };
        let reply = self.client.exchange(&request);
        let answer = match (self.encoding, reply.body.is_empty()) {
            (_, true) => Value::Null,
            (Encoding::Json, false) => reply.json(),
            (Encoding::Cbor, false) => cbor::decode(&reply.body),
        };
        (reply.status, answer)
    }

    #[track_caller]
    fn call(&mut self, operation: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(operation, body);
        assert_eq!(status, 200, "{operation} {body}: {answer}");
        answer
    }

    /// The operation succeeds and says nothing.
    #[track_caller]
    fn done(&mut self, operation: &str, body: &Value) {
        assert_eq!(self.call(operation, body), Value::Null, "{operation}");
    }

    #[track_caller]
    fn refused(&mut self, operation: &str, body: &Value, kind: &str, text: &str) {
        let (status, answer) = self.ask(operation, body);
        assert_eq!(status, 400, "{operation} {body}: {answer}");
        assert_eq!(answer["__type"], kind, "{operation} {body}: {answer}");
        assert_eq!(answer["message"], text, "{operation} {body}");
    }

    fn summary(&mut self) -> Value {
        let found = self.call("DescribeStreamSummary", &json!({ "StreamName": "logs" }));
        found["StreamDescriptionSummary"].clone()
    }

    fn wait_active(&mut self) {
        for _ in 0..1_000 {
            if self.summary()["StreamStatus"] == "ACTIVE" {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("the stream does not become ACTIVE");
    }
}

/// A server with the stream "logs", made by `create`'s other members.
fn start(encoding: Encoding, state_delay_ms: u64, create: &Value) -> (Server, Caller) {
    let server = Server::start(2, Duration::from_millis(state_delay_ms));
    let client = server.connect();
    let mut caller = Caller { client, encoding };
    let mut members = create.clone();
    members["StreamName"] = json!("logs");
    caller.done("CreateStream", &members);
    caller.wait_active();
    (server, caller)
}

/// Seconds since 1970, of a time in either encoding.
fn seconds(time: &Value) -> f64 {
    let millis = time.get("ms").and_then(Value::as_f64);
    millis.map_or_else(|| time.as_f64().unwrap(), |millis| millis / 1000.0)
}

fn tag(key: &str, value: &str) -> Value {
    json!({ "Key": key, "Value": value })
}

#[test]
fn tags_by_both_doors_are_the_same_tags() {
    for encoding in ENCODINGS {
        let (_server, mut caller) = start(encoding, 0, &json!({ "Tags": { "b": "1" } }));
        let by_arn = |members: Value| {
            let mut members = members;
            members["ResourceARN"] = json!(ARN);
            members
        };
        let stream = json!({ "StreamName": "logs" });
        let added = json!({ "StreamName": "logs", "Tags": { "a": "ü", "c": "" } });
        caller.done("AddTagsToStream", &added);
        caller.done(
            "TagResource",
            &by_arn(json!({ "Tags": { "d": "4", "a": "2" } })),
        );
        let all = json!([tag("a", "2"), tag("b", "1"), tag("c", ""), tag("d", "4")]);
        let listed = caller.call("ListTagsForResource", &by_arn(json!({})));
        assert_eq!(listed, json!({ "Tags": all }));
        let listed = caller.call("ListTagsForStream", &stream);
        assert_eq!(listed, json!({ "Tags": all, "HasMoreTags": false }));
        let page = json!({ "StreamARN": ARN, "Limit": 2, "ExclusiveStartTagKey": "a" });
        let listed = caller.call("ListTagsForStream", &page);
        let expected = json!([tag("b", "1"), tag("c", "")]);
        assert_eq!(listed, json!({ "Tags": expected, "HasMoreTags": true }));

        let removed = json!({ "StreamName": "logs", "TagKeys": ["a", "unknown"] });
        caller.done("RemoveTagsFromStream", &removed);
        caller.done("UntagResource", &by_arn(json!({ "TagKeys": ["b", "c"] })));
        let listed = caller.call("ListTagsForStream", &stream);
        assert_eq!(listed["Tags"], json!([tag("d", "4")]));

        let many: serde_json::Map<_, _> = (0..50).map(|i| (format!("k{i}"), json!("v"))).collect();
        let many = json!({ "StreamName": "logs", "Tags": many });
        caller.refused(
            "AddTagsToStream",
            &many,
            "InvalidArgumentException",
            "Failed to add tags to stream logs under account 000000000000 because a given stream \
             cannot have more than 10 tags associated with it.",
        );
        let nowhere = json!({ "StreamName": "nowhere", "Tags": { "%": "" } });
        caller.refused(
            "AddTagsToStream",
            &nowhere,
            "ResourceNotFoundException",
            "Stream nowhere under account 000000000000 not found.",
        );
    }
}

#[test]
fn retention_is_told_in_hours() {
    for encoding in ENCODINGS {
        let (_server, mut caller) = start(encoding, 0, &json!({}));
        let hours = |hours: u64| json!({ "StreamName": "logs", "RetentionPeriodHours": hours });
        caller.done("IncreaseStreamRetentionPeriod", &hours(48));
        assert_eq!(caller.summary()["RetentionPeriodHours"], 48);
        caller.done("IncreaseStreamRetentionPeriod", &hours(48));
        caller.refused(
            "IncreaseStreamRetentionPeriod",
            &hours(47),
            "InvalidArgumentException",
            "Requested retention period (47 hours) for stream logs can not be shorter than \
             existing retention period (48 hours). Use DecreaseRetentionPeriod API.",
        );
        caller.refused(
            "DecreaseStreamRetentionPeriod",
            &hours(49),
            "InvalidArgumentException",
            "Requested retention period (49 hours) for stream logs can not be longer than existing \
             retention period (48 hours). Use IncreaseRetentionPeriod API.",
        );
        caller.done("DecreaseStreamRetentionPeriod", &hours(24));
        assert_eq!(caller.summary()["RetentionPeriodHours"], 24);
        assert_eq!(caller.summary()["StreamStatus"], "ACTIVE");
    }
}

#[test]
fn changes_that_pass_through_updating_are_seen() {
    for encoding in ENCODINGS {
        let create = json!({ "ShardCount": 1 });
        let (_server, mut caller) = start(encoding, 60, &create);
        let mut change = |operation: &str, members: Value| {
            let mut members = members;
            members["StreamARN"] = json!(ARN);
            caller.done(operation, &members);
            assert_eq!(caller.summary()["StreamStatus"], "UPDATING", "{operation}");
            caller.refused(
                operation,
                &members,
                "ResourceInUseException",
                "Stream logs under account 000000000000 not ACTIVE, instead in state UPDATING",
            );
            caller.wait_active();
            caller.summary()
        };
        let mode = json!({ "StreamModeDetails": { "StreamMode": "ON_DEMAND" } });
        let found = change("UpdateStreamMode", mode);
        assert_eq!(found["StreamModeDetails"]["StreamMode"], "ON_DEMAND");
        let found = change("UpdateMaxRecordSize", json!({ "MaxRecordSizeInKiB": 2048 }));
        assert_eq!(found["MaxRecordSizeInKiB"], 2048);
        let strategy = json!({ "RecordDistributionStrategy": "AUTO" });
        let found = change("UpdateStreamRecordDistributionStrategy", strategy);
        assert_eq!(found["RecordDistributionStrategy"], "AUTO");
        let key = json!({ "EncryptionType": "KMS", "KeyId": "alias/a" });
        let found = change("StartStreamEncryption", key.clone());
        assert_eq!(found["EncryptionType"], "KMS");
        assert_eq!(found["KeyId"], "alias/a");
        let found = change("StopStreamEncryption", key);
        assert_eq!(found["EncryptionType"], "NONE");
        assert_eq!(found.get("KeyId"), None);
    }
}

#[test]
fn a_streams_settings_are_given_when_it_is_made() {
    let create = json!({
        "MaxRecordSizeInKiB": 4096,
        "RecordDistributionStrategy": "AUTO",
        "WarmThroughputMiBps": 12,
    });
    for encoding in ENCODINGS {
        let (_server, mut caller) = start(encoding, 0, &create);
        let found = caller.summary();
        assert_eq!(found["MaxRecordSizeInKiB"], 4096);
        assert_eq!(found["RecordDistributionStrategy"], "AUTO");
        let warm = json!({ "TargetMiBps": 12, "CurrentMiBps": 12 });
        assert_eq!(found["WarmThroughput"], warm);
        let changed = json!({ "StreamName": "logs", "WarmThroughputMiBps": 30 });
        let changed = caller.call("UpdateStreamWarmThroughput", &changed);
        let warm = json!({ "TargetMiBps": 30, "CurrentMiBps": 12 });
        assert_eq!(
            changed,
            json!({ "StreamName": "logs", "StreamARN": ARN, "WarmThroughput": warm })
        );
        let metered = json!({
            "StreamName": "metered", "ShardCount": 1, "WarmThroughputMiBps": 1,
        });
        caller.refused(
            "CreateStream",
            &metered,
            "ValidationException",
            "Request is invalid. Stream metered under account 000000000000 is in Provisioned mode.",
        );
        let tagged = json!({ "StreamName": "tagged", "Tags": { "aws:a": "b" } });
        let (status, _) = caller.ask("CreateStream", &tagged);
        assert_eq!(status, 400);
    }
}

#[test]
fn metrics_are_told_before_and_after() {
    for encoding in ENCODINGS {
        let (_server, mut caller) = start(encoding, 0, &json!({}));
        let metrics = |names: &[&str]| json!({ "StreamName": "logs", "ShardLevelMetrics": names });
        let enabled = metrics(&["OutgoingBytes", "IncomingBytes"]);
        let answer = caller.call("EnableEnhancedMonitoring", &enabled);
        assert_eq!(
            answer,
            json!({
                "StreamName": "logs",
                "StreamARN": ARN,
                "CurrentShardLevelMetrics": [],
                "DesiredShardLevelMetrics": ["IncomingBytes", "OutgoingBytes"],
            })
        );
        let answer = caller.call("EnableEnhancedMonitoring", &metrics(&["ALL"]));
        let all = answer["DesiredShardLevelMetrics"].as_array().unwrap();
        assert_eq!(all.len(), 7);
        let answer = caller.call("DisableEnhancedMonitoring", &metrics(&["IncomingBytes"]));
        assert_eq!(
            answer["CurrentShardLevelMetrics"].as_array().unwrap().len(),
            7
        );
        let shown = &caller.summary()["EnhancedMonitoring"];
        assert_eq!(shown, &json!([{ "ShardLevelMetrics": &all[1..] }]));
    }
}

#[test]
fn policies_of_streams_and_consumers() {
    for encoding in ENCODINGS {
        let (_server, mut caller) = start(encoding, 0, &json!({}));
        let consumer = json!({ "StreamARN": ARN, "ConsumerName": "app" });
        let registered = caller.call("RegisterStreamConsumer", &consumer);
        let consumer = registered["Consumer"]["ConsumerARN"].as_str().unwrap();
        for arn in [ARN, consumer] {
            let resource = json!({ "ResourceARN": arn });
            let found = caller.call("GetResourcePolicy", &resource);
            assert_eq!(found, json!({ "Policy": "{}" }));
            let absent = format!("No resource policy found for resource ARN {arn}");
            let kind = "ResourceNotFoundException";
            caller.refused("DeleteResourcePolicy", &resource, kind, &absent);
            let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
            let put = json!({ "ResourceARN": arn, "Policy": policy });
            caller.done("PutResourcePolicy", &put);
            let found = caller.call("GetResourcePolicy", &resource);
            assert_eq!(found, json!({ "Policy": policy }));
            caller.done("DeleteResourcePolicy", &resource);
            for wrong in ["", "[]", "{", "nonsense"] {
                let put = json!({ "ResourceARN": arn, "Policy": wrong });
                caller.refused(
                    "PutResourcePolicy",
                    &put,
                    "InvalidArgumentException",
                    "Policy is not a JSON object.",
                );
            }
        }
    }
}

#[test]
fn consumers_come_and_go() {
    for encoding in ENCODINGS {
        let (_server, mut caller) = start(encoding, 40, &json!({}));
        let by_name = json!({ "StreamARN": ARN, "ConsumerName": "app" });
        caller.refused(
            "DescribeStreamConsumer",
            &by_name,
            "ResourceNotFoundException",
            "Consumer app, account 000000000000 not found.",
        );
        let mut register = by_name.clone();
        register["Tags"] = json!({ "a": "b" });
        let registered = caller.call("RegisterStreamConsumer", &register);
        let registered = &registered["Consumer"];
        assert_eq!(registered["ConsumerName"], "app");
        assert_eq!(registered["ConsumerStatus"], "CREATING");
        let arn = registered["ConsumerARN"].as_str().unwrap();
        let created = seconds(&registered["ConsumerCreationTimestamp"]);
        assert_eq!(arn, format!("{ARN}/consumer/app:{}", created as u64));
        caller.refused(
            "RegisterStreamConsumer",
            &register,
            "ResourceInUseException",
            "Consumer app under stream logs already exists for account 000000000000.",
        );
        let by_arn = json!({ "ConsumerARN": arn });
        let active = loop {
            let found = caller.call("DescribeStreamConsumer", &by_arn);
            let found = found["ConsumerDescription"].clone();
            if found["ConsumerStatus"] == "ACTIVE" {
                break found;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        assert_eq!(active["StreamARN"], ARN);
        assert_eq!(active["ConsumerARN"], arn);
        let tags = caller.call("ListTagsForResource", &json!({ "ResourceARN": arn }));
        assert_eq!(tags, json!({ "Tags": [tag("a", "b")] }));
        assert_eq!(caller.summary()["ConsumerCount"], 1);
        let (status, kept) = caller.ask("DeleteStream", &json!({ "StreamARN": ARN }));
        assert_eq!(
            (status, kept["__type"].as_str()),
            (400, Some("ResourceInUseException"))
        );

        let other = json!({ "ConsumerARN": format!("{ARN}/consumer/app:1") });
        caller.refused(
            "DeregisterStreamConsumer",
            &other,
            "ResourceNotFoundException",
            "Consumer app, account 000000000000 not found.",
        );
        caller.done("DeregisterStreamConsumer", &by_arn);
        let leaving = caller.call("DescribeStreamConsumer", &by_arn);
        assert_eq!(leaving["ConsumerDescription"]["ConsumerStatus"], "DELETING");
        while caller.ask("DescribeStreamConsumer", &by_arn).0 == 200 {
            std::thread::sleep(Duration::from_millis(2));
        }
        let listed = caller.call("ListStreamConsumers", &json!({ "StreamARN": ARN }));
        assert_eq!(listed, json!({ "Consumers": [] }));
    }
}

#[test]
fn consumers_are_listed_in_pages_up_to_their_limit() {
    for encoding in ENCODINGS {
        let (_server, mut caller) = start(encoding, 0, &json!({}));
        for i in 0..20 {
            let consumer = json!({ "StreamARN": ARN, "ConsumerName": format!("c{i:02}") });
            caller.call("RegisterStreamConsumer", &consumer);
        }
        let more = json!({ "StreamARN": ARN, "ConsumerName": "more" });
        let (status, refused) = caller.ask("RegisterStreamConsumer", &more);
        assert_eq!(status, 400);
        assert_eq!(refused["__type"], "LimitExceededException");
        let (mut names, mut token) = (Vec::new(), Value::Null);
        loop {
            let page = json!({ "StreamARN": ARN, "MaxResults": 8, "NextToken": token });
            let page = caller.call("ListStreamConsumers", &page);
            let found = page["Consumers"].as_array().unwrap().clone();
            names.extend(
                found
                    .iter()
                    .map(|c| c["ConsumerName"].as_str().unwrap().to_owned()),
            );
            token = page["NextToken"].clone();
            if token.is_null() {
                break;
            }
            let both = json!({
                "StreamARN": ARN, "NextToken": token, "StreamCreationTimestamp": 1,
            });
            caller.refused(
                "ListStreamConsumers",
                &both,
                "InvalidArgumentException",
                "NextToken and StreamCreationTimestamp cannot be provided together.",
            );
        }
        let expected: Vec<_> = (0..20).map(|i| format!("c{i:02}")).collect();
        assert_eq!(names, expected);
        // A commitment allows more.
        let committed = json!({ "MinimumThroughputBillingCommitment": { "Status": "ENABLED" } });
        caller.call("UpdateAccountSettings", &committed);
        caller.call("RegisterStreamConsumer", &more);
        let deleted = json!({ "StreamARN": ARN, "EnforceConsumerDeletion": true });
        caller.done("DeleteStream", &deleted);
    }
}

#[test]
fn the_account_and_its_limits() {
    for encoding in ENCODINGS {
        let (_server, mut caller) = start(encoding, 0, &json!({ "ShardCount": 3 }));
        let status = |answer: &Value| answer["MinimumThroughputBillingCommitment"].clone();
        let found = caller.call("DescribeAccountSettings", &json!({}));
        assert_eq!(status(&found), json!({ "Status": "DISABLED" }));
        let set =
            |status: &str| json!({ "MinimumThroughputBillingCommitment": { "Status": status } });
        let made = caller.call("UpdateAccountSettings", &set("ENABLED"));
        assert_eq!(status(&made)["Status"], "ENABLED");
        assert!(seconds(&status(&made)["StartedAt"]) > 1e9);
        let found = caller.call("DescribeAccountSettings", &json!({}));
        assert_eq!(found, made);
        let ended = caller.call("UpdateAccountSettings", &set("DISABLED"));
        assert!(seconds(&status(&ended)["EndedAt"]) > 1e9);

        let limits = caller.call("DescribeLimits", &json!({}));
        assert_eq!(limits["OpenShardCount"], 3);
        assert_eq!(limits["OnDemandStreamCount"], 0);
        assert!(limits["ShardLimit"].as_u64().unwrap() >= 3);
        assert!(limits["OnDemandStreamCountLimit"].as_u64().is_some());
    }
}
