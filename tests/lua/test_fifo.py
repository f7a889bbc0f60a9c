"""FIFO queues: groups in order, several messages of a group at once, repeated sends and receives."""

from typing import Any

import pytest

from tests.lua.quest import VT, Message, Quest, failing

QUEUE = "orders.fifo"
KEY = "quest:{orders.fifo}"
HIDDEN = 2.0**52


@pytest.fixture
def fifo(quest: Quest) -> Quest:
    """Make a FIFO queue."""
    quest.create(QUEUE, FifoQueue="true")
    return quest


def _receive(quest: Quest, most: int = 10, visibility_ms: int = VT, **more: Any) -> list[Message]:
    return quest.receive(most, visibility_ms, queue=QUEUE, **more)


def _bodies(quest: Quest, most: int = 10, visibility_ms: int = VT) -> list[str]:
    return quest.bodies(most, visibility_ms, queue=QUEUE)


def _groups(quest: Quest) -> dict[str, float]:
    """Return each group's turn; None for a hidden one."""
    return {name.decode(): turn for name, turn in quest.redis.zrange(f"{KEY}:groups", 0, -1, withscores=True)}


def test_group_by_group(fifo: Quest) -> None:
    """A receive takes what it can of the first group, then of the next, each in order (contract 6.1.1)."""
    fifo.send_fifo("g1", "a1")
    fifo.send_fifo("g2", "b1", "b2")
    fifo.send_fifo("g1", "a2")
    assert _bodies(fifo, 3) == ["a1", "a2", "b1"]


def test_rest_of_group_waits(fifo: Quest) -> None:
    """While a message of a group is in flight the others of it wait; other groups do not (6.1.2)."""
    fifo.send_fifo("g1", "a1", "a2")
    fifo.send_fifo("g2", "b1")
    (a1,) = _receive(fifo, 1)
    assert _bodies(fifo) == ["b1"]
    assert _bodies(fifo) == []
    assert fifo.counts(QUEUE) == (1, 2, 0)
    assert fifo.delete(a1, queue=QUEUE) == ["OK"]
    assert _bodies(fifo) == ["a2"]


def test_partial_delete_keeps_the_group(fifo: Quest) -> None:
    """A group is free when all that was received of it is deleted (6.1.4)."""
    fifo.send_fifo("g", "1", "2", "3")
    one, two = _receive(fifo, 2)
    fifo.delete(one, queue=QUEUE)
    assert _bodies(fifo) == []
    fifo.delete(two, queue=QUEUE)
    assert _bodies(fifo) == ["3"]


def test_back_in_order(fifo: Quest) -> None:
    """Messages that time out come back in their order (6.1.5)."""
    fifo.send_fifo("g", "1", "2", "3")
    _, two, _ = _receive(fifo)
    fifo.delete(two, queue=QUEUE)
    fifo.advance(VT)
    assert _bodies(fifo) == ["1", "3"]


@pytest.mark.parametrize(("extended", "free"), [(0, []), (1, ["0"]), (2, ["0", "1"])])
def test_hidden_message_blocks_those_behind(fifo: Quest, extended: int, free: list[str]) -> None:
    """What stands before a message that is hidden longer comes back; what stands behind it waits (6.1.7)."""
    fifo.send_fifo("g", "0", "1", "2")
    messages = _receive(fifo)
    fifo.change(messages[extended], 1000, queue=QUEUE)
    fifo.advance(VT)
    assert _bodies(fifo) == free


@pytest.mark.parametrize("timeout", [0, 5])
def test_released_group_is_behind(fifo: Quest, timeout: int) -> None:
    """A message made visible again is delivered alone, and its group stands behind the others (6.1.6)."""
    fifo.send_fifo("g1", "a1", "a2")
    a1, _ = _receive(fifo)
    fifo.send_fifo("g2", "b1")
    fifo.change(a1, timeout, queue=QUEUE)
    fifo.advance(timeout)
    assert _bodies(fifo, 3) == ["b1", "a1"]


