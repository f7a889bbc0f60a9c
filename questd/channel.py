"""What is published on channels of a Redis: heard by a connection of its own, made anew as often as it is lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from questd import errors
from questd.wire import Address, Wire

log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.2
"""Before a lost subscription is made anew."""

SILENCE_SECONDS = 5.0
"""A subscription that heard nothing for so long asks whether Redis is there; without an answer it is lost."""

PING = pack_command(("PING",))

Take = Callable[[bytes | None], Awaitable[None]]
"""Takes what was published, or None for what may have been missed."""


async def hear(url: str, take: Take, *channels: str) -> None:
    """Give `take` what is published on channels of a server, until cancelled.

    It gets None first, and again after every gap in which it may have missed something.
    """
    heard = True
    while True:
        try:
            wire = await Address(url).connect()
            heard = True
            try:
                await _listen(wire, take, channels)
            finally:
                wire.end(RedisConnectionError("nobody listens any more"))
        except (RedisError, OSError, errors.SQSError) as error:
            log.log(logging.WARNING if heard else logging.DEBUG, "%s: Redis went away (%s)", channels[0], error)
            heard = False
            await asyncio.sleep(AGAIN_SECONDS)


async def _listen(wire: Wire, take: Take, channels: tuple[str, ...]) -> None:
    replies = asyncio.Queue[Any]()
    wire.take = replies.put_nowait
    wire.lost.add_done_callback(lambda lost: replies.put_nowait(lost.result()))
    wire.write([pack_command(("SUBSCRIBE", *channels))])  # type: ignore[arg-type]  # the stub forgot the dots
    asked = False
    while True:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                reply = await replies.get()
        except TimeoutError:
            if asked:
                raise RedisConnectionError(f"it did not answer for {SILENCE_SECONDS:g} s") from None
            asked = True
            wire.write([PING])
            continue
        asked = False
        if isinstance(reply, BaseException):
            raise reply
        if reply[0] == b"subscribe":
            if reply[2] == len(channels):
                await take(None)
        elif reply[0] == b"message":
            await take(reply[2])
