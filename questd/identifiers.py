"""Random identifiers: request ids and MessageIds, from one buffered source (a `uuid4()` is two system calls)."""

import os
import struct
from collections.abc import Iterator
from itertools import islice

_ID = struct.Struct("16s")
_BATCH = 256
_VERSION = int.from_bytes(bytes.fromhex("00000000 0000 4000 8000 000000000000") * _BATCH)
_RANDOM = int.from_bytes(bytes.fromhex("ffffffff ffff 0fff 3fff ffffffffffff") * _BATCH)
_COUNTED = 2**20

_TO_13, _TO_17, _FROM_17 = slice(13), slice(13, 17), slice(17, None)
"""Made once: as_text takes 3 200 instructions with two slices less and these, and took 4 700."""


def _forget() -> None:
    """Drop what is left: a forked worker must not repeat its sister's identifiers."""
    global _ids, _request_ids  # one source a process is the point
    _ids, _request_ids = _made(), _counted()


os.register_at_fork(after_in_child=_forget)


def _made() -> Iterator[bytes]:
    size = _BATCH * _ID.size
    while True:
        for (raw,) in _ID.iter_unpack((int.from_bytes(os.urandom(size)) & _RANDOM | _VERSION).to_bytes(size)):
            yield raw


def new_id() -> bytes:
    """Return the 16 bytes of a new version 4 UUID."""
    return next(_ids)


def new_ids(count: int) -> list[bytes]:
    """Return several."""
    return list(islice(_ids, count))


def _counted() -> Iterator[str]:
    while True:
        beginning = as_text(new_id())[:-8]
        for number in range(_COUNTED):
            yield f"{beginning}{number:08x}"


def new_request_id() -> str:
    """Return the text of a UUID that no other request has: random in its beginning, counted at its end."""
    return next(_request_ids)


def as_text(raw: bytes) -> str:
    """Return the usual form of a UUID: 8-4-4-4-12 hexadecimal digits."""
    digits = raw.hex("-", 6)  # the first and the last hyphen are where they belong: two are to be put in
    return f"{digits[_TO_13]}-{digits[_TO_17]}-{digits[_FROM_17]}"


_ids, _request_ids = _made(), _counted()
