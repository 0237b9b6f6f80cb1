"""CBOR as AWS's Java clients speak it: maps and lists of indefinite length, times as tag 1 and whole
milliseconds, data as bytes. Encoded and decoded by `cbor.py`, which shares nothing with the server.
"""

import base64
import os
import time

import cbor
from checks import ACCOUNT, HASH_KEYS, equal, eventually, holds, run, shown
from plain import CBOR, JSON, ask

EMPTY = b"\xbf\xff"


def send(operation, members):
    body = members if isinstance(members, bytes) else cbor.encode(members)
    answer = ask(body, operation, kind=CBOR)
    equal(answer.headers.get("content-type"), CBOR, str(answer))
    equal(int(answer.headers["content-length"]), len(answer.body))
    return answer


def call(operation, **members):
    answer = send(operation, members)
    equal(answer.status, 200, f"{operation} {shown(members)}: {answer}")
    return answer.cbor() if answer.body else None


def create(name, shards=1):
    mode = {"StreamMode": "ON_DEMAND"}
    equal(call("CreateStream", StreamName=name, ShardCount=shards, StreamModeDetails=mode), None)
    eventually(
        "ACTIVE",
        lambda: call("DescribeStreamSummary", StreamName=name)["StreamDescriptionSummary"]["StreamStatus"]
        == "ACTIVE",
    )


def about_now(value):
    holds(isinstance(value, cbor.Millis), "tag 1 and a whole number", value)
    holds(abs(value - time.time() * 1_000) < 30_000, "milliseconds of now", value)


def an_empty_input_is_bf_ff():
    for body in (EMPTY, b"\xa0"):
        answer = send("ListStreams", body)
        equal((answer.status, answer.cbor()["HasMoreStreams"]), (200, False))


