"""messages.lua: messages are received at most as many as may be, deleted, changed, and given back."""

import time

import pytest

from tests.lua.quest import START_MS, VT, Quest, failing


def test_reply_of_an_empty_receive(quest: Quest) -> None:
    """An empty receive says the server's time, and that there is nothing more to look at."""
    quest.create()
    server_ms, more = quest.poll()
    assert abs(server_ms - time.time() * 1000) < 5000
    assert more == 0


def test_numbers_of_many_receives(default: Quest) -> None:
    """However many receives have asked for different numbers, each gets what it asks for, and senseless ones an error."""
    default.create()
    default.send(*["a"] * 500)
    for most in [*range(1, 30), 1, 29]:
        for visibility_ms in range(10):
            assert len(default.poll(most, 20 + visibility_ms)) == 2 + 4 * most
            default.advance(40)
    with failing("quest_receive: the numbers make no sense"):
        default.poll(0)
    version = default.field("orders", "version") or ""
    with failing("quest_receive: the numbers make no sense"):
        default.call("quest_receive", "orders", version, 1, 20, "soon", 9, "", "", 0, 0, 1)


def test_not_after(quest: Quest) -> None:
    """A receive that reaches the server later than it is wanted does nothing; it says that there is more to look at."""
    quest.create()
    quest.send("a")
    now_ms = quest.poll(1, 0)[0]
    late = quest.ask("quest_receive", "orders", 1, VT, now_ms - 1000, 9, "", "p1", 0, 0, 1)
    assert late[1:] == [1]
    assert quest.counts() == (1, 0, 0)
    assert len(quest.ask("quest_receive", "orders", 1, VT, now_ms + 60_000, 9, "", "", 0, 0, 1)) == 6


def test_too_many_in_flight(default: Quest) -> None:
    """With 120 000 messages in flight a short poll fails and a long poll gets nothing; those timed out do not count."""
    default.create()
    default.send("a", "b")
    now_ms = default.clock()
    for start in range(0, 120_000, 10_000):
        default.redis.zadd("quest:{orders}:inflight", {f"x{n}": now_ms + 1 for n in range(start, start + 10_000)})
    with failing("TooManyInFlight"):
        default.poll()
    assert len(default.poll(process="p1", wait_ms=1000)) == 2
    assert default.redis.zcard("quest:{orders}:waiting") == 1
    default.advance(1)
    assert default.bodies() == ["a", "b"]


def test_delete(quest: Quest) -> None:
    """A deleted message is gone, and deleting it again is as good."""
    a, b = quest.received("a", "b")
    assert quest.delete(a) == ["OK"]
    assert quest.counts() == (0, 1, 0)
    assert quest.delete(a, b, b) == ["OK"] * 3
    assert quest.counts() == (0, 0, 0)
    assert quest.keys() - {"quest:queues"} == {"quest:{orders}"}


def test_delete_after_the_timeout(quest: Quest) -> None:
    """The latest handle deletes its message also when the timeout is over, before and after somebody promoted it."""
    a, b = quest.received("a", "b")
    quest.advance(VT)
    assert quest.delete(a) == ["OK"]
    assert quest.counts() == (1, 0, 0)
    quest.tick()
    assert quest.delete(b) == ["OK"]
    assert quest.counts() == (0, 0, 0)
    assert quest.receive() == []


def test_change_visibility(quest: Quest) -> None:
    """A new timeout counts from now on, longer or shorter."""
    a, b = quest.received("a", "b")
    quest.advance(10)
    assert (quest.change(a, 15), quest.change(b, 5)) == ("OK", "OK")
    quest.advance(5)
    assert quest.bodies(10, 100) == ["b"]
    quest.advance(9)
    assert quest.receive() == []
    quest.advance(1)
    assert quest.bodies() == ["a"]


def test_change_visibility_batch(quest: Quest) -> None:
    """A batch answers for each handle, and a message that it names twice is changed twice and listed once."""
    a, b = quest.received("a", "b")
    reply = quest.ask("quest_change_visibility", "orders", a.handle, 0, b.handle, 50, "no handle", 5, a.handle, 0)
    assert reply == [b"OK", b"OK", b"ReceiptHandleIsInvalid", b"OK"]
    assert quest.counts() == (1, 1, 0)
    assert quest.entries() == 1


