"""fifo.lua: groups in order, several messages of a group at once."""

import pytest

from tests.lua.quest import FIFO, VT, Quest, failing

KEY = "quest:{orders.fifo}"


def test_group_by_group(fifo: Quest) -> None:
    """A receive takes what it can of the first group, then of the next, each in order (contract 6.1.1)."""
    fifo.send_fifo("g1", "a1")
    fifo.send_fifo("g2", "b1", "b2")
    fifo.send_fifo("g1", "a2")
    assert fifo.bodies_fifo(3) == ["a1", "a2", "b1"]


def test_rest_of_group_waits(fifo: Quest) -> None:
    """While a message of a group is in flight the others of it wait; other groups do not (6.1.2)."""
    fifo.send_fifo("g1", "a1", "a2")
    fifo.send_fifo("g2", "b1")
    (a1,) = fifo.receive_fifo(1)
    assert fifo.bodies_fifo() == ["b1"]
    assert fifo.bodies_fifo() == []
    assert fifo.counts(FIFO) == (1, 2, 0)
    assert fifo.delete(a1, queue=FIFO) == ["OK"]
    assert fifo.bodies_fifo() == ["a2"]


def test_partial_delete_keeps_the_group(fifo: Quest) -> None:
    """A group is free when all that was received of it is deleted (6.1.4)."""
    fifo.send_fifo("g", "1", "2", "3")
    one, two = fifo.receive_fifo(2)
    fifo.delete(one, queue=FIFO)
    assert fifo.bodies_fifo() == []
    fifo.delete(two, queue=FIFO)
    assert fifo.bodies_fifo() == ["3"]


def test_back_in_order(fifo: Quest) -> None:
    """Messages that time out come back in their order (6.1.5)."""
    fifo.send_fifo("g", "1", "2", "3")
    _, two, _ = fifo.receive_fifo()
    fifo.delete(two, queue=FIFO)
    fifo.advance(VT)
    assert fifo.bodies_fifo() == ["1", "3"]


@pytest.mark.parametrize(("extended", "free"), [(0, []), (1, ["0"]), (2, ["0", "1"])])
def test_hidden_message_blocks_those_behind(fifo: Quest, extended: int, free: list[str]) -> None:
    """What stands before a message that is hidden longer comes back; what stands behind it waits (6.1.7)."""
    fifo.send_fifo("g", "0", "1", "2")
    messages = fifo.receive_fifo()
    fifo.change(messages[extended], 1000, queue=FIFO)
    fifo.advance(VT)
    assert fifo.bodies_fifo() == free


def test_timeout_0(fifo: Quest) -> None:
    """With timeout 0 nothing is locked, and a group that was served stands behind (6.1.8)."""
    fifo.send_fifo("g1", "a1")
    fifo.send_fifo("g2", "b1", "b2")
    fifo.send_fifo("g3", "c1")
    fifo.send_fifo("g1", "a2")
    assert fifo.bodies_fifo(3, 0) == ["a1", "a2", "b1"]
    assert fifo.bodies_fifo(10, 0) == ["c1", "a1", "a2", "b1", "b2"]
    assert fifo.counts(FIFO) == (5, 0, 0)


def test_delayed(fifo: Quest) -> None:
    """A queue's delay holds each message, and a change of it counts for those that still wait (5.3, 6.4)."""
    fifo.ask("quest_set_attributes", FIFO, "DelaySeconds", 10)
    fifo.send_fifo("g", "1")
    fifo.advance(5000)
    fifo.send_fifo("g", "2")
    assert fifo.counts(FIFO) == (0, 0, 2)
    assert fifo.bodies_fifo() == []
    fifo.advance(5000)
    assert fifo.counts(FIFO) == (1, 0, 1)
    assert fifo.bodies_fifo() == ["1"]
    fifo.ask("quest_set_attributes", FIFO, "DelaySeconds", 20)
    fifo.advance(14_999)
    assert fifo.bodies_fifo() == ["1"]
    fifo.ask("quest_set_attributes", FIFO, "DelaySeconds", 0)
    assert fifo.counts(FIFO) == (1, 1, 0)
    fifo.advance(VT)
    assert fifo.bodies_fifo() == ["1", "2"]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1, [["a1"], ["b1"], ["c1"], []]),
        (2, [["a1", "a2"], ["b1", "b2"], ["c1", "c2"], []]),
        (5, [["a1", "a2", "a3", "b1", "b2"], ["c1", "c2", "c3"], [], []]),
    ],
)
def test_several_receives_at_once(fifo: Quest, most: int, expected: list[list[str]]) -> None:
    """Receives done by one call get what they would get one after the other: no two share a group."""
    fifo.create("other.fifo", FifoQueue="true")
    for queue in (FIFO, "other.fifo"):
        for group in "abc":
            fifo.send_fifo(group, *(f"{group}{i}" for i in (1, 2, 3)), queue=queue)
    assert fifo.receive_together(4, most, queue=FIFO) == (0, expected)
    assert [fifo.bodies(most, queue="other.fifo") for _ in expected] == expected


