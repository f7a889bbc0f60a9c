"""Where in a TOML file something is said. What it means is none of this module's business."""

import tomllib


def line_of(content: str, *path: str) -> int | None:
    """Return the line at which a table or a key is complete, by the names that lead to it; None when it is not there.

    tomllib tells no lines, but whether the first n of them have it.
    """
    text = content.splitlines(keepends=True)
    if not _has("".join(text), path):
        return None
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        # Where the first lines end within a value, they say nothing.
        told = ((number, _has("".join(text[:number]), path)) for number in range(middle, low, -1))
        number, has = next(((number, has) for number, has in told if has is not None), (middle, False))
        low, high = (low, number) if has else (middle, high)
    return high


def _has(content: str, path: tuple[str, ...]) -> bool | None:
    """Tell whether names lead to something in TOML, None for what is no TOML."""
    try:
        found: object = tomllib.loads(content)
    except tomllib.TOMLDecodeError:
        return None
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True
