"""One process of questd, wired: settings → pipeline, library, long polls, background task → the front on its socket."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from questd.action import Questd
from questd.app import Application
from questd.background import Background
from questd.cancellation import cancellable
from questd.library import Library
from questd.listener import Listener
from questd.longpoll import LongPolls
from questd.pipeline import Pipeline
from questd.settings import Settings

FINISH_SECONDS = 3.0
"""How long requests in flight may take to finish when the process ends."""

FRONTS: dict[str, type[Listener | Application]] = {"listener": Listener, "aiohttp": Application}
"""What serves HTTP, by the setting `front`."""

CHECK_SECONDS = 5
"""How often a subscription that hears nothing makes sure that Redis is there."""


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Questd]:
    """Run everything but a front: Redis is connected, wakes are heard, the background task is done or waited for.

    `settings.redis_url` is set and the library loaded. Raises RedisUnavailable when Redis cannot be reached.
    """
    if settings.redis_url is None:
        raise ValueError("running() needs settings with a redis_url")
    process = secrets.token_hex(8)
    pipeline = Pipeline(settings.redis_url)
    await pipeline.connect()
    library = Library(pipeline, test_mode=settings.test_mode)
    polls = LongPolls(process, lambda key: library.send("quest_pass", key), lambda: pipeline.connected)
    pipeline.connects.append(polls.wake_all)
    client = Redis.from_url(
        settings.redis_url, protocol=2, retry=Retry(NoBackoff(), 0), health_check_interval=CHECK_SECONDS
    )
    background = Background(process, library, client, _dead_letter_after_ms(settings))
    try:
        async with _beside(cancellable(polls.listen(client)), background.run()):
            await polls.listening.wait()
            yield Questd(settings, library, polls)
            polls.close()
    finally:
        await client.aclose()
        await pipeline.close()


def _dead_letter_after_ms(settings: Settings) -> int | str:
    if settings.strict_aws or settings.dead_letter_after == "never":
        return "never"
    return round(settings.dead_letter_after * 1000)


@contextlib.asynccontextmanager
async def _beside(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run endless coroutines for the length of the block; one that fails ends the block too."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def serve(
    settings: Settings,
    sock: socket.socket,
    ready: Callable[[], None],
    stop: asyncio.Event,
    drain: asyncio.Event | None = None,
) -> None:
    """Answer requests on a bound socket until `stop`, then finish those in flight; `ready` is called in between.

    `drain` ends it too, when every client has had its answer and its connection has been closed or has gone idle.
    """
    drain = drain or asyncio.Event()
    async with running(settings) as questd:
        front = FRONTS[settings.front](questd, FINISH_SECONDS)
        await front.start(sock)
        ready()
        await _first(stop, drain)
        questd.polls.close()
        if not stop.is_set():
            draining = asyncio.create_task(front.drain())
            await _first(stop, draining)
            draining.cancel()
        await front.close()


async def _first(*awaited: asyncio.Event | asyncio.Task[None]) -> None:
    """Wait for the first of these."""
    tasks = [each if isinstance(each, asyncio.Task) else asyncio.create_task(each.wait()) for each in awaited]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task, each in zip(tasks, awaited, strict=True):
        if task is not each:
            task.cancel()
