"""messages.lua: messages are sent, received, deleted, hidden and shown again, and given back."""

import time
from typing import Any

import pytest

from tests.lua.quest import START_MS, VT, Quest, failing


def test_send(quest: Quest) -> None:
    """Messages sent are visible at once, in the order sent, with what was stored of them."""
    quest.create()
    assert quest.send("a") == 1
    quest.advance(5)
    assert quest.send("b", "c", head=b"\x81\xa1k\xa1v") == 3
    a, b, _ = messages = quest.receive()
    assert [message.body for message in messages] == ["a", "b", "c"]
    assert (a.sent_ms, a.id, a.head) == (START_MS, b"a" + b"." * 15, {})
    assert (b.sent_ms, b.head) == (START_MS + 5, {"k": "v"})


def test_send_nothing(quest: Quest) -> None:
    """A send without messages only checks the version."""
    quest.create()
    quest.send("a")
    assert quest.send() == 1
    assert quest.counts() == (1, 0, 0)


def test_delay(quest: Quest) -> None:
    """A delayed message is visible when its delay is over, not a ms earlier."""
    quest.create(DelaySeconds=1)
    quest.send("own", delay_ms=30)
    quest.send("the queue's")
    quest.advance(29)
    assert quest.bodies() == []
    quest.advance(1)
    assert quest.bodies() == ["own"]
    quest.advance(969)
    assert quest.bodies(10, 5000) == ["own"]
    quest.advance(1)
    assert quest.bodies(10, 5000) == ["the queue's"]


def test_batch_of_several_delays(quest: Quest) -> None:
    """Each message of a batch has its own delay."""
    quest.create()
    entries = [part for delay in (0, 20, 10) for part in (b"." * 16, delay, "", str(delay), "", "")]
    quest.ask("quest_send", "orders", *entries)
    assert quest.counts() == (1, 0, 2)
    assert quest.alarm() == 10
    quest.advance(10)
    assert quest.counts() == (2, 0, 1)
    assert quest.bodies() == ["0", "10"]


def test_receive_hides(quest: Quest) -> None:
    """A received message is hidden until its timeout is over, then it comes again with a count and its first time."""
    quest.create()
    quest.send("a")
    quest.advance(7)
    [first] = quest.receive()
    assert (first.count, first.first_ms) == (1, START_MS + 7)
    quest.advance(VT - 1)
    assert quest.receive() == []
    quest.advance(1)
    [second] = quest.receive()
    assert (second.count, second.first_ms) == (2, START_MS + 7)
    assert (second.record, second.handle == first.handle) == (first.record, False)


def test_receive_takes_at_most(quest: Quest) -> None:
    """A receive hands out as many as asked for, and fewer only when there are no more."""
    quest.create()
    quest.send("a", "b", "c")
    assert quest.bodies(2) == ["a", "b"]
    assert quest.bodies(2) == ["c"]


def test_reply_of_an_empty_receive(quest: Quest) -> None:
    """An empty receive says the server's time, and that there is nothing more to look at."""
    quest.create()
    server_ms, more = quest.poll()
    assert abs(server_ms - time.time() * 1000) < 5000
    assert more == 0


def test_visibility_0_gives_a_message_once_a_call(quest: Quest) -> None:
    """A receive with timeout 0 gives each message once, and leaves it visible and counted."""
    quest.create()
    quest.send("a", "b")
    assert quest.bodies(10, 0) == ["a", "b"]
    assert quest.counts() == (2, 0, 0)
    assert [(message.body, message.count) for message in quest.receive(10, 0)] == [("a", 2), ("b", 2)]
    assert quest.entries() == 2


def test_hide_and_show_leaves_one_entry(quest: Quest) -> None:
    """A message that is hidden and shown a thousand times has one entry in the list of visible ones."""
    quest.create()
    quest.send("a")
    [held] = quest.receive()
    for _ in range(1000):
        quest.change(held, 5)
        quest.change(held, 0)
    assert quest.entries() == 1
    assert quest.counts() == (1, 0, 0)
    assert len(quest.receive(10)) == 1


def test_hidden_again_while_listed(quest: Quest) -> None:
    """An entry of a message that was hidden again is dropped, and the message comes back once when it is shown."""
    quest.create()
    quest.send("a", "b")
    [held] = quest.receive(1, 5)
    quest.advance(5)
    assert quest.bodies(1, 100) == ["b"]
    quest.change(held, 5)
    assert quest.bodies() == []
    assert quest.entries() == 0
    quest.advance(5)
    assert quest.bodies() == ["a"]


