"""Requests that come whole are read as the parser reads them, or left to it."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questd import whole
from questd.request import Request
from questd.whole import request_of
from tests.fuzz import examples
from tests.requests import with_noise
from tests.test_connection import request, strange, turns_of

MOST = 100

PLAIN = {
    "boto3": b"POST / HTTP/1.1\r\nHost: localhost:9324\r\nAccept-Encoding: identity\r\nX-Amz-Target: AmazonSQS.ListQueues\r\n"
    b"Content-Type: application/x-amz-json-1.0\r\nUser-Agent: Boto3/1.40 md/Botocore#1.40 ua/2.1  os/linux\r\n"
    b"X-Amz-Date: 20261127T043406Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential=a/20261127/us-east-1/sqs/aws4_request, "
    b"SignedHeaders=host;x-amz-date, Signature=0123\r\namz-sdk-invocation-id: 1\r\nContent-Length: 2\r\n\r\n{}",
    "node": b"POST / HTTP/1.1\r\nhost: localhost\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}",
    "curl": b"POST /000000000000/q HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/7.88\r\nAccept: */*\r\n"
    b"Content-Length: 17\r\n\r\nAction=ListQueues",
    "a large body": request("SendMessage", MessageBody="\r\n\r\n" * 700),
    "a query": b"GET /?Action=ListQueues&x=%20+y~ HTTP/1.1\r\nHost: [::1]:9324\r\nX-Strange: a: b\r\n\r\n",
}

LEFT = {
    "no end": b"POST / HTTP/1.1\r\nHost: x",
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{}",
    "two": request("ListQueues") * 2,
    "no host": b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "another length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 02\r\n\r\n{}",
    "chunked": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    "expecting": b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
    "the last one": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n",
    "old": b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
    "another method": b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a whole URL": b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "a fragment": b"GET /#a HTTP/1.1\r\nHost: x\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: x\r\nAccept: a\r\n b\r\n\r\n",
    "spaces": b"GET / HTTP/1.1\r\nHost:  x \r\n\r\n",
    "no space": b"GET / HTTP/1.1\r\nHost:x\r\n\r\n",
    "a bare line feed": b"GET / HTTP/1.1\r\nHost: x\nAccept: a\r\n\r\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: x\rAccept: a\r\n\r\n",
    "a control character": b"GET / HTTP/1.1\r\nHost: x\r\nAccept: \x00\r\n\r\n",
    "no ASCII": "GET / HTTP/1.1\r\nHost: é\r\n\r\n".encode(),
    "a long head": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 4096 + b"\r\n\r\n",
    "too many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: x\r\n" % n for n in range(MOST)) + b"\r\n",
}


@pytest.mark.parametrize("raw", PLAIN.values(), ids=PLAIN.keys())
def test_read_as_by_the_parser(raw: bytes) -> None:
    """A plain request is read without the parser, into the same; the first time and every other."""
    found = request_of(raw, "", MOST)
    assert [(found, True)] == turns_of([], raw)
    assert request_of(raw, "", MOST) == found


@pytest.mark.parametrize("raw", LEFT.values(), ids=LEFT.keys())
def test_left_to_the_parser(raw: bytes) -> None:
    """Nothing that can be read in several ways, or needs more than an answer, is read without the parser."""
    assert request_of(raw, "", MOST) is None


@examples(300)
@given(chance=st.randoms(use_true_random=False))
def test_never_read_differently(chance: Random) -> None:
    """Whatever bytes come: what is read without the parser is what the parser reads."""
    raw = strange(chance) if chance.random() < 0.5 else chance.choice([*PLAIN.values(), *LEFT.values()])
    if chance.random() < 0.7:
        raw = with_noise(raw, chance)
    found = request_of(raw, "", MOST)
    assert found is None or turns_of([], raw) == [(found, True)], raw


def test_few_lines_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are known by heart up to a number, short ones that may come again; all are read right beyond that."""
    known = whole._headers
    known.clear()
    monkeypatch.setattr(whole, "LINES_LIMIT", 8)
    for number in range(20):
        long, token = "x" * 300, f"X-Amz-Date: {number}"
        raw = f"GET / HTTP/1.1\r\nHost: x\r\nX-{number}: y\r\nX-Long: {long}\r\n{token}\r\n\r\n".encode()
        expected = {"host": "x", f"x-{number}": "y", "x-long": long, "x-amz-date": str(number)}
        assert request_of(raw, "", MOST) == Request("GET", "/", expected, b"")
        assert 0 < len(known) <= 8
        assert not {name for name, _ in known.values()} & {"x-long", "x-amz-date"}
