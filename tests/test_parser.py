"""Requests in pieces: what comes out of the parser, when, and what it refuses. Over sockets: test_connection.py."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questd.limits import Limits, Refused
from questd.parser import Parser
from questd.request import Request
from questd.settings import Settings
from tests.fuzz import examples

LIMITS = Limits(Settings(max_message_size=1024))
HEAD = b"POST /%s HTTP/1.1\r\nHost: x\r\n"
CHUNKED = (
    HEAD % b"a" + b"Transfer-Encoding: chunked\r\nX: y\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX: late\r\nLate: z\r\n\r\n"
)
RAW = CHUNKED + HEAD % b"b" + b"x: 1\r\nX: 2\r\n\r\n" + HEAD % b"c" + b"Content-Length: 3\r\n\r\ndef"


def fed(*pieces: bytes) -> tuple[Parser, list[tuple[Request, bool]]]:
    """Return a parser that these have come to, and what it made of them: requests, and whether more may follow."""
    taken: list[tuple[Request, bool]] = []
    parser = Parser(LIMITS, "peer", lambda request, keep: taken.append((request, keep)))
    for piece in pieces:
        parser.feed(piece)
    return parser, taken


@examples(60)
@given(cuts=st.lists(st.integers(0, len(RAW)), max_size=12))
def test_the_same_however_cut(cuts: list[int]) -> None:
    """Requests come out in order and whole; of two headers the first counts, and no trailer does."""
    ends = sorted({0, len(RAW), *cuts})
    parser, taken = fed(*(RAW[start:end] for start, end in itertools.pairwise(ends)))
    host = {"host": "x"}
    assert [request for request, _ in taken] == [
        Request("POST", "/a", host | {"transfer-encoding": "chunked", "x": "y"}, b"abc", "peer"),
        Request("POST", "/b", host | {"x": "1"}, b"", "peer"),
        Request("POST", "/c", host | {"content-length": "3"}, b"def", "peer"),
    ]
    assert not parser.begun


@pytest.mark.parametrize("spaced", [b"%s ", b"%s\t", b" %s \t ", b"\t%s"])
def test_space_around_values(spaced: bytes) -> None:
    """Blanks and tabs around the value of a header are no part of it."""
    parser, ((request, _),) = fed(
        HEAD % b"" + b"X:%s\r\nExpect:%s\r\n\r\n" % (spaced % b"y z", spaced % b"100-continue")
    )
    assert request.headers["x"] == "y z"
    assert parser.expecting


@pytest.mark.parametrize(
    ("raw", "more"),
    [
        (HEAD % b"" + b"\r\n", True),
        (HEAD % b"" + b"Connection: close\r\n\r\n", False),
        (HEAD % b"" + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", False),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", False),
        (b"POST / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
def test_whether_more_may_follow(raw: bytes, more: bool) -> None:  # noqa: FBT001  # a parameter
    """More may follow what HTTP/1.1 keeps a connection for; nothing follows an upgrade, which nobody makes."""
    assert [keep for _, keep in fed(raw)[1]] == [more]


def test_what_has_come() -> None:
    """Of an unfinished request one can tell how much has come, and what is lacking once its head says that."""
    head = HEAD % b"" + b"Content-Length: 9\r\n"
    parser, taken = fed(head)
    assert (parser.begun, parser.headed, parser.size, parser.lacking) == (True, False, len(head), 0)
    parser.feed(b"\r\nabc")
    assert (parser.begun, parser.headed, parser.size, parser.lacking) == (True, True, len(head) + 5, 6)
    parser.feed(b"defghi")
    assert (parser.begun, parser.lacking, len(taken)) == (False, 0, 1)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"no HTTP\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (HEAD % b"" + b"Content-Length: 1000000\r\n\r\n", 413),
        (HEAD % b"" + b"X: " + b"y" * 80_000, 431),
    ],
)
def test_refused(raw: bytes, status: int) -> None:
    """What is no HTTP, and what the limits refuse, is refused as soon as it can be seen, with its status."""
    with pytest.raises(Refused) as refused:
        fed(raw)
    assert refused.value.answer.status == status
