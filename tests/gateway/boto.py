"""What a boto3 program does with streams; each assertion is one thing AWS promises."""

import datetime
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

RECORDS = 400

client = boto3.client(
    "kinesis", endpoint_url=sys.argv[1], config=Config(retries={"max_attempts": 1})
)


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400, error
        return
    raise AssertionError(f"{code} expected")


def read(stream, shard, limit=10_000, **place):
    """Everything from a place to the tip."""
    answer = client.get_shard_iterator(StreamName=stream, ShardId=shard, **place)
    iterator, records = answer["ShardIterator"], []
    for _ in range(1_000):
        answer = client.get_records(ShardIterator=iterator, Limit=limit)
        records += answer["Records"]
        iterator = answer["NextShardIterator"]
        if answer["MillisBehindLatest"] == 0 and not answer["Records"]:
            return records
    raise AssertionError("the tip does not come")


def create(name, shards):
    # On demand, so that no quota slows the test down.
    client.create_stream(StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    client.get_waiter("stream_exists").wait(
        StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    summary = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    assert summary["StreamStatus"] == "ACTIVE", summary
    assert summary["StreamModeDetails"]["StreamMode"] == "ON_DEMAND", summary
    assert summary["OpenShardCount"] == shards, summary
    assert summary["RetentionPeriodHours"] == 24, summary
    assert summary["ConsumerCount"] == 0, summary
    assert isinstance(summary["StreamCreationTimestamp"], datetime.datetime), summary


create("boto", 4)
shards = client.list_shards(StreamName="boto")["Shards"]
assert [shard["ShardId"] for shard in shards] == [f"shardId-{i:012}" for i in range(4)], shards
ends = [int(shard["HashKeyRange"]["EndingHashKey"]) for shard in shards]
starts = [int(shard["HashKeyRange"]["StartingHashKey"]) for shard in shards]
assert starts[0] == 0 and ends[-1] == 2**128 - 1, shards
assert all(end + 1 == start for end, start in zip(ends, starts[1:])), shards
first_page = client.list_shards(StreamName="boto", MaxResults=3)
second_page = client.list_shards(NextToken=first_page["NextToken"])
assert first_page["Shards"] + second_page["Shards"] == shards

# Records land where their key's hash or their explicit hash says, and are numbered.
entries = [{"Data": f"record {i}".encode(), "PartitionKey": f"key {i}"} for i in range(RECORDS)]
answer = client.put_records(StreamName="boto", Records=entries)
assert answer["FailedRecordCount"] == 0, answer
assert len(answer["Records"]) == RECORDS
placed = {}
for i, record in enumerate(answer["Records"]):
    assert len(record["SequenceNumber"]) == 56, record
    placed.setdefault(record["ShardId"], []).append((record["SequenceNumber"], i))
assert len(placed) == 4, placed.keys()
for numbers in placed.values():
    assert numbers == sorted(numbers), "numbers rise in the order of the request"
explicit = client.put_record(
    StreamName="boto", Data=b"explicit", PartitionKey="x", ExplicitHashKey=str(2**128 - 1)
)
assert explicit["ShardId"] == "shardId-000000000003", explicit

# From the start: every record, in order.
total = 0
for shard, numbers in placed.items():
    expected = [(number, f"record {i}".encode(), f"key {i}") for number, i in numbers]
    found = read("boto", shard, limit=7, ShardIteratorType="TRIM_HORIZON")
    got = [(record["SequenceNumber"], record["Data"], record["PartitionKey"]) for record in found]
    assert got[: len(expected)] == expected, shard
    total += len(got)
    # At and after a number.
    middle = len(numbers) // 2
    at = read(
        "boto", shard, ShardIteratorType="AT_SEQUENCE_NUMBER",
        StartingSequenceNumber=numbers[middle][0],
    )
    assert [record["SequenceNumber"] for record in at] == [n for n, _, _ in got[middle:]]
    after = read(
        "boto", shard, ShardIteratorType="AFTER_SEQUENCE_NUMBER",
        StartingSequenceNumber=numbers[middle][0],
    )
    assert [record["SequenceNumber"] for record in after] == [n for n, _, _ in got[middle + 1 :]]
assert total == RECORDS + 1, total

# At a time: what came later, and only that.
# botocore sends whole seconds, so the cut is one, and nothing before it lies in the same second.
second = int(time.time()) + 1
time.sleep(second - time.time() + 0.01)
cut = datetime.datetime.fromtimestamp(second, datetime.timezone.utc)
late = client.put_record(StreamName="boto", Data=b"late", PartitionKey="key 0")
found = read("boto", late["ShardId"], ShardIteratorType="AT_TIMESTAMP", Timestamp=cut)
assert [record["Data"] for record in found] == [b"late"], found
assert found[0]["ApproximateArrivalTimestamp"] >= cut - datetime.timedelta(milliseconds=1), found

# At the end: nothing, then what comes next. Binary data of every byte, and empty data.
iterator = client.get_shard_iterator(
    StreamName="boto", ShardId=late["ShardId"], ShardIteratorType="LATEST"
)["ShardIterator"]
assert client.get_records(ShardIterator=iterator)["Records"] == []
everything = bytes(range(256)) * 100
for data in (everything, b""):
    client.put_record(StreamName="boto", Data=data, PartitionKey="key 0")
found = client.get_records(ShardIterator=iterator)["Records"]
assert [record["Data"] for record in found] == [everything, b""], found

# What cannot be.
refused("ResourceNotFoundException", client.describe_stream_summary, StreamName="nowhere")
refused(
    "ValidationException", client.put_record,
    StreamName="boto", Data=b"x" * (1 << 20) + b"y", PartitionKey="k",
)
refused(
    "InvalidArgumentException", client.get_shard_iterator, StreamName="boto",
    ShardId=late["ShardId"], ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber="7",
)
refused("InvalidArgumentException", client.get_records, ShardIterator="A" * 200)
refused(
    "ValidationException", client.put_records, StreamName="boto",
    Records=[{"Data": b"", "PartitionKey": "k"}] * 501,
)

client.delete_stream(StreamName="boto")
client.get_waiter("stream_not_exists").wait(
    StreamName="boto", WaiterConfig={"Delay": 1, "MaxAttempts": 30}
)
print(f"{RECORDS + 4} records, read from all five places")
