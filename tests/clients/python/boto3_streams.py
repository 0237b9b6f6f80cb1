"""boto3 and streams: waiters, paginators, records in and out, throttling, errors as exceptions."""

import datetime
import os
import threading
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from checks import ACCOUNT, ALL, ENDPOINT, HASH_KEYS, REGION, equal, eventually, holds, refused, run
from streams import active, arn, connect, create, iterator, read, read_all, shard_id

client = connect()
# Sends what botocore itself would refuse.
careless = connect(parameter_validation=False)
QUICK = {"Delay": 0.1, "MaxAttempts": 200}
UTC = datetime.timezone.utc


def waiters_see_streams_come_and_go():
    client.create_stream(StreamName="waited", ShardCount=1)
    client.get_waiter("stream_exists").wait(StreamName="waited", WaiterConfig=QUICK)
    client.get_waiter("stream_exists").wait(StreamARN=arn("waited"), WaiterConfig=QUICK)
    description = client.describe_stream(StreamName="waited")["StreamDescription"]
    equal(description["StreamStatus"], "ACTIVE")
    equal(description["StreamARN"], arn("waited"))
    equal(description["StreamModeDetails"], {"StreamMode": "PROVISIONED"})
    equal((description["RetentionPeriodHours"], description["EncryptionType"]), (24, "NONE"))
    equal(description["EnhancedMonitoring"], [{"ShardLevelMetrics": []}])
    age = datetime.datetime.now(UTC) - description["StreamCreationTimestamp"]
    holds(abs(age.total_seconds()) < 30, "a true time of creation", age)
    with refused("ResourceInUseException", f"Stream waited under account {ACCOUNT} already exists."):
        client.create_stream(StreamName="waited", ShardCount=1)
    client.delete_stream(StreamARN=arn("waited"))
    client.get_waiter("stream_not_exists").wait(StreamName="waited", WaiterConfig=QUICK)
    with refused("ResourceNotFoundException", f"Stream waited under account {ACCOUNT} not found."):
        client.describe_stream(StreamName="waited")


def a_stream_is_named_by_name_or_arn_or_both():
    create(client, "named")
    for naming in (
        {"StreamName": "named"},
        {"StreamARN": arn("named")},
        {"StreamName": "named", "StreamARN": arn("named")},
    ):
        summary = client.describe_stream_summary(**naming)["StreamDescriptionSummary"]
        equal((summary["StreamName"], summary["StreamARN"]), ("named", arn("named")))
        put = client.put_record(Data=b"x", PartitionKey="k", **naming)
        equal(put["ShardId"], shard_id(0))
        equal(len(client.list_shards(**naming)["Shards"]), 1)
    with refused("ValidationException", "'streamName'", "Member must not be null"):
        client.describe_stream_summary()
    with refused("InvalidArgumentException"):
        client.describe_stream_summary(StreamName="named", StreamARN=arn("other"))


