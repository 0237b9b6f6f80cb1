"""The HTTP API without any SDK: what a table of requests, right and odd, is answered."""

import base64
import datetime
import json
import re
import time
import uuid

from checks import ACCOUNT, ALL, HASH_KEYS, equal, eventually, holds, run
from plain import JSON, SERVICE, Connection, ask, authorization, call, create, request


def carries_the_headers(answer, kind=JSON):
    equal(str(uuid.UUID(answer.headers["x-amzn-requestid"])), answer.headers["x-amzn-requestid"])
    size = len(base64.b64decode(answer.headers["x-amz-id-2"], validate=True))
    holds(64 <= size <= 76, "x-amz-id-2 is base64 of about 72 bytes", size)
    date = datetime.datetime.strptime(answer.headers["date"], "%a, %d %b %Y %H:%M:%S GMT")
    age = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) - date
    holds(abs(age.total_seconds()) < 5, "a true Date", answer.headers["date"])
    equal(answer.headers.get("content-type"), kind)
    equal(int(answer.headers["content-length"]), len(answer.body))
    for name in ("content-encoding", "transfer-encoding", "access-control-allow-origin"):
        holds(name not in answer.headers, f"no {name}", answer)


def every_answer_carries_the_headers():
    answer = ask()
    equal(answer.status, 200)
    carries_the_headers(answer)
    other = ask()
    for name in ("x-amzn-requestid", "x-amz-id-2"):
        holds(answer.headers[name] != other.headers[name], f"{name} is new each time", answer)
    refusal = ask({"StreamName": "nowhere"}, "DescribeStream")
    equal(refusal.status, 400)
    carries_the_headers(refusal)
    equal(
        refusal.json(),
        {
            "__type": "ResourceNotFoundException",
            "message": f"Stream nowhere under account {ACCOUNT} not found.",
        },
    )


