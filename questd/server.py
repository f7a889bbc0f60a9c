"""One process of questd, wired: settings → primaries, library, long polls, background tasks → front on its socket."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from questd import promises, topology
from questd.access import Access, keys_of
from questd.action import Questd
from questd.actions import NAMES
from questd.background import Background
from questd.capacity import Capacity
from questd.counts import Counts, Page
from questd.durability import Durability
from questd.gauges import Gauges
from questd.library import Library
from questd.listener import Listener
from questd.longpoll import LongPolls
from questd.port import tls
from questd.primaries import Primary
from questd.settings import Settings

if TYPE_CHECKING:
    from questd.app import Application

FINISH_SECONDS = 3.0
"""How long requests in flight may take to finish when the process ends."""

NOTE_SECONDS = 1.0
"""How old what a process tells of itself may be."""


def _front(questd: Questd) -> "Listener | Application":
    """Return what serves HTTP, by the setting `front`, which the console's process has as "console".

    aiohttp and what the console is made of are a third of all imports: only processes that serve with them have them.
    """
    if questd.settings.front == "listener":
        return Listener(questd, FINISH_SECONDS)
    from questd.app import Application, application  # noqa: PLC0415

    if questd.settings.front == "aiohttp":
        return Application(questd, FINISH_SECONDS, application)
    from questd import console  # noqa: PLC0415

    return Application(questd, FINISH_SECONDS, console.application)


@contextlib.asynccontextmanager
async def running(settings: Settings, counts: Page | None = None) -> AsyncIterator[Questd]:
    """Run everything but a front: Redis is connected, wakes are heard, the background task is done or waited for.

    `settings.redis_url` is set and the library loaded. Raises RedisUnavailable when Redis cannot be reached.
    """
    process = secrets.token_hex(8)
    dead_letter_after_ms = _dead_letter_after_ms(settings)
    async with connected(settings, process, promises.durability(settings), counts) as questd:
        primaries, polls = questd.library.primaries, questd.polls

        async def work(primary: Primary) -> None:
            await Background(process, questd.library, primary, dead_letter_after_ms).run()

        async with _beside(primaries.with_each(polls.listen), primaries.with_each(work)):
            await polls.listening.wait()
            yield questd
            polls.close()


@contextlib.asynccontextmanager
async def connected(
    settings: Settings, process: str, durability: Durability | None = None, counts: Page | None = None
) -> AsyncIterator[Questd]:
    """Give a questd for actions that wait for nothing; it hears no wakes and does nothing by itself.

    `process` is its name in Redis. For `settings` and failures see `running`.
    """
    if settings.redis_url is None:
        raise ValueError("a questd needs settings with a redis_url")
    primaries = topology.of(settings.redis_url, durability)
    library = Library(primaries, test_mode=settings.test_mode)
    capacity = Capacity(settings.max_requests, settings.max_waiting)
    polls = LongPolls(process, lambda key: library.send("quest_pass", key), primaries, capacity)
    questd = Questd(settings, library, polls, capacity, counts or Counts(NAMES).take(), _gate(settings))
    primaries.changes.append(questd.ahead_ms.clear)
    try:
        await primaries.connect()
        yield questd
    finally:
        await primaries.close()


def _gate(settings: Settings) -> Access | None:
    keys = keys_of(settings.keys_file, settings.keys)
    return Access(keys, settings.account) if settings.keys_file or settings.keys else None


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


async def _noting(gauges: Gauges) -> None:
    try:
        while True:
            gauges.note()
            await asyncio.sleep(NOTE_SECONDS)
    finally:
        gauges.note()


async def serve(  # noqa: PLR0913  # what one process is made of
    settings: Settings,
    sock: socket.socket,
    ready: Callable[[], None],
    stop: asyncio.Event,
    drain: asyncio.Event | None = None,
    *,
    counts: Page | None = None,
) -> None:
    """Answer requests on a bound socket until `stop`, then finish those in flight; `ready` is called in between.

    `drain` ends it too, when every client has had its answer and its connection has been closed or has gone idle.
    """
    drain = drain or asyncio.Event()
    async with running(settings, counts) as questd:
        front = _front(questd)
        async with _beside(_noting(Gauges(questd, front))):
            await front.start(sock, tls(settings))
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
