"""Limits of requests: what a connection refuses while it comes, and the answer that says why. It knows no connection.

What is no HTTP the parser finds; here is what is HTTP, and too much, or nothing that questd knows.
"""

from collections.abc import Mapping
from http import HTTPStatus

from questd import errors
from questd.answer import PLAIN, Answer, body_limit, refusal
from questd.settings import Settings

CHUNK_FACTOR = 6
"""Bytes that one of the body may take on the wire: a chunk of one byte takes six."""


class Refused(Exception):
    """A request that is not taken; `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def refused(status: HTTPStatus, why: str) -> Refused:
    """Return what refuses a request, with a reason for people."""
    return Refused(Answer(status, PLAIN, f"{why}\n".encode()))


class Limits:
    """How much of a request is taken. Its checks raise Refused."""

    def __init__(self, settings: Settings) -> None:
        self.body = body_limit(settings)
        self.headers = settings.max_headers
        self._head = settings.max_header_size
        self.kept = max(settings.max_buffered, CHUNK_FACTOR * self.body)
        """Bytes that all connections may keep together: a request of the largest has room."""

    def check_head(self, headers: Mapping[str, str], version: str) -> None:
        """Refuse what no body shall follow."""
        if len(headers) > self.headers:
            raise self._too_many()
        if version not in {"1.0", "1.1"}:
            raise refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        coding = headers.get("transfer-encoding")
        if coding and (version == "1.0" or coding.lower() != "chunked"):
            raise refused(HTTPStatus.NOT_IMPLEMENTED, "the only Transfer-Encoding is chunked, in HTTP/1.1")
        if "host" not in headers and version != "1.0":
            raise refused(HTTPStatus.BAD_REQUEST, "no Host header")
        self.check_body(int(headers.get("content-length", 0)))
        if "expect" in headers and version != "1.0" and headers["expect"].lower() != "100-continue":
            raise refused(HTTPStatus.EXPECTATION_FAILED, "only 100-continue can be expected")

    def check_body(self, size: int) -> None:
        """Refuse a body that is too long, or will be."""
        if size > self.body:
            raise Refused(refusal(errors.RequestEntityTooLargeException(self.body)))

    def check_unfinished(self, size: int, headers: Mapping[str, str], body_size: int) -> None:
        """Refuse a request of which so much has come, when its head, or what stands between its chunks, is too long."""
        if len(headers) > self.headers:
            raise self._too_many()
        if size > self._head + CHUNK_FACTOR * body_size:
            why = f"more than {self._head} bytes of headers"
            raise refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, why)

    def _too_many(self) -> Refused:
        return refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {self.headers} headers")

    def check_kept(self, size: int) -> None:
        """Refuse what there is no room for: so much all connections would keep."""
        if size > self.kept:
            raise Refused(refusal(errors.ServiceUnavailable("there is no room for large requests now: send it later")))