def operations_without_output_answer_nothing():
    answer = ask({"StreamName": "nothing", "ShardCount": 1}, "CreateStream")
    equal((answer.status, answer.body), (200, b""))
    equal(answer.headers["content-length"], "0")
    eventually("ACTIVE", lambda: call("DescribeStreamSummary", StreamName="nothing")[
        "StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE")
    answer = ask({"StreamName": "nothing"}, "DeleteStream")
    equal((answer.status, answer.body), (200, b""))


def content_types_are_heard_with_parameters():
    for kind in (JSON, f"{JSON}; charset=utf-8", f" {JSON} ;x=y"):
        answer = ask(kind=kind)
        equal(answer.status, 200, f"{kind}: {answer}")
        carries_the_headers(answer)


def the_path_and_the_query_do_not_matter():
    for path in ("/", "/anything", "/a/b/c?d=e"):
        equal(ask(path=path).status, 200, path)


DENIED = (
    b"<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be "
    b"authorized</Message>\n</AccessDeniedException>\n"
)
UNKNOWN = b"<UnknownOperationException/>\n"


def other_methods_are_denied():
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        for target in (None, "ListStreams"):
            answer = ask(b"", target, method=method)
            equal((answer.status, answer.body), (403, DENIED), f"{method} {target}: {answer}")


def an_unknown_content_type_with_a_target_is_404():
    for kind in ("text/plain", "application/x-amz-json-1.0", "application/octet-stream"):
        answer = ask(kind=kind)
        equal((answer.status, answer.body), (404, UNKNOWN), f"{kind}: {answer}")


def the_old_coral_form_answers_application_json():
    answer = ask(target="Nonsense", kind="application/json")
    equal(answer.status, 404, str(answer))
    expected = {
        "Output": {"__type": "com.amazon.coral.service#UnknownOperationException"},
        "Version": "1.0",
    }
    equal(answer.json(), expected)


def what_cannot_be_parsed_is_a_serialization_exception():
    for body in (b"", b"hello", b"{", b"[]", b'{"a"}', b"{}x", b'"text"', b"\xff\xfe", b"{'a':1}"):
        answer = ask(body)
        equal(answer.status, 400, f"{body}: {answer}")
        equal(answer.json().get("__type"), "SerializationException", f"{body}: {answer}")
        carries_the_headers(answer)
    equal(ask(b"").json(), {"__type": "SerializationException"})
    for target in ("Nonsense", f"{SERVICE}.", "Kinesis_20131203.ListStreams", "DynamoDB_20120810.ListTables"):
        answer = ask(target=target)
        equal((answer.status, answer.json()), (400, {"__type": "UnknownOperationException"}), target)


def checks_come_in_their_order():
    """Each request breaks two rules; the earlier one is named."""
    nobody = {}
    wrong_type, bad_constraint = {"StreamName": 1}, {"StreamName": "a" * 129}
    table = [
        # (what, request, the error that is named)
        ("body before target", dict(body=b"{", target="Nonsense"), "SerializationException"),
        ("target before credentials", dict(target="Nonsense", auth=nobody), "UnknownOperationException"),
        ("body before credentials", dict(body=b"{", auth=nobody), "SerializationException"),
        (
            "credentials before types",
            dict(body=wrong_type, target="DescribeStream", auth=nobody),
            "MissingAuthenticationTokenException",
        ),
        (
            "types before constraints",
            dict(body={"StreamName": "a" * 129, "Limit": "x"}, target="DescribeStream"),
            "SerializationException",
        ),
        (
            "constraints before existence",
            dict(body=bad_constraint, target="DescribeStream"),
            "ValidationException",
        ),
        (
            "existence before the rest",
            dict(
                body={
                    "StreamName": "nowhere", "ShardId": "shardId-0",
                    "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "1",
                },
                target="GetShardIterator",
            ),
            "ResourceNotFoundException",
        ),
    ]
    for what, asked, expected in table:
        answer = ask(**asked)
        equal((answer.status, answer.json()["__type"]), (400, expected), f"{what}: {answer}")


def credentials_must_be_there_and_whole():
    full = authorization()
    header = full["Authorization"]
    date = {"X-Amz-Date": full["X-Amz-Date"]}
    parts = dict(re.findall(r"(Credential|SignedHeaders|Signature)=([^, ]+)", header))

    def without(*names):
        kept = ", ".join(f"{name}={value}" for name, value in parts.items() if name not in names)
        return {"Authorization": f"AWS4-HMAC-SHA256 {kept}"}

    def needs(name):
        return f"Authorization header requires '{name}' parameter. "

    no_date = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
    table = [
        ({}, "MissingAuthenticationTokenException", "Missing Authentication Token"),
        (date, "MissingAuthenticationTokenException", "Missing Authentication Token"),
        (date | without("Credential"), "IncompleteSignatureException", needs("Credential")),
        (date | without("Signature"), "IncompleteSignatureException", needs("Signature")),
        (date | without("SignedHeaders"), "IncompleteSignatureException", needs("SignedHeaders")),
        (
            date | without("Signature", "Credential"),
            "IncompleteSignatureException",
            needs("Credential") + needs("Signature"),
        ),
        ({"Authorization": header}, "IncompleteSignatureException", no_date),
    ]
    for auth, kind, text in table:
        answer = ask(auth=auth)
        equal(answer.status, 400, str(answer))
        found = answer.json()
        equal(found["__type"], kind, str(auth))
        if kind == "IncompleteSignatureException":
            text += f"Authorization={auth['Authorization']}"
        equal(found["message"], text, str(auth))
    both = ask(path="/?X-Amz-Algorithm=AWS4-HMAC-SHA256")
    equal(
        both.json(),
        {
            "__type": "InvalidSignatureException",
            "message": "Found both 'X-Amz-Algorithm' as a query-string param and "
            "'Authorization' as HTTP header.",
        },
    )
    # Separators vary between clients; a Date header does as well.
    for separator in (", ", ",", " ,  "):
        kept = separator.join(f"{name}={value}" for name, value in parts.items())
        answer = ask(auth=date | {"Authorization": f"AWS4-HMAC-SHA256 {kept}"})
        equal(answer.status, 200, f"{separator!r}: {answer}")


def cors_is_answered():
    expose = (
        "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date"
    )
    answer = ask(Origin="https://weir.example")
    equal(answer.status, 200)
    equal(answer.headers.get("access-control-allow-origin"), "*")
    equal(answer.headers.get("access-control-expose-headers"), expose)
    answer = ask({"StreamName": "nowhere"}, "DescribeStream", Origin="https://weir.example")
    equal((answer.status, answer.headers.get("access-control-allow-origin")), (400, "*"))
    answer = ask(
        b"", None, kind=None, method="OPTIONS", auth={}, Origin="https://weir.example",
        Access_Control_Request_Headers="x-amz-target,authorization",
        Access_Control_Request_Method="POST",
    )
    equal((answer.status, answer.body), (200, b""), str(answer))
    for name, value in {
        "access-control-allow-origin": "*",
        "access-control-allow-headers": "x-amz-target,authorization",
        "access-control-allow-methods": "POST",
        "access-control-max-age": "172800",
    }.items():
        equal(answer.headers.get(name), value, f"{name}: {answer}")
    holds("x-amz-id-2" not in answer.headers, "no x-amz-id-2", answer)


def one_connection_takes_many_requests():
    with Connection() as connection:
        for _ in range(300):
            connection.send(request())
            equal(connection.answer().status, 200)
        # A refusal does not end it.
        connection.send(request(b"{"))
        equal(connection.answer().status, 400)
        connection.send(request())
        equal(connection.answer().status, 200)
        connection.send(request(Connection="close"))
        equal(connection.answer().status, 200)
        holds(connection.closed(), "the server closes when it is asked to")


def bodies_come_in_chunks_and_after_a_hundred():
    body = json.dumps({"Limit": 10}).encode()
    with Connection() as connection:
        head, _, _ = request(body, Transfer_Encoding="chunked", drop=["Content-Length"]).partition(b"\r\n\r\n")
        connection.send(head + b"\r\n\r\n")
        for i in range(0, len(body), 3):
            piece = body[i : i + 3]
            connection.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        connection.send(b"0\r\n\r\n")
        equal(connection.answer().status, 200)
        head, _, rest = request(body, Expect="100-continue").partition(b"\r\n\r\n")
        connection.send(head + b"\r\n\r\n")
        equal(connection.answer().status, 100)
        connection.send(rest)
        equal(connection.answer().status, 200)
        # In pieces of one byte.
        for byte in request(body):
            connection.send(bytes([byte]))
        equal(connection.answer().status, 200)


def names_of_headers_have_no_case():
    lower = request().replace(b"X-Amz-Target", b"x-amz-target").replace(b"Content-Type", b"content-type")
    with Connection() as connection:
        connection.send(lower)
        equal(connection.answer().status, 200)


def json_is_heard_as_aws_hears_it():
    create("lenient")
    # What is not known is ignored, also deep down; null is absent.
    body = {
        "StreamName": "lenient", "Nonsense": {"a": [1, {"b": None}]}, "ExclusiveStartShardId": None,
    }
    answer = ask(body, "DescribeStream")
    equal(answer.status, 200, str(answer))
    # Integers are floored and saturate; text may be escaped; space is free.
    for text in (
        '{"StreamName":"lenient","Limit":1.9}',
        '{"StreamName":"\\u006cenient","Limit":1e2}',
        ' \r\n\t{ "StreamName" : "lenient" }\n ',
    ):
        answer = ask(text.encode(), "DescribeStream")
        equal(answer.status, 200, f"{text}: {answer}")
    answer = ask(b'{"StreamName":"lenient","Limit":99999999999999999999}', "DescribeStream")
    equal(
        answer.json()["message"],
        "1 validation error detected: Value '2147483647' at 'limit' failed to satisfy constraint: "
        "Member must have value less than or equal to 10000",
    )
    # A key and data in Unicode beyond the first plane.
    key = "\U0001f30a" * 100
    put = call("PutRecord", StreamName="lenient", PartitionKey=key, Data=base64.b64encode(b"x").decode())
    holds(put["SequenceNumber"].isdigit(), "a number", put)
    at = call("GetShardIterator", StreamName="lenient", ShardId="0", ShardIteratorType="TRIM_HORIZON")
    found = call("GetRecords", ShardIterator=at["ShardIterator"])["Records"]
    equal([record["PartitionKey"] for record in found], [key])


def members_of_the_wrong_type_are_named():
    number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String"
    table = [
        ("DescribeStream", {"StreamName": 1}, number),
        ("DescribeStream", {"StreamName": True}, "class java.lang.Boolean can not be converted to an String"),
        ("DescribeStream", {"StreamName": []}, "Start of list found where not expected"),
        ("DescribeStream", {"StreamName": {}}, "Start of structure or map found where not expected."),
        ("DescribeStream", {"StreamName": "a", "Limit": "1"}, "class java.lang.String can not be converted to an Integer"),
        ("DescribeStream", {"StreamName": "a", "Limit": True}, "class java.lang.Boolean can not be converted to an Integer"),
        ("PutRecords", {"StreamName": "a", "Records": "x"}, "Expected list or null"),
        ("PutRecords", {"StreamName": "a", "Records": ["x"]}, "Expected null"),
        ("PutRecord", {"StreamName": "a", "PartitionKey": "k", "Data": "A"},
         "'A' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 1"),
        ("PutRecord", {"StreamName": "a", "PartitionKey": "k", "Data": "A!=="},
         "'A!==' can not be converted to a Blob: Invalid Base64 character: '!'"),
        ("GetShardIterator", {"StreamName": "a", "Timestamp": "now"},
         "class java.lang.String can not be converted to milliseconds since epoch"),
    ]
    for operation, body, text in table:
        answer = ask(body, operation)
        expected = {"__type": "SerializationException", "Message": text}
        equal((answer.status, answer.json()), (400, expected), f"{operation} {body}")


def constraints_are_named_together():
    answer = ask({"StreamName": "", "PartitionKey": "k" * 257}, "PutRecord")
    text = answer.json()["message"]
    holds(text.startswith("4 validation errors detected: "), "four at once", text)
    for part in (
        "Value null at 'data' failed to satisfy constraint: Member must not be null",
        "Value '' at 'streamName' failed to satisfy constraint: Member must satisfy regular "
        "expression pattern: [a-zA-Z0-9_.-]+",
        "Value '' at 'streamName' failed to satisfy constraint: Member must have length greater "
        "than or equal to 1",
        f"Value '{'k' * 257}' at 'partitionKey' failed to satisfy constraint: Member must have "
        "length less than or equal to 256",
    ):
        holds(part in text, f"holds {part!r}", text)


def iterators_are_opaque_and_strict():
    create("turns", 2)
    put = {"Data": base64.b64encode(b"x").decode(), "PartitionKey": "k", "ExplicitHashKey": "0"}
    first = call("PutRecord", StreamName="turns", **put)
    second = call("PutRecord", StreamName="turns", **put)

    def iterator(kind="TRIM_HORIZON", shard="shardId-000000000000", stream="turns", **more):
        return ask(
            {"StreamName": stream, "ShardId": shard, "ShardIteratorType": kind, **more},
            "GetShardIterator",
        )

    token = iterator().json()["ShardIterator"]
    raw = base64.b64decode(token, validate=True)
    equal(base64.b64encode(raw).decode(), token, "canonical base64")
    holds(len(token) <= 512 and (len(raw) - 152) % 16 == 0 and len(raw) <= 280, "its length", len(raw))
    equal(raw[:8], bytes([0, 0, 0, 0, 0, 0, 0, 1]), "its head")
    # Every one differs, used or new; one in quotes is taken as AWS takes it.
    tokens = {token, iterator().json()["ShardIterator"]}
    answer = call("GetRecords", ShardIterator=f'"{token}"', Limit=1)
    equal(answer["Records"][0]["SequenceNumber"], first["SequenceNumber"])
    following = answer["NextShardIterator"]
    for _ in range(5):
        tokens.add(following)
        following = call("GetRecords", ShardIterator=following)["NextShardIterator"]
    equal(len(tokens), 7, "different iterators")
    # One iterator may be used again and gives the same again.
    again = [call("GetRecords", ShardIterator=token)["Records"] for _ in range(2)]
    equal(again[0], again[1])
    equal([record["SequenceNumber"] for record in again[0]], [first["SequenceNumber"], second["SequenceNumber"]])
    # Any single changed byte is no iterator.
    for at in range(0, len(raw), 13):
        broken = bytearray(raw)
        broken[at] ^= 1
        answer = ask({"ShardIterator": base64.b64encode(broken).decode()}, "GetRecords")
        equal(
            answer.json(),
            {"__type": "InvalidArgumentException", "message": "Invalid ShardIterator."},
            f"byte {at}",
        )
    # Which shards are meant: by index, with any prefix.
    for shard in ("shardId-0", "0", "x-0", "shardId-000000000000"):
        equal(iterator(shard=shard).status, 200, shard)
    for shard in ("shardId-2", "nothing", "2147483648"):
        answer = iterator(shard=shard)
        equal((answer.status, answer.json()["__type"]), (400, "ResourceNotFoundException"), shard)
    mismatch = (
        "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and "
        "StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. "
        "Request specified "
    )
    number = second["SequenceNumber"]
    future = int(time.time()) + 3_600
    table = [
        (iterator(StartingSequenceNumber=number), mismatch + "TRIM_HORIZON and also a StartingSequenceNumber."),
        (iterator("LATEST", StartingSequenceNumber=number), mismatch + "LATEST and also a StartingSequenceNumber."),
        (iterator("AT_SEQUENCE_NUMBER"), mismatch + "AT_SEQUENCE_NUMBER and no StartingSequenceNumber."),
        (iterator("AFTER_SEQUENCE_NUMBER"), mismatch + "AFTER_SEQUENCE_NUMBER and no StartingSequenceNumber."),
        (
            iterator("AT_SEQUENCE_NUMBER", "shardId-000000000001", StartingSequenceNumber=number),
            "Invalid StartingSequenceNumber. It encodes shardId-000000000000, while it was used in "
            "a call to a shard with shardId-000000000001",
        ),
        (
            iterator("AT_SEQUENCE_NUMBER", StartingSequenceNumber="9" * 60),
            f"StartingSequenceNumber {'9' * 60} used in GetShardIterator on shard "
            f"shardId-000000000000 in stream turns under account {ACCOUNT} is invalid.",
        ),
        (
            iterator("AT_TIMESTAMP"),
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current "
            "request has no timestamp parameter.",
        ),
        (
            iterator("AT_TIMESTAMP", Timestamp=future),
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "
            f"timestampInMillis: {future}000, currentTimestampInMillis: ",
        ),
    ]
    for answer, text in table:
        equal((answer.status, answer.json()["__type"]), (400, "InvalidArgumentException"), str(answer))
        found = answer.json()["message"]
        holds(found.startswith(text), f"starts with {text!r}", found)
        holds(found == text or text.endswith(": "), f"is {text!r}", found)
    # A number that was never written is a place too.
    never = str(int(number) + (1 << 80))
    equal(iterator("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=never).status, 200)


def a_stream_made_again_does_not_take_old_iterators():
    create("phoenix")
    old = call("GetShardIterator", StreamName="phoenix", ShardId="0", ShardIteratorType="LATEST")
    call("DeleteStream", StreamName="phoenix")
    gone = eventually(
        "the end", lambda: (a := ask({"StreamName": "phoenix"}, "DescribeStream")).status == 400 and a
    )
    equal(gone.json()["__type"], "ResourceNotFoundException")
    for again in (False, True):
        if again:
            create("phoenix")
        answer = ask(old, "GetRecords")
        equal(
            answer.json(),
            {
                "__type": "ResourceNotFoundException",
                "message": "Shard shardId-000000000000 in stream phoenix under account "
                f"{ACCOUNT} does not exist",
            },
            f"again: {again}",
        )


def tokens_live_five_minutes():
    if not ALL:
        return
    create("old", 3)
    at = call("GetShardIterator", StreamName="old", ShardId="0", ShardIteratorType="TRIM_HORIZON")
    page = call("ListShards", StreamName="old", MaxResults=1)
    made = time.monotonic()
    eventually("almost five minutes", lambda: time.monotonic() - made > 290, 300, 1)
    equal(ask(at, "GetRecords").status, 200, "still young")
    eventually("five minutes", lambda: time.monotonic() - made > 301, 20, 1)
    answer = ask(at, "GetRecords")
    equal((answer.status, answer.json()["__type"]), (400, "ExpiredIteratorException"))
    day = r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d{2} \d{2}:\d{2}:\d{2} UTC \d{4}"
    text = (
        f"Iterator expired. The iterator was created at time {day} while right now it is {day} "
        "which is further in the future than the tolerated delay of 300000 milliseconds."
    )
    holds(re.fullmatch(text, answer.json()["message"]), text, answer.json()["message"])
    answer = ask({"NextToken": page["NextToken"]}, "ListShards")
    equal((answer.status, answer.json()["__type"]), (400, "ExpiredNextTokenException"))


def hash_keys_have_a_range():
    create("hashes", 2)
    put = {"StreamName": "hashes", "PartitionKey": "k", "Data": ""}
    for key, shard in ((0, 0), (HASH_KEYS // 2 - 1, 0), (HASH_KEYS // 2, 1), (HASH_KEYS - 1, 1)):
        placed = call("PutRecord", ExplicitHashKey=str(key), **put)
        equal(placed["ShardId"], f"shardId-{shard:012}", str(key))
    answer = ask(put | {"ExplicitHashKey": str(HASH_KEYS)}, "PutRecord")
    text = (
        "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified "
        f"value was {HASH_KEYS}"
    )
    equal(answer.json(), {"__type": "InvalidArgumentException", "message": text})
    # In PutRecords one such key refuses the whole call.
    records = [{"PartitionKey": "k", "Data": ""}, {"PartitionKey": "k", "Data": "", "ExplicitHashKey": str(HASH_KEYS)}]
    answer = ask({"StreamName": "hashes", "Records": records}, "PutRecords")
    equal(answer.json(), {"__type": "InvalidArgumentException", "message": text})
    for bad in ("01", "-1", "1" * 40, "x", ""):
        answer = ask(put | {"ExplicitHashKey": bad}, "PutRecord")
        equal(answer.json()["__type"], "ValidationException", bad)
        holds("0|([1-9]\\d{0,38})" in answer.json()["message"], "the pattern", answer)


def sequence_numbers_have_the_layout_of_aws():
    before = time.time()
    create("numbers", 3)
    shards = call("DescribeStream", StreamName="numbers")["StreamDescription"]["Shards"]
    put = {"StreamName": "numbers", "PartitionKey": "k", "Data": ""}
    for index, shard in enumerate(shards):
        start = int(shard["SequenceNumberRange"]["StartingSequenceNumber"])
        text = f"{start:x}"
        equal(len(text), 47)
        equal((text[0], text[-1]), ("2", "2"), "its marks")
        created, low, number = int(text[1:10], 16), int(text[10], 16), int(text[11:27], 16)
        equal((low, number, int(text[38:46], 16)), (index, 0, index), "shard and index")
        equal(text[27:29], "00")
        equal(int(text[29:38], 16), created, "the time of a start is the creation")
        holds(before - 10 <= created <= time.time() + 1, "the time of creation", created)
        size = HASH_KEYS // 3
        key = int(shard["HashKeyRange"]["StartingHashKey"])
        equal(key, index * size)
        last = HASH_KEYS - 1 if index == 2 else (index + 1) * size - 1
        equal(int(shard["HashKeyRange"]["EndingHashKey"]), last)
        placed = call("PutRecord", ExplicitHashKey=str(key), **put)
        mine = f"{int(placed['SequenceNumber']):x}"
        equal((mine[:11], mine[38:]), (text[:11], text[38:]), "same creation and shard")
        age = time.time() - int(mine[29:38], 16)
        holds(-3 < age < 5, "the time of the record", age)
    # Ordering: above a number that was given; one of the future is refused.
    first = call("PutRecord", **put)["SequenceNumber"]
    second = call("PutRecord", SequenceNumberForOrdering=first, **put)["SequenceNumber"]
    holds(int(second) > int(first), "the second is above", (first, second))
    future = str(int(first) + (3_600 << 36))
    answer = ask(put | {"SequenceNumberForOrdering": future}, "PutRecord")
    equal(
        answer.json(),
        {
            "__type": "InvalidArgumentException",
            "message": f"ExclusiveMinimumSequenceNumber {future} used in PutRecord on stream "
            f"numbers under account {ACCOUNT} is invalid.",
        },
    )


def too_large_is_refused():
    body = b" " * (17 << 20)
    with Connection() as connection:
        head, _, _ = request(body).partition(b"\r\n\r\n")
        connection.send(head + b"\r\n\r\n")
        try:
            connection.send(body)
        except (BrokenPipeError, ConnectionResetError):
            pass
        equal(connection.answer().status, 413)
    data = base64.b64encode(b"x" * ((1 << 20) + 1)).decode()
    record = {"PartitionKey": "k", "Data": data}
    answer = ask({"StreamName": "hashes", **record}, "PutRecord")
    holds(answer.json()["message"].endswith(
        "at 'data' failed to satisfy constraint: Member must have length less than or equal to 1048576"),
        "the text", answer)
    answer = ask({"StreamName": "hashes", "Records": [record]}, "PutRecords")
    holds(answer.json()["message"].endswith(
        "at 'records.1.member.data' failed to satisfy constraint: Member must have length less "
        "than or equal to 1048576"), "the text", answer)


run(
    every_answer_carries_the_headers,
    operations_without_output_answer_nothing,
    content_types_are_heard_with_parameters,
    the_path_and_the_query_do_not_matter,
    other_methods_are_denied,
    an_unknown_content_type_with_a_target_is_404,
    the_old_coral_form_answers_application_json,
    what_cannot_be_parsed_is_a_serialization_exception,
    checks_come_in_their_order,
    credentials_must_be_there_and_whole,
    cors_is_answered,
    one_connection_takes_many_requests,
    bodies_come_in_chunks_and_after_a_hundred,
    names_of_headers_have_no_case,
    json_is_heard_as_aws_hears_it,
    members_of_the_wrong_type_are_named,
    constraints_are_named_together,
    iterators_are_opaque_and_strict,
    a_stream_made_again_does_not_take_old_iterators,
    tokens_live_five_minutes,
    hash_keys_have_a_range,
    sequence_numbers_have_the_layout_of_aws,
    too_large_is_refused,
)
