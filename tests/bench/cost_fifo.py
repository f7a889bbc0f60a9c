"""What a call of the library costs Redis in a FIFO queue of many groups, and in a fair one.

Run by hand: python -m tests.bench.cost_fifo [server ...]; servers are those of tests/servers.py. µs as Redis counts them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import msgpack

from tests.bench.cost import BODY, ROUNDS, Meter, on_each_server, receive_and_delete, ticks
from tests.lua.quest import Quest

MANY = 100_000
QUEUE = "orders"
"""A FIFO queue all the same, so that what measures standard queues measures it too."""


def _entries(numbers: range, *, fifo: bool) -> list[str | bytes]:
    parts: list[str | bytes] = []
    for number in numbers:
        group = f"g{number}"
        head = msgpack.packb({"MessageGroupId": group, "MessageDeduplicationId": str(number)})
        parts += [b"." * 16, "", head, BODY, group, str(number).rjust(20).encode() if fifo else b""]
    return parts


def _send(quest: Quest, count: int, *, fifo: bool = True) -> None:
    version = quest.field(QUEUE, "version") or ""
    for start in range(0, count, 10_000):
        with quest.redis.pipeline(transaction=False) as pipeline:
            for first in range(start, min(start + 10_000, count), 100):
                entries = _entries(range(first, min(first + 100, count)), fifo=fifo)
                pipeline.fcall("quest_send", 1, "quest:{orders}", version, *entries)
            pipeline.execute()


def _take(quest: Quest, count: int, visibility_ms: int) -> None:
    for _ in range(count // 100):
        quest.receive(100, visibility_ms)


@contextmanager
def _fresh(quest: Quest, **fields: str | int) -> Iterator[Meter]:
    quest.reset()
    quest.create("dead", FifoQueue="true")
    quest.create(QUEUE, wait_ms=0, **fields)
    yield Meter(quest)


def everyday(quest: Quest) -> None:
    """Measure the calls of every day beside 100 000 groups."""
    with _fresh(quest, FifoQueue="true") as meter:
        _send(quest, MANY)
        version = quest.field(QUEUE, "version") or ""
        for number, what in ((1, "FIFO send"), (10, "FIFO send: ten groups")):
            for turn in range(ROUNDS):
                first = MANY + 1000 * number + turn * number
                entries = _entries(range(first, first + number), fifo=True)
                meter.measure(lambda: quest.call("quest_send", QUEUE, version, *entries))  # noqa: B023
            meter.row(what)
            meter.times.clear()
        receive_and_delete(quest, meter, "FIFO ")


def due(quest: Quest) -> None:
    """Measure the background task's calls when everything is due at once."""
    with _fresh(quest, FifoQueue="true") as meter:
        _send(quest, MANY)
        _take(quest, MANY, 1000)
        quest.advance(1000)
        ticks(quest, meter, "FIFO tick: 100 000 groups timed out")
    with _fresh(quest, FifoQueue="true", DelaySeconds=1) as meter:
        _send(quest, MANY)
        quest.advance(1000)
        ticks(quest, meter, "FIFO tick: 100 000 groups' delays over")
    with _fresh(quest, FifoQueue="true", MessageRetentionPeriod=60) as meter:
        _send(quest, MANY)
        quest.advance(60_000)
        ticks(quest, meter, "FIFO tick: 100 000 groups expired")
    with _fresh(quest, FifoQueue="true") as meter:
        _send(quest, MANY)
        quest.advance(320_000)
        ticks(quest, meter, "FIFO tick: 100 000 windows expired")
        meter.times.clear()
        meter.measure(quest.purge)
        meter.row("FIFO purge: 100 000 groups")
        meter.times.clear()
        ticks(quest, meter, "FIFO tick: 100 000 groups purged")
    with _fresh(quest, FifoQueue="true", deadLetterTarget="dead", maxReceiveCount=1) as meter:
        _send(quest, 10_000)
        _take(quest, 10_000, 1000)
        quest.advance(1000)
        ticks(quest, meter, "FIFO tick: 10 000 groups exhausted")


def fair(quest: Quest) -> None:
    """Measure a standard queue of 100 000 tenants."""
    with _fresh(quest) as meter:
        _send(quest, MANY, fifo=False)
        receive_and_delete(quest, meter, "fair ")
        _take(quest, 90_000, 1000)
        quest.advance(1000)
        ticks(quest, meter, "fair tick: 90 000 tenants timed out")


if __name__ == "__main__":
    on_each_server(everyday, due, fair)
