"""longpoll.lua: who waits on a queue, and who is woken by what."""

from collections.abc import Callable

import pytest

from tests.lua.quest import VT, Message, Quest, key_of

LONG_MS = 20_000
WOKEN = ("quest:wake:p1", "quest:{orders}")


def _wait(quest: Quest, process: str = "p1") -> None:
    assert len(quest.poll(process=process, wait_ms=LONG_MS)) == 2


def _waiting(quest: Quest) -> list[str]:
    return [process.decode() for process in quest.redis.zrange("quest:{orders}:waiting", 0, -1)]


def _delay_ends(quest: Quest) -> None:
    quest.advance(1000)
    quest.tick()


def _timeout(quest: Quest) -> None:
    quest.advance(VT)
    quest.tick()


def _arrive(quest: Quest) -> None:
    quest.call("quest_arrive", "orders", "abc123", 1, b"\0" * 26 + b"body")


WAKES: dict[str, tuple[Callable[[Quest], object], Callable[[Quest], object]]] = {
    "send": (lambda _: None, lambda quest: quest.send("a")),
    "delay end": (lambda quest: quest.send("a", delay_ms=1000), _delay_ends),
    "timeout": (lambda quest: (quest.send("a"), quest.receive()), _timeout),
    "arrival": (lambda _: None, _arrive),
    "attribute change": (lambda _: None, lambda quest: quest.ask("quest_set_attributes", "orders", "Policy", "{}")),
    "delete queue": (lambda _: None, lambda quest: quest.call("quest_delete_queue", "orders")),
    "quest send": (lambda _: None, lambda quest: quest.redis.fcall("sendMessage", 1, "orders", "a")),
}
"""What wakes a process: what happens before it waits, and what then wakes it."""


@pytest.mark.parametrize("what", WAKES)
def test_wakes(quest: Quest, what: str) -> None:
    """Whatever makes a message visible, or changes the queue, wakes a process that waits, once."""
    before, wakes = WAKES[what]
    quest.create()
    before(quest)
    with quest.listening("quest:wake:p1") as ear:
        _wait(quest)
        assert ear.heard() == []
        wakes(quest)
        assert ear.heard() == [WOKEN]
    assert _waiting(quest) == []


@pytest.mark.parametrize("give_up", [lambda quest, held: quest.change(held, 0), Quest.give_back])
def test_giving_up_a_message_wakes(quest: Quest, give_up: Callable[[Quest, Message], object]) -> None:
    """A message whose visibility is changed to 0, or that is given back, wakes a process that waits."""
    [held] = quest.received("a")
    with quest.listening("quest:wake:p1") as ear:
        _wait(quest)
        give_up(quest, held)
        assert ear.heard() == [WOKEN]


def test_receive_promotes_and_wakes(quest: Quest) -> None:
    """A receive that finds messages timed out wakes a process for those it leaves behind."""
    quest.create()
    quest.send("a", "b")
    quest.receive(2)
    with quest.listening("quest:wake:p1") as ear:
        _wait(quest)
        quest.advance(VT)
        assert len(quest.receive(1)) == 1
        assert ear.heard() == [WOKEN]


def test_falling_under_the_in_flight_limit_wakes(default: Quest) -> None:
    """A process that waits because too many messages are in flight is woken when one of them is deleted."""
    default.create()
    default.send("a", "b")
    [held] = default.receive(1, 60_000)
    future = default.clock() + 60_000
    for start in range(0, 119_999, 10_000):
        members = {f"x{number}": future for number in range(start, min(start + 10_000, 119_999))}
        default.redis.zadd("quest:{orders}:inflight", members)
    default.advance(1000)  # so that they are counted
    with default.listening("quest:wake:p1") as ear:
        _wait(default)
        assert ear.heard() == []
        default.delete(held)
        assert ear.heard() == [WOKEN]
    assert default.bodies() == ["b"]


def test_short_poll_does_not_register(quest: Quest) -> None:
    """A receive that will not wait is not remembered."""
    quest.create()
    quest.poll(process="p1", wait_ms=0)
    assert _waiting(quest) == []


def test_receive_that_got_something_does_not_register(quest: Quest) -> None:
    """A long poll that was given messages waits no more."""
    quest.create()
    quest.send("a")
    assert len(quest.poll(process="p1", wait_ms=LONG_MS)) > 2
    assert _waiting(quest) == []


