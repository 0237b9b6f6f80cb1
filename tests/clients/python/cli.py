"""The AWS CLI: every command that `aws kinesis` has, in sessions as people type them.

The CLI's own driver runs in this process, since starting an interpreter two hundred times would
cost more than all the calls; `gateway/aws_cli.rs` starts the real program.
"""

import base64
import contextlib
import io
import json
import sys
import time

import awscli.clidriver
from awscli.botocore import xform_name

from checks import ACCOUNT, ENDPOINT, HASH_KEYS, REGION, equal, eventually, holds, run, shown

driver = awscli.clidriver.create_clidriver()
used = set()


def aws(operation, *arguments):
    """Exit code, stdout and stderr of one command."""
    used.add(operation)
    said, complained = io.StringIO(), io.StringIO()
    command = ["--endpoint-url", ENDPOINT, "--output", "json", "kinesis", operation]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        code = driver.main(command + [str(argument) for argument in arguments])
    return code, said.getvalue(), complained.getvalue()


def ask(operation, *arguments):
    """The answer of a command that has one."""
    code, said, complained = aws(operation, *arguments)
    equal(code, 0, f"{operation} {arguments}: {complained}")
    return json.loads(said)


def do(operation, *arguments):
    """A command whose success says nothing."""
    code, said, complained = aws(operation, *arguments)
    equal((code, said), (0, ""), f"{operation} {arguments}: {complained}")


def refused(error, text, operation, *arguments):
    code, said, complained = aws(operation, *arguments)
    holds(code not in (0, None), f"{operation} fails", said)
    # The text ends the line.
    call = "".join(word.capitalize() for word in operation.split("-"))
    expected = f"An error occurred ({error}) when calling the {call} operation"
    holds(expected in complained, f"holds {expected!r}", complained)
    holds(text in complained, f"holds {text!r}", complained)


def arn(name):
    return f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}"


def shard_id(index):
    return f"shardId-{index:012}"


def summary(name):
    return ask("describe-stream-summary", "--stream-name", name)["StreamDescriptionSummary"]


def active(name):
    return eventually(
        f"{name} ACTIVE", lambda: (found := summary(name))["StreamStatus"] == "ACTIVE" and found
    )


def create(name, *more):
    do("create-stream", "--stream-name", name, *more)
    return active(name)


def about_now(seconds):
    holds(abs(time.time() - seconds) < 60, "a time about now", seconds)