@pytest.mark.parametrize("waited_ms", [0, 1000])
def test_twelve_hours_in_all(quest: Quest, waited_ms: int) -> None:
    """A message cannot be hidden beyond twelve hours after its receive; the refused change changes nothing."""
    quest.create()
    quest.send("a")
    [held] = quest.receive(1, 2000)
    quest.advance(waited_ms)
    assert quest.change(held, 43_200_000 - waited_ms + 1) == "TotalVisibilityTimeoutBeyondLimit"
    assert quest.alarm() == 2000
    assert quest.change(held, 43_200_000 - waited_ms) == "OK"
    quest.advance(43_200_000 - waited_ms - 1)
    assert quest.counts() == (0, 1, 0)
    quest.advance(1)
    assert quest.counts() == (1, 0, 0)


def test_twelve_hours_begin_anew(quest: Quest) -> None:
    """The next receive begins new twelve hours."""
    quest.create()
    quest.send("a")
    quest.receive(1, 43_200_000)
    quest.advance(43_200_000)
    [again] = quest.receive()
    assert quest.change(again, 43_200_000) == "OK"


def test_give_back(quest: Quest) -> None:
    """What is given back is at the head again, and nothing shows that it was received."""
    quest.create()
    quest.send("a", "b")
    [held] = quest.receive(1)
    quest.advance(5)
    assert quest.give_back(held) == 1
    assert quest.counts() == (2, 0, 0)
    assert [(message.body, message.count, message.first_ms) for message in quest.receive(1)] == [("a", 1, START_MS + 5)]


def test_give_back_of_a_later_receive(quest: Quest) -> None:
    """Giving back the second receive leaves the first one counted, with its time."""
    quest.received("a")
    quest.advance(VT)
    [second] = quest.receive()
    assert quest.give_back(second) == 1
    [third] = quest.receive()
    assert (third.count, third.first_ms) == (2, START_MS)


def test_give_back_after_the_timeout(quest: Quest) -> None:
    """What has timed out and is visible is given back without a second entry."""
    [held] = quest.received("a")
    quest.advance(VT)
    quest.tick()
    assert quest.give_back(held) == 1
    assert quest.entries() == 1
    assert quest.receive()[0].count == 1


def test_give_back_of_visibility_0(quest: Quest) -> None:
    """A receive with timeout 0 is undone in its count; the message has one entry all along."""
    quest.create()
    quest.send("a")
    [held] = quest.receive(1, 0)
    assert quest.give_back(held) == 1
    assert quest.entries() == 1
    assert quest.receive()[0].count == 1


def test_give_back_too_late(quest: Quest) -> None:
    """What was received again, deleted, or is no handle is not given back."""
    a, b = quest.received("a", "b")
    quest.delete(b)
    quest.advance(VT)
    quest.receive()
    assert quest.give_back(a, b, "no handle") == 0
    assert quest.counts() == (0, 1, 0)


@pytest.mark.parametrize(
    ("limit", "wait_ms", "given", "more"), [(1, 0, 1, 2), (1, 500, 1, 0), (2, 0, 2, 0), (3, 0, 2, 0)]
)
def test_receives_together_in_a_queue_that_becomes_full(
    quest: Quest, limit: int, wait_ms: int, given: int, more: int
) -> None:
    """Of two receives in one call, one that gets nothing because too many are in flight hears that, unless it waits."""
    quest.create()
    quest.send("a", "b")
    reply = quest.ask("quest_receive", "orders", 2, VT, "", limit, "", "p1", wait_ms, 0, 2)
    assert ((len(reply) - 2) // 4, reply[1]) == (given, more)


def test_most_messages(quest: Quest) -> None:
    """A send that would leave more messages than the most it was told stores nothing; without, any number is right."""
    quest.create()
    entry = (b"." * 16, "", "", "x", "", "")
    quest.ask("quest_send", "orders", *entry, *entry, 2)
    for more in (1, 2):
        with failing("QueueFull 2"):
            quest.ask("quest_send", "orders", *entry * more, 2)
    quest.receive(1)
    with failing("QueueFull 2"):
        quest.ask("quest_send", "orders", *entry, 2)
    assert sum(quest.counts()) == 2
    quest.ask("quest_send", "orders", *entry, 3)
    quest.ask("quest_send", "orders", *entry)
    assert sum(quest.counts()) == 4
    assert quest.ask("quest_send", "orders", 1) == [4]