def test_timeout_0(fifo: Quest) -> None:
    """With timeout 0 nothing is locked, and a group that was served stands behind (6.1.8)."""
    fifo.send_fifo("g1", "a1")
    fifo.send_fifo("g2", "b1", "b2")
    fifo.send_fifo("g3", "c1")
    fifo.send_fifo("g1", "a2")
    assert _bodies(fifo, 3, 0) == ["a1", "a2", "b1"]
    assert _bodies(fifo, 10, 0) == ["c1", "a1", "a2", "b1", "b2"]
    assert fifo.counts(QUEUE) == (5, 0, 0)


def test_group_comes_back(fifo: Quest) -> None:
    """A group without messages is forgotten, and there again with the next one (6.1.10)."""
    fifo.send_fifo("g", "1")
    fifo.delete(*_receive(fifo), queue=QUEUE)
    assert _groups(fifo) == {}
    fifo.send_fifo("g", "2")
    assert _bodies(fifo) == ["2"]


def test_delayed(fifo: Quest) -> None:
    """A queue's delay holds each message, and a change of it counts for those that still wait (5.3, 6.4)."""
    fifo.call("quest_set_attributes", QUEUE, "DelaySeconds", 10)
    fifo.send_fifo("g", "1")
    fifo.advance(5000)
    fifo.send_fifo("g", "2")
    assert fifo.counts(QUEUE) == (0, 0, 2)
    assert _bodies(fifo) == []
    fifo.advance(5000)
    assert fifo.counts(QUEUE) == (1, 0, 1)
    assert _bodies(fifo) == ["1"]
    fifo.call("quest_set_attributes", QUEUE, "DelaySeconds", 20)
    fifo.advance(14_999)
    assert _bodies(fifo) == ["1"]
    fifo.call("quest_set_attributes", QUEUE, "DelaySeconds", 0)
    assert fifo.counts(QUEUE) == (1, 1, 0)
    fifo.advance(VT)
    assert _bodies(fifo) == ["1", "2"]


def test_expired_handle(fifo: Quest) -> None:
    """A handle is good for its running timeout only, also when nobody received the message since (2.11, 2.13)."""
    fifo.send_fifo("g", "1")
    (one,) = _receive(fifo)
    fifo.advance(VT)
    assert fifo.delete(one, queue=QUEUE) == ["ReceiptHandleExpired"]
    assert fifo.change(one, 1000, queue=QUEUE) == "ReceiptHandleExpired"
    (again,) = _receive(fifo)
    assert fifo.delete(one, queue=QUEUE) == ["ReceiptHandleExpired"]
    assert fifo.change(again, 1000, queue=QUEUE) == "OK"
    fifo.advance(999)
    assert fifo.delete(again, again, queue=QUEUE) == ["OK", "OK"]
    assert fifo.delete(again, queue=QUEUE) == ["OK"]
    assert fifo.change(again, 1000, queue=QUEUE) == "MessageNotAvailable"


def test_dead_letter_frees_the_group(fifo: Quest) -> None:
    """An exhausted message goes to the dead-letter queue at the next receive, and its group goes on (6.1.12, 7.4)."""
    fifo.create("dead.fifo", FifoQueue="true")
    fifo.call("quest_set_attributes", QUEUE, "deadLetterTarget", "dead.fifo", "maxReceiveCount", 1)
    fifo.send_fifo("g", "1", "2")
    _receive(fifo, 1)
    fifo.advance(VT)
    assert _bodies(fifo) == ["2"]
    if fifo.clustered:
        return
    (dead,) = fifo.receive(queue="dead.fifo")
    assert dead.body == "1"
    assert dead.sent_ms == fifo.clock()
    assert dead.head["MessageGroupId"] == "g"
    assert dead.head["SentTimestamp"] == fifo.clock() - VT
    assert dead.head["MessageDeduplicationId"].startswith("312e2e2e-")
    assert dead.head["ReceiveCount"] == 1


def test_poison_leaves_from_the_head_only(fifo: Quest) -> None:
    """The background task dead-letters what is exhausted and first of its group, one after the other."""
    fifo.create("dead.fifo", FifoQueue="true")
    fifo.call("quest_set_attributes", QUEUE, "deadLetterTarget", "dead.fifo", "maxReceiveCount", 1)
    fifo.send_fifo("g", "1", "2")
    one, _ = _receive(fifo)
    fifo.change(one, 1000, queue=QUEUE)
    fifo.advance(VT)
    fifo.tick(QUEUE, 0)
    assert fifo.counts(QUEUE) == (1, 1, 0)
    fifo.advance(1000)
    fifo.tick(QUEUE, 0)
    fifo.tick(QUEUE, 0)
    assert fifo.counts(QUEUE) == (0, 0, 0)
    assert _groups(fifo) == {}


