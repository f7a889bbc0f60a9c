"""background.lua: what a tick does and what it replies, when a queue wants the next, and who does the task."""

import time
from typing import Any

import pytest

from questd import source
from tests.lua.quest import START_MS, VT, Quest, failing

NOTHING_DUE = [-1, 0]
DAY_MS = 86_400_000


def _record(sent_ms: int) -> bytes:
    return sent_ms.to_bytes(6) + b"." * 16 + b"\0\0\0\0body"


def _first_due(quest: Quest) -> int:
    """Return ms after START_MS of the earliest time in the keys that hold times, retention left out."""
    times = [
        score
        for key in ("inflight", "delayed")
        for _, score in quest.redis.zrange(f"quest:{{orders}}:{key}", 0, 0, withscores=True)
    ]
    return int(min(times)) - START_MS


def test_tick_of_an_idle_queue(quest: Quest) -> None:
    """A queue without messages wants no tick and has no alarm."""
    quest.create()
    assert quest.tick() == NOTHING_DUE
    assert quest.alarm() is None


def test_tick_promotes(quest: Quest) -> None:
    """A tick makes visible what has timed out or is no longer delayed, and says when the next one is due."""
    quest.create()
    quest.send("a", "b")
    quest.send("c", delay_ms=30)
    quest.receive(1, 20)
    quest.receive(1, 50)
    assert quest.tick() == [20, 0]
    quest.advance(20)
    assert quest.tick() == [10, 0]
    assert quest.entries() == 1
    quest.advance(10)
    assert quest.tick() == [20, 0]
    assert quest.entries() == 2
    quest.advance(20)
    assert quest.tick() == [4 * DAY_MS - 50, 0]
    assert quest.entries() == 3
    assert quest.counts() == (3, 0, 0)


def test_ticks_are_idempotent(quest: Quest) -> None:
    """A second tick at the same time does nothing more."""
    quest.received("a")
    quest.advance(VT)
    assert quest.tick() == quest.tick()
    assert quest.entries() == 1


def test_tick_does_not_show_what_was_hidden_again(quest: Quest) -> None:
    """A tick leaves a message alone whose visibility timeout was changed meanwhile."""
    [held] = quest.received("a")
    quest.change(held, 500)
    quest.advance(VT)
    assert quest.tick() == [500 - VT, 0]
    assert quest.entries() == 0


def test_tick_is_limited(quest: Quest) -> None:
    """A tick makes at most 250 timed-out and 250 delayed messages visible, and wants the next at once while any is left."""
    quest.create()
    for _ in range(3):
        quest.send(*["a"] * 100)
        quest.send(*["b"] * 100, delay_ms=VT)
    quest.receive(300)
    quest.advance(VT)
    assert quest.tick() == [0, 0]
    assert quest.entries() == 500
    assert quest.tick()[0] > 0
    assert quest.entries() == 600
    assert quest.counts() == (600, 0, 0)


def test_alarm_is_never_later_than_the_truth(quest: Quest) -> None:
    """After any call the alarm is at or before the earliest time at which a message becomes visible."""
    quest.create()
    quest.send("a", "b", "c", "d")
    quest.send("e", delay_ms=70)
    quest.receive(1, 50)
    quest.receive(1, 90)
    [held] = quest.receive(1, 80)
    for step in (
        lambda: None,
        lambda: quest.change(held, 10),
        quest.tick,
        lambda: quest.change(held, 300),
        lambda: quest.send("f", delay_ms=5),
        quest.tick,
        lambda: quest.receive(1, 3),
        lambda: quest.change(held, 0),
        quest.tick,
    ):
        step()
        assert (quest.alarm() or 0) <= _first_due(quest)


def test_alarm_reply(quest: Quest) -> None:
    """quest_alarm says in how many ms a queue wants its tick: 0 when it is overdue, -1 when it wants none."""
    quest.create()
    assert quest.read("quest_alarm", "orders") == -1
    assert quest.read("quest_alarm", "nothing") == -1
    quest.send("a", delay_ms=30)
    assert quest.read("quest_alarm", "orders") == 30
    quest.advance(31)
    assert quest.read("quest_alarm", "orders") == 0