def test_others_of_the_process_still_wait(quest: Quest) -> None:
    """A process whose receive was given messages stays registered for its other receives, until the last of them ends."""
    quest.create()
    quest.send("a", "b")
    with quest.listening("quest:wake:p1") as ear:
        quest.ask("quest_receive", "orders", 1, VT, "", 9, "", "p1", 1000, LONG_MS, 1)
        assert ear.heard() == [WOKEN]  # for b
        quest.ask("quest_receive", "orders", 1, VT, "", 9, "", "p1", 1000, LONG_MS, 1)
        assert _waiting(quest) == ["p1"]
        quest.send("c")
        assert ear.heard() == [WOKEN]


@pytest.mark.parametrize(("sent", "registered"), [(1, ["p1"]), (2, [])])
def test_receives_done_together(quest: Quest, sent: int, registered: list[str]) -> None:
    """Of two receives in one call, one that goes away empty still waits: its process is registered."""
    quest.create()
    quest.send(*"ab"[:sent])
    reply = quest.ask("quest_receive", "orders", 20, VT, "", 9, "", "p1", LONG_MS, 0, 2)
    assert (len(reply) - 2) / 4 == sent
    assert _waiting(quest) == registered


def test_one_wake_for_one_process(quest: Quest) -> None:
    """A send wakes one process only: the one whose wait ends first."""
    quest.create()
    with quest.listening("quest:wake:p1", "quest:wake:p2") as ear:
        quest.poll(process="p2", wait_ms=LONG_MS)
        quest.poll(process="p1", wait_ms=LONG_MS - 5000)
        quest.send("a", "b")
        assert ear.heard() == [WOKEN]
        assert _waiting(quest) == ["p2"]


def test_chain(quest: Quest) -> None:
    """A woken process that leaves messages behind wakes the next by its receive; one that leaves none does not."""
    quest.create()
    with quest.listening("quest:wake:p1", "quest:wake:p2", "quest:wake:p3") as ear:
        for process in ("p1", "p2", "p3"):
            _wait(quest, process)
        quest.send("a", "b")
        first = {"quest:wake:p1", "quest:wake:p2", "quest:wake:p3"} - {f"quest:wake:{p}" for p in _waiting(quest)}
        assert [channel for channel, _ in ear.heard()] == [*first]
        quest.receive(1)
        assert len(ear.heard()) == 1
        quest.receive(1)
        assert ear.heard() == []
    assert len(_waiting(quest)) == 1


def test_dead_listener_is_dropped(quest: Quest) -> None:
    """A process that no longer listens is forgotten, and the wake goes to the next."""
    quest.create()
    quest.poll(process="gone", wait_ms=LONG_MS - 5000)
    with quest.listening("quest:wake:p1") as ear:
        _wait(quest)
        quest.send("a")
        assert ear.heard() == [WOKEN]
    assert _waiting(quest) == []


def test_wait_that_is_over_is_dropped(quest: Quest) -> None:
    """A process whose time is up is not woken, the next is."""
    quest.create()
    quest.redis.zadd(f"{key_of('orders')}:waiting", {"p2": 1})
    with quest.listening("quest:wake:p1", "quest:wake:p2") as ear:
        _wait(quest)
        quest.send("a")
        assert ear.heard() == [WOKEN]


def test_nobody_waits_nothing_is_published(quest: Quest) -> None:
    """Without a waiter a send publishes no wake."""
    quest.create()
    with quest.listening("quest:wake:p1") as ear:
        quest.send("a")
        assert ear.heard() == []


def test_all_are_woken_by_a_change(quest: Quest) -> None:
    """A change of the queue wakes every process: what they know of it is out of date."""
    quest.create()
    with quest.listening("quest:wake:p1", "quest:wake:p2") as ear:
        _wait(quest, "p1")
        _wait(quest, "p2")
        quest.ask("quest_set_attributes", "orders", "VisibilityTimeout", 3)
        assert sorted(channel for channel, _ in ear.heard()) == ["quest:wake:p1", "quest:wake:p2"]


def test_pass(quest: Quest) -> None:
    """A process that has nobody waiting any more passes its wake on, as long as there is something to receive."""
    quest.create()
    with quest.listening("quest:wake:p1", "quest:wake:p2") as ear:
        quest.poll(process="p2", wait_ms=LONG_MS - 5000)
        _wait(quest)
        assert quest.call("quest_pass", "orders") == 1
        assert ear.heard() == []
        quest.send("a")
        quest.call("quest_pass", "orders")
        assert [channel for channel, _ in ear.heard()] == ["quest:wake:p2", "quest:wake:p1"]
