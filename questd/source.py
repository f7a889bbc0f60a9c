"""The source of the Functions library `quest`: its Lua files put together, which version they are, and what runs them.

It must not know any Redis.
"""

import re
from functools import cache
from importlib.resources import files

FILES = (
    *("quest", "arguments", "longpoll", "orders", "groups", "fair", "windows", "visibility", "queues", "redrive"),
    *("handles", "standard", "fifo", "messages", "quest_api", "tasks", "background", "peek", "figures", "durability"),
    "grants",
)
"""In this order: a later file uses what an earlier one defined."""

OLDEST_REDIS = 7
"""Functions came with Redis 7.0; every Valkey has them."""

OWN = frozenset({"background", "figures", "durability", "grants", "quest_api", "clock"})
"""Files that define nothing for others: each is a block of its own, as Lua has 200 locals in one at most."""


def text(*, test_mode: bool) -> str:
    """Return the source; `test_mode` adds a clock that tests can move."""
    folder = files("questd") / "lua"
    names = (*FILES, "clock") if test_mode else FILES
    read = {name: (folder / f"{name}.lua").read_text() for name in names}
    return "\n".join(f"do\n{lua}end" if name in OWN else lua for name, lua in read.items())


@cache
def version() -> int:
    """Return the version of the library in this questd."""
    found = re.search(r"^local VERSION = (\d+)", text(test_mode=False), re.MULTILINE)
    assert found, "quest.lua names its version"  # noqa: S101  # a packaging mistake, not an input
    return int(found[1])
