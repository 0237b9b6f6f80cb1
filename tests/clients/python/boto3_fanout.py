"""boto3 and SubscribeToShard: event streams over HTTP/1.1, which botocore reads chunk by chunk."""

import queue
import threading
import time

from botocore.exceptions import ClientError, EventStreamError

from checks import ALL, HASH_KEYS, equal, eventually, holds, refused, run
from streams import active, arn, connect, create, shard_id

client = connect(max_pool_connections=40)


def consumer(stream, name="reader"):
    """A consumer that is ACTIVE; its ARN."""
    made = client.register_stream_consumer(StreamARN=arn(stream), ConsumerName=name)["Consumer"]

    def look():
        found = client.describe_stream_consumer(StreamARN=arn(stream), ConsumerName=name)
        return found["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE"

    eventually(f"{name} ACTIVE", look)
    return made["ConsumerARN"]


def subscribe(consumer_arn, shard=0, kind="TRIM_HORIZON", **more):
    return client.subscribe_to_shard(
        ConsumerARN=consumer_arn, ShardId=shard_id(shard), StartingPosition={"Type": kind, **more}
    )["EventStream"]


class Subscription(threading.Thread):
    """Reads a subscription in a thread of its own; `next` waits for one event."""

    def __init__(self, events):
        super().__init__(daemon=True)
        self.events, self.queue, self.left = events, queue.Queue(), False
        self.start()

    def run(self):
        try:
            for event in self.events:
                if self.left:
                    self.events.close()
                    return
                self.queue.put(event["SubscribeToShardEvent"])
            self.queue.put(None)
        except BaseException as error:
            self.queue.put(error)

    def next(self, patience=15):
        """The next event; None at the end of the stream."""
        event = self.queue.get(timeout=patience)
        if isinstance(event, BaseException):
            raise event
        return event

    def until(self, enough, patience=15):
        """Reads events until `enough(records)`, and gives the records and the last event."""
        records = []
        while not enough(records):
            event = self.next(patience)
            holds(event is not None, "the stream goes on", records)
            records += event["Records"]
        return records, event

    def close(self):
        """Leaves it: closed by the thread that reads it at the next event, since until then that
        thread holds the lock of its socket."""
        self.left = True


def put(stream, data, **more):
    return client.put_record(StreamName=stream, Data=data, PartitionKey="k", **more)


def events_come_as_records_do():
    create(client, "events", 1)
    reader = consumer("events")
    numbers = [put("events", f"{i}".encode())["SequenceNumber"] for i in range(3)]
    subscription = Subscription(subscribe(reader))
    records, event = subscription.until(lambda records: len(records) >= 3)
    equal([record["SequenceNumber"] for record in records], numbers)
    equal([record["Data"] for record in records], [b"0", b"1", b"2"])
    for record in records:
        holds(abs(record["ApproximateArrivalTimestamp"].timestamp() - time.time()) < 30, "a time", record)
    holds("ChildShards" not in event or not event["ChildShards"], "no children", event)
    holds(int(event["ContinuationSequenceNumber"]) >= int(numbers[-1]), "a continuation", event)
    everything = bytes(range(256)) * 2_000
    put("events", everything)
    put("events", b"")
    records, event = subscription.until(lambda records: len(records) >= 2)
    equal([record["Data"] == everything for record in records], [True, False])
    equal(event["MillisBehindLatest"], 0)
    subscription.close()


def an_idle_subscription_hears_within_five_seconds():
    create(client, "idle", 1)
    subscription = Subscription(subscribe(consumer("idle"), kind="LATEST"))
    numbers = []
    for _ in range(4 if ALL else 2):
        began = time.monotonic()
        event = subscription.next(6)
        holds(time.monotonic() - began < 5.9, "at least every five seconds")
        equal((event["Records"], event["MillisBehindLatest"]), ([], 0))
        numbers.append(int(event["ContinuationSequenceNumber"]))
    equal(numbers, sorted(numbers))
    # What was put is after the idle number, whether it is used as a position or the stream goes on.
    put("idle", b"after")
    records, _ = subscription.until(lambda records: records)
    equal([record["Data"] for record in records], [b"after"])
    other = Subscription(
        subscribe(consumer("idle", "other"), kind="AFTER_SEQUENCE_NUMBER", SequenceNumber=str(numbers[-1]))
    )
    records, _ = other.until(lambda records: records)
    equal([record["Data"] for record in records], [b"after"])
    at = client.get_shard_iterator(
        StreamName="idle", ShardId=shard_id(0), ShardIteratorType="AFTER_SEQUENCE_NUMBER",
        StartingSequenceNumber=str(numbers[-1]),
    )["ShardIterator"]
    equal([record["Data"] for record in client.get_records(ShardIterator=at)["Records"]], [b"after"])
    subscription.close()
    other.close()


def positions_are_those_of_iterators():
    create(client, "positions", 1)
    numbers = [put("positions", f"{i}".encode())["SequenceNumber"] for i in range(6)]
    for i, (kind, more, expected) in enumerate([
        ("TRIM_HORIZON", {}, 0),
        ("AT_SEQUENCE_NUMBER", {"SequenceNumber": numbers[2]}, 2),
        ("AFTER_SEQUENCE_NUMBER", {"SequenceNumber": numbers[2]}, 3),
        ("AT_TIMESTAMP", {"Timestamp": time.time() - 3_600}, 0),
    ]):
        subscription = Subscription(subscribe(consumer("positions", f"c{i}"), kind=kind, **more))
        records, _ = subscription.until(lambda records: len(records) >= 6 - expected)
        equal([int(record["Data"]) for record in records], list(range(expected, 6)), kind)
        subscription.close()
    latest = Subscription(subscribe(consumer("positions", "latest"), kind="LATEST"))
    put("positions", b"6")
    records, _ = latest.until(lambda records: records)
    equal([record["Data"] for record in records], [b"6"])
    latest.close()
    reader = consumer("positions", "refused")
    with refused("InvalidArgumentException"):
        subscribe(reader, kind="AT_SEQUENCE_NUMBER")
    with refused("InvalidArgumentException"):
        subscribe(reader, kind="AT_TIMESTAMP")
    with refused("ResourceNotFoundException"):
        subscribe(reader, shard=9)
    with refused("ResourceNotFoundException"):
        subscribe(f"{arn('positions')}/consumer/nobody:1")


def a_split_ends_the_subscription_with_children():
    create(client, "ends", 1, metered=True)
    subscription = Subscription(subscribe(consumer("ends")))
    for i in range(20):
        put("ends", f"{i}".encode())
    middle = str(HASH_KEYS // 2)
    client.split_shard(StreamName="ends", ShardToSplit=shard_id(0), NewStartingHashKey=middle)
    records, last = [], None
    while (event := subscription.next()) is not None:
        records += event["Records"]
        last = event
    equal([int(record["Data"]) for record in records], list(range(20)))
    holds("ContinuationSequenceNumber" not in last, "no continuation at the end", last)
    equal([child["ShardId"] for child in last["ChildShards"]], [shard_id(1), shard_id(2)])
    equal([child["ParentShards"] for child in last["ChildShards"]], [[shard_id(0)]] * 2)
    active(client, "ends")
    child = Subscription(subscribe(consumer("ends", "second"), shard=1))
    put("ends", b"child", ExplicitHashKey="0")
    records, _ = child.until(lambda records: records)
    equal([record["Data"] for record in records], [b"child"])
    # A merge ends both parents, each naming the child with both.
    other = Subscription(subscribe(consumer("ends", "third"), shard=2))
    client.merge_shards(StreamName="ends", ShardToMerge=shard_id(1), AdjacentShardToMerge=shard_id(2))
    for side in (child, other):
        last = None
        while (event := side.next()) is not None:
            last = event
        equal([c["ParentShards"] for c in last["ChildShards"]], [[shard_id(1), shard_id(2)]])


def a_newer_subscription_takes_over_after_five_seconds():
    create(client, "turns", 1)
    reader = consumer("turns")
    first = Subscription(subscribe(reader, kind="LATEST"))
    began = time.monotonic()
    with refused("ResourceInUseException"):
        subscribe(reader, kind="LATEST")

    def again():
        try:
            return Subscription(subscribe(reader, kind="LATEST"))
        except ClientError as error:
            equal(error.response["Error"]["Code"], "ResourceInUseException", str(error))
            time.sleep(0.5)

    second = eventually("the take-over", again)
    holds(3.5 < time.monotonic() - began < 8, "after about five seconds", time.monotonic() - began)
    try:
        while first.next() is not None:
            pass
    except EventStreamError as error:
        equal(error.response["Error"]["Code"], "ResourceInUseException", str(error))
    else:
        raise AssertionError("the first subscription ends with an error")
    put("turns", b"mine")
    records, _ = second.until(lambda records: records)
    equal([record["Data"] for record in records], [b"mine"])
    client.deregister_stream_consumer(ConsumerARN=reader)
    try:
        while second.next() is not None:
            pass
    except EventStreamError as error:
        equal(error.response["Error"]["Code"], "ResourceNotFoundException", str(error))


def twenty_consumers_read_the_same():
    create(client, "many", 1)
    subscriptions = [Subscription(subscribe(consumer("many", f"c{i}"))) for i in range(20)]
    for i in range(30):
        put("many", f"{i}".encode() * 1_000)
    for subscription in subscriptions:
        records, _ = subscription.until(lambda records: len(records) >= 30)
        equal([record["Data"] for record in records], [f"{i}".encode() * 1_000 for i in range(30)])
        subscription.close()
    with refused("LimitExceededException"):
        client.register_stream_consumer(StreamARN=arn("many"), ConsumerName="one-too-many")


def a_life_lasts_five_minutes():
    if not ALL:
        return
    create(client, "life", 1)
    subscription = Subscription(subscribe(consumer("life"), kind="LATEST"))
    began = time.monotonic()
    while subscription.next() is not None:
        pass
    holds(295 < time.monotonic() - began < 310, "five minutes", time.monotonic() - began)


run(
    events_come_as_records_do,
    an_idle_subscription_hears_within_five_seconds,
    positions_are_those_of_iterators,
    a_split_ends_the_subscription_with_children,
    a_newer_subscription_takes_over_after_five_seconds,
    twenty_consumers_read_the_same,
    a_life_lasts_five_minutes,
)