def test_several_receives_that_come_too_late(fifo: Quest) -> None:
    """Several receives that nobody wants any more get nothing, and each is told so: its share is 0."""
    fifo.send_fifo("a", "1")
    assert fifo.ask("quest_receive", FIFO, 3, VT, 1, 9, "", "", 0, 0, 3)[1:] == [1, 0, 0, 0]


def test_several_receives_at_once_with_timeout_0(fifo: Quest) -> None:
    """With timeout 0 a message is visible to the next receive of the same call already, as it is to the next call."""
    fifo.send_fifo("a", "a1")
    fifo.send_fifo("b", "b1")
    assert fifo.receive_together(3, 1, 0, queue=FIFO) == (0, [["a1"], ["b1"], ["a1"]])


def test_several_receives_when_few_may_be_in_flight(fifo: Quest) -> None:
    """Those that find too many in flight get nothing, and are not told: it is a FIFO queue."""
    for group in "abc":
        fifo.send_fifo(group, f"{group}1")
    assert fifo.receive_together(3, 1, queue=FIFO, limit=2) == (0, [["a1"], ["b1"], []])
    assert fifo.receive_together(3, 1, queue=FIFO, limit=2) == (0, [[], [], []])


def test_nothing_to_do(fifo: Quest) -> None:
    """A call without messages or handles does nothing, and is no mistake."""
    assert fifo.ask("quest_send", FIFO) == []
    assert fifo.delete(queue=FIFO) == []
    assert fifo.give_back(queue=FIFO) == 0


def test_expired_handle(fifo: Quest) -> None:
    """A handle is good for its running timeout only, also when nobody received the message since (2.11, 2.13)."""
    fifo.send_fifo("g", "1")
    (one,) = fifo.receive_fifo()
    fifo.advance(VT)
    assert fifo.delete(one, queue=FIFO) == ["ReceiptHandleExpired"]
    assert fifo.change(one, 1000, queue=FIFO) == "ReceiptHandleExpired"
    (again,) = fifo.receive_fifo()
    assert fifo.delete(one, queue=FIFO) == ["ReceiptHandleExpired"]
    assert fifo.change(again, 1000, queue=FIFO) == "OK"
    fifo.advance(999)
    assert fifo.delete(again, again, queue=FIFO) == ["OK", "OK"]
    assert fifo.delete(again, queue=FIFO) == ["OK"]
    assert fifo.change(again, 1000, queue=FIFO) == "MessageNotAvailable"


def test_dead_letter_frees_the_group(fifo: Quest) -> None:
    """An exhausted message goes to the dead-letter queue at the next receive, and its group goes on (6.1.12, 7.4)."""
    fifo.create("dead.fifo", FifoQueue="true")
    fifo.ask("quest_set_attributes", FIFO, "deadLetterTarget", "dead.fifo", "maxReceiveCount", 1)
    fifo.send_fifo("g", "1", "2")
    fifo.receive_fifo(1)
    fifo.advance(VT)
    assert fifo.bodies_fifo() == ["2"]
    if fifo.clustered:
        return
    (dead,) = fifo.receive(queue="dead.fifo")
    assert dead.body == "1"
    assert dead.sent_ms == fifo.clock()
    assert dead.head["MessageGroupId"] == "g"
    assert dead.head["SentTimestamp"] == fifo.clock() - VT
    assert dead.head["MessageDeduplicationId"].startswith("312e2e2e-")
    assert dead.head["ReceiveCount"] == 1


def test_own_dead_letter_queue(fifo: Quest) -> None:
    """A FIFO queue that is its own dead-letter queue puts an exhausted message behind its group."""
    fifo.ask("quest_set_attributes", FIFO, "deadLetterTarget", FIFO, "maxReceiveCount", 1)
    fifo.send_fifo("g", "1", "2")
    fifo.receive_fifo(1)
    fifo.advance(VT)
    assert fifo.bodies_fifo(1) == ["2"]
    assert fifo.redis.hgetall(f"{KEY}:order") == {b"g": b"2 3"}


