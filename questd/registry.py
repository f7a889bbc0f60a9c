"""The names of all queues, in a slot of their own: in a Cluster no queue's function reaches them, but questd does.

On one server the functions do (lua/queues.lua), and nothing here does anything.
"""

import contextlib
import re
import secrets
from collections.abc import AsyncIterator

from questd import errors
from questd.library import Library, key_of, name_of
from questd.primaries import Primary, client_of

QUEUES = "quest:queues"
"""Of the queues there are."""

REMAINS = "quest:remains"
"""Of deleted queues that left something to be unlinked or handed on."""

QUEUE = re.compile(r"quest:\{[^{}]+\}")
"""The key of a queue."""

SCAN = 1000
"""Keys looked at by one SCAN."""

DEAD_LETTERS = "-dlq"
"""What the name of a list's dead-letter queue ends with (lua/quest_api.lua)."""

SIZE, RETENTION = 2**20, 345_600
"""What a queue has when nobody says otherwise (contract 3.1, lua/queues.lua)."""


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


async def forget(library: Library, queue: str) -> None:
    """Forget what a deleted queue, given by its key, has left behind: there is nothing any more."""
    if library.primaries.clustered:
        with contextlib.suppress(errors.ServiceUnavailable):
            await library.execute("ZREM", REMAINS, name_of(queue))


async def names(library: Library) -> tuple[list[str], list[str]]:
    """Return the names of all queues, and of those that left something behind."""
    queues, remains = [await library.execute("ZRANGE", key, 0, -1) for key in (QUEUES, REMAINS)]
    return [name.decode() for name in queues], [name.decode() for name in remains]


async def adopt(library: Library, queue: str) -> bool:
    """Take in a queue, given by its key, that a Redis client has made in a Cluster.

    Returns whether its dead-letter queue was still to be made, and is there now.
    """
    name = name_of(queue)
    await enrol(library, name)
    unmade, target = await library.execute("HMGET", queue, "target_unmade", "deadLetterTarget")
    if not unmade:
        return False
    dead = f"{name}{DEAD_LETTERS}"
    made = bool(target == dead.encode())
    if made:
        async with creating(library, dead):
            await library.call("quest_create", key_of(dead), secrets.token_hex(20), 0, SIZE, RETENTION)
        await library.call("quest_add_source", key_of(dead), name)
    await library.call("quest_target_made", queue)
    return made


async def discover(library: Library, primary: Primary) -> None:
    """Take in the queues on a primary that nobody has heard of: Redis clients have made them without any questd."""
    known = set((await names(library))[0])
    for queue in await found(primary):
        if name_of(queue) not in known:
            await adopt(library, queue)


async def found(primary: Primary) -> list[str]:
    """Return the keys of the queues on a primary of a Cluster, by looking at all keys there."""
    async with client_of(primary.url) as client:
        keys = [key.decode(errors="replace") async for key in client.scan_iter("quest:{*}", SCAN, _type="hash")]
    return [key for key in keys if QUEUE.fullmatch(key)]
