"""Heads of HTTP/1.1: the names of headers as they come, and how an answer begins. It knows no connection."""

import time
from email.utils import formatdate
from functools import cache
from http import HTTPStatus

from questd.answer import SERVER, Answer

CLOSE = "Connection: close\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class _Names(dict[bytes, str]):
    """Names of headers as they come, and as requests carry them."""

    def __missing__(self, name: bytes) -> str:
        """Return one that is not known; it is not kept: a client may send any number."""
        return name.decode().lower()


NAMES = _Names(
    (name.encode(), name.lower())
    for name in (
        *("Host", "User-Agent", "Accept", "Accept-Encoding", "Connection", "Content-Type", "Content-Length"),
        *("Authorization", "X-Amz-Target", "X-Amz-Date", "X-Amzn-Trace-Id", "X-Amz-Security-Token"),
        *("amz-sdk-invocation-id", "amz-sdk-request", "x-amzn-query-mode", "x-amz-user-agent"),
    )
)
"""As SDKs write them: most need not be decoded."""


@cache
def _start_of(status: int, content_type: str) -> str:
    """Return how the head of an answer begins."""
    return f"{STATUS_LINES[status]}Content-Type: {content_type}\r\nServer: {SERVER}\r\n"


def head_of(answer: Answer, *, keep: bool) -> bytes:
    """Return the status line and the headers of an answer."""
    head = _start_of(answer.status, answer.content_type)
    for name, value in answer.headers.items():
        head += f"{name}: {value}\r\n"
    return f"{head}Content-Length: {len(answer.body)}\r\nDate: {_date()}\r\n{'' if keep else CLOSE}\r\n".encode()


_dated = (0.0, "")  # until when the date is right, and the date


def _date() -> str:
    """Return the value of the Date header, made once a second."""
    global _dated  # noqa: PLW0603  # one for all connections is the point
    now = time.time()
    if not _dated[0] - 1 <= now < _dated[0]:
        _dated = int(now) + 1, formatdate(int(now), usegmt=True)
    return _dated[1]
