"""fair.lua: a tenant with much to do does not delay the others of a standard queue."""

import random

import pytest

from tests.bench.fair import dwell_times
from tests.lua.quest import VT, Quest

KEY = "quest:{orders}"
LONG_MS = 60_000


def _send(quest: Quest, group: str, *bodies: str, delay_ms: int | str = "") -> None:
    entries = [part for body in bodies for part in (b"." * 16, delay_ms, "", body, group, "")]
    quest.ask("quest_send", "orders", *entries)


def _held(quest: Quest) -> dict[str, int]:
    return {group.decode(): int(count) for group, count in quest.redis.hgetall(f"{KEY}:held").items()}


def test_in_the_order_of_first_messages(quest: Quest) -> None:
    """While no tenant is noisy, the one with the oldest visible message comes first, and messages without a group too."""
    quest.create()
    _send(quest, "a", "1")
    quest.send("2")
    _send(quest, "b", "3")
    assert [quest.bodies(1) for _ in range(4)] == [["1"], ["2"], ["3"], []]


def test_noisy_in_flight(quest: Quest) -> None:
    """A tenant with thirty messages in flight, more than a tenth of all, waits until the others have nothing (5.8)."""
    quest.create()
    _send(quest, "noisy", *[f"n{number}" for number in range(50)])
    _send(quest, "quiet", "q1", "q2")
    assert len(quest.bodies(10, LONG_MS)) == 10
    assert len(quest.bodies(10, LONG_MS)) == 10
    assert quest.bodies(9, LONG_MS)[0] == "n20"
    assert quest.bodies(1, LONG_MS) == ["n29"]
    assert _held(quest) == {"noisy": 30}
    assert quest.bodies(3, LONG_MS) == ["q1", "q2", "n30"]


def test_several_receives_at_once(quest: Quest) -> None:
    """Of receives done by one call each passes over the tenants that those before it have made noisy."""
    quest.create()
    _send(quest, "noisy", *(f"n{i}" for i in range(40)))
    _send(quest, "quiet", "q1")
    first, second = [f"n{i}" for i in range(30)], ["q1", *(f"n{i}" for i in range(30, 40))]
    assert quest.receive_together(3, 30) == (0, [first, second, []])


def test_several_receives_when_few_may_be_in_flight(quest: Quest) -> None:
    """Those that get nothing because too many are in flight are to be told."""
    quest.create()
    _send(quest, "a", "1", "2", "3")
    assert quest.receive_together(3, 1, limit=2) == (2, [["1"], ["2"], []])


@pytest.mark.parametrize(("held", "first"), [(30, "last"), (31, "later")])
def test_a_tenth_in_flight(quest: Quest, held: int, first: str) -> None:
    """A tenant is noisy by messages in flight from a little more than a tenth of all on."""
    quest.create()
    for number in range(9):
        _send(quest, f"g{number}", *["x"] * 30)
        assert len(quest.receive(30, LONG_MS)) == 30
    _send(quest, "tenth", *["t"] * held, "last")
    assert len(quest.receive(held, LONG_MS)) == held
    quest.send("later")
    assert quest.bodies(1, LONG_MS) == [first]


@pytest.mark.parametrize(("spent_ms", "first"), [(10, "n2"), (11, "q2")])
def test_a_tenth_of_the_time(quest: Quest, spent_ms: int, first: str) -> None:
    """A tenant is noisy by time from a little more than a tenth of it on."""
    quest.create()
    _send(quest, "noisy", "n1")
    _send(quest, "quiet", "q1")
    for ms in (spent_ms, 100 - spent_ms):
        (message,) = quest.receive(1, LONG_MS)
        quest.advance(ms)
        quest.delete(message)
    _send(quest, "noisy", "n2")
    _send(quest, "other", "q2")
    assert quest.bodies(1, LONG_MS) == [first]


def test_noisy_by_time(quest: Quest) -> None:
    """A tenant that took more than a tenth of the processing time of the last minutes waits for the others."""
    quest.create()
    _send(quest, "noisy", "n1", "n2", "n3")
    (first,) = quest.receive(1, LONG_MS)
    quest.advance(100)
    quest.delete(first)
    _send(quest, "quiet", "q1")
    assert quest.bodies(1, LONG_MS) == ["q1"]
    quest.advance(LONG_MS)
    quest.tick()
    quest.advance(LONG_MS)
    quest.tick()
    _send(quest, "quiet", "q2")
    assert quest.bodies(1, LONG_MS) == ["n2"]


def test_fewest_in_flight_of_the_noisy(quest: Quest) -> None:
    """When all that wait are noisy, the one with the fewest messages in flight comes first."""
    quest.create()
    for group, number in (("a", 40), ("b", 32)):
        _send(quest, group, *[group] * number)
        assert len(quest.receive(number, LONG_MS)) == number
    _send(quest, "a", "a")
    _send(quest, "b", "b")
    assert quest.bodies(1, LONG_MS) == ["b"]


