"""HTTP/1.1 without any SDK: requests as they are sent, byte for byte, and their answers.

Each request goes over a connection of its own unless a check is about keeping one.
"""

import datetime
import json
import socket
from urllib.parse import urlsplit

import cbor
from checks import ENDPOINT, REGION, equal, eventually, holds, shown

JSON = "application/x-amz-json-1.1"
CBOR = "application/x-amz-cbor-1.1"
SERVICE = "Kinesis_20131202"
ADDRESS = urlsplit(ENDPOINT)


def authorization(key="weir", region=REGION):
    now = datetime.datetime.now(datetime.timezone.utc)
    scope = f"{key}/{now:%Y%m%d}/{region}/kinesis/aws4_request"
    signature = "0" * 64
    return {
        "X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, "
        f"SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={signature}",
    }


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def cbor(self):
        return cbor.decode(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:300]!r}"


class Connection:
    def __init__(self):
        self.socket = socket.create_connection((ADDRESS.hostname, ADDRESS.port), timeout=20)
        self.read = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.read.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def answer(self, bodiless=False):
        line = self.read.readline()
        holds(line.startswith(b"HTTP/1."), "an HTTP/1 status line", line)
        status, headers = int(line.split()[1]), {}
        while (line := self.read.readline()) not in (b"\r\n", b""):
            name, value = line.decode("latin-1").rstrip("\r\n").split(":", 1)
            holds(name.lower() not in headers, "no header twice", name)
            headers[name.lower()] = value.strip()
        if status == 100 or bodiless:
            return Answer(status, headers, b"")
        return Answer(status, headers, self.read.read(int(headers["content-length"])))

    def closed(self):
        return self.read.read(1) == b""


def request(body=b"{}", target="ListStreams", kind=JSON, method="POST", path="/", auth=None, drop=(), **more):
    headers = {"Host": ADDRESS.netloc}
    if kind is not None:
        headers["Content-Type"] = kind
    if target is not None:
        headers["X-Amz-Target"] = target if "." in target else f"{SERVICE}.{target}"
    headers |= authorization() if auth is None else auth
    headers["Content-Length"] = str(len(body))
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if name not in drop]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + body


def ask(body=b"{}", target="ListStreams", **more):
    if isinstance(body, dict):
        body = json.dumps(body).encode()
    with Connection() as connection:
        connection.send(request(body, target, **more))
        return connection.answer(more.get("method") == "HEAD")


def call(operation, **members):
    answer = ask(members, operation)
    equal(answer.status, 200, f"{operation} {shown(members)}: {answer}")
    return answer.json() if answer.body else None


def create(name, shards=1):
    mode = {"StreamMode": "ON_DEMAND"}
    call("CreateStream", StreamName=name, ShardCount=shards, StreamModeDetails=mode)
    eventually(
        f"{name} ACTIVE",
        lambda: call("DescribeStreamSummary", StreamName=name)["StreamDescriptionSummary"][
            "StreamStatus"
        ]
        == "ACTIVE",
    )
