"""What the Python suites share: where the server is, named checks, refusals, patience.

A suite is a list of functions. They run in order, each prints one line, and the first that fails
ends the program with 1 after saying what was expected and found. Names given on the command line
run only those checks.
"""

import contextlib
import os
import sys
import time
import traceback

ENDPOINT = os.environ.get("WEIR_TEST_HTTP", "http://127.0.0.1:4567")
SECURE_ENDPOINT = os.environ.get("WEIR_TEST_HTTPS")
REGION = os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
ACCOUNT = "000000000000"
HASH_KEYS = 2**128
# Set by `./scripts/test --all`: rounds are many and waits are long.
ALL = os.environ.get("WEIR_TEST_ALL") == "1"


def equal(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what}\n  expected {shown(expected)}\n  found    {shown(found)}")


def holds(truth, what, found=None):
    if not truth:
        raise AssertionError(f"{what}\n  found {shown(found)}")


def shown(value, longest=600):
    text = repr(value)
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"


def eventually(what, look, patience=20.0, pause=0.05):
    """The first truthy thing that `look` gives; an error if none comes in time."""
    until = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not come within {patience} s, last: {shown(found)}")
        time.sleep(pause)


@contextlib.contextmanager
def refused(code, *texts, status=400):
    """What happens inside must be refused by the server with this code and these texts."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        answer = error.response
        equal(answer["Error"]["Code"], code, str(error))
        for text in texts:
            holds(text in answer["Error"]["Message"], f"the text holds {text!r}", str(error))
        equal(answer["ResponseMetadata"]["HTTPStatusCode"], status, str(error))
        holds(len(answer["ResponseMetadata"]["RequestId"]) == 36, "an id of the request", answer)
        return
    raise AssertionError(f"{code} was expected, and the call succeeded")


def run(*checks):
    names = sys.argv[1:]
    known = {check.__name__: check for check in checks}
    for name in names:
        holds(name in known, f"no check is called {name}", sorted(known))
    for name, check in known.items():
        if names and name not in names:
            continue
        began = time.monotonic()
        try:
            check()
        except BaseException:
            traceback.print_exc()
            print(f"FAILED {name}", flush=True)
            sys.exit(1)
        print(f"ok {name} ({time.monotonic() - began:.1f} s)", flush=True)