def answers_have_the_types_of_cbor():
    create("types", 2)
    found = call("DescribeStream", StreamName="types")["StreamDescription"]
    about_now(found["StreamCreationTimestamp"])
    equal((found["HasMoreShards"], found["RetentionPeriodHours"]), (False, 24))
    equal(found["Shards"][1]["HashKeyRange"]["StartingHashKey"], str(HASH_KEYS // 2))
    equal(found["EnhancedMonitoring"], [{"ShardLevelMetrics": []}])
    holds(all(value is not None for value in found.values()), "absent members are left out", found)
    summary = call("ListStreams")["StreamSummaries"][0]
    about_now(summary["StreamCreationTimestamp"])


def data_is_bytes_both_ways():
    create("data", 1)
    every = [b"", bytes(range(256)), os.urandom(100_000), os.urandom((1 << 20) - 2)]
    records = [{"Data": data, "PartitionKey": "ä"} for data in every]
    put = call("PutRecords", StreamName="data", Records=records[:3])
    equal(put["FailedRecordCount"], 0)
    numbers = [record["SequenceNumber"] for record in put["Records"]]
    numbers.append(call("PutRecord", StreamName="data", Data=every[3], PartitionKey="ä")["SequenceNumber"])
    at = call("GetShardIterator", StreamName="data", ShardId="0", ShardIteratorType="TRIM_HORIZON")
    found, at = [], at["ShardIterator"]
    while len(found) < 4:
        answer = call("GetRecords", ShardIterator=at, Limit=2)
        found += answer["Records"]
        at = answer["NextShardIterator"]
    holds([record["Data"] for record in found] == every, "the data, byte for byte")
    equal([record["SequenceNumber"] for record in found], numbers)
    for record in found:
        about_now(record["ApproximateArrivalTimestamp"])
    equal(answer["MillisBehindLatest"], 0)
    # What came in as CBOR goes out as JSON, and the other way round.
    at = call("GetShardIterator", StreamName="data", ShardId="0", ShardIteratorType="TRIM_HORIZON")
    answer = ask(at, "GetRecords", kind=JSON).json()
    equal(answer["Records"][0]["SequenceNumber"], numbers[0])
    equal(answer["Records"][1]["Data"], base64.b64encode(every[1]).decode())
    arrival = found[2]["ApproximateArrivalTimestamp"]
    equal(round(answer["Records"][2]["ApproximateArrivalTimestamp"] * 1_000), arrival, "the same time")


def times_are_heard_in_each_form():
    create("times", 1)
    call("PutRecord", StreamName="times", Data=b"x", PartitionKey="k")
    from_ = {"StreamName": "times", "ShardId": "0", "ShardIteratorType": "AT_TIMESTAMP"}
    found = call("GetRecords", ShardIterator=call(
        "GetShardIterator", **from_, Timestamp=cbor.Millis(1))["ShardIterator"])["Records"]
    arrival = found[0]["ApproximateArrivalTimestamp"]
    for at, expected in ((arrival, 1), (arrival + 1, 0)):
        answer = call("GetShardIterator", **from_, Timestamp=cbor.Millis(at))
        equal(len(call("GetRecords", **answer)["Records"]), expected, str(at - arrival))
    far = cbor.Millis(int(time.time() * 1_000) + 3_600_000)
    answer = send("GetShardIterator", from_ | {"Timestamp": far})
    equal(answer.status, 400)
    text = answer.cbor()["message"]
    holds(f"timestampInMillis: {int(far)}, currentTimestampInMillis: " in text, "milliseconds", text)


def lengths_may_be_definite_or_not():
    create("lengths", 1)
    name = b"\x6aStreamName"
    for body in (
        b"\xa1" + name + b"\x67lengths",
        b"\xbf" + name + b"\x67lengths\xff",
        b"\xbf\x7f\x66Stream\x64Name\xff\x7f\x61l\x66engths\xff\xff",
        b"\xb8\x01" + name + b"\x78\x07lengths",
        b"\xbf" + name + b"\x67lengths\x65Limit\x1b\0\0\0\0\0\0\0\x05\xff",
        b"\xbf" + name + b"\x67lengths\x65Limit\xf6\x65Other\x9f\x01\xa0\xff\xff",
    ):
        answer = send("DescribeStream", body)
        equal(answer.status, 200, f"{body}: {answer}")
    data = b"\xbf" + name + b"\x67lengths\x64Data\x5f\x41a\x42bc\xff\x6cPartitionKey\x61k\xff"
    equal(send("PutRecord", data).status, 200)
    at = call("GetShardIterator", StreamName="lengths", ShardId="0", ShardIteratorType="TRIM_HORIZON")
    equal(call("GetRecords", **at)["Records"][0]["Data"], b"abc")


def errors_have_two_members():
    answer = send("DescribeStream", {"StreamName": "nowhere"})
    text = f"Stream nowhere under account {ACCOUNT} not found."
    equal((answer.status, answer.cbor()), (400, {"__type": "ResourceNotFoundException", "message": text}))
    answer = send("DescribeStream", {"StreamName": "a" * 129})
    equal(answer.cbor()["__type"], "ValidationException")
    answer = send("DescribeStream", {"StreamName": 1})
    equal((answer.cbor()["__type"], set(answer.cbor())), ("SerializationException", {"__type", "Message"}))
    equal(send("Nonsense", EMPTY).cbor(), {"__type": "UnknownOperationException"})


def what_is_broken_is_a_serialization_exception():
    nested = b"\xbf\x61a" + b"\x9f" * 10_000
    for body in (
        b"", b"\xbf", b"\xff", b"\x80", b"\x01", b"\xa1\x61a", b"\xbf\x61a\xff", b"\xbb" + b"\xff" * 8,
        b"\xa1\x61a\x7b" + b"\xff" * 8, b"\xa1\x61a\x5b\x7f" + b"\xff" * 7, EMPTY + b"\0",
        b"\xa1\x61a\x62\xff\xfe", nested, b"{}", os.urandom(1) + b"\x1c" * 20,
    ):
        answer = send("ListStreams", body)
        equal((answer.status, answer.cbor()["__type"]), (400, "SerializationException"), f"{body[:40]}: {answer}")
    equal(send("ListStreams", EMPTY).status, 200, "the server lives on")


def without_a_content_type_the_answer_is_cbor():
    for kind in (None, "nonsense"):
        answer = ask(b"", "ListStreams", kind=kind)
        if answer.headers.get("content-type") == CBOR:
            equal((answer.status, answer.cbor()), (400, {"__type": "SerializationException"}))
        else:
            equal(answer.status, 404, f"{kind}: {answer}")


run(
    an_empty_input_is_bf_ff,
    answers_have_the_types_of_cbor,
    data_is_bytes_both_ways,
    times_are_heard_in_each_form,
    lengths_may_be_definite_or_not,
    errors_have_two_members,
    what_is_broken_is_a_serialization_exception,
    without_a_content_type_the_answer_is_cbor,
)
