"""A Redis Cluster: which primary has which slots, and what becomes of a call that came to the wrong one.

The slots are asked of any node, again after a MOVED, after a lost connection, and every few seconds: nobody tells.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, ResponseError, TryAgainError

from questd.addresses import Addresses
from questd.calls import Caller
from questd.durability import Durability
from questd.pipeline import Pipeline, RedisUnavailable
from questd.primaries import LEASE, Execute, Primaries, Primary, Route, client_of
from questd.wire import Node

log = logging.getLogger(__name__)

ASK_SECONDS = 1
"""How long a node may take to answer before the next one is asked."""

LOOK_SECONDS = 5.0
"""Between two looks at the slots when all is well."""

SUSPECT_SECONDS = 0.1
"""Between two looks while a primary is away."""

TRY_AGAIN_SECONDS = 0.02
"""Before a call is repeated that came to a slot on its way from one node to another."""

HALF_MOVED = re.compile("non local key|during rehashing of the slot")
"""In what Redis says of a function that found some of its keys moved; its first command asks for all (quest.lua)."""

Slots = dict[tuple[str, Node], set[int]]
"""Id and address of every primary → its slots."""


class Cluster(Primaries):
    """The primaries of a Cluster."""

    clustered = True

    def __init__(self, addresses: Addresses, durability: Durability | None = None) -> None:
        super().__init__(addresses, durability)
        self.call, self.begin = self._call, self._begin
        self._by_slot: list[Primary | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._nodes = list(addresses.nodes)
        self._guests: dict[Node, Pipeline] = {}  # of nodes that are getting their first slot
        self._suspect = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Connect to every primary, and follow the Cluster from then on; raises RedisUnavailable."""
        await self.look()
        self._following = self._start(self._follow())

    async def close(self) -> None:
        """Wait for the calls in flight, at most for the deadline, and disconnect."""
        if self._following:
            self._following.cancel()
        if self._tasks:  # what is being closed or asked in this moment ends by itself, as a rule
            await asyncio.wait(self._tasks, timeout=ASK_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(guest.close() for guest in self._guests.values()))
        await super().close()

    async def urls(self) -> list[str]:
        """Return the URL of every primary. Raises RedisUnavailable."""
        return [self.addresses.server(node) for _, node in await self._ask()]

    def of(self, key: str) -> Primary:
        """Return the primary that has a key. Raises RedisUnavailable when none has."""
        primary = self._by_slot[key_slot(key.encode())]
        if primary is None:
            raise RedisUnavailable("no server of the Redis Cluster has this slot now")
        return primary

    def _call(self, *command: Any, **how: Any) -> asyncio.Future[Any]:  # noqa: ANN401  # Pipeline.call's
        """Call a command on the primary that has its key: the first argument of a plain command."""
        try:
            return self._of_command(command).call(*command, **how)
        except RedisUnavailable as error:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(error)
            return future

    def _begin(self, command: Sequence[Any], caller: Caller, **how: Any) -> None:  # noqa: ANN401  # Pipeline.begin's
        """Do the same for a caller that is told."""
        self._of_command(command).begin(command, caller, **how)

    def _of_command(self, command: Sequence[Any]) -> Pipeline:
        return self.of(command[3] if command[0] == "FCALL" else command[1]).pipeline

    async def after(self, error: ResponseError, key: str) -> Route | None:
        """Return where to repeat a call that came to the wrong node, or to a slot on its way."""
        if isinstance(error, AskError) and not isinstance(error, MovedError):
            pipeline = await self._pipeline_at(Node(*error.node_addr))
            return Route(pipeline, partial(_asking, pipeline))
        if isinstance(error, MovedError):
            await self._moved(key_slot(key.encode()), Node(*error.node_addr))
        elif isinstance(error, TryAgainError) or HALF_MOVED.search(str(error)):
            await asyncio.sleep(TRY_AGAIN_SECONDS)
        else:
            if isinstance(error, ClusterDownError):
                self._suspect.set()
            return None
        pipeline = self.of(key).pipeline
        return Route(pipeline, pipeline.call)

    async def _moved(self, slot: int, node: Node) -> None:
        """Take in that a slot is elsewhere; the node that says so knows it better than the one asked next may."""
        before = self._by_slot[slot]
        with contextlib.suppress(RedisUnavailable):
            await self.look()
        if self._by_slot[slot] is before:
            there = next((each for each in self.all if each.url == self.addresses.server(node)), None)
            if there and there is not before:
                self._move(slot, before, there)
            await asyncio.sleep(TRY_AGAIN_SECONDS)

    def _move(self, slot: int, before: Primary | None, there: Primary) -> None:
        if before and before.slots is not None:
            before.slots.discard(slot)
        if there.slots is not None:
            there.slots.add(slot)
        self._by_slot[slot] = there
        self._changed()

    async def _pipeline_at(self, node: Node) -> Pipeline:
        for primary in self.all:
            if primary.url == self.addresses.server(node):
                return primary.pipeline
        guest = self._guests.get(node)
        if guest is None:
            guest = self._guests[node] = self._pipeline(self.addresses.server(node))
            await _connect(guest)
        elif not guest.connected:
            await asyncio.sleep(TRY_AGAIN_SECONDS)
        return guest

    def _dismiss_guests(self) -> None:
        """Close the pipelines of guests that are primaries now; one that is just connecting waits for the next look."""
        primaries = {primary.url for primary in self.all}
        for node, guest in list(self._guests.items()):
            if self.addresses.server(node) in primaries and guest.connected:
                self._start(self._guests.pop(node).close())

    async def _follow(self) -> None:
        """Look at the slots now and then, and often while a primary is away."""
        while True:
            well = all(primary.pipeline.connected for primary in self.all)
            await asyncio.sleep(SUSPECT_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if well else 0):
                    await self._suspect.wait()
            self._suspect.clear()
            with contextlib.suppress(RedisUnavailable):
                await self.look()

    async def look(self) -> None:
        """Ask for the slots and follow them; looks that come together are one. Raises RedisUnavailable."""
        if self._looking is None or self._looking.done():
            self._looking = self._start(self._look())
        await asyncio.shield(self._looking)

    def _start(self, work: Any) -> asyncio.Task[None]:  # noqa: ANN401  # a coroutine
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error:
            log.debug("the Cluster: %s", error)

    async def _look(self) -> None:
        found = await self._ask()
        before = self._by_slot
        known = {(primary.name, primary.url): primary for primary in self.all}
        wanted = {(name, self.addresses.server(node)): slots for (name, node), slots in found.items()}
        new = {each: self._primary(*each) for each in wanted.keys() - known.keys()}
        try:
            await asyncio.gather(*(_connect(primary.pipeline) for primary in new.values()))
        except asyncio.CancelledError:
            await asyncio.gather(*(primary.pipeline.close() for primary in new.values()))
            raise
        self.all = []
        self._by_slot = [None] * REDIS_CLUSTER_HASH_SLOTS
        for each, slots in wanted.items():
            self._give(known.get(each) or new[each], slots)
        for each in known.keys() - wanted.keys():
            self._start(known[each].pipeline.close())
        self._dismiss_guests()
        if self._by_slot != before:
            self._changed()

    def _give(self, primary: Primary, slots: set[int]) -> None:
        primary.slots, primary.lease = slots, f"{LEASE}:{{{_tag(slots)}}}"
        self.all.append(primary)
        for slot in slots:
            self._by_slot[slot] = primary

    def _primary(self, name: str, url: str) -> Primary:
        log.info("a primary of the Cluster: %s", name)
        pipeline = self._pipeline(url)
        primary = Primary(url, pipeline, name)
        pipeline.losses.append(self._suspect.set)
        pipeline.connects.append(lambda: self._connected(primary))
        return primary

    async def _ask(self) -> Slots:
        """Return what the first node that answers says of the slots; those that it names are asked first next time."""
        problem = "no node has slots"
        for node in list(self._nodes):
            try:
                async with client_of(self.addresses.server(node), ASK_SECONDS) as client:
                    execute: Execute = client.execute_command
                    found, nodes = _read(await execute("CLUSTER", "SLOTS"), node.host)
            except (RedisError, OSError, ValueError, TypeError, AttributeError) as error:
                problem = str(error)
                self._nodes.append(self._nodes.pop(self._nodes.index(node)))
                continue
            if found:
                self._nodes = nodes + [each for each in self._nodes if each not in nodes]
                return found
        raise RedisUnavailable(f"no node of the Redis Cluster can be asked: {problem}")


