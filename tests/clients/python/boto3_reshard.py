"""boto3 and resharding: what splits, merges and counts leave, and a consumer that follows parents
before children while records come in."""

import hashlib
import random
import threading
import time

from botocore.exceptions import ClientError

from checks import ACCOUNT, ALL, HASH_KEYS, equal, eventually, holds, refused, run
from streams import active, arn, connect, create, iterator, read, shard_id

client = connect(max_pool_connections=20)
LAST = HASH_KEYS - 1


def shards(name, **shard_filter):
    more = {"ShardFilter": shard_filter} if shard_filter else {}
    return client.list_shards(StreamName=name, **more)["Shards"]


def ids(found):
    return [int(shard["ShardId"][8:]) for shard in found]


def hash_range(shard):
    keys = shard["HashKeyRange"]
    return int(keys["StartingHashKey"]), int(keys["EndingHashKey"])


def open_shards(name):
    """The open shards, in the order of their ranges, which must cover every hash key once."""
    found = sorted(
        (shard for shard in shards(name) if "EndingSequenceNumber" not in shard["SequenceNumberRange"]),
        key=hash_range,
    )
    ranges = [hash_range(shard) for shard in found]
    equal((ranges[0][0], ranges[-1][1]), (0, LAST), "the ends")
    for (_, end), (start, _) in zip(ranges, ranges[1:]):
        equal(start, end + 1, "no gap and no overlap")
    return found


def split(name, index, at):
    client.split_shard(StreamName=name, ShardToSplit=shard_id(index), NewStartingHashKey=str(at))
    active(client, name)


def merge(name, index, adjacent):
    client.merge_shards(
        StreamName=name, ShardToMerge=shard_id(index), AdjacentShardToMerge=shard_id(adjacent)
    )
    active(client, name)


def scale(name, target):
    answer = client.update_shard_count(
        StreamName=name, TargetShardCount=target, ScalingType="UNIFORM_SCALING"
    )
    active(client, name)
    return answer


def a_split_leaves_a_parent_and_two_children():
    create(client, "split", 1, metered=True)
    put = client.put_record(StreamName="split", Data=b"before", PartitionKey="k")
    before = time.time()
    split("split", 0, 100)
    parent, left, right = shards("split")
    equal([hash_range(shard) for shard in (left, right)], [(0, 99), (100, LAST)])
    for child in (left, right):
        equal(child["ParentShardId"], shard_id(0))
        holds("AdjacentParentShardId" not in child, "one parent only", child)
        start = int(child["SequenceNumberRange"]["StartingSequenceNumber"])
        holds(start > int(put["SequenceNumber"]), "children number above their parent")
        holds("EndingSequenceNumber" not in child["SequenceNumberRange"], "open", child)
    end = int(parent["SequenceNumberRange"]["EndingSequenceNumber"])
    text = f"{end:x}"
    equal((len(text), int(text[11:27], 16)), (47, 2**63 - 1), "the ending number's index")
    holds(abs(int(text[29:38], 16) - before) < 10, "the time of closing", text)
    placed = [
        client.put_record(StreamName="split", Data=b"after", PartitionKey="k", ExplicitHashKey=key)["ShardId"]
        for key in ("0", "99", "100", str(LAST))
    ]
    equal(placed, [shard_id(1), shard_id(1), shard_id(2), shard_id(2)])
    # The parent keeps its record, and its end names the children.
    answer = client.get_records(ShardIterator=iterator(client, "split", shard_id(0)))
    records = answer["Records"]
    if "NextShardIterator" in answer:
        holds("ChildShards" not in answer or not answer["ChildShards"], "no children before the end", answer)
        answer = client.get_records(ShardIterator=answer["NextShardIterator"])
        records += answer["Records"]
    equal([record["Data"] for record in records], [b"before"])
    holds("NextShardIterator" not in answer, "the end has no next iterator", answer)
    equal(
        answer["ChildShards"],
        [
            {"ShardId": child["ShardId"], "ParentShards": [shard_id(0)], "HashKeyRange": child["HashKeyRange"]}
            for child in (left, right)
        ],
    )
    # Every iterator type still works on a closed shard.
    for kind, more in (
        ("LATEST", {}),
        ("AFTER_SEQUENCE_NUMBER", {"StartingSequenceNumber": put["SequenceNumber"]}),
        ("AT_TIMESTAMP", {"Timestamp": time.time() - 0.001}),
    ):
        at = iterator(client, "split", shard_id(0), kind, **more)
        answer = client.get_records(ShardIterator=at)
        equal(answer["Records"], [], kind)
        holds("NextShardIterator" not in answer and len(answer["ChildShards"]) == 2, kind, answer)
        eventually("a read's turn", lambda: time.sleep(0.25) or True)
    text = f"Shard {shard_id(0)} in stream split under account {ACCOUNT} has already been merged or split, and thus is not eligible for merging or splitting."
    with refused("InvalidArgumentException", text):
        split("split", 0, 5)
    with refused("InvalidArgumentException", text):
        merge("split", 0, 1)
    with refused("ResourceNotFoundException", f"Could not find shard {shard_id(7)} in stream split"):
        split("split", 7, 5)
    for key in (0, 1, 99, 100):
        with refused("InvalidArgumentException", "is not both greater than one plus the shard's StartingHashKey"):
            split("split", 1, key)