def test_own_dead_letter_queue(fifo: Quest) -> None:
    """A FIFO queue that is its own dead-letter queue puts an exhausted message behind its group."""
    fifo.call("quest_set_attributes", QUEUE, "deadLetterTarget", QUEUE, "maxReceiveCount", 1)
    fifo.send_fifo("g", "1", "2")
    _receive(fifo, 1)
    fifo.advance(VT)
    assert _bodies(fifo, 1) == ["2"]
    assert fifo.redis.lrange(f"{KEY}:group:{_epoch(fifo)}:g", 0, -1) == [b"2", b"3"]


def _epoch(quest: Quest) -> str:
    return f"{quest.field(QUEUE, 'incarnation')}.{quest.field(QUEUE, 'purges') or 0}"


def test_expired_message_leaves(fifo: Quest) -> None:
    """A message past its retention period leaves its group, in flight or not."""
    fifo.call("quest_set_attributes", QUEUE, "MessageRetentionPeriod", 60)
    fifo.send_fifo("g", "1", "2")
    (one,) = _receive(fifo, 1, 120_000)
    fifo.advance(30_000)
    fifo.send_fifo("g", "3")
    fifo.advance(30_000)
    fifo.tick(QUEUE)
    assert _bodies(fifo) == ["3"]
    assert fifo.delete(one, queue=QUEUE) == ["OK"]


def test_expired_first_message_is_passed_over(fifo: Quest) -> None:
    """A receive finds the first living message of a group without a background task."""
    fifo.call("quest_set_attributes", QUEUE, "MessageRetentionPeriod", 60)
    fifo.send_fifo("g", "1")
    fifo.advance(30_000)
    fifo.send_fifo("g", "2")
    fifo.advance(30_000)
    assert _bodies(fifo) == ["2"]


def test_repeated_send(fifo: Quest) -> None:
    """A deduplication id counts once in five minutes, also after its message is gone; the reply names the original."""
    assert fifo.send_fifo("g", "same:a") == [(1, "a")]
    assert fifo.send_fifo("g2", "same:b", "other:c") == [(1, "a"), (2, "c")]
    fifo.delete(*_receive(fifo), queue=QUEUE)
    fifo.advance(299_999)
    assert fifo.send_fifo("g", "same:d") == [(1, "a")]
    assert _bodies(fifo) == []
    fifo.advance(1)
    assert fifo.send_fifo("g", "same:e") == [(3, "e")]


def test_repeated_in_one_batch(fifo: Quest) -> None:
    """Two entries of one batch with one deduplication id make one message (6.3)."""
    assert fifo.send_fifo("g", "same:a", "b", "same:c") == [(1, "a"), (2, "b"), (1, "a")]
    assert _bodies(fifo) == ["a", "b"]


def test_purge_forgets_all(fifo: Quest) -> None:
    """A purge empties the groups and forgets what was sent; the lists of the groups go with the next ticks (6.3)."""
    fifo.send_fifo("g", "a")
    _receive(fifo)
    fifo.purge(QUEUE)
    assert fifo.counts(QUEUE) == (0, 0, 0)
    fifo.send_fifo("g", "a")
    assert _bodies(fifo) == ["a"]
    fifo.tick(QUEUE)
    assert len(fifo.redis.keys(f"{KEY}:group:*")) == 1
    assert not fifo.redis.exists(f"{KEY}:purged")


def test_delete_queue_leaves_nothing(fifo: Quest) -> None:
    """A deleted queue's groups are unlinked by the ticks of its name, whether there is a new queue or not."""
    for number in range(3):
        fifo.send_fifo(f"g{number}", f"m{number}")
    fifo.call("quest_delete_queue", QUEUE)
    assert fifo.read("quest_alarm", QUEUE) == 0
    if not fifo.clustered:
        assert fifo.redis.zrange("quest:remains", 0, -1) == [b"orders.fifo"]
    with failing("QueueDoesNotExist"):
        fifo.tick(QUEUE)
    assert fifo.keys() == {f"{KEY}:deleted"}


