"""Heads of HTTP: names of headers read, answers begun."""

import time
from email.utils import parsedate_to_datetime

import pytest

from questd.answer import Answer
from questd.heads import CLOSE, KEEP, NAMES, head_of

ANSWER = Answer(200, "text/plain", b"body", {"x-amzn-RequestId": "id"})


def test_names_of_headers() -> None:
    """However a name is written, requests have it in lower case; what is not known is not kept."""
    known = len(NAMES)
    assert [NAMES[name] for name in ("Host", "HOST", "X-Strange")] == ["host", "host", "x-strange"]
    assert len(NAMES) == known


def test_a_head() -> None:
    """An answer begins with its status, its headers and its length; the last one of a connection says so."""
    lines = head_of(ANSWER, KEEP).decode().split("\r\n")
    assert lines[:5] == [
        "HTTP/1.1 200 OK",
        "Content-Type: text/plain",
        "Server: questd",
        "x-amzn-RequestId: id",
        "Content-Length: 4",
    ]
    assert lines[5].startswith("Date: ")
    assert lines[6:] == ["", ""]
    assert head_of(ANSWER, CLOSE).decode().split("\r\n")[6:] == ["Connection: close", "", ""]


def test_the_date_is_of_this_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made anew when the second is over, and when the clock was put back."""
    for now in (1_800_000_000.9, 1_800_000_001.0, 1_800_000_000.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        date = head_of(ANSWER, KEEP).decode().partition("Date: ")[2].strip()
        assert parsedate_to_datetime(date).timestamp() == int(now)
