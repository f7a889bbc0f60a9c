"""Requests as they come, in any pieces: what httptools' parser tells of head and body, put together within limits.

It knows HTTP and one request at a time; not whose turn it is, nor what others keep. httptools takes 2 µs a request,
where aiohttp's parser takes 7.
"""

import re
from collections.abc import Callable
from http import HTTPStatus

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from questd.heads import NAMES
from questd.limits import Limits, Refused, refused
from questd.request import Request

HTTP_2 = re.compile("PRI|HTTP/2")
"""In what httptools says of HTTP/2's preface."""


class Parser:
    """The parser of one connection; `take` gets each request, and whether more may follow."""

    def __init__(self, limits: Limits, peer: str, take: Callable[[Request, bool], None]) -> None:
        self.begun = False
        """Whether a part of a request has come, and not all of it."""
        self.headed = False
        """Whether its head is complete."""
        self.expecting = False
        """Whether the client wants to be told that it may send the body."""
        self.size = 0
        """Bytes of it that have come, what its body takes on the wire included."""
        self.body: bytes | bytearray = b""
        self._limits = limits
        self._peer = peer
        self._take = take
        self._parser = HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._filling: dict[str, str] = {}  # headers as they come; trailers, once all of these have

    def feed(self, piece: bytes | memoryview) -> None:
        """Parse what has come. Raises Refused: it is no HTTP, or too much."""
        try:
            self._parser.feed_data(piece)
        except HttpParserUpgrade:
            return  # the request before it is answered in HTTP/1.1, and was the last one
        except HttpParserError as error:
            if isinstance(error.__context__, Refused):  # in no variable: that would keep it, with its frames
                raise error.__context__ from None
            why = "HTTP/2 is not spoken here" if HTTP_2.search(str(error)) else f"this is not HTTP: {error}"
            raise refused(HTTPStatus.BAD_REQUEST, why) from None
        self.size += len(piece)
        if self.begun:
            self._limits.check_unfinished(self.size, self._filling, len(self.body))

    @property
    def lacking(self) -> int:
        """How many bytes the body that has begun still lacks, as its head says: no request is among them."""
        length = self._headers.get("content-length") if self.begun and self.headed else None
        return int(length) - len(self.body) if length else 0

    def close(self) -> None:
        """Let go of what refers to it, so that it is freed at once."""
        del self._parser, self._take

    # What httptools tells.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.begun = True
        self.headed = self.expecting = False
        self.size = 0
        self._target = self.body = b""
        self._filling = {}

    def on_url(self, url: bytes) -> None:
        """Take the target, or a part of it."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; the first counts. Trailers are passed over."""
        if (key := NAMES[name.decode()]) not in self._filling:
            self._filling[key] = value.decode("utf-8", "surrogateescape").rstrip(" \t")
        elif key == "host" and not self.headed:
            raise refused(HTTPStatus.BAD_REQUEST, "two Host headers")

    def on_headers_complete(self) -> None:
        """Refuse what no body shall follow."""
        self.headed = True
        headers = self._headers = self._filling
        self._filling = {}
        version = self._parser.get_http_version()
        self._limits.check_head(headers, version)
        self.expecting = "expect" in headers and version != "1.0"  # who speaks that would not know 100

    def on_body(self, piece: bytes) -> None:
        """Take a part of the body."""
        if self.body:  # not a list of pieces: a million small ones would take many times their bytes
            self.body = bytearray(self.body) if isinstance(self.body, bytes) else self.body
            self.body += piece
        else:
            self.body = piece
        self._limits.check_body(len(self.body))

    def on_message_complete(self) -> None:
        """Hand over the request."""
        self.begun = False
        parser = self._parser
        # A client of HTTP/1.0 that wants to go on would have to be told so, or waits for the end of the connection.
        goes_on = parser.should_keep_alive() and parser.get_http_version() != "1.0"
        method, target = parser.get_method().decode(), self._target.decode("utf-8", "surrogateescape")
        request = Request(method, target, self._headers, bytes(self.body), self._peer)
        self._take(request, goes_on and not parser.should_upgrade())
