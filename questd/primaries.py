"""The primaries of a Redis, each with its pipeline: here the one of a single server.

Sentinel (sentinel.py) and Cluster (cluster.py) are the same to everybody else: which primary has a key, what becomes of
a call that it refused, and who hears of it when the primaries change.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ResponseError

from questd.addresses import Addresses
from questd.durability import Durability
from questd.pipeline import Pipeline
from questd.wire import CONNECT_SECONDS

LEASE = "quest:lease"

Call = Callable[..., asyncio.Future[Any]]
"""Pipeline.call, or what takes its arguments and does more."""

Begin = Callable[..., None]
"""The same of Pipeline.begin."""


class Route(NamedTuple):
    """Where to repeat a call, and how."""

    pipeline: Pipeline
    call: Call


Execute = Callable[..., Awaitable[Any]]
"""Runs one command on a Redis and gives its reply."""


@dataclass(eq=False)
class Primary:
    """One server that takes writes."""

    url: str
    pipeline: Pipeline
    name: str = ""
    """Of this primary among others; '' when there is one."""
    lease: str = LEASE
    """The key by which one process does the background task here."""
    slots: set[int] | None = field(default=None, repr=False)
    """The slots of a Cluster that it has; None: every key is here."""

    def has(self, key: str) -> bool:
        """Tell whether a key is here."""
        return self.slots is None or key_slot(key.encode()) in self.slots


def client_of(url: str, seconds: float | None = None) -> Redis:
    """Return an ordinary client of one server, which tries everything once, for at most so many seconds.

    What the URL says counts, but for how replies are to look: it may be shared with other clients.
    """
    how: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": seconds or CONNECT_SECONDS,
        "socket_timeout": seconds,
        **parse_url(url),
        "protocol": 2,
        "decode_responses": False,
    }
    return Redis.from_pool(ConnectionPool(**how))


class Primaries:
    """The only primary there is: it has every key."""

    clustered = False
    """Whether keys without a common hash tag may be on different servers, out of one another's functions' reach."""

    def __init__(self, addresses: Addresses, durability: Durability | None = None) -> None:
        self.addresses = addresses
        self._durability = durability
        self.changes: list[Callable[[], None]] = []
        """Called when there are other primaries than before, or their slots have changed."""
        self.connects: list[Callable[[Primary], None]] = []
        """Called with a primary after every successful connection to it."""
        self.all: list[Primary] = []
        self.call: Call
        """Call a command on the primary that has its key: Pipeline.call."""
        self.begin: Begin
        """The same for a caller that is told: Pipeline.begin."""

    async def connect(self) -> None:
        """Connect for the first time, and stay connected from then on; raises RedisUnavailable."""
        pipeline = self._pipeline(self.addresses.url)
        self._take(Primary(self.addresses.url, pipeline))
        await pipeline.connect()

    def _pipeline(self, url: str, find: Callable[[], Awaitable[str]] | None = None) -> Pipeline:
        return Pipeline(url, find=find, durability=self._durability)

    def _take(self, primary: Primary) -> None:
        self.all, self.call, self.begin = [primary], primary.pipeline.call, primary.pipeline.begin
        primary.pipeline.connects.append(lambda: self._connected(self.all[0]))

    def _connected(self, primary: Primary) -> None:
        for listener in self.connects:
            listener(primary)

    def _changed(self) -> None:
        for listener in self.changes:
            listener()

    async def close(self) -> None:
        """Wait for the calls in flight, at most for the deadline, and disconnect."""
        await asyncio.gather(*(primary.pipeline.close() for primary in self.all))

    async def urls(self) -> list[str]:
        """Return the URL of every primary, without being connected. Raises RedisUnavailable."""
        return [self.addresses.url]

    def of(self, key: str) -> Primary:  # noqa: ARG002  # every key is there
        """Return the primary that has a key. Raises RedisUnavailable when none has."""
        return self.all[0]

    async def after(self, error: ResponseError, key: str) -> Route | None:  # noqa: ARG002  # nobody else has it
        """Return where to repeat a call that was refused with `error` and did nothing, once that makes sense.

        None: it was no such refusal.
        """
        return None

    async def with_each(self, work: Callable[[Primary], Coroutine[Any, Any, None]]) -> None:
        """Do endless work with each primary as long as it is one; until cancelled."""
        changed = asyncio.Event()
        self.changes.append(changed.set)
        tasks: dict[Primary, asyncio.Task[None]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    changed.clear()
                    for gone in tasks.keys() - set(self.all):
                        tasks.pop(gone).cancel()
                    for primary in self.all:
                        if primary not in tasks:
                            tasks[primary] = group.create_task(work(primary))
                    await changed.wait()
        finally:
            self.changes.remove(changed.set)
