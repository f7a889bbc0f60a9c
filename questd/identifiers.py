"""Random identifiers: request ids and MessageIds, from one buffered source (a `uuid4()` is two system calls)."""

import os

_SIZE = 16
_BATCH = 256 * _SIZE
_buffer = b""
_offset = 0


def _forget() -> None:
    """Drop what is left: a forked worker must not repeat its sister's identifiers."""
    global _buffer, _offset  # one buffer a process is the point
    _buffer, _offset = b"", 0


os.register_at_fork(after_in_child=_forget)


def new_id() -> bytes:
    """Return the 16 bytes of a new version 4 UUID."""
    global _buffer, _offset  # noqa: PLW0603
    if _offset == len(_buffer):
        _buffer, _offset = os.urandom(_BATCH), 0
    raw = bytearray(_buffer[_offset : _offset + _SIZE])
    _offset += _SIZE
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)


def as_text(raw: bytes) -> str:
    """Return the usual form of a UUID: 8-4-4-4-12 hexadecimal digits."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