async def _connect(pipeline: Pipeline) -> None:
    try:
        await pipeline.connect()
    except RedisUnavailable:
        pipeline.start()


def _read(reply: list[Any], asked: str) -> tuple[Slots, list[Node]]:
    """Return what a reply of CLUSTER SLOTS says, and every node in it, primaries first.

    A node that does not know its own name is where it was asked.
    """
    found: Slots = {}
    nodes: dict[Node, int] = {}
    for first, last, *servers in reply:
        for place, (host, port, node_id, *_) in enumerate(servers):
            node = Node((host or b"").decode() or asked, port)
            nodes[node] = min(place, 1)
            if place == 0:
                found.setdefault((node_id.decode()[:12], node), set()).update(range(first, last + 1))
    return found, sorted(nodes, key=nodes.__getitem__)


def _tag(slots: set[int]) -> int:
    """Return the first number that, as a hash tag, leads into one of the slots."""
    number = 0
    while key_slot(b"%d" % number) not in slots:
        number += 1
    return number


def _asking(pipeline: Pipeline, *command: Any, **how: Any) -> asyncio.Future[Any]:  # noqa: ANN401  # Pipeline.call's
    """Call a command on a node that is taking over its slot; nothing comes between it and its ASKING."""
    pipeline.call("ASKING").add_done_callback(lambda asked: asked.cancelled() or asked.exception())
    return pipeline.call(*command, **how)
