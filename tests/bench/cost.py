"""What a call of the library costs Redis at its worst, and whether a large queue costs more than a small one.

Run by hand: python -m tests.bench.cost [server ...]; servers are those of tests/servers.py. µs as Redis counts them.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from tests.lua.quest import START_MS, Quest, key_of
from tests.servers import BINARIES, running

MILLION = 1_000_000
IN_FLIGHT = 100_000
BODY = "x" * 100
TOGETHER = 100
"""Messages in one call, while a queue is filled."""

ROUNDS = 300
LIMIT_US = 5000
RATIO = 1.3


class Meter:
    """How long Redis was busy with each call of the library."""

    def __init__(self, quest: Quest) -> None:
        self._quest = quest
        self.times: list[int] = []

    def measure(self, call: Callable[[], object]) -> object:
        """Do one call of one function and note its µs."""
        self._quest.redis.config_resetstat()
        reply = call()
        stats = self._quest.redis.info("commandstats")
        self.times.append(stats["cmdstat_fcall"]["usec"])
        return reply

    def row(self, what: str) -> None:
        """Print what these calls cost."""
        worst, over = max(self.times), sum(time > LIMIT_US for time in self.times)
        mark = f"   {over} over {LIMIT_US}" if over else ""
        print(f"  {what:58} {len(self.times):6} calls   median {median(self.times):6.0f}   worst {worst:6}{mark}")


def _flat(count: int, delay_ms: int | str, body: str = BODY) -> list[str | int | bytes]:
    return [part for _ in range(count) for part in (b"." * 16, delay_ms, b"", body, b"", b"")]


def fill(
    quest: Quest,
    count: int,
    delay_ms: int | str = "",
    *,
    body: str = BODY,
    together: int = TOGETHER,
    queue: str = "orders",
) -> None:
    """Send messages."""
    version = quest.field(queue, "version") or ""
    entries = _flat(together, delay_ms, body)
    for start in range(0, count, together * 100):
        with quest.redis.pipeline(transaction=False) as pipeline:
            for _ in range(start, min(start + together * 100, count), together):
                pipeline.fcall("quest_send", 1, key_of(queue), version, *entries)
            pipeline.execute()


def take(quest: Quest, count: int, visibility_ms: int) -> None:
    """Receive messages of `orders` and hide them."""
    version = quest.field("orders", "version") or ""
    for start in range(0, count, TOGETHER * 100):
        with quest.redis.pipeline(transaction=False) as pipeline:
            for _ in range(start, min(start + TOGETHER * 100, count), TOGETHER):
                pipeline.fcall(
                    "quest_receive", 1, "quest:{orders}", version, TOGETHER, visibility_ms, "", 10**6, "", "", 0, 0, 1
                )
            pipeline.execute()


@contextmanager
def fresh(quest: Quest, **fields: str | int) -> Iterator[Meter]:
    """Give an empty `orders` with a dead-letter queue beside it."""
    quest.reset()
    quest.create("dead")
    quest.create("orders", wait_ms=0, **fields)
    yield Meter(quest)


def compare(quest: Quest) -> None:
    """Print what a receive costs in a large queue and in one of ten, measured in turn."""
    with fresh(quest):
        fill(quest, MILLION)
        take(quest, IN_FLIGHT, 40_000_000)
        quest.create("ten")
        fill(quest, 10, together=10, queue="ten")
        for most in (1, 10):
            meters = {queue: Meter(quest) for queue in ("ten", "orders")}
            for _ in range(5 * ROUNDS):
                for queue, meter in meters.items():
                    reply: Any = meter.measure(lambda: quest.poll(most, 30_000, queue=queue))  # noqa: B023
                    quest.give_back(*(handle.decode() for handle in reply[2::4]), queue=queue)
            small, large = (median(meter.times) for meter in meters.values())
            print(
                f"  receive {most:2}: of ten {small:.0f}, of 1 000 000 with 100 000 in flight {large:.0f}: "
                f"{large / small:.2f} times{'' if large <= RATIO * small else f', over {RATIO}'}"
            )


def dead_entries(quest: Quest) -> None:
    """Measure a million entries of deleted messages before the one that lives."""
    with fresh(quest) as meter:
        for start in range(0, MILLION, 10_000):
            quest.redis.rpush("quest:{orders}:visible", *range(10**9 + start, 10**9 + start + 10_000))
        quest.send("alive")
        reply: list[object] = [0, 1]
        while reply[1:] == [1]:
            reply = meter.measure(lambda: quest.poll(10, 30_000))  # type: ignore[assignment]
        meter.row("receive: 1 000 000 dead entries first")


def ticks(quest: Quest, meter: Meter, what: str) -> None:
    """Tick until nothing is due."""
    while meter.measure(lambda: quest.tick(dead_letter_after=0))[0] in range(51):  # type: ignore[index]
        pass
    meter.row(what)


def due_at_once(quest: Quest) -> None:
    """100 000 messages that time out, or are no longer delayed, or past retention, or exhausted, all at once."""
    with fresh(quest) as meter:
        fill(quest, IN_FLIGHT)
        take(quest, IN_FLIGHT, 1000)
        quest.advance(1000)
        ticks(quest, meter, "tick: 100 000 timed out")
    with fresh(quest) as meter:
        fill(quest, IN_FLIGHT, 1000)
        quest.advance(1000)
        ticks(quest, meter, "tick: 100 000 delays over")
    with fresh(quest) as meter:
        fill(quest, IN_FLIGHT, 1000)
        fill(quest, IN_FLIGHT)
        take(quest, IN_FLIGHT, 1000)
        quest.advance(1000)
        ticks(quest, meter, "tick: 100 000 timed out and 100 000 delays over")
    with fresh(quest) as meter:
        fill(quest, IN_FLIGHT)
        take(quest, IN_FLIGHT, 1000)
        quest.advance(1000)
        for _ in range(ROUNDS):
            meter.measure(lambda: quest.poll(10, 30_000_000))
        meter.row("receive: 100 000 timed out, no tick")


def expired(quest: Quest) -> None:
    """Measure what is past its retention period."""
    with fresh(quest, MessageRetentionPeriod=60) as meter:
        fill(quest, IN_FLIGHT)
        take(quest, IN_FLIGHT, 40_000_000)
        quest.advance(60_000)
        ticks(quest, meter, "tick: 100 000 expired in flight")
    with fresh(quest, MessageRetentionPeriod=60) as meter:
        fill(quest, IN_FLIGHT)
        quest.advance(60_000)
        for _ in range(50):
            meter.measure(lambda: quest.poll(10, 30_000))
        meter.row("receive: 100 000 expired, no tick")
    with fresh(quest, MessageRetentionPeriod=60) as meter:
        fill(quest, 1000, body="x" * 1_000_000, together=1)
        quest.advance(60_000)
        ticks(quest, meter, "tick: 1 000 expired of 1 MB")
    with fresh(quest) as meter:
        fill(quest, MILLION // 5)
        for _ in range(MILLION // 5 // 500):
            quest.delete(*quest.receive(500, 1000)[1:])
        ticks(quest, meter, "tick: steps over 200 000 deleted")


def exhausted(quest: Quest) -> None:
    """Measure what goes to the dead-letter queue."""

    def make(count: int, body: str = BODY, together: int = TOGETHER) -> None:
        fill(quest, count, body=body, together=together)
        while quest.receive(together, 1000):
            pass
        quest.advance(1000)

    with fresh(quest, deadLetterTarget="dead", maxReceiveCount=1) as meter:
        make(20_000)
        ticks(quest, meter, "tick: 20 000 exhausted")
    with fresh(quest, deadLetterTarget="dead", maxReceiveCount=1) as meter:
        make(20_000)
        while len(reply := meter.measure(lambda: quest.poll(10, 30_000))) > 2 or reply[1]:  # type: ignore[arg-type,index]
            pass
        meter.row("receive: 20 000 exhausted, no tick")
    with fresh(quest, deadLetterTarget="dead", maxReceiveCount=1) as meter:
        make(20_000)
        for _ in range(60):
            meter.measure(lambda: quest.redis.fcall("getMessage", 1, "orders", 100))
        meter.row("getMessage: 20 000 exhausted, no tick")
    with fresh(quest, deadLetterTarget="dead", maxReceiveCount=1) as meter:
        make(200, "x" * 1_000_000, 1)
        ticks(quest, meter, "tick: 200 exhausted of 1 MB")


def receive_and_delete(quest: Quest, meter: Meter, kind: str) -> None:
    """Measure receives and deletes of `orders`, of one message and of ten."""
    for number, together in ((1, ""), (10, ": ten")):
        replies: list[Any] = [meter.measure(lambda: quest.poll(number, 30_000)) for _ in range(ROUNDS)]  # noqa: B023
        meter.row(f"{kind}receive{together}")
        meter.times.clear()
        for reply in replies:
            meter.measure(lambda: quest.delete(*(handle.decode() for handle in reply[2::4])))  # noqa: B023
        meter.row(f"{kind}delete{together}")
        meter.times.clear()


def everyday(quest: Quest) -> None:
    """Measure the calls of every day, in a queue of 10 000."""
    with fresh(quest) as meter:
        fill(quest, 10_000)
        version = quest.field("orders", "version") or ""
        for number, what in ((1, "quest_send"), (10, "quest_send: a batch of ten")):
            entries = _flat(number, "")
            for _ in range(ROUNDS):
                meter.measure(lambda: quest.call("quest_send", "orders", version, *entries))  # noqa: B023
            meter.row(what)
            meter.times.clear()
        receive_and_delete(quest, meter, "quest_")
        for _ in range(10):
            meter.measure(lambda: quest.redis.fcall("getMessage", 1, "orders", 100, 1))
        meter.row("getMessage: 100")
        meter.times.clear()
        quest.advance(1000)
        for _ in range(10):
            meter.measure(lambda: quest.redis.fcall("getMessage", 1, "orders", 100, 0))
        meter.row("getMessage: 100 with timeout 0, timed out")


def on_each_server(*parts: Callable[[Quest], None]) -> None:
    """Measure on each server named on the command line, by default on all."""
    for name in sys.argv[1:] or BINARIES:
        binary = BINARIES[name]
        if binary is None:
            print(f"{name}: not installed")
            continue
        with running(binary) as server, server.client() as client:
            quest = Quest(client)
            quest.clock("freeze", START_MS)
            print(f"{name}, µs of Redis")
            for part in parts:
                part(quest)


if __name__ == "__main__":
    on_each_server(everyday, compare, dead_entries, due_at_once, expired, exhausted)
