"""redrive.lua: exhausted messages go to their dead-letter queue, in one Redis at once, in a cluster in three steps."""

import pytest

from tests.lua.quest import START_MS, VT, Quest

NEVER = "never"


def _with_target(quest: Quest, most: int = 1, *, target: str = "dead", **fields: int) -> None:
    """Make `orders`, whose messages go to `target` after `most` receives; the target too where there is one Redis."""
    if target != "orders":
        quest.create(target)
    quest.create("orders", wait_ms=0, deadLetterTarget=target, maxReceiveCount=most, **fields)


def _exhaust(quest: Quest, times: int = 1, *, queue: str = "orders") -> None:
    """Receive all and let it time out, so many times."""
    for _ in range(times):
        assert quest.receive(10, queue=queue)
        quest.advance(VT)


# In one Redis


def test_next_receive_moves(one_redis: Quest) -> None:
    """A message received maxReceiveCount times is moved by the next receive instead of being given."""
    _with_target(one_redis, 2)
    one_redis.send("a")
    _exhaust(one_redis, 2)
    assert one_redis.counts() == (1, 0, 0)
    assert one_redis.receive() == []
    assert one_redis.counts() == (0, 0, 0)
    assert one_redis.counts("dead") == (1, 0, 0)


def test_dead_letter_keeps_what_it_is(one_redis: Quest) -> None:
    """In the dead-letter queue a message has its id, body, head and time of sending, its source, and counts on."""
    _with_target(one_redis, 2)
    one_redis.send("a", head=b"\x81\xa1k\xa1v")
    one_redis.advance(3)
    _exhaust(one_redis, 2)
    one_redis.receive()
    [letter] = one_redis.receive(queue="dead")
    assert (letter.body, letter.id, letter.sent_ms) == ("a", b"a" + b"." * 15, START_MS)
    assert letter.head == {
        "k": "v",
        "ReceiveCount": 2,
        "FirstReceive_ms": START_MS + 3,
        "DeadLetterQueueSource": "orders",
    }
    assert letter.count == 1


def test_counts_are_per_queue(one_redis: Quest) -> None:
    """In a chain of queues each compares the receives in it alone, and the sum goes on."""
    one_redis.create("q3")
    one_redis.create("q2", deadLetterTarget="q3", maxReceiveCount=2)
    _with_target(one_redis, 3, target="q2")
    one_redis.create("q2")
    one_redis.send("a")
    _exhaust(one_redis, 3)
    assert one_redis.receive() == []
    _exhaust(one_redis, 2, queue="q2")
    assert one_redis.receive(queue="q2") == []
    [letter] = one_redis.receive(queue="q3")
    assert (letter.count, letter.head["ReceiveCount"]) == (1, 5)
    assert (letter.head["FirstReceive_ms"], letter.head["DeadLetterQueueSource"]) == (START_MS, "q2")


def test_queue_as_its_own_target(one_redis: Quest) -> None:
    """A queue that is its own dead-letter queue pushes the message to its back, where this queue's count begins anew."""
    _with_target(one_redis, target="orders")
    one_redis.send("a")
    _exhaust(one_redis)
    one_redis.send("b")
    b, a = one_redis.receive(10)
    assert [(message.body, message.count) for message in (b, a)] == [("b", 1), ("a", 1)]
    assert a.head["ReceiveCount"] == 1
    assert one_redis.counts() == (0, 2, 0)


def test_own_target_does_not_raise_the_alarm(one_redis: Quest) -> None:
    """A message that moves to the back of its own queue keeps the alarm at its retention's end, if that is earlier."""
    _with_target(one_redis, target="orders", MessageRetentionPeriod=60)
    one_redis.send("a")
    one_redis.advance(59_000)
    _exhaust(one_redis)
    one_redis.tick(dead_letter_after=NEVER)
    one_redis.redis.hdel("quest:{orders}", "alarm")
    assert len(one_redis.receive(1, 30_000)) == 1
    assert one_redis.alarm() == 60_000


def test_missing_target(one_redis: Quest) -> None:
    """When the dead-letter queue is gone its messages stay deliverable, and go there once it is back."""
    _with_target(one_redis)
    one_redis.call("quest_delete_queue", "dead")
    one_redis.send("a")
    _exhaust(one_redis, 3)
    one_redis.tick(dead_letter_after=0)
    assert one_redis.counts() == (1, 0, 0)
    one_redis.create("dead")
    assert one_redis.receive() == []
    assert one_redis.receive(queue="dead")[0].head["ReceiveCount"] == 3


def test_receive_moves_and_gives(one_redis: Quest) -> None:
    """A receive that moves some messages gives others in the same call."""
    _with_target(one_redis)
    one_redis.send("a", "b")
    _exhaust(one_redis)
    one_redis.send("c")
    assert one_redis.bodies() == ["c"]
    assert one_redis.counts("dead") == (2, 0, 0)


