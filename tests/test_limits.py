"""Limits of requests: each to the byte, and what is answered beyond it. Over sockets: test_connection.py."""

from collections.abc import Callable

import pytest

from questd.limits import Limits, Refused
from questd.settings import Settings

LIMITS = Limits(Settings(max_message_size=1024, max_headers=16, max_header_size=4096, max_buffered=2**20))
HOST = {"host": "x"}


def headers(count: int) -> dict[str, str]:
    """Return so many headers."""
    return HOST | {f"x{i}": "y" for i in range(count - 1)}


@pytest.mark.parametrize(
    ("check", "most", "status"),
    [
        (lambda count: LIMITS.check_head(headers(count), "1.1"), 16, 431),
        (lambda count: LIMITS.check_unfinished(0, headers(count), 0), 16, 431),
        (lambda size: LIMITS.check_head(HOST | {"content-length": str(size)}, "1.1"), 8 * 1024, 413),
        (LIMITS.check_body, 8 * 1024, 413),
        (lambda size: LIMITS.check_unfinished(size, HOST, 0), 4096, 431),
        (lambda size: LIMITS.check_unfinished(size, HOST, 100), 4096 + 600, 431),
        (LIMITS.check_kept, 2**20, 503),
    ],
)
def test_how_much_is_taken(check: Callable[[int], None], most: int, status: int) -> None:
    """What is at a limit is taken, and one more of it is refused."""
    check(most)
    with pytest.raises(Refused) as refused:
        check(most + 1)
    assert refused.value.answer.status == status


@pytest.mark.parametrize(
    ("more", "version", "status"),
    [
        (HOST | {"transfer-encoding": "Chunked", "expect": "100-Continue"}, "1.1", None),
        ({}, "1.0", None),
        ({}, "1.1", 400),
        (HOST | {"transfer-encoding": "chunked"}, "1.0", 501),
        (HOST | {"transfer-encoding": "gzip"}, "1.1", 501),
        (HOST | {"expect": "a miracle"}, "1.1", 417),
    ],
)
def test_what_a_head_may_say(more: dict[str, str], version: str, status: int | None) -> None:
    """A host, chunks and 100-continue are understood as the version of HTTP has them, and nothing else is."""
    if status is None:
        LIMITS.check_head(more, version)
        return
    with pytest.raises(Refused) as refused:
        LIMITS.check_head(more, version)
    assert refused.value.answer.status == status


def test_the_largest_has_room() -> None:
    """However little may be kept, a request whose body is as long as it may be fits, in the smallest chunks too."""
    limits = Limits(Settings(max_message_size=2**26, max_buffered=2**20))
    limits.check_kept(6 * 8 * 2**26)
