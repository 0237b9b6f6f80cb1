//! The README's session with the real AWS CLI, each field checked.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::harness::{Ran, Setup, Victim, aws, run, temporary, wait_for};

const PATIENCE: Duration = Duration::from_mins(1);
const REGION: &str = "eu-central-1";
const HASH_KEY_LAST: &str = "340282366920938463463374607431768211455";

struct Session {
    victim: Victim,
}

impl Session {
    fn ask(&self, operation: &str, arguments: &[&str]) -> Ran {
        let (mut command, is_second) = aws(REGION);
        let endpoint = format!("http://{}", self.victim.http);
        command.args([
            "--endpoint-url",
            &endpoint,
            "--output",
            "json",
            "kinesis",
            operation,
        ]);
        command.args(arguments);
        if is_second && arguments.contains(&"--data") {
            command.args(["--cli-binary-format", "raw-in-base64-out"]);
        }
        run(&mut command, [], PATIENCE)
    }

    #[track_caller]
    fn get(&self, operation: &str, arguments: &[&str]) -> Value {
        let ran = self.ask(operation, arguments).succeeded();
        serde_json::from_slice(&ran.stdout)
            .unwrap_or_else(|error| panic!("{operation}: {error}: {}", ran.text()))
    }

    /// The operation fails, and the CLI names this error.
    #[track_caller]
    fn refused(&self, operation: &str, arguments: &[&str], error: &str, said: &str) {
        let ran = self.ask(operation, arguments);
        assert!(
            !matches!(ran.code, None | Some(0)),
            "{operation}: {}",
            ran.text()
        );
        let expected = format!("An error occurred ({error}) when calling the");
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
}

#[track_caller]
fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a string: {value}"))
}

#[track_caller]
fn is_sequence_number(value: &Value) {
    let number = text(value);
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    assert!(
        digits && number.len() == 56 && number.starts_with("49"),
        "{number}"
    );
}

/// Seconds since 1970 that are now, as a number (version 1 of the CLI) or as text (version 2).
#[track_caller]
fn is_about_now(value: &Value) {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    match value.as_f64() {
        Some(seconds) => {
            let age = now.as_secs_f64() - seconds;
            assert!((-1.0..120.0).contains(&age), "{value} is {age} s ago");
        }
        None => assert!(text(value).starts_with("20"), "{value}"),
    }
}