def test_tick_moves_after_a_while(one_redis: Quest) -> None:
    """The background task moves an exhausted message when it has been visible so long, without any receive."""
    _with_target(one_redis)
    one_redis.send("a")
    _exhaust(one_redis)
    assert one_redis.tick() == [2000, 0]
    one_redis.advance(1999)
    assert one_redis.tick() == [1, 0]
    assert one_redis.counts() == (1, 0, 0)
    one_redis.advance(1)
    one_redis.tick()
    assert one_redis.counts() == (0, 0, 0)
    assert one_redis.bodies(queue="dead") == ["a"]
    assert one_redis.bodies() == []


def test_tick_never_moves_when_told_so(one_redis: Quest) -> None:
    """With 'never' only a receive moves, as on AWS; the tick forgets who is exhausted."""
    _with_target(one_redis)
    one_redis.send("a")
    _exhaust(one_redis)
    assert one_redis.tick(dead_letter_after=NEVER)[1] == 0
    one_redis.advance(3_600_000)
    one_redis.tick(dead_letter_after=NEVER)
    assert one_redis.counts() == (1, 0, 0)
    assert "quest:{orders}:poison" not in one_redis.keys()
    one_redis.receive()
    assert one_redis.counts("dead") == (1, 0, 0)


@pytest.mark.parametrize("how", ["timeout", "visibility 0", "receive with 0"])
def test_every_way_to_become_visible_exhausted(one_redis: Quest, how: str) -> None:
    """An exhausted message is noted for the background task however it became visible."""
    _with_target(one_redis)
    one_redis.send("a")
    [held] = one_redis.receive(1, 0 if how == "receive with 0" else VT)
    if how == "timeout":
        one_redis.advance(VT)
    elif how == "visibility 0":
        one_redis.change(held, 0)
    one_redis.tick()
    one_redis.advance(2000)
    assert one_redis.counts() == (1, 0, 0)
    one_redis.tick()
    assert one_redis.counts("dead") == (1, 0, 0)


def test_late_delete_of_the_last_delivery(one_redis: Quest) -> None:
    """Before the background task moves it, the consumer of the last delivery can still delete a message."""
    _with_target(one_redis)
    one_redis.send("a")
    [held] = one_redis.receive()
    one_redis.advance(VT)
    one_redis.tick()
    assert one_redis.delete(held) == ["OK"]
    one_redis.advance(2000)
    one_redis.tick()
    assert one_redis.counts("dead") == one_redis.counts() == (0, 0, 0)


def test_late_change_of_the_last_delivery(one_redis: Quest) -> None:
    """Before the background task moves it, the consumer of the last delivery can hide it again, and keep it so."""
    _with_target(one_redis)
    one_redis.send("a")
    [held] = one_redis.receive()
    one_redis.advance(VT)
    one_redis.tick()
    assert one_redis.change(held, 10_000) == "OK"
    one_redis.advance(2000)
    one_redis.tick()
    assert one_redis.counts() == (0, 1, 0)
    one_redis.advance(8000)
    one_redis.tick()
    one_redis.advance(2000)
    one_redis.tick()
    assert one_redis.counts("dead") == (1, 0, 0)


def test_policy_changed_meanwhile(one_redis: Quest) -> None:
    """A message that is no longer exhausted under a new policy is not moved."""
    _with_target(one_redis)
    one_redis.send("a")
    _exhaust(one_redis)
    one_redis.tick()
    one_redis.ask("quest_set_attributes", "orders", "maxReceiveCount", 2)
    one_redis.advance(2000)
    one_redis.tick()
    assert one_redis.counts() == (1, 0, 0)
    one_redis.ask("quest_set_attributes", "orders", "maxReceiveCount", "", "deadLetterTarget", "")
    _exhaust(one_redis, 3)
    assert one_redis.counts() == (1, 0, 0)


def test_moves_leave_nothing_behind(one_redis: Quest) -> None:
    """A receive that moves a message takes it out of every key of its queue, though no background task runs."""
    _with_target(one_redis)
    one_redis.send("a")
    _exhaust(one_redis)
    one_redis.receive()
    assert {key for key in one_redis.keys() if "orders" in key} == {"quest:{orders}"}


def test_arrival_wakes_and_alarms(one_redis: Quest) -> None:
    """A dead letter wakes who waits there, and its queue's alarm is at its retention's end, counted from its sending."""
    _with_target(one_redis)
    one_redis.ask("quest_set_attributes", "dead", "MessageRetentionPeriod", 60)
    one_redis.tick("dead")
    one_redis.send("a")
    one_redis.advance(5000)
    _exhaust(one_redis)
    with one_redis.listening("quest:wake:p1") as ear:
        one_redis.poll(queue="dead", process="p1", wait_ms=20_000)
        one_redis.receive()
        assert ear.heard() == [("quest:wake:p1", "quest:{dead}")]
    assert one_redis.alarm("dead") == 60_000


def test_sources(quest: Quest) -> None:
    """A dead-letter queue remembers who names it, once each."""
    quest.create("dead")
    for source in ("a", "b", "a"):
        assert quest.call("quest_add_source", "dead", source) == 1
    assert quest.redis.smembers("quest:{dead}:sources") == {b"a", b"b"}
