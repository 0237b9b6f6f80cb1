"""boto3 and what a stream may be set to: records of 10 MiB, modes, states that can be seen."""

import os

from botocore.exceptions import ClientError

from checks import ACCOUNT, equal, eventually, holds, refused, run
from streams import active, arn, connect, create, iterator, read, shard_id

client = connect()
KIB = 1024


def records_of_ten_mebibytes():
    create(client, "large", 1)
    over = f"length less than or equal to {1024 * KIB}"
    data = os.urandom(10_000 * KIB)
    with refused("ValidationException", over):
        client.put_record(StreamName="large", Data=data, PartitionKey="k")
    client.update_max_record_size(StreamARN=arn("large"), MaxRecordSizeInKiB=10_240)
    equal(active(client, "large")["MaxRecordSizeInKiB"], 10_240)
    client.put_record(StreamName="large", Data=data, PartitionKey="k")
    most = os.urandom(10_240 * KIB - 1)
    client.put_record(StreamName="large", Data=most, PartitionKey="k")
    found = read(client, "large", shard_id(0))
    equal([len(record["Data"]) for record in found], [len(data), len(most)])
    holds([record["Data"] for record in found] == [data, most], "the data, byte for byte")
    client.update_max_record_size(StreamARN=arn("large"), MaxRecordSizeInKiB=1_024)
    active(client, "large")
    with refused("ValidationException", over):
        client.put_record(StreamName="large", Data=data, PartitionKey="k")
    # What is there stays readable.
    equal(len(read(client, "large", shard_id(0))), 2)
    for size in (1_023, 10_241):
        with refused("ValidationException", "'maxRecordSizeInKiB'"):
            connect(parameter_validation=False).update_max_record_size(
                StreamARN=arn("large"), MaxRecordSizeInKiB=size
            )


def keys_are_optional_when_the_server_spreads():
    create(client, "spread", 4)
    with refused("ValidationException", "'partitionKey'"):
        client.put_record(StreamName="spread", Data=b"x")
    client.update_stream_record_distribution_strategy(
        StreamARN=arn("spread"), RecordDistributionStrategy="AUTO"
    )
    active(client, "spread")
    # A shard is drawn for up to a hundred records of a call: many calls reach all of them.
    shards = set()
    for _ in range(50):
        answer = client.put_records(StreamName="spread", Records=[{"Data": b"x"}] * 8)
        equal(answer["FailedRecordCount"], 0)
        shards |= {record["ShardId"] for record in answer["Records"]}
    equal(shards, {shard_id(i) for i in range(4)}, "all shards are used")
    total = sum(len(read(client, "spread", shard_id(i))) for i in range(4))
    equal(total, 400)


def channels_and_queues_are_refused():
    """The newest operations are named in docs/aws-compat.md; none of them pretends."""
    queue = arn("q").replace(":stream/", ":queue/")
    channel = arn("c").replace(":stream/", ":channel/")
    entries = [{"ReceiptHandle": "a"}]
    streams = [{"StreamARN": arn("large")}]
    careless = connect(parameter_validation=False)
    for operation, members in {
        "create_channel": {
            "ChannelName": "c", "ServiceExecutionRoleARN": f"arn:aws:iam::{ACCOUNT}:role/r",
            "StreamConfigurationList": streams,
        },
        "delete_channel": {"ChannelARN": channel},
        "describe_channel": {"ChannelARN": channel},
        "list_channels": {},
        "update_channel": {"ChannelARN": channel},
        "create_queue": {"QueueName": "q", "StreamConfigurationList": streams},
        "delete_queue": {"QueueARN": queue},
        "describe_queue": {"QueueARN": queue},
        "list_queues": {},
        "update_queue": {"QueueARN": queue, "QueueAttributes": {}},
        "receive_queue_records": {"QueueARN": queue},
        "acknowledge_queue_records": {"QueueARN": queue, "Entries": entries},
        "update_queue_records_visibility": {"QueueARN": queue, "Entries": entries},
        "receive_dead_letter_queue_records": {"QueueARN": queue},
        "acknowledge_dead_letter_queue_records": {"QueueARN": queue, "Entries": entries},
        "update_dead_letter_queue_records_visibility": {"QueueARN": queue, "Entries": entries},
        "restore_dead_letter_queue_records": {"QueueARN": queue, "Entries": entries},
    }.items():
        try:
            getattr(careless, operation)(**members)
        except ClientError as error:
            code, text = error.response["Error"]["Code"], error.response["Error"]["Message"]
            if code == "ValidationException":
                continue
            equal(code, "UnknownOperationException", f"{operation}: {error}")
            holds("aws-compat.md" in text, f"{operation} names the page", text)
        else:
            raise AssertionError(f"{operation} pretends to succeed")


