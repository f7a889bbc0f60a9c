"""standard.lua: messages are stored in the list of visible ones and taken off its head."""

from typing import Any

from tests.lua.quest import START_MS, Quest


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


def test_receive_takes_at_most(quest: Quest) -> None:
    """A receive hands out as many as asked for, and fewer only when there are no more."""
    quest.create()
    quest.send("a", "b", "c")
    assert quest.bodies(2) == ["a", "b"]
    assert quest.bodies(2) == ["c"]


def test_visibility_0_gives_a_message_once_a_call(quest: Quest) -> None:
    """A receive with timeout 0 gives each message once, and leaves it visible and counted."""
    quest.create()
    quest.send("a", "b")
    assert quest.bodies(10, 0) == ["a", "b"]
    assert quest.counts() == (2, 0, 0)
    assert [(message.body, message.count) for message in quest.receive(10, 0)] == [("a", 2), ("b", 2)]
    assert quest.entries() == 2


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
