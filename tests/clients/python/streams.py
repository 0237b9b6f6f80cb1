"""What every boto3 client shares: making and reading streams."""

import boto3
from botocore.config import Config

from checks import ENDPOINT, REGION, ACCOUNT, eventually

# No hidden second tries: a refusal must be seen.
PLAIN = Config(retries={"total_max_attempts": 1}, read_timeout=30)


def connect(endpoint=ENDPOINT, **settings):
    config = PLAIN.merge(Config(**settings)) if settings else PLAIN
    return boto3.client("kinesis", endpoint_url=endpoint, config=config)


def arn(name):
    return f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}"


def shard_id(index):
    return f"shardId-{index:012}"


def active(client, name):
    """The summary of a stream once it is ACTIVE."""

    def look():
        summary = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        return summary["StreamStatus"] == "ACTIVE" and summary

    return eventually(f"{name} ACTIVE", look)


def create(client, name, shards=1, metered=False, **more):
    """A new stream that is ACTIVE; on demand unless it shall be metered."""
    if metered:
        client.create_stream(StreamName=name, ShardCount=shards, **more)
    else:
        mode = {"StreamMode": "ON_DEMAND"}
        client.create_stream(StreamName=name, ShardCount=shards, StreamModeDetails=mode, **more)
    return active(client, name)


def iterator(client, name, shard, kind="TRIM_HORIZON", **more):
    return client.get_shard_iterator(
        StreamName=name, ShardId=shard, ShardIteratorType=kind, **more
    )["ShardIterator"]


def read(client, name, shard, kind="TRIM_HORIZON", limit=10_000, **more):
    """All records from a place to the tip of an open shard, or to the end of a closed one."""
    at, records = iterator(client, name, shard, kind, **more), []
    for _ in range(1_000):
        answer = client.get_records(ShardIterator=at, Limit=limit)
        records += answer["Records"]
        at = answer.get("NextShardIterator")
        if at is None or (answer["MillisBehindLatest"] == 0 and not answer["Records"]):
            return records
    raise AssertionError(f"the tip of {shard} does not come")


def read_all(client, name):
    """Every record of every shard, as (shard, record)."""
    shards = [shard["ShardId"] for shard in client.list_shards(StreamName=name)["Shards"]]
    return [(shard, record) for shard in shards for record in read(client, name, shard)]