#[test]
fn the_whole_session_with_the_real_cli() {
    let folder = temporary("aws-cli");
    let session = Session {
        victim: Setup::new(folder.path()).start(),
    };
    let stream = ["--stream-name", "test"];

    // Nothing is there.
    let list = session.get("list-streams", &[]);
    assert_eq!(list["StreamNames"], json!([]));
    session.refused(
        "describe-stream",
        &stream,
        "ResourceNotFoundException",
        "test",
    );

    // create-stream says nothing; the stream becomes ACTIVE.
    let created = [&stream[..], &["--shard-count", "1"]].concat();
    assert_eq!(
        session
            .ask("create-stream", &created)
            .succeeded()
            .text()
            .trim(),
        ""
    );
    let description = wait_for("ACTIVE", PATIENCE, || {
        // The CLI's own paging would drop HasMoreShards.
        let arguments = [&stream[..], &["--no-paginate"]].concat();
        let described = session.get("describe-stream", &arguments);
        let description = described["StreamDescription"].clone();
        (description["StreamStatus"] == "ACTIVE").then_some(description)
    });
    session.refused(
        "create-stream",
        &created,
        "ResourceInUseException",
        "already exists",
    );

    let arn = "arn:aws:kinesis:eu-central-1:000000000000:stream/test";
    assert_eq!(description["StreamName"], "test");
    assert_eq!(description["StreamARN"], arn);
    assert_eq!(description["RetentionPeriodHours"], 24);
    assert_eq!(description["HasMoreShards"], false);
    assert_eq!(description["EncryptionType"], "NONE");
    assert_eq!(
        description["EnhancedMonitoring"],
        json!([{ "ShardLevelMetrics": [] }])
    );
    assert_eq!(
        description["StreamModeDetails"],
        json!({ "StreamMode": "PROVISIONED" })
    );
    is_about_now(&description["StreamCreationTimestamp"]);
    let shards = description["Shards"].as_array().expect("a list of shards");
    assert_eq!(shards.len(), 1);
    let shard = &shards[0];
    assert_eq!(shard["ShardId"], "shardId-000000000000");
    let range = json!({ "StartingHashKey": "0", "EndingHashKey": HASH_KEY_LAST });
    assert_eq!(shard["HashKeyRange"], range);
    is_sequence_number(&shard["SequenceNumberRange"]["StartingSequenceNumber"]);
    assert!(
        shard["SequenceNumberRange"]
            .get("EndingSequenceNumber")
            .is_none()
    );
    assert!(shard.get("ParentShardId").is_none());

    let list = session.get("list-streams", &["--no-paginate"]);
    assert_eq!(list["StreamNames"], json!(["test"]));
    assert_eq!(list["HasMoreStreams"], false);
    let summary = session.get("describe-stream-summary", &stream);
    let summary = &summary["StreamDescriptionSummary"];
    assert_eq!(summary["OpenShardCount"], 1);
    assert_eq!(summary["StreamStatus"], "ACTIVE");
    assert_eq!(summary["StreamARN"], arn);
    assert_eq!(
        session.get("list-shards", &stream)["Shards"],
        description["Shards"]
    );

    // A record in.
    let data = ["--data", "happy streaming", "--partition-key", "A"];
    let put = session.get("put-record", &[&stream[..], &data].concat());
    assert_eq!(put["ShardId"], "shardId-000000000000");
    is_sequence_number(&put["SequenceNumber"]);
    let starting = &shard["SequenceNumberRange"]["StartingSequenceNumber"];
    assert!(
        text(&put["SequenceNumber"]) > text(starting),
        "numbers rise"
    );
    let put_again = session.get("put-record", &[&stream[..], &data].concat());
    assert!(text(&put_again["SequenceNumber"]) > text(&put["SequenceNumber"]));

    // And out.
    let from = [
        "--shard-id",
        "shardId-000000000000",
        "--shard-iterator-type",
        "TRIM_HORIZON",
    ];
    let iterator = session.get("get-shard-iterator", &[&stream[..], &from].concat());
    let iterator = text(&iterator["ShardIterator"]).to_owned();
    let one = ["--shard-iterator", &iterator, "--limit", "1"];
    let first = session.get("get-records", &one);
    let records = first["Records"].as_array().expect("a list of records");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["Data"], "aGFwcHkgc3RyZWFtaW5n");
    assert_eq!(records[0]["PartitionKey"], "A");
    assert_eq!(records[0]["SequenceNumber"], put["SequenceNumber"]);
    is_about_now(&records[0]["ApproximateArrivalTimestamp"]);
    let next = text(&first["NextShardIterator"]).to_owned();
    assert_ne!(next, iterator);
    let second = session.get("get-records", &["--shard-iterator", &next]);
    assert_eq!(
        second["Records"][0]["SequenceNumber"],
        put_again["SequenceNumber"]
    );
    assert_eq!(second["MillisBehindLatest"], 0);
    let next = text(&second["NextShardIterator"]).to_owned();
    let third = session.get("get-records", &["--shard-iterator", &next]);
    assert_eq!(third["Records"], json!([]));
    assert_eq!(third["MillisBehindLatest"], 0);
    assert!(!text(&third["NextShardIterator"]).is_empty());

    // What cannot be.
    let garbage = ["--shard-iterator", "AAAAAAAAAAHgarbage"];
    session.refused(
        "get-records",
        &garbage,
        "InvalidArgumentException",
        "Invalid ShardIterator.",
    );
    let nowhere = [
        "--stream-name",
        "nowhere",
        "--data",
        "x",
        "--partition-key",
        "A",
    ];
    session.refused(
        "put-record",
        &nowhere,
        "ResourceNotFoundException",
        "nowhere",
    );

    // And away.
    assert_eq!(
        session
            .ask("delete-stream", &stream)
            .succeeded()
            .text()
            .trim(),
        ""
    );
    wait_for("the end of the stream", PATIENCE, || {
        let list = session.get("list-streams", &[]);
        (list["StreamNames"] == json!([])).then_some(())
    });
    session.refused(
        "describe-stream",
        &stream,
        "ResourceNotFoundException",
        "test",
    );
    session.victim.stop();
}