def test_delayed(quest: Quest) -> None:
    """A delayed message comes among its group's when its delay is over."""
    quest.create()
    _send(quest, "a", "later", delay_ms=10)
    assert quest.counts() == (0, 0, 1)
    quest.advance(10)
    assert quest.redis.exists(f"{KEY}:groups") == 0
    assert quest.bodies(1, LONG_MS) == ["later"]
    assert _held(quest) == {"a": 1}


def test_a_delivery_that_times_out(quest: Quest) -> None:
    """A message comes back to its group, and every way out of flight is counted."""
    quest.create()
    _send(quest, "a", "1", "2", "3", "4")
    one, two, three, _ = quest.receive(4, VT)
    assert _held(quest) == {"a": 4}
    quest.delete(one)
    quest.change(two, 0)
    quest.give_back(three)
    assert _held(quest) == {"a": 1}
    assert quest.bodies(2, 1000) == ["3", "2"]
    quest.advance(VT)
    assert quest.bodies(5, 1000) == ["4"]
    assert _held(quest) == {"a": 3}
    quest.change(two, 2000)
    assert _held(quest) == {"a": 3}
    quest.purge()
    quest.tick()
    assert quest.keys() - {"quest:queues"} == {KEY}


def test_timeout_0(quest: Quest) -> None:
    """A receive with timeout 0 leaves its messages visible in their groups."""
    quest.create()
    _send(quest, "a", "1")
    quest.send("2")
    assert quest.bodies(5, 0) == ["1", "2"]
    assert sorted(quest.bodies(5)) == ["1", "2"]


def test_dead_letters_keep_their_group(one_redis: Quest) -> None:
    """An exhausted message is among those of its group in the dead-letter queue."""
    one_redis.create("dead")
    one_redis.create(deadLetterTarget="dead", maxReceiveCount=1)
    entries = (b"." * 16, "", b"\x81\xaeMessageGroupId\xa1a", "1", "a", "")
    one_redis.ask("quest_send", "orders", *entries)
    one_redis.receive(1, VT)
    one_redis.advance(VT)
    assert one_redis.receive() == []
    assert one_redis.redis.zrange("quest:{dead}:groups", 0, -1) == [b"a"]
    assert one_redis.bodies(queue="dead") == ["1"]


def test_one_receive_passes_over_every_exhausted_message(one_redis: Quest) -> None:
    """A receive looks at the messages of every group, and those without one, before it says that there is nothing."""
    one_redis.create("dead")
    one_redis.create(deadLetterTarget="dead", maxReceiveCount=1)
    _send(one_redis, "a", "1", "2")
    _send(one_redis, "b", "3")
    one_redis.send("4")
    one_redis.receive(10, VT)
    one_redis.advance(VT)
    assert one_redis.bodies(1) == []
    assert one_redis.counts("dead") == (4, 0, 0)


def test_expired_messages_leave_no_list(quest: Quest) -> None:
    """Groups of which all messages have expired are forgotten by the background task."""
    quest.create(MessageRetentionPeriod=60)
    for number in range(5):
        _send(quest, f"g{number}", "x")
    quest.advance(60_000)
    quest.tick()
    assert quest.keys() - {"quest:queues"} == {KEY}


@pytest.mark.parametrize("seed", [1, 2])
def test_walk(one_redis: Quest, seed: int) -> None:
    """Whatever happens to the messages of many tenants, none is lost, and what is held is what is in flight."""
    chance = random.Random(seed)
    one_redis.create()
    sent, handles, living = 0, [], set()
    for _ in range(2000):
        kind = chance.choice(("send", "receive", "receive", "delete", "change", "advance", "tick", "give_back"))
        if kind == "send":
            sent += 1
            living.add(f"m{sent}")
            _send(one_redis, chance.choice(("", "a", "b", "c")), f"m{sent}", delay_ms=chance.choice(("", 10)))
        elif kind == "receive":
            handles += one_redis.receive(chance.randint(1, 4), chance.choice((0, 5, 20)))
        elif kind == "advance":
            one_redis.advance(chance.choice((1, 5, 20)))
        elif kind == "tick":
            one_redis.tick()
        elif handles:
            message = chance.choice(handles[-30:])
            before = sum(one_redis.counts())
            if kind == "change":
                one_redis.change(message, chance.choice((0, 10)))
            else:
                getattr(one_redis, kind)(message)
            if sum(one_redis.counts()) < before:
                living.remove(message.body)
        assert sum(one_redis.counts()) == len(living)
    one_redis.advance(1000)
    one_redis.tick()
    assert _held(one_redis) == {}
    got = []
    while messages := one_redis.receive(10, LONG_MS):
        got += [message.body for message in messages]
    assert sorted(got) == sorted(living)


def test_quiet_tenants_hardly_wait(default: Quest) -> None:
    """Beside a backlog that takes all consumers minutes, messages of quiet tenants are received as if it were not there."""
    waits, waiting = dwell_times(default, 5000, grouped=True, seconds=10)
    assert waiting <= 10
    assert waits[int(len(waits) * 0.95)] <= 100
    default.reset()
    waits, waiting = dwell_times(default, 5000, grouped=False, seconds=10)
    assert waits == []