def paginators_give_everything_once():
    names = [f"page-{i:02}" for i in range(7)]
    for name in names:
        client.create_stream(StreamName=name, ShardCount=1)
    pages = list(client.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 3}))
    found = [name for page in pages for name in page["StreamNames"]]
    equal([name for name in found if name.startswith("page-")], names)
    equal(found, sorted(set(found)), "sorted, each once")
    summaries = [entry for page in pages for entry in page["StreamSummaries"]]
    equal([entry["StreamName"] for entry in summaries], found)
    for entry in summaries:
        equal(entry["StreamARN"], arn(entry["StreamName"]))
        holds(entry["StreamStatus"] in ("CREATING", "ACTIVE", "DELETING"), "a status", entry)
    after = client.list_streams(ExclusiveStartStreamName="page-03x", Limit=2)
    equal((after["StreamNames"], after["HasMoreStreams"]), (["page-04", "page-05"], True))
    create(client, "wide", 10)
    # boto3's paginator of ListShards repeats the name beside the token, which AWS refuses, so a
    # page of it must hold all.
    for operation, key, size in (("describe_stream", "StreamDescription", 3), ("list_shards", None, 10)):
        pages = client.get_paginator(operation).paginate(
            StreamName="wide", PaginationConfig={"PageSize": size}
        )
        shards = []
        for page in pages:
            page = page[key] if key else page
            holds(len(page["Shards"]) <= size, f"{operation} keeps to the page", len(page["Shards"]))
            shards += page["Shards"]
        equal([shard["ShardId"] for shard in shards], [shard_id(i) for i in range(10)], operation)
    starts = [int(shard["HashKeyRange"]["StartingHashKey"]) for shard in shards]
    equal(starts, [i * (HASH_KEYS // 10) for i in range(10)])
    for name in names:
        client.delete_stream(StreamName=name)


def list_shards_hears_its_token_alone():
    first = client.list_shards(StreamName="wide", MaxResults=4)
    second = client.list_shards(NextToken=first["NextToken"], MaxResults=100)
    equal(len(first["Shards"] + second["Shards"]), 10)
    holds("NextToken" not in second, "the last page has no token", second)
    both = "NextToken and StreamName cannot be provided together."
    with refused("InvalidArgumentException", both):
        client.list_shards(StreamName="wide", NextToken=first["NextToken"])
    with refused("InvalidArgumentException", "Either NextToken or StreamName should be provided."):
        client.list_shards()
    with refused("InvalidArgumentException"):
        client.list_shards(NextToken="bm9uc2Vuc2U=")
    latest = client.list_shards(StreamName="wide", ShardFilter={"Type": "AT_LATEST"})["Shards"]
    equal(len(latest), 10)
    after = {"Type": "AFTER_SHARD_ID", "ShardId": shard_id(6)}
    found = client.list_shards(StreamName="wide", ShardFilter=after)["Shards"]
    equal([shard["ShardId"] for shard in found], [shard_id(i) for i in (7, 8, 9)])
    for kind in ("AFTER_SHARD_ID", "AT_TIMESTAMP", "FROM_TIMESTAMP"):
        with refused("InvalidArgumentException"):
            client.list_shards(StreamName="wide", ShardFilter={"Type": kind})


def data_of_every_kind_comes_back():
    create(client, "kinds", 1)
    every = [
        b"", b"\0", bytes(range(256)), "ä€\U0001f600".encode(), b"x" * 65_537, os.urandom(1 << 19),
        os.urandom((1 << 20) - 1),
    ]
    keys = ["k", "\u00e4" * 256, "\U0001f30a" * 128, " ", "a" * 256, "\t\"\\\n", "k"]
    for key, data in zip(keys, every):
        client.put_record(StreamName="kinds", Data=data, PartitionKey=key)
    found = read(client, "kinds", shard_id(0))
    equal([record["PartitionKey"] for record in found], keys)
    holds([record["Data"] for record in found] == every, "the data, byte for byte")
    for record in found:
        holds("EncryptionType" not in record, "no EncryptionType in a record that has none", record)
    with refused("ValidationException", "Member must have length less than or equal to 1048576"):
        client.put_record(StreamName="kinds", Data=b"x" * ((1 << 20) + 1), PartitionKey="k")
    with refused("ValidationException", "length less than or equal to 256"):
        client.put_record(StreamName="kinds", Data=b"x", PartitionKey="k" * 257)
    with refused("ValidationException", "length less than or equal to 500"):
        client.put_records(StreamName="kinds", Records=[{"Data": b"", "PartitionKey": "k"}] * 501)


def a_call_takes_ten_mebibytes():
    create(client, "big", 2)
    data = os.urandom((1 << 20) - 8)
    records = [{"Data": data, "PartitionKey": f"key {i:03}"} for i in range(10)]
    answer = client.put_records(StreamName="big", Records=records)
    equal(answer["FailedRecordCount"], 0)
    found = read_all(client, "big")
    equal(sorted(record["PartitionKey"] for _, record in found), [r["PartitionKey"] for r in records])
    holds(all(record["Data"] == data for _, record in found), "the data")
    over = records + [{"Data": b"x" * 100, "PartitionKey": "one more"}]
    with refused("InvalidArgumentException"):
        client.put_records(StreamName="big", Records=over)


def limits_and_pages_of_get_records():
    create(client, "limits", 1)
    for start in range(0, 1_200, 400):
        records = [{"Data": f"{i}".encode(), "PartitionKey": "k"} for i in range(start, start + 400)]
        client.put_records(StreamName="limits", Records=records)
    at, sizes, found = iterator(client, "limits", shard_id(0)), [], []
    while len(found) < 1_200:
        answer = client.get_records(ShardIterator=at, Limit=500)
        holds(answer["NextShardIterator"] != at, "the iterator changes")
        at = answer["NextShardIterator"]
        sizes.append(len(answer["Records"]))
        found += [int(record["Data"]) for record in answer["Records"]]
        behind = answer["MillisBehindLatest"]
        holds((behind == 0) == (len(found) == 1_200), "MillisBehindLatest is 0 only at the tip", behind)
    equal(found, list(range(1_200)))
    holds(max(sizes) <= 500, "no more than the limit", sizes)
    for limit in (0, 10_001):
        with refused("ValidationException", "'limit'"):
            careless.get_records(ShardIterator=at, Limit=limit)


def iterators_begin_where_they_say():
    create(client, "places", 1)
    shard, numbers = shard_id(0), []
    latest = iterator(client, "places", shard, "LATEST")
    for i in range(10):
        put = client.put_record(StreamName="places", Data=f"{i}".encode(), PartitionKey="k")
        numbers.append(put["SequenceNumber"])
    equal([int(number) for number in numbers], sorted(int(number) for number in numbers))

    def from_(kind, **more):
        return [int(record["Data"]) for record in read(client, "places", shard, kind, **more)]

    equal(from_("TRIM_HORIZON"), list(range(10)))
    equal(from_("LATEST"), [])
    found = client.get_records(ShardIterator=latest)["Records"]
    equal([int(record["Data"]) for record in found], list(range(10)), "LATEST of before")
    for i in (0, 4, 9):
        equal(from_("AT_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[i]), list(range(i, 10)))
        equal(from_("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[i]), list(range(i + 1, 10)))
    start = client.list_shards(StreamName="places")["Shards"][0]["SequenceNumberRange"]
    start = start["StartingSequenceNumber"]
    equal(from_("AT_SEQUENCE_NUMBER", StartingSequenceNumber=start), list(range(10)), "a shard's start")
    equal(from_("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=start), list(range(10)))
    equal(from_("AT_TIMESTAMP", Timestamp=0), list(range(10)), "at a time before the horizon")


def times_have_milliseconds():
    """boto3 sends and shows times to the millisecond here; a cut between two records holds."""
    create(client, "times", 1)
    shard, before = shard_id(0), time.time()
    client.put_record(StreamName="times", Data=b"first", PartitionKey="k")
    arrivals = []
    for data in (b"second", b"third"):
        # A later millisecond than the last record's.
        last = read(client, "times", shard)[-1]["ApproximateArrivalTimestamp"]
        eventually("a later time", lambda: datetime.datetime.now(UTC) - last > datetime.timedelta(milliseconds=30))
        client.put_record(StreamName="times", Data=data, PartitionKey="k")
    found = read(client, "times", shard)
    arrivals = [record["ApproximateArrivalTimestamp"] for record in found]
    holds(any(time.microsecond % 1_000_000 for time in arrivals), "fractions of a second", arrivals)
    holds(all(time.microsecond % 1_000 == 0 for time in arrivals), "milliseconds and no less", arrivals)
    holds(before - 0.01 <= arrivals[0].timestamp() <= arrivals[2].timestamp() <= time.time() + 0.01,
          "true times", arrivals)
    for i, arrival in enumerate(arrivals):
        at = read(client, "times", shard, "AT_TIMESTAMP", Timestamp=arrival.timestamp())
        equal([record["Data"] for record in at], [record["Data"] for record in found[i:]], f"{i}")
        after = arrival.timestamp() + 0.001
        at = read(client, "times", shard, "AT_TIMESTAMP", Timestamp=after)
        equal([record["Data"] for record in at], [record["Data"] for record in found[i + 1 :]], f"after {i}")
    ahead = datetime.datetime.now(UTC) + datetime.timedelta(minutes=1)
    with refused("InvalidArgumentException", "cannot be greater than the currentTimestampInMillis"):
        iterator(client, "times", shard, "AT_TIMESTAMP", Timestamp=ahead)


def millis_behind_latest_is_true():
    create(client, "behind", 1)
    shard = shard_id(0)
    client.put_record(StreamName="behind", Data=b"old", PartitionKey="k")
    put = time.monotonic()
    client.put_record(StreamName="behind", Data=b"new", PartitionKey="k")
    first = client.get_records(ShardIterator=iterator(client, "behind", shard), Limit=1)
    eventually("half a second", lambda: time.monotonic() - put > 0.5)
    asked = time.monotonic()
    again = client.get_records(ShardIterator=iterator(client, "behind", shard), Limit=1)
    waited = (asked - put) * 1_000
    holds(waited - 50 <= again["MillisBehindLatest"] <= waited + 2_000, f"about {waited} ms behind",
          again["MillisBehindLatest"])
    rest = client.get_records(ShardIterator=first["NextShardIterator"])
    equal((len(rest["Records"]), rest["MillisBehindLatest"]), (1, 0))


def a_metered_shard_throttles_and_clients_get_through():
    create(client, "metered", 1, metered=True)
    # Two calls of 1,000 records' worth: the second finds the bucket empty.
    records = [{"Data": b"x", "PartitionKey": "k"}] * 500
    throttled, taken = None, 0
    for _ in range(8):
        answer = client.put_records(StreamName="metered", Records=records)
        failed = [record for record in answer["Records"] if "ErrorCode" in record]
        equal(len(failed), answer["FailedRecordCount"], "FailedRecordCount counts them")
        equal(len(answer["Records"]), 500)
        taken += 500 - len(failed)
        if failed:
            throttled = failed[0]
            break
    holds(throttled, "a shard takes no more than 1,000 records a second")
    text = f"Rate exceeded for shard {shard_id(0)} in stream metered under account {ACCOUNT}."
    equal(throttled, {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": text})
    with refused("ProvisionedThroughputExceededException", text):
        for _ in range(3_000):
            client.put_record(StreamName="metered", Data=b"y" * 500_000, PartitionKey="k")
            taken += 1
    # botocore's own retries hide it, in each of its modes.
    for mode in ("legacy", "standard", "adaptive") if ALL else ("legacy", "standard"):
        patient = boto3.client(
            "kinesis", endpoint_url=ENDPOINT, config=Config(retries={"mode": mode, "total_max_attempts": 12})
        )
        for _ in range(25):
            patient.put_record(StreamName="metered", Data=b"z" * 60_000, PartitionKey="k")
            taken += 1
    # Five reads a second.
    with refused("ProvisionedThroughputExceededException", text):
        at = iterator(client, "metered", shard_id(0))
        for _ in range(30):
            at = client.get_records(ShardIterator=at, Limit=1)["NextShardIterator"]
    patient, found = boto3.client(
        "kinesis", endpoint_url=ENDPOINT, config=Config(retries={"mode": "standard", "total_max_attempts": 12})
    ), 0
    at = iterator(patient, "metered", shard_id(0))
    while found < taken:
        answer = patient.get_records(ShardIterator=at)
        at, found = answer["NextShardIterator"], found + len(answer["Records"])
    equal(found, taken, "every record that was taken, and no other")


def errors_are_typed_exceptions():
    create(client, "typed", 1)
    table = [
        (client.exceptions.ResourceNotFoundException, client.describe_stream, {"StreamName": "nowhere"}),
        (client.exceptions.ResourceInUseException, client.create_stream, {"StreamName": "typed", "ShardCount": 1}),
        (client.exceptions.InvalidArgumentException, client.get_records, {"ShardIterator": "x"}),
        (client.exceptions.ValidationException, client.describe_stream, {"StreamName": "a" * 129}),
        (client.exceptions.LimitExceededException, client.create_stream, {"StreamName": "huge", "ShardCount": 100_000}),
    ]
    for expected, call, arguments in table:
        try:
            call(**arguments)
        except expected as error:
            holds(error.response["Error"]["Message"], "a text", error.response)
            metadata = error.response["ResponseMetadata"]
            equal(metadata["HTTPStatusCode"], 400)
            holds(metadata["HTTPHeaders"]["x-amz-id-2"], "the second id", metadata)
        else:
            raise AssertionError(f"{expected} was expected")
    try:
        client.create_stream(StreamName="huge", ShardCount=100_000)
    except ClientError as error:
        text = error.response["Error"]["Message"]
        holds("Number of additional shards that would have resulted from this request: 100000." in text, "text", text)
        holds(f"for the account {ACCOUNT} in {REGION}." in text, "text", text)


def many_threads_share_a_client():
    create(client, "threads", 4)
    pooled, problems = connect(max_pool_connections=8), []

    def put(thread):
        try:
            for i in range(40):
                pooled.put_record(StreamName="threads", Data=f"{thread} {i}".encode(), PartitionKey=f"{thread}")
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=put, args=[i]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(problems, [])
    orders = {}
    for _, record in read_all(client, "threads"):
        thread, i = map(int, record["Data"].split())
        orders.setdefault(thread, []).append(i)
    equal(orders, {thread: list(range(40)) for thread in range(8)}, "each key in its order")


run(
    waiters_see_streams_come_and_go,
    a_stream_is_named_by_name_or_arn_or_both,
    paginators_give_everything_once,
    list_shards_hears_its_token_alone,
    data_of_every_kind_comes_back,
    a_call_takes_ten_mebibytes,
    limits_and_pages_of_get_records,
    iterators_begin_where_they_say,
    times_have_milliseconds,
    millis_behind_latest_is_true,
    a_metered_shard_throttles_and_clients_get_through,
    errors_are_typed_exceptions,
    many_threads_share_a_client,
)