def a_merge_leaves_one_child_of_two():
    create(client, "merge", 3, metered=True)
    merge("merge", 0, 1)
    child = shards("merge")[3]
    equal((child["ParentShardId"], child["AdjacentParentShardId"]), (shard_id(0), shard_id(1)))
    equal(hash_range(child), (0, 2 * (HASH_KEYS // 3) - 1))
    for parent in (0, 1):
        answer = client.get_records(ShardIterator=iterator(client, "merge", shard_id(parent)))
        equal([c["ParentShards"] for c in answer["ChildShards"]], [[shard_id(0), shard_id(1)]], f"{parent}")
        equal(answer["ChildShards"][0]["ShardId"], shard_id(3))
    open_shards("merge")
    create(client, "apart", 3, metered=True)
    text = (
        f"Shards {shard_id(0)} and {shard_id(2)} in stream apart under account {ACCOUNT} are not an "
        "adjacent pair of shards eligible for merging"
    )
    with refused("InvalidArgumentException", text):
        merge("apart", 0, 2)
    # AWS takes the pair in both orders.
    merge("apart", 2, 1)
    equal(hash_range(shards("apart")[3]), (HASH_KEYS // 3, LAST))


def counts_are_uniform():
    create(client, "counts", 2, metered=True)
    for target in (4, 3, 6, 5, 3, 2, 1, 2):
        current = len(open_shards("counts"))
        answer = scale("counts", target)
        equal(
            {key: answer[key] for key in ("StreamName", "StreamARN", "CurrentShardCount", "TargetShardCount")},
            {"StreamName": "counts", "StreamARN": arn("counts"), "CurrentShardCount": current, "TargetShardCount": target},
        )
        found = [hash_range(shard)[0] for shard in open_shards("counts")]
        equal(found, [i * (HASH_KEYS // target) for i in range(target)], f"{current} to {target}")
    known = {shard["ShardId"]: shard for shard in shards("counts")}
    for shard in known.values():
        for key in ("ParentShardId", "AdjacentParentShardId"):
            if key in shard:
                parent = known[shard[key]]
                (start, end), (low, high) = hash_range(parent), hash_range(shard)
                holds(low <= end and start <= high, "a parent overlaps its child", (parent, shard))
                holds(int(parent["SequenceNumberRange"]["EndingSequenceNumber"]) > 0, "it has ended", parent)
    with refused("InvalidArgumentException", "cannot scale up over double"):
        scale("counts", 5)
    summary = client.describe_stream_summary(StreamName="counts")["StreamDescriptionSummary"]
    equal(summary["OpenShardCount"], 2)


def filters_give_their_sets():
    create(client, "filters", 2, metered=True)
    made = time.time()
    eventually("a later second", lambda: time.time() > made + 1.1)
    split("filters", 0, 1000)
    first = time.time()
    eventually("a later second", lambda: time.time() > first + 1.1)
    split("filters", 1, LAST - 1000)
    equal(ids(shards("filters")), [0, 1, 2, 3, 4, 5])
    equal(ids(shards("filters", Type="AT_LATEST")), [2, 3, 4, 5])
    equal(ids(shards("filters", Type="FROM_TRIM_HORIZON")), [0, 1, 2, 3, 4, 5])
    # Those that were open at the horizon, which here is the creation.
    equal(ids(shards("filters", Type="AT_TRIM_HORIZON")), [0, 1])
    equal(ids(shards("filters", Type="AT_TIMESTAMP", Timestamp=made + 0.5)), [0, 1])
    equal(ids(shards("filters", Type="AT_TIMESTAMP", Timestamp=first + 0.5)), [1, 2, 3])
    equal(ids(shards("filters", Type="FROM_TIMESTAMP", Timestamp=first + 0.5)), [1, 2, 3, 4, 5])
    equal(ids(shards("filters", Type="AFTER_SHARD_ID", ShardId=shard_id(3))), [4, 5])


class Follower(threading.Thread):
    """Reads a whole stream, parents before children, until told that nothing more will come."""

    def __init__(self, name):
        super().__init__()
        self.name_of_stream, self.found, self.ended, self.problem = name, {}, set(), None
        self.done, self.begun = threading.Event(), set()
        self.client = connect(max_pool_connections=4)

    def run(self):
        try:
            self.follow()
        except BaseException as error:
            self.problem = error

    def follow(self):
        open_at, waiting = {}, {}
        for shard in self.client.list_shards(StreamName=self.name_of_stream)["Shards"]:
            open_at[shard["ShardId"]] = iterator(self.client, self.name_of_stream, shard["ShardId"])
            self.begun.add(shard["ShardId"])
        while open_at:
            quiet = self.done.is_set()
            for shard in list(open_at):
                answer = self.client.get_records(ShardIterator=open_at[shard])
                for record in answer["Records"]:
                    self.found.setdefault(record["PartitionKey"], []).append(int(record["Data"]))
                    quiet = False
                if answer.get("NextShardIterator"):
                    open_at[shard] = answer["NextShardIterator"]
                    quiet = quiet and answer["MillisBehindLatest"] == 0
                    continue
                quiet = False
                del open_at[shard]
                self.ended.add(shard)
                for child in answer["ChildShards"]:
                    waiting[child["ShardId"]] = set(child["ParentShards"])
            for child, parents in list(waiting.items()):
                if parents <= self.ended and child not in self.begun:
                    open_at[child] = iterator(self.client, self.name_of_stream, child)
                    self.begun.add(child)
                    del waiting[child]
                    quiet = False
            if quiet:
                return
            time.sleep(0.02)


def a_consumer_that_follows_parents_sees_each_key_in_order():
    seconds = 30 if ALL else 8
    create(client, "followed", 2, metered=True)
    put_client = connect(max_pool_connections=4, retries={"mode": "standard", "total_max_attempts": 20})
    stop, problems, acknowledged = threading.Event(), [], {}

    def write(writer):
        numbers = {f"{writer}-{key}": 0 for key in range(20)}
        try:
            while not stop.is_set():
                # A key is put again only when its last record was acknowledged, so its order is known.
                records = [
                    {"PartitionKey": key, "Data": str(number).encode()} for key, number in numbers.items()
                ]
                answer = put_client.put_records(StreamName="followed", Records=records)
                for key, record in zip(list(numbers), answer["Records"]):
                    if "SequenceNumber" in record:
                        numbers[key] += 1
                stop.wait(0.02)
        except BaseException as error:
            problems.append(error)
        acknowledged.update(numbers)

    follower = Follower("followed")
    # On-demand reads are not throttled, provisioned ones are: five a second for each shard.
    follower.client = connect(max_pool_connections=4, retries={"mode": "standard", "total_max_attempts": 20})
    writers = [threading.Thread(target=write, args=[writer]) for writer in range(3)]
    for thread in (follower, *writers):
        thread.start()
    choose, until, rounds = random.Random(7), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        now = open_shards("followed")
        act = choose.choice(["split", "split", "merge", "count"])
        try:
            if act == "split" and len(now) < 8:
                shard = choose.choice(now)
                start, end = hash_range(shard)
                split("followed", int(shard["ShardId"][8:]), choose.randrange(start + 2, end))
            elif act == "merge" and len(now) > 1:
                at = choose.randrange(len(now) - 1)
                merge("followed", int(now[at]["ShardId"][8:]), int(now[at + 1]["ShardId"][8:]))
            elif act == "count" and rounds % 5 == 4:
                scale("followed", max(1, (len(now) + 1) // 2))
        except ClientError as error:
            equal(error.response["Error"]["Code"], "LimitExceededException", str(error))
        rounds += 1
        holds(not problems, "writers go on", problems)
    stop.set()
    for thread in writers:
        thread.join(60)
    equal(problems, [])
    follower.done.set()
    follower.join(120)
    holds(not follower.is_alive(), "the consumer comes to the end", (follower.begun, follower.ended))
    if follower.problem:
        raise follower.problem
    open_shards("followed")
    closed = len(follower.ended)
    total = sum(acknowledged.values())
    print(f"  {rounds} rounds, {closed} closed shards, {total} records in order")
    holds(closed >= 4, "shards were closed meanwhile", closed)
    equal(set(follower.found), {key for key, count in acknowledged.items() if count}, "the keys")
    for key, count in acknowledged.items():
        found = follower.found.get(key, [])
        # A call that was answered with an error may have stored its record all the same: then its
        # number is there twice, in its place.
        once = [number for i, number in enumerate(found) if i == 0 or number != found[i - 1]]
        equal(once[:count], list(range(count)), f"{key}")


def records_go_where_their_hash_says_after_all():
    for shard in open_shards("followed"):
        start, end = hash_range(shard)
        for record in read(connect(retries={"mode": "standard", "total_max_attempts": 20}), "followed", shard["ShardId"]):
            hashed = int.from_bytes(hashlib.md5(record["PartitionKey"].encode()).digest(), "big")
            holds(start <= hashed <= end, "a record lies in its shard's range", record)


run(
    a_split_leaves_a_parent_and_two_children,
    a_merge_leaves_one_child_of_two,
    counts_are_uniform,
    filters_give_their_sets,
    a_consumer_that_follows_parents_sees_each_key_in_order,
    records_go_where_their_hash_says_after_all,
)
