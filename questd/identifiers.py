"""Random identifiers: request ids and MessageIds, from one buffered source (a `uuid4()` is two system calls)."""

import os
from collections.abc import Iterator

_SIZE = 16
_BATCH = 256 * _SIZE
_VERSION = int.from_bytes(bytes.fromhex("00000000 0000 4000 8000 000000000000") * 256)
_RANDOM = int.from_bytes(bytes.fromhex("ffffffff ffff 0fff 3fff ffffffffffff") * 256)
_ENDS = tuple(f"{number:03x}" for number in range(16**3))
_buffer = b""
_offset = 0


def _forget() -> None:
    """Drop what is left: a forked worker must not repeat its sister's identifiers."""
    global _buffer, _offset, _request_ids  # one buffer a process is the point
    _buffer, _offset, _request_ids = b"", 0, _counted()


os.register_at_fork(after_in_child=_forget)


def new_id() -> bytes:
    """Return the 16 bytes of a new version 4 UUID."""
    global _buffer, _offset
    if _offset == len(_buffer):
        _buffer, _offset = (int.from_bytes(os.urandom(_BATCH)) & _RANDOM | _VERSION).to_bytes(_BATCH), 0
    start, _offset = _offset, _offset + _SIZE
    return _buffer[start:_offset]


def _counted() -> Iterator[str]:
    while True:
        beginning = as_text(new_id())[:-3]
        for end in _ENDS:
            yield beginning + end


def new_request_id() -> str:
    """Return the text of a UUID that no other request has: random in its beginning, counted at its end."""
    return next(_request_ids)


def as_text(raw: bytes) -> str:
    """Return the usual form of a UUID: 8-4-4-4-12 hexadecimal digits."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_request_ids = _counted()
