"""The background task: what falls due in any queue happens when it is due (lua/background.lua).

One process at a time does it, by a lease in Redis. It keeps one heap of alarms and one timer; a queue with nothing due
is not in it and costs nothing. It makes things prompt, it never makes them right.
"""

import asyncio
import contextlib
import heapq
import logging

from redis.exceptions import RedisError

from questd import errors, registry, relay
from questd.channel import hear
from questd.library import Library, key_of
from questd.primaries import Primary

log = logging.getLogger(__name__)

LEASE_MS = 3000
RENEW_SECONDS = 1.0
"""Three tries before the lease runs out; another process takes over at most four seconds after the holder is gone."""

RETRY_SECONDS = 1.0
TOGETHER = 64
"""Ticks in flight at once."""

READ_TOGETHER = 500
"""Alarms read at once: far fewer than the pipeline takes, clients use it too."""


class Background:
    """The background task of one process; it works while the process has the lease."""

    def __init__(self, process: str, library: Library, primary: Primary, dead_letter_after_ms: int | str) -> None:
        self._process = process
        self._library = library
        self._primary = primary
        self._dead_letter_after_ms = dead_letter_after_ms
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._earlier = asyncio.Event()
        self._relaying: set[str] = set()

    async def run(self) -> None:
        """Take the lease, work, keep it; until cancelled, when the lease is given up."""
        work: asyncio.Task[None] | None = None
        try:
            while True:
                held = await self._lease(LEASE_MS)
                if work and (work.done() or not held):
                    await _cancelled(work)
                    work = None
                if held and work is None:
                    work = asyncio.create_task(self._work())
                await asyncio.sleep(RENEW_SECONDS)
        finally:
            if work:
                await _cancelled(work)
                await self._lease(0)

    async def _lease(self, lease_ms: int) -> bool:
        try:
            return bool(await self._library.call("quest_lease", self._primary.lease, self._process, lease_ms))
        except errors.SQSError:
            return False

    async def _work(self) -> None:
        """Hear of alarms and tick what is due, until cancelled."""
        self._due.clear()
        self._heap.clear()
        self._relaying.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hear(self._primary.url, self._take, "quest:alarm"))
            tasks.create_task(self._tick_what_is_due(tasks))
            if self._library.primaries.clustered:
                tasks.create_task(self._follow_cluster())

    async def _take(self, published: bytes | None) -> None:
        """Take an alarm, `<ms until then> <queue>`; the queue `*` asks to read them all, as a gap (None) does.

        `new <queue>` is of one that a Redis client has made in a Cluster.
        """
        delay_ms, _, queue = (published or b"0 *").decode(errors="replace").partition(" ")
        if queue == "*":
            await self._read_all()
        elif not self._primary.has(queue):
            pass  # another primary's background task hears it too
        elif delay_ms.isdecimal():
            self._note(queue, int(delay_ms))
        elif delay_ms == "new" and registry.QUEUE.fullmatch(queue):
            await registry.adopt(self._library, queue)

    async def _read_all(self) -> None:
        keys = await self._queues()
        for start in range(0, len(keys), READ_TOGETHER):
            some = keys[start : start + READ_TOGETHER]
            alarms = await asyncio.gather(*(self._library.call("quest_alarm", key, repeat=True) for key in some))
            for key, delay_ms in zip(some, alarms, strict=True):
                self._note(key, delay_ms)

    async def _queues(self) -> list[str]:
        """Return the keys of the queues here."""
        try:
            queues, remains = await registry.names(self._library)
        except errors.ServiceUnavailable:
            if not self._library.primaries.clustered:
                raise
            return await registry.found(self._primary)  # the registry is on a primary that is away
        return [key for name in (*queues, *remains) if self._primary.has(key := key_of(name))]

    async def _follow_cluster(self) -> None:
        """Find queues that Redis clients have made, and read all alarms again when other slots are here."""
        changed = asyncio.Event()
        self._library.primaries.changes.append(changed.set)
        try:
            while True:
                with contextlib.suppress(RedisError, OSError, errors.SQSError):
                    await registry.discover(self._library, self._primary)
                    await self._read_all()
                await changed.wait()
                changed.clear()
        finally:
            self._library.primaries.changes.remove(changed.set)

    def _note(self, queue: str, delay_ms: int) -> None:
        """Remember when a queue wants a tick, unless it is to have one earlier; -1 is never."""
        due = asyncio.get_running_loop().time() + delay_ms / 1000
        if delay_ms < 0 or self._due.get(queue, float("inf")) <= due:
            return
        self._due[queue] = due
        heapq.heappush(self._heap, (due, queue))
        if len(self._heap) > 2 * len(self._due) + TOGETHER:  # mostly entries that an earlier alarm has overtaken
            self._heap = [(at, key) for key, at in self._due.items()]
            heapq.heapify(self._heap)
        if self._heap[0][1] == queue:
            self._earlier.set()

    async def _tick_what_is_due(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            due = self._take_due()
            if due:
                for queue, leaving in zip(due, await asyncio.gather(*(self._tick(each) for each in due)), strict=True):
                    if leaving and queue not in self._relaying:
                        self._relaying.add(queue)
                        tasks.create_task(self._relay(queue))
                continue
            self._earlier.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._heap[0][0] if self._heap else None):
                    await self._earlier.wait()

    def _take_due(self) -> list[str]:
        """Take the queues that are due out of the heap, and entries that an earlier alarm has overtaken."""
        now = asyncio.get_running_loop().time()
        due: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(due) < TOGETHER:
            at, queue = heapq.heappop(self._heap)
            if self._due.get(queue) == at:
                del self._due[queue]
                due.append(queue)
        return due

    async def _tick(self, queue: str) -> int:
        """Tick a queue; returns how many of its messages wait to leave for another slot."""
        try:
            delay_ms, leaving = await self._library.call("quest_tick", queue, self._dead_letter_after_ms)
        except errors.QueueDoesNotExist:
            await registry.forget(self._library, queue)
            return 0
        except errors.SQSError as error:
            log.warning("the background task: no tick of %s (%s)", queue, error.message)
            delay_ms, leaving = round(RETRY_SECONDS * 1000), 0
        self._note(queue, delay_ms)
        return int(leaving)

    async def _relay(self, queue: str) -> None:
        """Hand on the messages that leave for another slot of a Cluster."""
        try:
            await relay.hand_on(self._library, queue)
        except errors.SQSError as error:
            log.warning("the background task: what leaves %s waits (%s)", queue, error.message)
        finally:
            self._relaying.discard(queue)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (failure := task.exception()):
        log.error("the background task broke off and starts anew", exc_info=failure)
