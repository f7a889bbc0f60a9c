"""The library in a Redis whose memory is full: nothing more comes in, and consumers go on and empty it."""

from collections.abc import Iterator

import pytest
import redis

from tests.lua.quest import VT, Quest


@pytest.fixture
def full(quest: Quest) -> Iterator[Quest]:
    """Give a Redis that is full, with a queue `orders` of five messages: one timed out, one in flight, three visible."""
    quest.create("dead")
    quest.create(deadLetterTarget="dead", maxReceiveCount=3)
    quest.send("a", "b", "c", "d", "e")
    quest.receive(1)
    quest.advance(VT)
    quest.receive(1, 1000)
    quest.redis.config_set("maxmemory-policy", "noeviction")
    quest.redis.config_set("maxmemory", 1)
    yield quest
    quest.redis.config_set("maxmemory", 0)


def test_nothing_comes_in(full: Quest) -> None:
    """A send, a new queue and an arrival are refused, and nothing is changed."""
    before = full.keys(), full.counts(), full.field("orders", "sequence")
    for attempt in (
        lambda: full.send("f"),
        lambda: full.create("new"),
        lambda: full.redis.fcall("sendMessage", 1, "orders", "f"),
        lambda: full.redis.fcall("sendMessage", 1, "new", "f"),
        lambda: full.call("quest_arrive", "orders", "abc123", 1, b"\0" * 26),
    ):
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            attempt()
    assert (full.keys(), full.counts(), full.field("orders", "sequence")) == before


def test_consumers_go_on(full: Quest) -> None:
    """Messages are received, hidden, given back and deleted until the queue is empty."""
    a, b, c, d = full.receive(10, 1000)
    assert full.change(a, 0) == "OK"
    assert full.change(b, 2000) == "OK"
    assert full.give_back(c) == 1
    assert full.delete(d) == ["OK"]
    assert full.counts() == (2, 2, 0)
    assert full.delete(*full.receive(), b) == ["OK"] * 3
    assert full.counts() == (0, 1, 0)


def test_quest_consumers_go_on(full: Quest) -> None:
    """The Quest functions take messages out, too."""
    items = full.redis.fcall("getMessage", 1, "orders", 10)
    assert isinstance(items, list)
    assert len(items) == 4
    assert full.redis.fcall("deleteMessage", 1, "orders", items[0][-1]) == b"OK"


def test_ticks_go_on(full: Quest) -> None:
    """The background task keeps its lease and ticks: it makes room by retention."""
    assert full.redis.fcall("quest_lease", 1, "quest:lease", "p1", 1000) == 1
    assert len(full.tick()) == 2
    assert full.call("quest_pass", "orders") == 1


def test_dead_letters_go_on(full: Quest) -> None:
    """Exhausted messages leave for their dead-letter queue, or for its outbox."""
    for _ in range(3):
        full.receive(10, 0)
    full.receive(10)
    moved = full.counts("dead")[0] + len(full.read("quest_outbox", "orders", 10, 0)) // 4
    assert moved == 4
    if full.clustered:
        number = full.read("quest_outbox", "orders", 2, 0)[4]
        assert full.call("quest_ack", "orders", number) == 2
        assert full.call("quest_take_back", "orders", "dead") == 2


def test_room_is_made(full: Quest) -> None:
    """A purge and the deletion of a queue work."""
    assert full.purge() == 1
    assert full.counts() == (0, 0, 0)
    assert full.call("quest_delete_queue", "orders") == 1
    assert not {key for key in full.keys() if "orders" in key} - {"quest:{orders}:deleted"}


def test_it_recovers(full: Quest) -> None:
    """With room again messages come in."""
    full.redis.config_set("maxmemory", 0)
    assert full.send("f") == 6
