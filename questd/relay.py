"""The relay: messages that leave a queue for another slot of a Cluster get there: dead letters and those of move tasks.

Out, in, ack (lua/redrive.lua): the source forgets a message only when the target has it on disk. Each step may be
repeated, and two processes that do it do no harm.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar, cast

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from questd import errors, registry
from questd.durability import DISK_MS
from questd.library import Library, key_of
from questd.pipeline import RedisUnavailable
from questd.wire import Address

log = logging.getLogger(__name__)

BATCH = 100
"""Messages handed on at once."""

ROUNDS = 10
"""Batches that may wait together to be on disk."""

Result = TypeVar("Result")

Target = tuple[str, bytes]
"""A target, and the incarnation of the source of what it takes."""

DURABLE_SECONDS = 2.0
"""With everysec, what was written is on disk by then, where the server cannot say so itself (Redis before 7.2)."""


async def hand_on(library: Library, queue: str) -> None:
    """Hand on what leaves the queue with the key `queue`, until nothing does. Raises an SQS error when that fails."""
    while await _some(library, queue):
        pass


async def _some(library: Library, queue: str) -> bool:
    """Hand on some batches, and have the source forget them. Returns whether there were any."""
    last, taken, failure = 0, dict[Target, int](), None
    try:
        for _ in range(ROUNDS):
            reply = await library.call("quest_outbox", queue, BATCH, last, repeat=True)
            items = list(zip(*(reply[i::4] for i in range(4)), strict=True))
            if not items:
                break
            taken |= await _batch(library, queue, items)
            last = int(items[-1][0])
    except errors.SQSError as error:
        failure = error
    if last:
        await _all(_kept(library, *target, number) for target, number in taken.items())
        await library.call("quest_ack", queue, last)
    if failure:
        raise failure
    return last > 0


async def _batch(library: Library, queue: str, items: list[tuple[bytes, ...]]) -> dict[Target, int]:
    """Hand on a batch, in order, with one call for each target; returns the number of the last that each has taken."""
    together: dict[Target, list[bytes]] = {}
    for number, incarnation, target, record in items:
        together.setdefault((target.decode(), incarnation), []).extend((number, record))
    done = await _all(_arrive(library, queue, *target, numbered) for target, numbered in together.items())
    last = {target: int(numbered[-2]) for target, numbered in together.items()}
    return {target: last[target] for target, arrived in zip(together, done, strict=True) if arrived}


async def _all(coroutines: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Return the results of coroutines; when all are done, raise what the first of them that failed raised."""
    done = await asyncio.gather(*coroutines, return_exceptions=True)
    for each in done:
        if isinstance(each, BaseException):
            raise each
    return cast("list[Result]", done)


async def _arrive(library: Library, queue: str, target: str, incarnation: bytes, numbered: list[bytes]) -> bool:
    """Hand messages to a target, or back to the source when it is gone. Returns whether the target has them."""
    for _ in range(2):
        try:
            await library.call("quest_arrive", key_of(target), incarnation, *numbered, repeat=True)
        except errors.QueueDoesNotExist:
            if not await registry.adopt(library, queue):
                break
        else:
            return True
    log.warning("%s is gone: what %s had for it stays there", target, queue)
    try:
        while await library.call("quest_take_back", queue, target):
            pass
    except errors.QueueDoesNotExist:
        log.warning("%s is gone too: %d messages have no queue", queue, len(numbered) // 2)
    return False


async def _kept(library: Library, target: str, incarnation: bytes, number: int) -> None:
    """Return when what a target took is on its disk, as far as can be known.

    Raises ServiceUnavailable when it is not there any more: a replica took over without it.
    """
    key = key_of(target)
    last = await _on_disk(library, key, incarnation)
    if last is None:
        await asyncio.sleep(DURABLE_SECONDS)
        try:
            last = await library.call("quest_arrive", key, incarnation, repeat=True)
        except errors.QueueDoesNotExist:  # it took them with it
            return
    if last < number:
        raise errors.ServiceUnavailable(f"{target} does not have any more what it took, and gets it again")


async def _on_disk(library: Library, key: str, incarnation: bytes) -> int | None:
    """Return the number of the last message that is on a target's disk; None when its server cannot say that."""
    # Not on the pipeline, where everybody would wait. WAITAOF is for writes of its own connection: hence the empty in.
    try:
        wire = await Address(library.primaries.of(key).url).connect()
        try:
            async with asyncio.timeout(2 * DISK_MS / 1000):
                last: int = await wire.ask("FCALL", "quest_arrive", 1, key, incarnation)
                on_disk, _ = await wire.ask("WAITAOF", 1, 0, DISK_MS)
        finally:
            wire.end(RedisConnectionError("nobody asks any more"))
        if on_disk:
            return last
    except (RedisError, OSError, RedisUnavailable) as error:
        log.debug("%s: no word of its disk (%s)", key, error)
    return None
