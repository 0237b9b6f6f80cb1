"""What a boto3 program sees of a server that verifies; each assertion is one thing AWS promises."""

import datetime
import hashlib
import http.client
import json
import os
import signal
import sys
import time
import urllib.parse
from unittest import mock

import boto3
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

endpoint, part, secret = sys.argv[1:4]
address = urllib.parse.urlsplit(endpoint).netloc
REGION = "eu-west-1"
TARGET = "Kinesis_20131202."
# Far longer than a reload takes.
PATIENCE = 60
MISMATCH = "The request signature we calculated does not match the signature you provided."


def client(key="AKIAINGEST", secret=secret, token=None, attempts=1):
    return boto3.client(
        "kinesis",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": attempts}),
    )


def refused(code, said, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert error.response["Error"]["Message"].startswith(said), error
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400, error
        return
    raise AssertionError(f"{code} expected")


def put():
    answer = client().put_record(StreamName="signed", PartitionKey="k", Data=b"\x00\xffdata")
    assert answer["ShardId"].startswith("shardId-"), answer


def send(headers, body, path="/"):
    """A request as it is, and its answer."""
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.getheader("Content-Type")


def signed(signer, body, content_type="application/x-amz-json-1.1", **arguments):
    """A request of our own, signed by one of botocore's signers."""
    credentials = Credentials("AKIAINGEST", secret)
    headers = {"Content-Type": content_type, "X-Amz-Target": TARGET + "ListStreams"}
    request = AWSRequest("POST", endpoint + "/", data=body, headers=headers)
    signer(credentials, "kinesis", REGION, **arguments).add_auth(request)
    url = urllib.parse.urlsplit(request.url)
    path = url.path + ("?" + url.query if url.query else "")
    return dict(request.headers.items()), path


def refused_raw(code, said, headers, body=b"{}", path="/"):
    status, answer, _ = send(headers, body, path)
    answer = json.loads(answer)
    assert status == 400 and answer["__type"] == code, answer
    assert answer.get("message", "").startswith(said), answer


def good_signatures():
    known = client()
    known.create_stream(StreamName="signed", ShardCount=2)
    known.get_waiter("stream_exists").wait(
        StreamName="signed", WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    described = known.describe_stream(StreamName="signed")["StreamDescription"]
    arn = f"arn:aws:kinesis:{REGION}:000000000000:stream/signed"
    assert described["StreamARN"] == arn, described
    put()
    records = [{"Data": bytes([i % 256]) * 1000, "PartitionKey": str(i)} for i in range(500)]
    assert known.put_records(StreamName="signed", Records=records)["FailedRecordCount"] == 0
    # As long as a call may be: the digest of it is taken in steps.
    large = [{"Data": b"x" * 1_000_000, "PartitionKey": str(i)} for i in range(8)]
    assert len(known.put_records(StreamName="signed", Records=large)["Records"]) == 8
    batch = client("ASIABATCH", "for/a+night=", "token/with+signs==")
    assert batch.list_streams()["StreamNames"] == ["signed"]
    print("good signatures pass, with and without a session token, short and long")


def wrong_keys():
    refused("UnrecognizedClientException", "The security token included in the request is invalid",
            client("AKIAOTHER").list_streams)
    refused("InvalidSignatureException", MISMATCH, client(secret="wrong").list_streams)
    unknown = "The security token included in the request is invalid"
    for token in [None, "token", "token/with+signs="]:
        other = client("ASIABATCH", "for/a+night=", token)
        refused("UnrecognizedClientException", unknown, other.list_streams)
    refused("UnrecognizedClientException", unknown, client(token="stray").list_streams)
    print("wrong keys, secrets and tokens are refused")


def other_clocks():
    """botocore takes its time from one place; it corrects a clock that is off by itself only where
    it knows the error, so here one attempt is all."""
    real = botocore.auth.get_current_datetime
    for minutes, said in [(-6, "Signature expired: "), (6, "Signature not yet current: ")]:
        off = lambda *a, **k: real(*a, **k) + datetime.timedelta(minutes=minutes)
        with mock.patch.object(botocore.auth, "get_current_datetime", off):
            refused("InvalidSignatureException", said, client().list_streams)
    for minutes in [-4, 4]:
        off = lambda *a, **k: real(*a, **k) + datetime.timedelta(minutes=minutes)
        with mock.patch.object(botocore.auth, "get_current_datetime", off):
            client().list_streams()
    print("clocks may be five minutes off, and no more")


class Presigner(botocore.auth.SigV4QueryAuth):
    """botocore's own moves a form's body into the query; ours stays and is signed where it is."""

    def payload(self, request):
        return hashlib.sha256(b"{}").hexdigest()


def presigned():
    signer = Presigner
    headers, path = signed(signer, b"", expires=60)
    assert "Authorization" not in headers and "X-Amz-Signature=" in path, path
    status, answer, _ = send(headers, b"{}", path)
    assert status == 200 and json.loads(answer)["StreamNames"] == ["signed"], answer
    refused_raw("InvalidSignatureException", MISMATCH, headers, b"{ }", path)
    refused_raw("InvalidSignatureException", MISMATCH, headers, b"{}", path + "&a=b")
    lasting = path.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    refused_raw("InvalidSignatureException", MISMATCH, headers, b"{}", lasting)
    both = headers | {"Authorization": "AWS4-HMAC-SHA256 Credential=a"}
    refused_raw("InvalidSignatureException", "Found both 'X-Amz-Algorithm'", both, b"{}", path)
    incomplete = path.replace("X-Amz-SignedHeaders", "X-Amz-Other")
    refused_raw(
        "IncompleteSignatureException",
        "AWS query-string parameters must include 'X-Amz-SignedHeaders'. Re-examine",
        headers, b"{}", incomplete,
    )
    headers, path = signed(signer, b"", expires=1)
    time.sleep(2.1)
    refused_raw("InvalidSignatureException", "Signature expired: ", headers, b"{}", path)
    print("presigned requests pass, for as long as they say")


def changed_requests():
    headers, path = signed(botocore.auth.SigV4Auth, b"{}")
    assert send(headers, b"{}", path)[0] == 200
    refused_raw("InvalidSignatureException", MISMATCH, headers, b"{ }")
    refused_raw("InvalidSignatureException", MISMATCH, headers, b"{}", "/?a=b")
    for name, value in [
        ("X-Amz-Target", TARGET + "DeleteStream"),
        ("Host", "other:80"),
        ("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD"),
    ]:
        refused_raw("InvalidSignatureException", MISMATCH, headers | {name: value})
    unsigned = {name: headers[name] for name in ["Content-Type", "X-Amz-Target"]}
    refused_raw("MissingAuthenticationTokenException", "Missing Authentication Token", unsigned)
    half = headers | {"Authorization": headers["Authorization"].split(", Signature=")[0]}
    refused_raw(
        "IncompleteSignatureException",
        "Authorization header requires 'Signature' parameter. Authorization=AWS4",
        half,
    )
    undated = {name: value for name, value in headers.items() if name != "X-Amz-Date"}
    refused_raw(
        "IncompleteSignatureException",
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
        undated,
    )
    print("a request that was changed on its way is refused")


def cbor():
    content_type = "application/x-amz-cbor-1.1"
    headers, path = signed(botocore.auth.SigV4Auth, b"\xbf\xff", content_type)
    status, answer, answered_as = send(headers, b"\xbf\xff", path)
    assert status == 200 and answered_as == content_type, answer
    assert b"StreamNames" in answer, answer
    for body, code in [(b"\xa0", b"InvalidSignatureException")]:
        status, answer, answered_as = send(headers, body, path)
        assert status == 400 and answered_as == content_type, answer
        assert code in answer and b"message" in answer, answer
    print("CBOR is signed and refused alike")


def reload(process, path, replacement):
    """One kept connection: the old secret is good until the server has read the new one, and the
    connection stays."""
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.connect()
    socket = connection.sock
    end, replaced = time.monotonic() + PATIENCE, False
    while time.monotonic() < end:
        headers, place = signed(botocore.auth.SigV4Auth, b"{}")
        connection.request("POST", place, b"{}", headers)
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
        assert connection.sock is socket, "the connection was dropped"
        if status == 400:
            assert replaced, body
            assert json.loads(body)["__type"] == "InvalidSignatureException", body
            return
        assert status == 200, body
        if not replaced:
            with open(path) as keys:
                text = keys.read()
            with open(path, "w") as keys:
                keys.write(text.replace(secret, replacement))
            os.kill(int(process), signal.SIGHUP)
            replaced = True
    raise AssertionError("the old key is good for ever")


def wrong_region():
    said = f"Credential should be scoped to a valid region, not '{REGION}'. "
    refused("InvalidSignatureException", said, client().list_streams)


def unsigned():
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": TARGET + "ListStreams"}
    status, answer, _ = send(headers, b"{}")
    assert status == 200, answer


if part == "all":
    good_signatures()
    wrong_keys()
    other_clocks()
    presigned()
    changed_requests()
    cbor()
else:
    globals()[part](*sys.argv[4:])