def dry_runs_do_nothing():
    create(client, "dry", 1)
    names = {"StreamName": "dry", "DryRun": True}
    at = iterator(client, "dry", shard_id(0))
    with refused("DryRunOperationException"):
        client.put_record(Data=b"x", PartitionKey="k", **names)
    with refused("DryRunOperationException"):
        client.put_records(Records=[{"Data": b"x", "PartitionKey": "k"}], **names)
    with refused("DryRunOperationException"):
        client.get_shard_iterator(ShardId=shard_id(0), ShardIteratorType="LATEST", **names)
    with refused("DryRunOperationException"):
        client.get_records(ShardIterator=at, DryRun=True)
    # What would be refused is refused.
    with refused("ResourceNotFoundException"):
        client.put_record(StreamName="nowhere", Data=b"x", PartitionKey="k", DryRun=True)
    with refused("InvalidArgumentException"):
        client.get_records(ShardIterator="x", DryRun=True)
    equal(read(client, "dry", shard_id(0)), [])


def states_can_be_seen():
    """The server of this suite is told to stay in between for a while."""

    def status():
        return client.describe_stream(StreamName="slow")["StreamDescription"]

    client.create_stream(StreamName="slow", ShardCount=2)
    found = status()
    equal((found["StreamStatus"], found["Shards"], found["HasMoreShards"]), ("CREATING", [], False))
    with refused("ResourceNotFoundException", f"Stream slow under account {ACCOUNT} not found."):
        client.put_record(StreamName="slow", Data=b"x", PartitionKey="k")
    with refused("ResourceInUseException"):
        client.list_shards(StreamName="slow")
    with refused("ResourceInUseException", "already exists"):
        client.create_stream(StreamName="slow", ShardCount=2)
    active(client, "slow")
    client.split_shard(StreamName="slow", ShardToSplit=shard_id(0), NewStartingHashKey="1000")
    equal(status()["StreamStatus"], "UPDATING")
    # Records go in and out meanwhile.
    put = client.put_record(StreamName="slow", Data=b"x", PartitionKey="k", ExplicitHashKey="0")
    holds(put["ShardId"] in (shard_id(0), shard_id(2)), "parent or child", put)
    text = f"Stream slow under account {ACCOUNT} not ACTIVE, instead in state UPDATING"
    with refused("ResourceInUseException", text):
        client.split_shard(StreamName="slow", ShardToSplit=shard_id(1), NewStartingHashKey="1000")
    active(client, "slow")
    client.delete_stream(StreamName="slow")
    equal(status()["StreamStatus"], "DELETING")
    with refused("ResourceInUseException"):
        client.create_stream(StreamName="slow", ShardCount=1)

    def gone():
        try:
            status()
        except client.exceptions.ResourceNotFoundException:
            return True

    eventually("its end", gone)
    create(client, "slow", 1)


run(
    records_of_ten_mebibytes,
    keys_are_optional_when_the_server_spreads,
    channels_and_queues_are_refused,
    dry_runs_do_nothing,
    states_can_be_seen,
)
