"""Long polls: who waits on which queue in this process, and what wakes it. Nothing here polls Redis.

A waiter asks Redis, which remembers this process when it has nothing to give (lua/longpoll.lua); then it sleeps until a
wake comes for its queue, or its time is up and it asks a last time. A wake is for one waiter; one that leaves without
having asked hands it on. It knows nothing of HTTP or messages: `ask` is the caller's.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from questd.capacity import Capacity
from questd.channel import hear
from questd.pipeline import RedisUnavailable
from questd.primaries import Primaries, Primary

Ask = Callable[[int, int], Awaitable[list[Any]]]
"""Asks once: ms that this waiter stays when it gets nothing, ms that others stay → the reply of quest_receive."""

SERVER_TIME, MORE, FIRST = 0, 1, 2
"""Where quest_receive's reply has its parts."""

NOTHING: list[Any] = [0, 0]
"""A reply without messages."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """One receive that waits: until when (the loop's time), and the future that wakes it while it sleeps."""

    deadline: float
    alarm: asyncio.Future[bool] | None = None


@dataclass(slots=True)
class _Queue:
    """The waiters on one queue, those asleep in the order of their coming; a wake that found all of them asking."""

    waiters: set[_Waiter] = field(default_factory=set)
    asleep: OrderedDict[_Waiter, None] = field(default_factory=OrderedDict)
    missed: bool = False
    latest: float = 0.0
    """When the last of them all is to end (the loop's time); a waiter that leaves early does not change it."""

    def join(self, waiter: _Waiter) -> None:
        """Add a waiter."""
        self.waiters.add(waiter)
        self.latest = max(self.latest, waiter.deadline)


class LongPolls:
    """The long polls of one process."""

    def __init__(self, process: str, hand_on: Callable[[str], None], primaries: Primaries, capacity: Capacity) -> None:
        """Wait under the name `process`; `hand_on` gives a wake for a queue back to Redis, for another process."""
        self.listening = asyncio.Event()
        """Set when wakes are heard."""
        self._process = process
        self._hand_on = hand_on
        self._primaries = primaries
        self._capacity = capacity
        self._loop = asyncio.get_running_loop()  # asking for it is a system call on Python 3.11
        primaries.connects.append(lambda primary: self.wake_all(primary.has))
        primaries.changes.append(lambda: self.wake_all(self._can_ask))
        self._queues: dict[str, _Queue] = {}
        self._closed = False

    def name(self, key: str) -> str:
        """Return the name under which this process waits on the queue `key`."""
        if not self._primaries.clustered:
            return self._process
        try:
            return self._name_at(self._primaries.of(key))
        except RedisUnavailable:
            return self._process

    def _name_at(self, primary: Primary) -> str:
        # A publisher counts who hears it on its own server only: this process has another name on each.
        return f"{self._process}.{primary.name}" if primary.name else self._process

    async def receive(
        self, key: str, seconds: float, ask: Ask, slept: Callable[[int], None] = lambda _: None
    ) -> list[Any]:
        """Ask for messages of the queue `key` until there are some, for at most `seconds`.

        `slept` gets the ns of every sleep in between. Raises TooManyWaiting.
        """
        queue = self._queues.setdefault(key, _Queue())
        waiter = _Waiter(self._loop.time() + seconds)
        queue.join(waiter)
        woken = False
        try:
            while True:
                # Longer than any of the others waits does no harm: a wake that finds nobody is handed on.
                others_ms = self._left_ms(queue.latest) if len(queue.waiters) > 1 else 0
                reply = await ask(self._left_ms(waiter.deadline), others_ms)
                woken = False
                if len(reply) > FIRST or self._is_over(waiter, reply):
                    return reply
                if reply[MORE] or queue.missed:
                    queue.missed = False
                    continue
                begun = time.perf_counter_ns()
                woken = await self._sleep(queue, waiter)
                slept(time.perf_counter_ns() - begun)
                if self._closed:
                    return NOTHING
        finally:
            self._leave(key, queue, waiter, hand_on=woken)

    def _left_ms(self, deadline: float) -> int:
        if self._closed:
            return 0
        return max(0, round((deadline - self._loop.time()) * 1000))

    def _is_over(self, waiter: _Waiter, reply: list[Any]) -> bool:
        return not reply[MORE] and self._left_ms(waiter.deadline) == 0

    async def _sleep(self, queue: _Queue, waiter: _Waiter) -> bool:
        """Sleep until a wake (True) or the deadline (False)."""
        self._capacity.begin_wait()
        waiter.alarm = self._loop.create_future()
        queue.asleep[waiter] = None
        timer = self._loop.call_at(waiter.deadline, self._rouse, waiter, False)  # noqa: FBT003  # the future's result
        try:
            return await waiter.alarm
        except asyncio.CancelledError:
            if waiter.alarm.done() and not waiter.alarm.cancelled() and waiter.alarm.result():
                queue.missed = True  # woken and cancelled at once: _leave hands it on
            raise
        finally:
            self._capacity.end_wait()
            timer.cancel()
            queue.asleep.pop(waiter, None)

    @staticmethod
    def _rouse(waiter: _Waiter, woken: bool) -> bool:  # noqa: FBT001  # the future's result
        if waiter.alarm is None or waiter.alarm.done():
            return False
        waiter.alarm.set_result(woken)
        return True

    def _leave(self, key: str, queue: _Queue, waiter: _Waiter, *, hand_on: bool) -> None:
        queue.waiters.discard(waiter)
        if not queue.waiters:
            del self._queues[key]
        if hand_on or (queue.missed and len(queue.asleep) == len(queue.waiters)):
            queue.missed = False
            self.wake(key)

    def wake(self, key: str) -> None:
        """Wake one waiter of the queue `key`; with nobody here, hand the wake on."""
        queue = self._queues.get(key)
        if queue is None:
            if not self._closed:
                self._hand_on(key)
            return
        while queue.asleep:
            if self._rouse(queue.asleep.popitem(last=False)[0], woken=True):
                return
        queue.missed = True

    def wake_all(self, chosen: Callable[[str], bool] = lambda _: True) -> None:
        """Wake every waiter of the queues chosen: a wake may have been lost."""
        for key, queue in self._queues.items():
            if chosen(key):
                queue.missed = True
                while queue.asleep:
                    self._rouse(queue.asleep.popitem(last=False)[0], woken=True)

    def close(self) -> None:
        """End every wait, now and from now on, with what there is: nothing."""
        self._closed = True
        self.wake_all()

    def _can_ask(self, key: str) -> bool:
        """Tell whether Redis takes calls for a queue now; when it does again, its waiters are woken."""
        return any(primary.has(key) and primary.pipeline.connected for primary in self._primaries.all)

    async def listen(self, primary: Primary) -> None:
        """Take wakes from a primary until cancelled. A subscription made anew wakes everybody."""

        async def take(published: bytes | None) -> None:
            if published is not None:
                news, _, key = published.decode(errors="replace").rpartition(" ")
                if not news or key in self._queues:  # a new queue is news for those who wait on the one before only
                    self.wake(key)
                return
            self.listening.set()
            self.wake_all(lambda key: primary.has(key) and self._can_ask(key))

        await hear(primary.url, take, f"quest:wake:{self._name_at(primary)}", "quest:made")
