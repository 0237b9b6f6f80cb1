"""Records aggregated as the Kinesis Producer Library does it go through byte for byte."""

import base64
import hashlib
import random

from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

from checks import HASH_KEYS, equal, holds, run
from streams import connect, create, read, read_all, shard_id

client = connect()
MAGIC = bytes.fromhex("f3899ac2")


def unpacked(records):
    """(key, data, number within its record) of each inner record."""
    found = []
    for entry in iter_deaggregate_records(records, data_format="Boto3"):
        entry = entry["kinesis"]
        # The library gives the data of inner records as base64, of plain ones as it is.
        data = base64.b64decode(entry["data"]) if entry.get("aggregated") else entry["data"]
        found.append((entry["partitionKey"], data, entry.get("subSequenceNumber")))
    return found


def one_full_record_comes_back_unchanged():
    create(client, "aggregated", 1)
    random.seed(1)
    aggregator = RecordAggregator(max_size=1_000_000)
    sent, full = [], None
    while full is None:
        key, data = f"key {len(sent) % 97} ä", random.randbytes(random.randrange(2_000))
        full = aggregator.add_user_record(key, data)
        if full is None:
            sent.append((key, data))
    outer_key, outer_hash, blob = full.get_contents()
    equal(outer_hash, None, "a hash key, which nobody gave")
    holds(blob.startswith(MAGIC) and len(blob) > 900_000, "a full aggregated record", len(blob))
    put = client.put_record(StreamName="aggregated", Data=blob, PartitionKey=outer_key)
    found = read(client, "aggregated", shard_id(0))
    equal([record["SequenceNumber"] for record in found], [put["SequenceNumber"]], "one record")
    equal(found[0]["PartitionKey"], outer_key, "the outer key")
    equal(hashlib.md5(found[0]["Data"]).hexdigest(), hashlib.md5(blob).hexdigest(), "its bytes")
    inner = unpacked(found)
    equal([(key, data) for key, data, _ in inner], sent, "the inner records")
    equal([number for _, _, number in inner], list(range(len(sent))), "their sub-sequence numbers")


def small_ones_go_where_their_hash_says():
    shards = 4
    create(client, "spread", shards)
    size = HASH_KEYS // shards
    aggregators = [RecordAggregator(max_size=20_000) for _ in range(shards)]
    sent, complete = [[] for _ in range(shards)], []
    for i in range(3_000):
        key, data = f"user {i}", f"event {i}".encode()
        hashed = int.from_bytes(hashlib.md5(key.encode()).digest(), "big")
        shard = min(hashed // size, shards - 1)
        sent[shard].append((key, data))
        full = aggregators[shard].add_user_record(key, data, str(hashed))
        if full:
            complete.append((shard, full.get_contents()))
    for shard, aggregator in enumerate(aggregators):
        complete.append((shard, aggregator.clear_and_get().get_contents()))
    entries = [
        {"PartitionKey": key, "ExplicitHashKey": hash_key, "Data": blob}
        for _, (key, hash_key, blob) in complete
    ]
    answer = client.put_records(StreamName="spread", Records=entries)
    equal(answer["FailedRecordCount"], 0)
    placed = [record["ShardId"] for record in answer["Records"]]
    equal(placed, [shard_id(shard) for shard, _ in complete], "the predicted shards")
    found = read_all(client, "spread")
    equal(len(found), len(entries), "outer records")
    for shard in range(shards):
        records = [record for at, record in found if at == shard_id(shard)]
        got = [(key, data) for key, data, _ in unpacked(records)]
        equal(got, sent[shard], f"inner records of shard {shard}")


def plain_records_beside_aggregated_ones_stay_plain():
    create(client, "mixed", 1)
    aggregator = RecordAggregator()
    aggregator.add_user_record("inner", b"one")
    aggregator.add_user_record("inner", b"two")
    _, _, blob = aggregator.clear_and_get().get_contents()
    broken = blob[:-1] + bytes([blob[-1] ^ 1])
    for data in (b"plain", blob, MAGIC, broken, b""):
        client.put_record(StreamName="mixed", Data=data, PartitionKey="outer")
    found = read(client, "mixed", shard_id(0))
    equal([record["Data"] for record in found], [b"plain", blob, MAGIC, broken, b""])
    inner = [data for _, data, _ in unpacked(found)]
    equal(inner, [b"plain", b"one", b"two", MAGIC, broken, b""], "what a consumer sees")


run(
    one_full_record_comes_back_unchanged,
    small_ones_go_where_their_hash_says,
    plain_records_beside_aggregated_ones_stay_plain,
)
