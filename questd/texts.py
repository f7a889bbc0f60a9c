"""Texts of messages made readable: JSON with its lines broken, long bodies cut, ages and sizes in words.

Nothing is altered but white space: numbers, escapes and keys stay as they were sent.
"""

import json
import re
from datetime import UTC, datetime
from typing import NamedTuple

PREVIEW = 140
"""Characters of a body on its one line in a list."""

DEEPEST = 100
"""Levels of JSON that are indented."""

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
"""A piece of JSON that is known to be JSON."""

KIB = 1024

UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


class Body(NamedTuple):
    """A body as it is shown."""

    preview: str
    text: str
    is_json: bool
    size: int
    """Bytes of the whole."""
    cut: bool
    """Whether there is more of it."""


def body_of(text: str, most: int) -> Body:
    """Return a body with so many characters at most."""
    whole = pretty(text) if len(text) <= most else None
    shown = whole if whole is not None else text[:most]
    preview = " ".join(text[: 4 * PREVIEW].split())[:PREVIEW]
    return Body(preview, shown, whole is not None, len(text.encode()), len(text) > most)


def pretty(text: str) -> str | None:
    """Return an object or array of JSON with its lines broken; None for any other text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    parts: list[str] = []
    depth, before = 0, ""
    for piece in TOKEN.findall(text):
        if piece in ("}", "]"):
            depth -= 1
        if before and _breaks(before, piece):
            parts.append("\n" + "  " * min(depth, DEEPEST))
        parts.append(": " if piece == ":" else piece)
        if piece in ("{", "["):
            depth += 1
        before = piece
    return "".join(parts)


def _breaks(before: str, piece: str) -> bool:
    """Tell whether a line ends between two tokens."""
    opens, closes = before in ("{", "["), piece in ("}", "]")
    return before == "," or (opens != closes and (opens or closes))


def age(ms: float) -> str:
    """Return a time in words, as the largest unit that it fills."""
    seconds = int(max(ms, 0)) // 1000
    for unit, length in UNITS:
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return "0 s"


def size(count: int) -> str:
    """Return a number of bytes in words."""
    if count < KIB:
        return f"{count} bytes"
    return f"{count / KIB:.1f} KiB" if count < KIB**2 else f"{count / KIB**2:.1f} MiB"


def moment(ms: int) -> str:
    """Return a time as people and machines read it, in UTC."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def number(value: float) -> str:
    """Return a number with thin spaces between its thousands, and one decimal where it is small and has one."""
    text = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"  # noqa: PLR2004  # three digits
    return text.replace(",", "\u202f")