def test_expired_message_leaves(fifo: Quest) -> None:
    """A message past its retention period leaves its group, in flight or not."""
    fifo.ask("quest_set_attributes", FIFO, "MessageRetentionPeriod", 60)
    fifo.send_fifo("g", "1", "2")
    (one,) = fifo.receive_fifo(1, 120_000)
    fifo.advance(30_000)
    fifo.send_fifo("g", "3")
    fifo.advance(30_000)
    fifo.tick(FIFO)
    assert fifo.bodies_fifo() == ["3"]
    assert fifo.delete(one, queue=FIFO) == ["OK"]


def test_expired_first_message_is_passed_over(fifo: Quest) -> None:
    """A receive finds the first living message of a group without a background task."""
    fifo.ask("quest_set_attributes", FIFO, "MessageRetentionPeriod", 60)
    fifo.send_fifo("g", "1")
    fifo.advance(30_000)
    fifo.send_fifo("g", "2")
    fifo.advance(30_000)
    assert fifo.bodies_fifo() == ["2"]


def test_give_back(fifo: Quest) -> None:
    """An undone receive puts its groups to the front, in order, with one receive less; its attempt is forgotten."""
    fifo.send_fifo("g1", "a1", "a2")
    fifo.send_fifo("g2", "b1")
    taken = fifo.receive_fifo(2, attempt="x")
    assert fifo.give_back(*taken, queue=FIFO) == 2
    again = fifo.receive_fifo(3, attempt="x")
    assert [message.body for message in again] == ["a1", "a2", "b1"]
    assert again[0].count == 1


def test_full(fifo: Quest) -> None:
    """A FIFO queue with too many in flight gives nothing, and no error (5.6)."""
    fifo.send_fifo("g1", "1")
    fifo.send_fifo("g2", "2")
    (one,) = fifo.receive_fifo(1)
    arguments = (10, VT, "", 1, "", "p1", 0, 0, 1)
    assert len(fifo.ask("quest_receive", FIFO, *arguments)) == 2
    fifo.delete(one, queue=FIFO)
    assert len(fifo.ask("quest_receive", FIFO, *arguments)) == 6


def test_most_messages(fifo: Quest) -> None:
    """In a full queue a repeated message is still told what it was, and a new one is refused."""
    entries = [(name * 16, "", b"\x80", name, "g", name * 20) for name in (b"1", b"2", b"3")]
    one, two, three = entries
    assert fifo.ask("quest_send", FIFO, *one, *two, 2) == [1, b"1" * 16, 2, b"2" * 16]
    with failing("QueueFull 2"):
        fifo.ask("quest_send", FIFO, *three, 2)
    assert fifo.ask("quest_send", FIFO, *two, 2) == [2, b"2" * 16]
    assert fifo.ask("quest_send", FIFO, *one, *three, 3) == [1, b"1" * 16, 3, b"3" * 16]


def test_received_before_its_delay_was_ended(quest: Quest) -> None:
    """A delay ends by the clock, before anybody tidies up: what was received by then stays received, and is deleted."""
    quest.create(FIFO, FifoQueue="true", DelaySeconds=5)
    for start in range(0, 300, 10):
        quest.send_fifo("g", *(str(start + i) for i in range(10)))
    quest.advance(5_001)
    first = quest.receive_fifo(10)
    quest.tick(FIFO)
    quest.tick(FIFO)
    assert quest.delete(*first, queue=FIFO) == ["OK"] * 10
    assert quest.redis.hlen(f"{KEY}:messages") == 290
    quest.advance(VT)
    quest.tick(FIFO)
    assert [message.body for message in quest.receive_fifo(10)] == [str(i) for i in range(10, 20)]


def test_a_handle_twice_costs_nothing(fifo: Quest) -> None:
    """A handle that comes twice deletes once, and the rest of its group is not searched for it."""
    fifo.send_fifo("g", *map(str, range(10)))
    for start in range(10, 5000, 10):
        fifo.send_fifo("g", *(str(start + i) for i in range(10)))
    [first] = fifo.receive_fifo(1)
    fifo.redis.config_resetstat()
    assert fifo.delete(*[first] * 10, queue=FIFO) == ["OK"] * 10
    assert "cmdstat_lrem" not in fifo.redis.info("commandstats")