def create_describe_list_delete():
    do("create-stream", "--stream-name", "first", "--shard-count", 2)
    do("wait", "stream-exists", "--stream-name", "first")
    # Put together from pages, the CLI shows fewer members.
    found = ask("describe-stream", "--stream-name", "first")["StreamDescription"]
    equal((found["StreamARN"], len(found["Shards"])), (arn("first"), 2))
    found = ask("describe-stream", "--stream-name", "first", "--no-paginate")["StreamDescription"]
    about_now(found.pop("StreamCreationTimestamp"))
    shards = found.pop("Shards")
    for member in ("StreamId", "WarmThroughput", "MaxRecordSizeInKiB"):
        found.pop(member, None)
    equal(
        found,
        {
            "StreamName": "first", "StreamARN": arn("first"), "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": "PROVISIONED"}, "HasMoreShards": False,
            "RetentionPeriodHours": 24, "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
            "EncryptionType": "NONE",
        },
    )
    equal([shard["ShardId"] for shard in shards], [shard_id(0), shard_id(1)])
    equal(shards[1]["HashKeyRange"], {
        "StartingHashKey": str(HASH_KEYS // 2), "EndingHashKey": str(HASH_KEYS - 1)})
    equal(set(shards[0]), {"ShardId", "HashKeyRange", "SequenceNumberRange"})
    equal(ask("list-shards", "--stream-name", "first")["Shards"], shards)
    equal(ask("list-shards", "--stream-arn", arn("first"))["Shards"], shards)
    found = summary("first")
    about_now(found["StreamCreationTimestamp"])
    equal((found["OpenShardCount"], found["ConsumerCount"]), (2, 0))
    streams = ask("list-streams")
    equal(streams["StreamNames"], ["first"])
    equal(streams["StreamSummaries"][0]["StreamARN"], arn("first"))
    equal(ask("list-streams", "--no-paginate", "--limit", 1)["HasMoreStreams"], False)
    refused("ResourceInUseException", f"Stream first under account {ACCOUNT} already exists.",
            "create-stream", "--stream-name", "first", "--shard-count", 1)
    do("delete-stream", "--stream-name", "first")
    do("wait", "stream-not-exists", "--stream-name", "first")
    refused("ResourceNotFoundException", f"Stream first under account {ACCOUNT} not found.",
            "describe-stream", "--stream-name", "first")
    refused("ResourceNotFoundException", "not found", "delete-stream", "--stream-name", "first")
    refused("ValidationException", "Member must satisfy regular expression pattern",
            "create-stream", "--stream-name", "a b", "--shard-count", 1)


def put_and_get():
    create("data", "--stream-mode-details", "StreamMode=ON_DEMAND")
    equal(summary("data")["OpenShardCount"], 4)
    put = ask("put-record", "--stream-name", "data", "--partition-key", "A", "--data", "one")
    equal(set(put), {"ShardId", "SequenceNumber"})
    records = json.dumps([
        {"Data": "two", "PartitionKey": "A"},
        {"Data": "three", "PartitionKey": "x", "ExplicitHashKey": str(HASH_KEYS - 1)},
    ])
    batch = ask("put-records", "--stream-name", "data", "--records", records)
    equal((batch["FailedRecordCount"], len(batch["Records"])), (0, 2))
    equal([record["ShardId"] for record in batch["Records"]], [put["ShardId"], shard_id(3)])
    ordered = ask("put-record", "--stream-arn", arn("data"), "--partition-key", "A", "--data", "four",
                  "--sequence-number-for-ordering", batch["Records"][0]["SequenceNumber"])
    at = ask("get-shard-iterator", "--stream-name", "data", "--shard-id", put["ShardId"],
             "--shard-iterator-type", "TRIM_HORIZON")["ShardIterator"]
    first = ask("get-records", "--shard-iterator", at, "--limit", 1)
    rest = ask("get-records", "--shard-iterator", first["NextShardIterator"])
    found = first["Records"] + rest["Records"]
    equal([base64.b64decode(record["Data"]) for record in found], [b"one", b"two", b"four"])
    equal([record["SequenceNumber"] for record in found], [
        put["SequenceNumber"], batch["Records"][0]["SequenceNumber"], ordered["SequenceNumber"]])
    for record in found:
        equal(set(record), {"SequenceNumber", "ApproximateArrivalTimestamp", "Data", "PartitionKey"})
        about_now(record["ApproximateArrivalTimestamp"])
    equal(rest["MillisBehindLatest"], 0)
    for kind, more, expected in (
        ("AT_SEQUENCE_NUMBER", ["--starting-sequence-number", found[1]["SequenceNumber"]], 2),
        ("AFTER_SEQUENCE_NUMBER", ["--starting-sequence-number", found[1]["SequenceNumber"]], 1),
        ("AT_TIMESTAMP", ["--timestamp", "2020-01-01T00:00:00Z"], 3),
        ("LATEST", [], 0),
    ):
        at = ask("get-shard-iterator", "--stream-name", "data", "--shard-id", put["ShardId"],
                 "--shard-iterator-type", kind, *more)["ShardIterator"]
        equal(len(ask("get-records", "--shard-iterator", at)["Records"]), expected, kind)
    refused("InvalidArgumentException", "Invalid ShardIterator.", "get-records", "--shard-iterator", "AAA=")
    refused("ResourceNotFoundException", f"Stream nowhere under account {ACCOUNT} not found.",
            "put-record", "--stream-name", "nowhere", "--partition-key", "A", "--data", "x")
    refused("ResourceNotFoundException", "does not exist", "get-shard-iterator", "--stream-name", "nowhere",
            "--shard-id", shard_id(0), "--shard-iterator-type", "LATEST")


def tags():
    create("tagged", "--shard-count", 1, "--tags", "made=here")
    name = ["--stream-name", "tagged"]
    do("add-tags-to-stream", *name, "--tags", "a=1,b=two words,c=")
    tags = {"a": "1", "b": "two words", "c": "", "made": "here"}
    as_list = [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
    equal(ask("list-tags-for-stream", *name), {"Tags": as_list, "HasMoreTags": False})
    page = ask("list-tags-for-stream", *name, "--limit", 2, "--exclusive-start-tag-key", "a")
    equal(page, {"Tags": as_list[1:3], "HasMoreTags": True})
    # The same tags, by ARN.
    equal(ask("list-tags-for-resource", "--resource-arn", arn("tagged"))["Tags"], as_list)
    do("tag-resource", "--resource-arn", arn("tagged"), "--tags", "a=9,d=4")
    do("untag-resource", "--resource-arn", arn("tagged"), "--tag-keys", "b", "unknown")
    do("remove-tags-from-stream", *name, "--tag-keys", "c", "made")
    equal(ask("list-tags-for-stream", *name)["Tags"],
          [{"Key": "a", "Value": "9"}, {"Key": "d", "Value": "4"}])
    refused("InvalidArgumentException", "", "add-tags-to-stream", *name, "--tags", '{"bad!": "x"}')
    refused("InvalidArgumentException", "", "add-tags-to-stream", *name, "--tags", '{"aws:x": "x"}')
    many = json.dumps({f"key{i}": "v" for i in range(49)})
    refused("InvalidArgumentException", "because a given stream cannot have more than 10 tags associated with it.",
            "add-tags-to-stream", *name, "--tags", many)
    refused("ResourceNotFoundException", "", "list-tags-for-stream", "--stream-name", "nowhere")


def retention():
    create("kept", "--shard-count", 1)
    name = ["--stream-name", "kept"]

    def hours():
        return summary("kept")["RetentionPeriodHours"]

    do("increase-stream-retention-period", *name, "--retention-period-hours", 48)
    equal(hours(), 48)
    do("increase-stream-retention-period", *name, "--retention-period-hours", 48)
    do("decrease-stream-retention-period", *name, "--retention-period-hours", 25)
    equal(hours(), 25)
    refused("InvalidArgumentException",
            "Requested retention period (24 hours) for stream kept can not be shorter than existing "
            "retention period (25 hours). Use DecreaseRetentionPeriod API.",
            "increase-stream-retention-period", *name, "--retention-period-hours", 24)
    refused("InvalidArgumentException",
            "Requested retention period (26 hours) for stream kept can not be longer than existing "
            "retention period (25 hours). Use IncreaseRetentionPeriod API.",
            "decrease-stream-retention-period", *name, "--retention-period-hours", 26)
    refused("InvalidArgumentException",
            "Minimum allowed retention period is 24 hours. Requested retention period (23 hours) is too short.",
            "decrease-stream-retention-period", *name, "--retention-period-hours", 23)
    refused("InvalidArgumentException",
            "Maximum allowed retention period is 8760 hours. Requested retention period (8761 hours) is too long.",
            "increase-stream-retention-period", *name, "--retention-period-hours", 8761)
    do("increase-stream-retention-period", *name, "--retention-period-hours", 8760)
    equal(hours(), 8760)


def split_merge_and_count():
    create("shards", "--shard-count", 1)
    name = ["--stream-name", "shards"]
    middle = str(HASH_KEYS // 2)
    do("split-shard", *name, "--shard-to-split", shard_id(0), "--new-starting-hash-key", middle)
    active("shards")
    shards = ask("list-shards", *name)["Shards"]
    equal([shard.get("ParentShardId") for shard in shards], [None, shard_id(0), shard_id(0)])
    holds("EndingSequenceNumber" in shards[0]["SequenceNumberRange"], "the parent has ended", shards[0])
    equal(shards[2]["HashKeyRange"]["StartingHashKey"], middle)
    refused("InvalidArgumentException",
            f"Shard {shard_id(0)} in stream shards under account {ACCOUNT} has already been merged or "
            "split, and thus is not eligible for merging or splitting.",
            "split-shard", *name, "--shard-to-split", shard_id(0), "--new-starting-hash-key", middle)
    refused("InvalidArgumentException",
            f"NewStartingHashKey 1 used in SplitShard() on shard {shard_id(1)} in stream shards under account "
            f"{ACCOUNT} is not both greater than one plus the shard's StartingHashKey 0 and less than the "
            f"shard's EndingHashKey {HASH_KEYS // 2 - 1}.",
            "split-shard", *name, "--shard-to-split", shard_id(1), "--new-starting-hash-key", 1)
    refused("ResourceNotFoundException",
            f"Could not find shard {shard_id(9)} in stream shards under account {ACCOUNT}.",
            "split-shard", *name, "--shard-to-split", shard_id(9), "--new-starting-hash-key", middle)
    do("merge-shards", *name, "--shard-to-merge", shard_id(1), "--adjacent-shard-to-merge", shard_id(2))
    active("shards")
    merged = ask("list-shards", *name)["Shards"][3]
    equal((merged["ParentShardId"], merged["AdjacentParentShardId"]), (shard_id(1), shard_id(2)))
    equal(summary("shards")["OpenShardCount"], 1)
    updated = ask("update-shard-count", *name, "--target-shard-count", 2, "--scaling-type", "UNIFORM_SCALING")
    equal(updated, {"StreamName": "shards", "StreamARN": arn("shards"),
                    "CurrentShardCount": 1, "TargetShardCount": 2})
    active("shards")
    shard_filter = ["--shard-filter", "Type=AT_LATEST"]
    latest = ask("list-shards", *name, *shard_filter)["Shards"]
    equal([shard["HashKeyRange"]["StartingHashKey"] for shard in latest], ["0", middle])
    updated = ask("update-shard-count", "--stream-arn", arn("shards"), "--target-shard-count", 3,
                  "--scaling-type", "UNIFORM_SCALING")
    equal((updated["StreamName"], updated["CurrentShardCount"]), ("shards", 2))
    active("shards")
    latest = ask("list-shards", *name, *shard_filter)["Shards"]
    equal(sorted(int(shard["HashKeyRange"]["StartingHashKey"]) for shard in latest),
          [i * (HASH_KEYS // 3) for i in range(3)], "uniform thirds")
    refused("InvalidArgumentException", "UpdateShardCount cannot scale up over double your current open shard count.",
            "update-shard-count", *name, "--target-shard-count", 7, "--scaling-type", "UNIFORM_SCALING")
    refused("InvalidArgumentException", "UpdateShardCount cannot scale down",
            "update-shard-count", *name, "--target-shard-count", 1, "--scaling-type", "UNIFORM_SCALING")
    create("on-demand", "--stream-mode-details", "StreamMode=ON_DEMAND")
    for command in (
        ["split-shard", "--shard-to-split", shard_id(0), "--new-starting-hash-key", "5"],
        ["merge-shards", "--shard-to-merge", shard_id(0), "--adjacent-shard-to-merge", shard_id(1)],
        ["update-shard-count", "--target-shard-count", "8", "--scaling-type", "UNIFORM_SCALING"],
    ):
        refused("ValidationException",
                f"Request is invalid. Stream on-demand under account {ACCOUNT} is in On-Demand mode.",
                command[0], "--stream-name", "on-demand", *command[1:])


def consumers():
    create("fanned", "--shard-count", 1)
    stream = ["--stream-arn", arn("fanned")]
    made = ask("register-stream-consumer", *stream, "--consumer-name", "reader", "--tags", "team=a")["Consumer"]
    created = made["ConsumerCreationTimestamp"]
    equal(made["ConsumerARN"], f"{arn('fanned')}/consumer/reader:{int(created)}")
    equal((made["ConsumerName"], made["ConsumerStatus"]), ("reader", "CREATING"))

    def look(*naming):
        return ask("describe-stream-consumer", *naming)["ConsumerDescription"]

    named = [*stream, "--consumer-name", "reader"]
    found = eventually("the consumer ACTIVE", lambda: (c := look(*named))["ConsumerStatus"] == "ACTIVE" and c)
    equal(found["StreamARN"], arn("fanned"))
    equal(look("--consumer-arn", made["ConsumerARN"]), found)
    listed = ask("list-stream-consumers", *stream)["Consumers"]
    equal([consumer["ConsumerName"] for consumer in listed], ["reader"])
    equal(summary("fanned")["ConsumerCount"], 1)
    equal(ask("list-tags-for-resource", "--resource-arn", made["ConsumerARN"])["Tags"],
          [{"Key": "team", "Value": "a"}])
    refused("ResourceInUseException", "", "register-stream-consumer", *named)
    refused("ResourceInUseException", "", "delete-stream", "--stream-name", "fanned")
    refused("ResourceNotFoundException", f"Consumer nobody, account {ACCOUNT} not found.",
            "describe-stream-consumer", *stream, "--consumer-name", "nobody")
    do("deregister-stream-consumer", "--consumer-arn", made["ConsumerARN"])
    eventually("its end", lambda: summary("fanned")["ConsumerCount"] == 0)
    equal(ask("list-stream-consumers", *stream), {"Consumers": []})
    for i in range(5):
        ask("register-stream-consumer", *stream, "--consumer-name", f"page-{i}")
    listed = ask("list-stream-consumers", *stream, "--page-size", 2)["Consumers"]
    equal(sorted(consumer["ConsumerName"] for consumer in listed), [f"page-{i}" for i in range(5)])
    do("delete-stream", "--stream-name", "fanned", "--enforce-consumer-deletion")
    do("wait", "stream-not-exists", "--stream-name", "fanned")


def modes_and_throughput():
    create("modal", "--shard-count", 1)
    do("update-stream-mode", "--stream-arn", arn("modal"), "--stream-mode-details", "StreamMode=ON_DEMAND")
    equal(active("modal")["StreamModeDetails"], {"StreamMode": "ON_DEMAND"})
    warm = ask("update-stream-warm-throughput", "--stream-name", "modal", "--warm-throughput-mi-bps", 8)
    equal((warm["StreamName"], warm["StreamARN"]), ("modal", arn("modal")))
    equal(warm["WarmThroughput"]["TargetMiBps"], 8)
    equal(active("modal")["WarmThroughput"]["TargetMiBps"], 8)
    do("update-stream-mode", "--stream-arn", arn("modal"), "--stream-mode-details", "StreamMode=PROVISIONED")
    equal(active("modal")["StreamModeDetails"], {"StreamMode": "PROVISIONED"})


def encryption():
    create("secret", "--shard-count", 1)
    name, key = ["--stream-name", "secret"], "alias/aws/kinesis"
    do("start-stream-encryption", *name, "--encryption-type", "KMS", "--key-id", key)
    found = active("secret")
    equal((found["EncryptionType"], found["KeyId"]), ("KMS", key))
    put = ask("put-record", *name, "--partition-key", "A", "--data", "x")
    equal(put["EncryptionType"], "KMS")
    at = ask("get-shard-iterator", *name, "--shard-id", shard_id(0), "--shard-iterator-type", "TRIM_HORIZON")
    equal(ask("get-records", "--shard-iterator", at["ShardIterator"])["Records"][0]["EncryptionType"], "KMS")
    do("stop-stream-encryption", *name, "--encryption-type", "KMS", "--key-id", key)
    found = active("secret")
    equal((found["EncryptionType"], found.get("KeyId")), ("NONE", None))


def monitoring():
    create("watched", "--shard-count", 1)
    name = ["--stream-name", "watched"]
    every = [
        "IncomingBytes", "IncomingRecords", "OutgoingBytes", "OutgoingRecords",
        "WriteProvisionedThroughputExceeded", "ReadProvisionedThroughputExceeded",
        "IteratorAgeMilliseconds",
    ]
    enabled = ask("enable-enhanced-monitoring", *name, "--shard-level-metrics", "IncomingBytes")
    equal(enabled, {"StreamName": "watched", "StreamARN": arn("watched"),
                    "CurrentShardLevelMetrics": [], "DesiredShardLevelMetrics": ["IncomingBytes"]})
    enabled = ask("enable-enhanced-monitoring", *name, "--shard-level-metrics", "ALL")
    equal(sorted(enabled["DesiredShardLevelMetrics"]), sorted(every))
    disabled = ask("disable-enhanced-monitoring", *name, "--shard-level-metrics", *every[1:])
    equal(sorted(disabled["CurrentShardLevelMetrics"]), sorted(every))
    equal(disabled["DesiredShardLevelMetrics"], ["IncomingBytes"])
    equal(summary("watched")["EnhancedMonitoring"], [{"ShardLevelMetrics": ["IncomingBytes"]}])
    disabled = ask("disable-enhanced-monitoring", *name, "--shard-level-metrics", "ALL")
    equal(disabled["DesiredShardLevelMetrics"], [])


def policies():
    create("guarded", "--shard-count", 1)
    name = ["--resource-arn", arn("guarded")]
    policy = json.dumps({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": "111122223333"},
            "Action": "kinesis:PutRecord", "Resource": arn("guarded"),
        }],
    })
    equal(ask("get-resource-policy", *name)["Policy"], "{}")
    do("put-resource-policy", *name, "--policy", policy)
    equal(json.loads(ask("get-resource-policy", *name)["Policy"]), json.loads(policy))
    do("delete-resource-policy", *name)
    equal(ask("get-resource-policy", *name)["Policy"], "{}")
    refused("ResourceNotFoundException", f"No resource policy found for resource ARN {arn('guarded')}",
            "delete-resource-policy", *name)
    refused("InvalidArgumentException", "", "put-resource-policy", *name, "--policy", "{not json")
    refused("ResourceNotFoundException", "", "get-resource-policy", "--resource-arn", arn("nowhere"))


def limits_and_settings():
    found = ask("describe-limits")
    holds({"ShardLimit", "OpenShardCount", "OnDemandStreamCount", "OnDemandStreamCountLimit"} <= set(found),
          "the four required members", found)
    holds(found["OpenShardCount"] <= found["ShardLimit"], "below the limit", found)
    ask("describe-account-settings")
    changed = ask("update-account-settings", "--minimum-throughput-billing-commitment", "Status=ENABLED")
    equal(changed["MinimumThroughputBillingCommitment"]["Status"], "ENABLED")
    equal(ask("describe-account-settings")["MinimumThroughputBillingCommitment"]["Status"], "ENABLED")
    ask("update-account-settings", "--minimum-throughput-billing-commitment", "Status=DISABLED")


def sizes():
    create("large", "--shard-count", 1, "--max-record-size-in-ki-b", 2048)
    equal(summary("large")["MaxRecordSizeInKiB"], 2048)
    do("update-max-record-size", "--stream-arn", arn("large"), "--max-record-size-in-ki-b", 10240)
    equal(active("large")["MaxRecordSizeInKiB"], 10240)
    refused("ValidationException", "Member must have value less than or equal to 10240",
            "update-max-record-size", "--stream-arn", arn("large"), "--max-record-size-in-ki-b", 10241)


def every_command_was_used():
    if sys.argv[1:]:
        return
    model = driver.session.get_service_model("kinesis")
    # The CLI leaves event streams out.
    commands = {xform_name(name, "-") for name in model.operation_names} - {"subscribe-to-shard"}
    equal(used - {"wait"}, commands, "the commands of this suite")


run(
    create_describe_list_delete,
    put_and_get,
    tags,
    retention,
    split_merge_and_count,
    consumers,
    modes_and_throughput,
    encryption,
    monitoring,
    policies,
    limits_and_settings,
    sizes,
    every_command_was_used,
)
