"""figures.lua: all figures of a queue in one call."""

from typing import NamedTuple

import pytest

from tests.lua.quest import FIFO, START_MS, VT, Quest, key_of
from tests.lua.test_cost import LIMITS

KEY = key_of("orders")
STEPS = LIMITS["PEEK_STEPS"]


class Figures(NamedTuple):
    """The reply of quest_figures; times are ms after START_MS, None for none."""

    now: int
    visible: int
    in_flight: int
    delayed: int
    oldest: int | None
    noisy: int
    waiting: int
    dead_lettered: int
    paused: int


def _figures(quest: Quest, queue: str = "orders") -> Figures:
    now, visible, in_flight, delayed, oldest, *rest = quest.read("quest_figures", queue)
    return Figures(now - START_MS, visible, in_flight, delayed, oldest - START_MS if oldest else None, *rest)


def test_of_an_empty_queue(quest: Quest) -> None:
    """A queue without anything has figures too."""
    quest.create()
    assert _figures(quest) == (0, 0, 0, 0, None, 0, 0, 0, 0)


def test_counts_and_age(quest: Quest) -> None:
    """Counts are by the clock; the oldest message may be in any state, and is no more when it is deleted or expired."""
    quest.create(MessageRetentionPeriod=60)
    quest.send("a", "b")
    quest.advance(5)
    quest.send("c", delay_ms=1000)
    [a, b] = quest.receive(2, 500)
    assert _figures(quest)[:5] == (5, 0, 2, 1, 0)
    quest.delete(a, b)
    assert _figures(quest)[:5] == (5, 0, 0, 1, 5)
    quest.advance(60_000)
    assert _figures(quest).oldest is None


def test_age_of_a_dead_letter(quest: Quest) -> None:
    """A dead letter is as old as its message, also behind messages that were sent later."""
    quest.create("dead")
    quest.create(deadLetterTarget="dead", maxReceiveCount=1)
    quest.send("a", "b")
    quest.advance(7)
    quest.send("c", queue="dead")
    quest.receive(2)
    quest.advance(VT)
    if quest.clustered:
        quest.tick(dead_letter_after=0)
        reply = quest.call("quest_outbox", "orders", 10, 0)
        quest.call("quest_arrive", "dead", reply[1], reply[0], reply[3])
    assert quest.bodies() == []
    assert _figures(quest).dead_lettered == 2
    found = _figures(quest, "dead")
    assert (found.oldest, found.dead_lettered) == (0, 0)
    quest.advance(345_600_000 - VT - 7)
    assert _figures(quest, "dead").oldest == 7


def test_noisy_groups(quest: Quest) -> None:
    """As many groups are noisy as a receive would pass over."""
    quest.create()
    for group, number in (("noisy", 50), ("quiet", 9), ("gone", 30)):
        entries = [part for _ in range(number) for part in (b"." * 16, "", "", group, group, "")]
        quest.ask("quest_send", "orders", *entries)
    assert _figures(quest).noisy == 0
    assert len(quest.receive(30, 60_000)) == 30
    assert _figures(quest).noisy == 1


def test_waiting(quest: Quest) -> None:
    """Processes count that wait by the server's own clock."""
    quest.create()
    for process, wait_ms in (("p1", 20_000), ("p2", 20_000), ("p2", 20_000), ("p3", -1)):
        quest.redis.zadd(f"{KEY}:waiting", {process: quest.redis.time()[0] * 1000 + wait_ms})
    assert _figures(quest).waiting == 2


def test_of_a_fifo_queue(fifo: Quest) -> None:
    """A FIFO queue has the same figures."""
    fifo.send_fifo("g", "a", "b")
    fifo.receive_fifo(1)
    assert _figures(fifo, FIFO)[1:5] == (1, 1, 0, 0)


@pytest.mark.parametrize("gone", [10, STEPS - 1, STEPS, 2 * STEPS + 7])
def test_age_behind_many_deleted(default: Quest, gone: int) -> None:
    """The oldest message is found behind any number of deleted ones that the tick has not stepped over."""
    default.create()
    for _ in range(4 * STEPS // 100):
        default.send(*["x"] * 100)
        default.advance(1)
    default.redis.hdel(f"{KEY}:messages", *range(1, gone + 1))
    assert _figures(default).oldest == gone // 100


def test_cost_of_figures(default: Quest) -> None:
    """Figures take few commands, however many messages there are and were."""
    default.create()
    for _ in range(50):
        default.send(*["x"] * 100)
    default.receive(100, 60_000)
    default.redis.config_resetstat()
    _figures(default)
    assert sum(stats["calls"] for stats in default.redis.info("commandstats").values()) < 30
