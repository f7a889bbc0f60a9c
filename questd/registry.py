"""The names of all queues, in a slot of their own: in a Cluster no queue's function reaches them, and questd keeps them.

On one server the functions do (lua/queues.lua), and nothing here does anything.
"""

import contextlib
from collections.abc import AsyncIterator

from questd.library import Library, key_of

QUEUES = "quest:queues"
"""Of the queues there are."""

REMAINS = "quest:remains"
"""Of deleted queues that left something to be unlinked."""


@contextlib.asynccontextmanager
async def creating(library: Library, name: str) -> AsyncIterator[None]:
    """Register a queue that is made in this block: before, so that it is never missed, and after.

    For a DeleteQueue of its forerunner may strike its name out in between.
    """
    if not library.primaries.clustered:
        yield
        return
    await enrol(library, name)
    try:
        yield
    except BaseException:
        await strike(library, name)
        raise
    await enrol(library, name)


@contextlib.asynccontextmanager
async def deleting(library: Library, name: str) -> AsyncIterator[None]:
    """Strike out a queue that is deleted in this block; what it leaves behind is remembered before."""
    if not library.primaries.clustered:
        yield
        return
    await library.execute("ZADD", REMAINS, 0, name)
    yield
    await strike(library, name)


async def enrol(library: Library, name: str) -> None:
    """Register a queue."""
    await library.execute("ZADD", QUEUES, 0, name)


async def strike(library: Library, name: str) -> None:
    """Strike out a queue, unless there is one again."""
    await library.execute("ZREM", QUEUES, name)
    if await library.execute("EXISTS", key_of(name)):
        await enrol(library, name)


async def names(library: Library) -> list[str]:
    """Return the names of all queues, and of those that left something behind."""
    found = [name for key in (QUEUES, REMAINS) for name in await library.execute("ZRANGE", key, 0, -1)]
    return [name.decode() for name in found]
