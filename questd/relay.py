"""The relay: messages that leave a queue for another slot of a Cluster get there: dead letters and those of move tasks.

Out, in, ack (lua/redrive.lua): the source forgets a message only when the target has it on disk. Each step may be
repeated, and two processes that do it do no harm.
"""

import asyncio
import logging

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

DURABLE_SECONDS = 2.0
"""With everysec, what was written is on disk by then, where the server cannot say so itself (Redis before 7.2)."""


async def hand_on(library: Library, queue: str) -> None:
    """Hand on what leaves the queue with the key `queue`, until nothing does. Raises an SQS error when that fails."""
    while await _some(library, queue):
        pass


async def _some(library: Library, queue: str) -> bool:
    """Hand on some batches, and have the source forget them. Returns whether there were any."""
    last, targets, failure = 0, set[tuple[str, bytes]](), None
    try:
        for _ in range(ROUNDS):
            reply = await library.call("quest_outbox", queue, BATCH, last, repeat=True)
            items = list(zip(*(reply[i::4] for i in range(4)), strict=True))
            if not items:
                break
            targets |= await _batch(library, queue, items)
            last = int(items[-1][0])
    except errors.SQSError as error:
        failure = error
    if last:
        await asyncio.gather(*(_durable(library, *target) for target in targets))
        await library.call("quest_ack", queue, last)
    if failure:
        raise failure
    return last > 0


async def _batch(library: Library, queue: str, items: list[tuple[bytes, ...]]) -> set[tuple[str, bytes]]:
    """Hand on a batch, in order, with one call for each target; returns target and source (its incarnation) of each."""
    together: dict[tuple[str, bytes], list[bytes]] = {}
    for number, incarnation, target, record in items:
        together.setdefault((target.decode(), incarnation), []).extend((number, record))
    done = await asyncio.gather(
        *(_arrive(library, queue, *target, numbered) for target, numbered in together.items()), return_exceptions=True
    )
    failed = [each for each in done if isinstance(each, BaseException)]
    if failed:
        raise failed[0]
    return {target for target, arrived in zip(together, done, strict=True) if arrived}


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


async def _durable(library: Library, target: str, incarnation: bytes) -> None:
    """Return when what a target took is on its disk, as far as can be known."""
    # Not on the pipeline, where everybody would wait. WAITAOF is for writes of its own connection: hence the empty in.
    key = key_of(target)
    try:
        wire = await Address(library.primaries.of(key).url).connect()
        try:
            async with asyncio.timeout(2 * DISK_MS / 1000):
                await wire.ask("FCALL", "quest_arrive", 1, key, incarnation)
                on_disk, _ = await wire.ask("WAITAOF", 1, 0, DISK_MS)
        finally:
            wire.end(RedisConnectionError("nobody asks any more"))
        if on_disk:
            return
    except (RedisError, OSError, RedisUnavailable) as error:
        log.debug("%s: no word of its disk (%s)", target, error)
    await asyncio.sleep(DURABLE_SECONDS)
