"""Whole requests: bytes that are one plain request, as SDKs send nearly all of theirs, read without the parser.

It reads what can be read in one way only, and leaves all else to the parser: that one knows HTTP, this one need not. It
knows no connection.
"""

import re
from collections.abc import Callable

from questd.heads import NAMES
from questd.request import Request

START = re.compile(rb"(POST|GET) (/[A-Za-z0-9_.~/%?&=:+,;@!$'()*-]*) HTTP/1\.1")
"""A request line whose target has no character that means something in a head."""

LINE = re.compile(rb"([A-Za-z0-9-]+): ([!-~](?:[ -~]*[!-~])?)")
"""A header whose value is visible, with the one space before it that everybody writes."""

UNUSUAL = frozenset({"transfer-encoding", "expect", "upgrade", "proxy-connection", "connection"})
"""Headers that change what follows; but for `Connection: keep-alive`."""

FRESH = frozenset(
    {
        *("authorization", "proxy-authorization", "cookie", "x-api-key", "x-amz-security-token", "x-amz-date"),
        *(
            "amz-sdk-invocation-id",
            "x-amz-content-sha256",
            "x-amzn-trace-id",
            "x-request-id",
            "traceparent",
            "tracestate",
        ),
    }
)
"""Headers that are secrets, or others in every request: they are not kept."""

LINES_LIMIT = 4096
LINE_LENGTH = 256
"""How many lines, of how many bytes, are known by heart; beyond that they are forgotten together."""

HEAD_LENGTH = 4096
"""Bytes of a head that is read here; SDKs send some hundreds."""


class _Known(dict[bytes, tuple[str, str]]):
    """Lines that have been read: clients send nearly the same ones with every request."""

    def __init__(self, read: Callable[[bytes], tuple[str, str]]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, line: bytes) -> tuple[str, str]:
        """Read one. Raises ValueError when that is the parser's."""
        found = self._read(line)
        if len(line) <= LINE_LENGTH and found[0] not in FRESH:
            if len(self) >= LINES_LIMIT:
                self.clear()
            self[line] = found
        return found


def _started(line: bytes) -> tuple[str, str]:
    """Return method and target of a request line."""
    match = START.fullmatch(line)
    if not match:
        raise ValueError(line)
    return match[1].decode(), match[2].decode()


def _header(line: bytes) -> tuple[str, str]:
    """Return the name in lower case and the value of a header."""
    match = LINE.fullmatch(line)
    name, value = (NAMES[match[1].decode()], match[2].decode()) if match else ("", "")
    if not match or (name in UNUSUAL and (name, value.lower()) != ("connection", "keep-alive")):
        raise ValueError(line)
    return name, value


_starts, _headers = _Known(_started), _Known(_header)
_start_of, _header_of = _starts.__getitem__, _headers.__getitem__


def request_of(data: bytes, peer: str, most: int) -> Request | None:
    """Return the request that these bytes are, if they are exactly one, with `most` headers; None if that is not sure.

    The parser has a callback for every header: with it, a request of four headers takes 18 000 instructions more, of
    132 000 (callgrind).
    """
    head, end, body = data.partition(b"\r\n\r\n")
    if len(head) > HEAD_LENGTH:
        return None
    start, *lines = head.split(b"\r\n")
    try:
        method, target = _start_of(start)
        headers = dict(map(_header_of, lines))
    except ValueError:
        return None
    if (
        not end
        or "host" not in headers
        or not len(headers) == len(lines) <= most
        or headers.get("content-length", "0") != str(len(body))
    ):
        return None
    return Request(method, target, headers, body, peer)
