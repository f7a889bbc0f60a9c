"""Heads of HTTP/1.1: the names of headers as they come, and how an answer begins. It knows no connection."""

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from questd.answer import SERVER, Answer

KEEP, CLOSE = "", "Connection: close\r\n"
"""What an answer says of its connection: more requests may follow, or none."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class _Names(dict[str, str]):
    """Names of headers as they come, and as requests carry them."""

    def __missing__(self, name: str) -> str:
        """Return one that is not known; it is not kept: a client may send any number."""
        return name.lower()


NAMES = _Names(
    (spelled, name.lower())
    for name in (
        *("Host", "User-Agent", "Accept", "Accept-Encoding", "Connection", "Content-Type", "Content-Length"),
        *("Authorization", "X-Amz-Target", "X-Amz-Date", "X-Amzn-Trace-Id", "X-Amz-Security-Token"),
        *("amz-sdk-invocation-id", "amz-sdk-request", "x-amzn-query-mode", "x-amz-user-agent", "X-Amz-Content-Sha256"),
        *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Traceparent", "Tracestate"),
    )
    for spelled in (name, name.lower())
)
"""As SDKs and proxies write them."""


@lru_cache(32)
def _same(status: int, content_type: str, connection: str, second: int) -> tuple[str, str]:
    """Return how heads of answers in one second begin and end."""
    start = f"{STATUS_LINES[status]}Content-Type: {content_type}\r\nServer: {SERVER}\r\n"
    return start, f"Date: {formatdate(second, usegmt=True)}\r\n{connection}\r\n"


def head_of(answer: Answer, connection: str) -> bytes:
    """Return the status line and the headers of an answer; `connection` is KEEP or CLOSE."""
    head, end = _same(answer.status, answer.content_type, connection, int(time.time()))
    for name, value in answer.headers.items():
        head += f"{name}: {value}\r\n"
    return f"{head}Content-Length: {len(answer.body)}\r\n{end}".encode()