def test_retention(quest: Quest) -> None:
    """A tick forgets what is past its retention period, the ones in flight and delayed too, and leaves no key of them."""
    quest.create(MessageRetentionPeriod=60)
    quest.send("a", "b")
    quest.send("c", delay_ms=900_000)
    quest.receive(1, 900_000)
    quest.advance(59_999)
    assert quest.tick() == [1, 0]
    assert quest.counts() == (1, 1, 1)
    quest.advance(1)
    assert quest.tick() == NOTHING_DUE
    assert quest.counts() == (0, 0, 0)
    assert quest.keys() - {"quest:queues"} == {"quest:{orders}"}


def test_expired_in_flight_message_can_be_deleted(quest: Quest) -> None:
    """Deleting a message that retention has removed is as good as any other delete, hiding it is not."""
    quest.create(MessageRetentionPeriod=60)
    quest.send("a")
    [held] = quest.receive(1, 900_000)
    quest.advance(60_000)
    quest.tick()
    assert quest.change(held, 10) == "MessageNotAvailable"
    assert quest.delete(held) == ["OK"]
    assert quest.counts() == (0, 0, 0)


def test_retention_removes_the_oldest_only(quest: Quest) -> None:
    """Messages go one after the other as their time comes; the next tick is due for the next of them."""
    quest.create(MessageRetentionPeriod=60)
    for body in ("a", "b", "c"):
        quest.send(body)
        quest.advance(10)
    quest.advance(59_970)
    assert quest.tick() == [10, 0]
    assert quest.field("orders", "oldest") == "2"
    assert quest.counts() == (2, 0, 0)
    quest.advance(10)
    assert quest.tick() == [10, 0]
    assert quest.bodies() == ["c"]


def test_shorter_retention_applies_to_what_is_there(quest: Quest) -> None:
    """A shorter retention period removes messages sent before the change, a longer one keeps them."""
    quest.create()
    quest.send("a")
    quest.advance(60_000)
    quest.ask("quest_set_attributes", "orders", "MessageRetentionPeriod", 61)
    assert quest.tick() == [1000, 0]
    quest.ask("quest_set_attributes", "orders", "MessageRetentionPeriod", 60)
    assert quest.tick() == NOTHING_DUE
    assert quest.counts() == (0, 0, 0)


def test_retention_of_dead_letters(quest: Quest) -> None:
    """A message that came from another queue is kept until its retention period since its first sending is over."""
    quest.create(MessageRetentionPeriod=60)
    quest.send("younger")
    quest.call("quest_arrive", "orders", "abc123", 1, _record(START_MS - 50_000), 2, _record(START_MS - 40_000))
    quest.tick()
    assert quest.alarm() == 10_000
    quest.advance(10_000)
    assert quest.tick() == [10_000, 0]
    assert quest.counts() == (2, 0, 0)
    quest.receive(10, 900_000)
    quest.advance(10_000)
    assert quest.tick() == [40_000, 0]
    assert quest.counts() == (0, 1, 0)
    quest.advance(40_000)
    assert quest.tick() == NOTHING_DUE
    assert quest.keys() - {"quest:queues"} == {"quest:{orders}", "quest:{orders}:inbox"}


def test_dead_letter_that_arrives_too_old(quest: Quest) -> None:
    """A dead letter older than its new queue's retention period is never given and goes with the next tick."""
    quest.create(MessageRetentionPeriod=60)
    quest.call("quest_arrive", "orders", "abc123", 1, _record(START_MS - 60_000))
    assert quest.alarm() == 0
    assert quest.receive() == []
    assert quest.tick() == NOTHING_DUE
    assert quest.counts() == (0, 0, 0)


def test_oldest_steps_over_the_deleted(quest: Quest) -> None:
    """The tick steps over deleted messages, so many a call, and comes again soon until it stands at a living one."""
    quest.create()
    for _ in range(12):
        quest.send(*["a"] * 100)
        quest.delete(*quest.receive(100))
    quest.send("alive")
    quest.redis.hset("quest:{orders}:messages", mapping={f"x{n}": "" for n in range(1001)})  # not sparse
    steps: list[Any] = []
    while not steps or quest.field("orders", "oldest") != "1201":
        steps.append(quest.tick()[0])
        assert len(steps) < 10
    assert steps == [50, 50, 50, 50, 4 * DAY_MS]