def test_not_after(quest: Quest) -> None:
    """A receive that reaches the server later than it is wanted does nothing; it says that there is more to look at."""
    quest.create()
    quest.send("a")
    now_ms = quest.poll(1, 0)[0]
    late = quest.ask("quest_receive", "orders", 1, VT, now_ms - 1000, 9, "", "p1", 0, 0)
    assert late[1:] == [1]
    assert quest.counts() == (1, 0, 0)
    assert len(quest.ask("quest_receive", "orders", 1, VT, now_ms + 60_000, 9, "", "", 0, 0)) == 6


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
    quest.create()
    quest.send("a", "b")
    a, b = quest.receive()
    assert quest.delete(a) == ["OK"]
    assert quest.counts() == (0, 1, 0)
    assert quest.delete(a, b, b) == ["OK"] * 3
    assert quest.counts() == (0, 0, 0)
    assert quest.keys() - {"quest:queues"} == {"quest:{orders}"}


def test_delete_after_the_timeout(quest: Quest) -> None:
    """The latest handle deletes its message also when the timeout is over, before and after somebody promoted it."""
    quest.create()
    quest.send("a", "b")
    a, b = quest.receive()
    quest.advance(VT)
    assert quest.delete(a) == ["OK"]
    assert quest.counts() == (1, 0, 0)
    quest.tick()
    assert quest.delete(b) == ["OK"]
    assert quest.counts() == (0, 0, 0)
    assert quest.receive() == []


def test_change_visibility(quest: Quest) -> None:
    """A new timeout counts from now on, longer or shorter."""
    quest.create()
    quest.send("a", "b")
    a, b = quest.receive()
    quest.advance(10)
    assert (quest.change(a, 15), quest.change(b, 5)) == ("OK", "OK")
    quest.advance(5)
    assert quest.bodies(10, 100) == ["b"]
    quest.advance(9)
    assert quest.receive() == []
    quest.advance(1)
    assert quest.bodies() == ["a"]


def test_change_visibility_to_0(quest: Quest) -> None:
    """Timeout 0 shows a message at once."""
    quest.create()
    quest.send("a")
    [held] = quest.receive()
    assert quest.change(held, 0) == "OK"
    assert quest.counts() == (1, 0, 0)
    assert quest.receive(1)[0].count == 2


def test_change_visibility_of_what_timed_out(quest: Quest) -> None:
    """A message that timed out and was not received again is hidden for the new time (contract 2.13)."""
    quest.create()
    quest.send("a", "b")
    a, b = quest.receive()
    quest.advance(VT)
    quest.change(a, VT)
    quest.tick()
    quest.change(b, VT)
    assert quest.counts() == (0, 2, 0)
    assert quest.receive() == []
    quest.advance(VT)
    assert sorted(quest.bodies()) == ["a", "b"]


def test_change_visibility_batch(quest: Quest) -> None:
    """A batch answers for each handle, and a message that it names twice is changed twice and listed once."""
    quest.create()
    quest.send("a", "b")
    a, b = quest.receive()
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
    quest.create()
    quest.send("a")
    quest.receive()
    quest.advance(VT)
    [second] = quest.receive()
    assert quest.give_back(second) == 1
    [third] = quest.receive()
    assert (third.count, third.first_ms) == (2, START_MS)


def test_give_back_after_the_timeout(quest: Quest) -> None:
    """What has timed out and is visible is given back without a second entry."""
    quest.create()
    quest.send("a")
    [held] = quest.receive()
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
    quest.create()
    quest.send("a", "b")
    a, b = quest.receive()
    quest.delete(b)
    quest.advance(VT)
    quest.receive()
    assert quest.give_back(a, b, "no handle") == 0
    assert quest.counts() == (0, 1, 0)


def test_expired_message_is_not_received(quest: Quest) -> None:
    """A receive skips what is past its retention period, also before the background task removed it, and removes it."""
    quest.create(MessageRetentionPeriod=60)
    quest.send("old")
    quest.advance(59_999)
    quest.send("new")
    quest.advance(1)
    assert quest.bodies() == ["new"]
    assert quest.counts() == (0, 1, 0)


def test_more(quest: Quest) -> None:
    """A receive that stops at its work limit among dead entries says so, and asking again reaches the living message."""
    quest.create()
    dead = [f"d{number}" for number in range(1250)]
    quest.redis.rpush("quest:{orders}:visible", *dead)
    quest.send("alive")
    replies: list[Any] = []
    while not replies or (len(replies[-1]) == 2 and replies[-1][1] == 1):
        replies.append(quest.poll())
    assert 2 <= len(replies) <= 4
    assert len(replies[-1]) == 6
    assert quest.entries() == 0


def test_more_does_not_wait(quest: Quest) -> None:
    """A receive that is to ask again is not registered as waiting."""
    quest.create()
    quest.send("living")
    quest.receive(1, 60_000)
    quest.redis.rpush("quest:{orders}:visible", *[f"d{number}" for number in range(1250)])
    assert quest.poll(process="p1", wait_ms=1000)[1] == 1
    assert quest.redis.exists("quest:{orders}:waiting") == 0