def test_same_attempt_gives_the_same(fifo: Quest) -> None:
    """A receive repeated under its ReceiveRequestAttemptId gives the same messages and handles, hidden anew (6.5)."""
    fifo.send_fifo("g", "1", "2", "3")
    first = _receive(fifo, 2, attempt="x")
    fifo.advance(VT - 1)
    assert _receive(fifo, 2, attempt="x") == first
    fifo.advance(VT - 1)
    assert _bodies(fifo) == []
    assert fifo.delete(*first, queue=QUEUE) == ["OK", "OK"]


def test_attempt_expires(fifo: Quest) -> None:
    """Once the messages are visible again, or after five minutes, the id is a new attempt."""
    fifo.send_fifo("g", "1")
    (first,) = _receive(fifo, 1, attempt="x")
    fifo.advance(VT)
    (second,) = _receive(fifo, 1, 400_000, attempt="x")
    assert (first.count, second.count) == (1, 2)
    fifo.advance(300_000)
    assert _receive(fifo, 1, attempt="x") == []


@pytest.mark.parametrize("undo", ["delete", "change"])
def test_attempt_not_retryable(fifo: Quest, undo: str) -> None:
    """When a message of it was deleted or its visibility changed, an attempt cannot be repeated (2.10, 6.5)."""
    fifo.send_fifo("g", "1", "2")
    one, _ = _receive(fifo, 2, attempt="x")
    if undo == "delete":
        fifo.delete(one, queue=QUEUE)
    else:
        fifo.change(one, 1000, queue=QUEUE)
    with failing("AttemptNotRetryable x"):
        _receive(fifo, 2, attempt="x")


def test_give_back(fifo: Quest) -> None:
    """An undone receive puts its groups to the front, in order, with one receive less; its attempt is forgotten."""
    fifo.send_fifo("g1", "a1", "a2")
    fifo.send_fifo("g2", "b1")
    taken = _receive(fifo, 2, attempt="x")
    assert fifo.give_back(*taken, queue=QUEUE) == 2
    again = _receive(fifo, 3, attempt="x")
    assert [message.body for message in again] == ["a1", "a2", "b1"]
    assert again[0].count == 1


def test_wakes(fifo: Quest) -> None:
    """A waiting process is woken by a send, and by the delete that frees a group; not by a send to a group in flight."""
    with fifo.listening("quest:wake:p1") as ear:
        fifo.poll(queue=QUEUE, process="p1", wait_ms=1000)
        fifo.send_fifo("g", "1")
        assert ear.heard() == [("quest:wake:p1", KEY)]
        (one,) = _receive(fifo)
        fifo.poll(queue=QUEUE, process="p1", wait_ms=1000)
        fifo.send_fifo("g", "2")
        assert ear.heard() == []
        fifo.delete(one, queue=QUEUE)
        assert ear.heard() == [("quest:wake:p1", KEY)]


def test_many_timeouts_behind_hidden_ones(fifo: Quest) -> None:
    """A receive finds the one free group behind hundreds of timed-out messages that a hidden one blocks."""
    held = []
    for number in range(150):
        fifo.send_fifo(f"g{number}", f"a{number}", f"b{number}")
        held.append(_receive(fifo))
    for first, _ in held:
        fifo.change(first, 60_000, queue=QUEUE)
    fifo.send_fifo("free", "last")
    _receive(fifo, 1, VT + 1)
    fifo.advance(VT + 1)
    assert _bodies(fifo) == ["last"]


def test_full(fifo: Quest) -> None:
    """A FIFO queue with too many in flight gives nothing, and no error (5.6)."""
    fifo.send_fifo("g1", "1")
    fifo.send_fifo("g2", "2")
    (one,) = _receive(fifo, 1)
    arguments = (10, VT, "", 1, "", "p1", 0, 0)
    assert len(fifo.ask("quest_receive", QUEUE, *arguments)) == 2
    fifo.delete(one, queue=QUEUE)
    assert len(fifo.ask("quest_receive", QUEUE, *arguments)) == 6
