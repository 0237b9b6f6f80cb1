"""boto3 over TLS, trusting the server's own certificate as AWS_CA_BUNDLE says."""

import os
import ssl
import socket
from urllib.parse import urlsplit

from botocore.exceptions import SSLError

from checks import SECURE_ENDPOINT, equal, holds, refused, run
from streams import connect, create, read, read_all, shard_id

client = connect(SECURE_ENDPOINT)


def records_go_through_tls():
    create(client, "tls", 2)
    data = [os.urandom(size) for size in (0, 1, 100_000, (1 << 20) - 1)]
    records = [{"Data": one, "PartitionKey": "k", "ExplicitHashKey": "0"} for one in data]
    equal(client.put_records(StreamName="tls", Records=records)["FailedRecordCount"], 0)
    holds([record["Data"] for record in read(client, "tls", shard_id(0))] == data, "byte for byte")
    # The same streams as behind the plain port.
    plain = connect()
    equal(plain.list_streams()["StreamNames"], ["tls"])
    plain.put_record(StreamName="tls", Data=b"plain", PartitionKey="k")
    equal(len(read_all(client, "tls")), 5)
    with refused("ResourceNotFoundException"):
        client.describe_stream(StreamName="nowhere")


def a_large_call_goes_through_tls():
    create(client, "large", 2)
    records = [{"Data": os.urandom((1 << 20) - 8), "PartitionKey": f"{i}"} for i in range(10)]
    equal(client.put_records(StreamName="large", Records=records)["FailedRecordCount"], 0)
    equal(len(read_all(client, "large")), 10)


def an_unknown_certificate_is_not_trusted():
    bundle = os.environ.pop("AWS_CA_BUNDLE")
    try:
        connect(SECURE_ENDPOINT).list_streams()
    except SSLError as error:
        holds("CERTIFICATE_VERIFY_FAILED" in str(error), "the reason", error)
    else:
        raise AssertionError("a certificate that nobody vouches for was trusted")
    finally:
        os.environ["AWS_CA_BUNDLE"] = bundle


def protocols_and_names():
    address = urlsplit(SECURE_ENDPOINT)
    for versions, offered, chosen in (
        ((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2), ["http/1.1"], "http/1.1"),
        ((ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3), ["h2", "http/1.1"], "h2"),
        ((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), None, None),
    ):
        context = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
        context.minimum_version, context.maximum_version = versions
        if offered:
            context.set_alpn_protocols(offered)
        for name in ("localhost", "127.0.0.1"):
            with socket.create_connection((address.hostname, address.port), timeout=10) as plain:
                with context.wrap_socket(plain, server_hostname=name) as secure:
                    equal(secure.selected_alpn_protocol(), chosen, f"{versions} {name}")


def plain_words_on_the_secure_port_are_told_so():
    address = urlsplit(SECURE_ENDPOINT)
    with socket.create_connection((address.hostname, address.port), timeout=10) as plain:
        plain.sendall(b"POST / HTTP/1.1\r\nHost: weir\r\nContent-Length: 0\r\n\r\n")
        said = b""
        while piece := plain.recv(1_000):
            said += piece
        holds(said.startswith(b"HTTP/1.1 400 ") and b"TLS" in said, "a hint, in plain", said)
    equal(client.list_streams()["StreamNames"], ["large", "tls"])


run(
    records_go_through_tls,
    a_large_call_goes_through_tls,
    an_unknown_certificate_is_not_trusted,
    protocols_and_names,
    plain_words_on_the_secure_port_are_told_so,
)