def test_oldest_jumps_when_few_are_left(quest: Quest) -> None:
    """With few messages behind many deleted ones the tick finds the first living one at once."""
    quest.create()
    quest.send("a")
    quest.redis.hset("quest:{orders}", "sequence", 1_000_000)
    quest.send("b")
    quest.delete(quest.receive(1)[0])
    assert quest.tick() == [4 * DAY_MS, 0]
    assert quest.field("orders", "oldest") == "1000001"


def test_oldest_of_an_empty_queue(quest: Quest) -> None:
    """In an empty queue the tick steps to the next message to be sent at once."""
    quest.create()
    quest.send(*["a"] * 100)
    quest.delete(*quest.receive(100))
    assert quest.tick() == NOTHING_DUE
    assert quest.field("orders", "oldest") == "101"


def test_purge_empties_the_tick(quest: Quest) -> None:
    """After a purge a tick finds nothing and drops the alarm."""
    quest.create()
    quest.send("a", "b")
    quest.send("c", delay_ms=30)
    quest.receive(1)
    quest.purge()
    assert quest.tick() == NOTHING_DUE
    quest.advance(100)
    assert quest.tick() == NOTHING_DUE
    assert quest.counts() == (0, 0, 0)


def test_tick_drops_dead_entries(quest: Quest) -> None:
    """Entries of messages that retention removed do not stay in the list of visible ones."""
    quest.create(MessageRetentionPeriod=60)
    quest.send("a", "b")
    quest.advance(1000)
    quest.send("c")
    quest.advance(59_000)
    quest.tick()
    assert quest.entries() == 1


LEASE = "quest:lease"


def _lease(quest: Quest, process: str, ms: int) -> int:
    return int(quest.redis.fcall("quest_lease", 1, LEASE, process, ms))


def _holder(quest: Quest) -> bytes:
    return bytes(quest.redis.fcall_ro("quest_holder", 1, LEASE))


def test_lease_is_one_process_s(quest: Quest) -> None:
    """The first to ask has the lease, and keeps it by asking again; others are refused as long as it runs."""
    assert _holder(quest) == b""
    assert _lease(quest, "p1", 10_000) == 1
    assert _lease(quest, "p2", 10_000) == 0
    assert _lease(quest, "p1", 10_000) == 1
    assert _holder(quest) == b"p1"


def test_lease_is_given_up(quest: Quest) -> None:
    """The holder can give the lease up, nobody else can."""
    _lease(quest, "p1", 10_000)
    assert _lease(quest, "p2", 0) == 0
    assert _holder(quest) == b"p1"
    assert _lease(quest, "p1", 0) == 0
    assert _holder(quest) == b""
    assert _lease(quest, "p2", 10_000) == 1


def test_lease_is_taken_over(quest: Quest) -> None:
    """A lease that was not renewed in time is nobody's, and another process takes it; the old holder is refused then."""
    _lease(quest, "p1", 1)
    deadline = time.monotonic() + 5
    while _holder(quest):
        assert time.monotonic() < deadline
    assert _lease(quest, "p2", 10_000) == 1
    assert _lease(quest, "p1", 10_000) == 0
    assert _holder(quest) == b"p2"


def test_lease_runs_on_the_servers_clock(quest: Quest) -> None:
    """Moving the clock of the rules does not end a lease, and its key goes by itself some time after it ran out."""
    _lease(quest, "p1", 10_000)
    quest.advance(DAY_MS)
    assert _holder(quest) == b"p1"
    assert 10_000 < quest.redis.pttl(LEASE) <= 60_000


def test_version(quest: Quest) -> None:
    """The library says its version and that of the layout of its keys."""
    assert quest.redis.fcall("quest_version", 0) == [source.version(), 2]


@pytest.mark.parametrize("dead_letter_after", ["never", 0, 2000])
def test_tick_without_a_queue(quest: Quest, dead_letter_after: int | str) -> None:
    """A tick of a queue that is gone says so."""
    with failing("QueueDoesNotExist"):
        quest.tick(dead_letter_after=dead_letter_after)
