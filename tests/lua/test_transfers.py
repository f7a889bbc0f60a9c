"""redrive.lua: messages between two slots of a cluster: out, in, ack, each harmless when repeated, and back again."""

import time
from typing import Any

import msgpack

from tests.lua.quest import FIFO, START_MS, VT, Quest, failing


def _leaving(cluster: Quest, *bodies: str) -> None:
    """Put exhausted messages into the outbox of `orders`, on their way to `dead`."""
    cluster.create("dead")
    cluster.create(deadLetterTarget="dead", maxReceiveCount=1)
    cluster.send(*bodies)
    cluster.receive()
    cluster.advance(VT)
    assert cluster.receive() == []


def _outbox(cluster: Quest, limit: int = 100, after: int = 0) -> list[list[Any]]:
    reply = cluster.read("quest_outbox", "orders", limit, after)
    return [reply[i : i + 4] for i in range(0, len(reply), 4)]


def _arrive(cluster: Quest, items: list[list[Any]]) -> int:
    flat = [part for number, _, _, record in items for part in (number, record)]
    return int(cluster.call("quest_arrive", "dead", items[0][1], *flat))


def test_out(cluster: Quest) -> None:
    """Exhausted messages go to the outbox, numbered upwards from the server's time; a tick says how many wait."""
    _leaving(cluster, "a", "b", "c")
    assert cluster.counts() == (0, 0, 0)
    assert cluster.counts("dead") == (0, 0, 0)
    items = _outbox(cluster)
    numbers = [int(item[0]) for item in items]
    assert numbers == sorted(set(numbers))
    assert abs(numbers[0] - time.time() * 1000) < 5000
    assert {(item[1].decode(), item[2]) for item in items} == {(cluster.field("orders", "incarnation"), b"dead")}
    assert _outbox(cluster, 2) == items[:2]
    assert _outbox(cluster, 2, numbers[0]) == items[1:]
    assert _outbox(cluster, 2, numbers[2]) == []
    assert cluster.tick() == [1000, 3]


def test_out_by_the_tick(cluster: Quest) -> None:
    """The background task moves exhausted messages to the outbox as a receive does."""
    cluster.received("a", deadLetterTarget="dead", maxReceiveCount=1)
    cluster.advance(VT)
    cluster.tick()
    cluster.advance(2000)
    assert cluster.tick() == [1000, 1]


def test_out_wants_a_tick(cluster: Quest) -> None:
    """Who fills the outbox says that the queue wants a tick."""
    cluster.received("a", deadLetterTarget="dead", maxReceiveCount=1)
    cluster.advance(VT)
    cluster.tick(dead_letter_after="never")
    with cluster.listening("quest:alarm") as ear:
        cluster.receive()
        assert ear.heard() == [("quest:alarm", "0 quest:{orders}")]


def test_in(cluster: Quest) -> None:
    """The target takes messages in order, with what they have been through; the last number is its answer."""
    _leaving(cluster, "a", "b", "c")
    items = _outbox(cluster)
    assert _arrive(cluster, items) == int(items[-1][0])
    letters = cluster.receive(queue="dead")
    assert [letter.body for letter in letters] == ["a", "b", "c"]
    assert letters[0].head == {"ReceiveCount": 1, "FirstReceive_ms": START_MS, "DeadLetterQueueSource": "orders"}


def test_in_again(cluster: Quest) -> None:
    """A repeated in is harmless, also when the messages have been received and deleted there meanwhile."""
    _leaving(cluster, "a", "b", "c")
    items = _outbox(cluster)
    assert _arrive(cluster, items[:2]) == int(items[1][0])
    assert cluster.delete(*cluster.receive(queue="dead"), queue="dead") == ["OK", "OK"]
    assert _arrive(cluster, items) == int(items[2][0])
    assert cluster.bodies(queue="dead") == ["c"]
    assert _arrive(cluster, items[:1]) == int(items[2][0])
    assert cluster.counts("dead") == (0, 1, 0)


def test_in_of_two_sources(cluster: Quest) -> None:
    """Each source has numbers of its own at a target."""
    cluster.create("dead")
    record = b"\0" * 26 + b"body"
    assert cluster.call("quest_arrive", "dead", "aaaaaa", 9, record) == 9
    assert cluster.call("quest_arrive", "dead", "bbbbbb", 3, record, 4, record) == 4
    assert cluster.counts("dead") == (3, 0, 0)
    assert cluster.redis.hgetall("quest:{dead}:inbox") == {b"aaaaaa": b"9", b"bbbbbb": b"4"}


def test_in_without_a_target(cluster: Quest) -> None:
    """The in says when the target is gone."""
    _leaving(cluster, "a")
    cluster.call("quest_delete_queue", "dead")
    with failing("QueueDoesNotExist"):
        _arrive(cluster, _outbox(cluster))


def test_ack(cluster: Quest) -> None:
    """The source forgets what has arrived, up to the number said, and no more."""
    _leaving(cluster, "a", "b", "c")
    items = _outbox(cluster)
    assert cluster.call("quest_ack", "orders", items[1][0]) == 2
    assert _outbox(cluster) == items[2:]
    assert cluster.call("quest_ack", "orders", items[1][0]) == 0
    assert cluster.call("quest_ack", "orders", items[2][0]) == 1
    assert cluster.tick() == [-1, 0]


def test_numbers_are_never_used_again(cluster: Quest) -> None:
    """The number of a later message is higher, also when the queue forgot its last number or was made anew."""
    _leaving(cluster, "a")
    first = int(_outbox(cluster)[0][0])
    cluster.redis.hdel("quest:{orders}", "transfer")
    cluster.redis.delete("quest:{orders}:outbox")
    time.sleep(0.002)  # numbers are the server's ms
    cluster.send("b")
    cluster.receive()
    cluster.advance(VT)
    cluster.receive()
    assert int(_outbox(cluster)[0][0]) > first


def test_take_back(cluster: Quest) -> None:
    """When the target is gone its messages are visible in the source again, in order, and stay there."""
    _leaving(cluster, "a", "b")
    cluster.redis.rpush("quest:{orders}:outbox", b"9999999999999 abc123 elsewhere \0\0\0\x01urecord")
    assert cluster.call("quest_take_back", "orders", "dead") == 2
    assert [item[2] for item in _outbox(cluster)] == [b"elsewhere"]
    assert cluster.counts() == (2, 0, 0)
    for _ in range(3):
        assert cluster.bodies() == ["a", "b"]
        cluster.advance(VT)
    assert cluster.call("quest_take_back", "orders", "dead") == 0


def test_take_back_undoes_the_leaving(cluster: Quest) -> None:
    """A message that comes back is what it was: head, receive count, handle, and its place before those behind it."""
    cluster.create("dead")
    cluster.create(deadLetterTarget="dead", maxReceiveCount=1)
    letter = {"DeadLetterQueueSource": "first", "ReceiveCount": 4, "FirstReceive_ms": 7}
    cluster.send("a", head=msgpack.packb(letter))
    cluster.send("b", "c")
    before = cluster.receive(2)
    cluster.advance(VT)
    assert [message.body for message in cluster.receive(10, 60_000)] == ["c"]
    contents = [cluster.redis.hgetall(f"quest:{{orders}}:{part}") for part in ("messages", "deliveries")]
    assert len(contents[0]) == 1
    assert cluster.call("quest_take_back", "orders", "dead") == 2
    again = cluster.receive()
    assert [(m.body, m.head, m.count, m.first_ms, m.sequence) for m in again] == [
        ("a", letter, 2, START_MS, 1),
        ("b", {}, 2, START_MS, 2),
    ]
    assert [(m.id, m.sent_ms) for m in again] == [(m.id, m.sent_ms) for m in before]
    assert cluster.field("orders", "oldest") == "1"
    assert cluster.delete(*again) == ["OK", "OK"]
    assert [cluster.redis.hgetall(f"quest:{{orders}}:{part}") for part in ("messages", "deliveries")] == contents


def test_take_back_into_a_group(cluster: Quest) -> None:
    """A FIFO message comes back to the front of its group, also while the next one is in flight."""
    cluster.create("dead.fifo", FifoQueue="true")
    cluster.create(FIFO, FifoQueue="true", deadLetterTarget="dead.fifo", maxReceiveCount=1)
    sent = cluster.send_fifo("g", "a", "b", "c")
    cluster.receive_fifo(1)
    cluster.advance(VT)
    [held] = cluster.receive_fifo(1)
    assert held.body == "b"
    assert cluster.call("quest_take_back", FIFO, "dead.fifo") == 1
    [again] = cluster.receive_fifo()
    assert (again.body, again.sequence, again.count) == ("a", sent[0][0], 2)
    assert again.head == {"MessageGroupId": "g", "MessageDeduplicationId": "a"}
    assert cluster.delete(again, queue=FIFO) == ["OK"]
    assert cluster.bodies_fifo() == []
    cluster.advance(VT)
    assert cluster.bodies_fifo() == ["b", "c"]


def test_take_back_of_many(cluster: Quest) -> None:
    """More messages than one call takes back come by several, and all of them."""
    bodies = [f"m{number:03}" for number in range(120)]
    cluster.create("dead")
    cluster.create(deadLetterTarget="dead", maxReceiveCount=1)
    cluster.send(*bodies)
    while cluster.receive():
        pass
    cluster.advance(VT)
    assert cluster.receive() == []
    while len(_outbox(cluster, 200)) < 120:
        assert cluster.receive() == []
    assert [cluster.call("quest_take_back", "orders", "dead") for _ in range(3)] == [100, 20, 0]
    received = {message.body for _ in range(12) for message in cluster.receive()}
    assert received == set(bodies)


def test_take_back_after_the_queue_was_made_anew(cluster: Quest) -> None:
    """What left a queue of the same name that was deleted comes back as a message from elsewhere."""
    _leaving(cluster, "a")
    cluster.call("quest_delete_queue", "orders")
    cluster.create()
    cluster.send("new")
    assert cluster.call("quest_take_back", "orders", "dead") == 1
    assert [(message.body, message.count, message.head) for message in cluster.receive()] == [
        ("new", 1, {}),
        ("a", 1, {}),
    ]


def test_take_back_under_another_policy(cluster: Quest) -> None:
    """A message without tries that comes back to a queue with another target is on its way there."""
    _leaving(cluster, "a")
    cluster.ask("quest_set_attributes", "orders", "deadLetterTarget", "new", "maxReceiveCount", 1)
    assert cluster.call("quest_take_back", "orders", "dead") == 1
    assert cluster.field("orders", "redrive_stopped") is None
    cluster.advance(2000)
    assert cluster.tick()[1] == 1
    assert [item[2] for item in _outbox(cluster)] == [b"new"]


def test_redrive_stops_until_the_policy_changes(cluster: Quest) -> None:
    """After a take-back nothing leaves until somebody sets the policy anew."""
    _leaving(cluster, "a")
    cluster.call("quest_take_back", "orders", "dead")
    cluster.receive()
    cluster.advance(VT)
    cluster.tick(dead_letter_after=0)
    assert cluster.counts() == (1, 0, 0)
    cluster.ask("quest_set_attributes", "orders", "VisibilityTimeout", 1)
    cluster.ask("quest_set_attributes", "orders", "deadLetterTarget", "dead", "maxReceiveCount", 1)
    assert cluster.receive() == []
    assert len(_outbox(cluster)) == 1


def test_own_target_needs_no_transfer(cluster: Quest) -> None:
    """A queue that is its own dead-letter queue is one slot: the message goes to the back at once."""
    cluster.received("a", deadLetterTarget="orders", maxReceiveCount=1)
    cluster.advance(VT)
    assert cluster.bodies() == ["a"]
    assert _outbox(cluster) == []


def test_a_deleted_source_still_hands_on(cluster: Quest) -> None:
    """What was leaving a queue that is deleted wants ticks until it has gone."""
    _leaving(cluster, "a")
    with cluster.listening("quest:alarm") as ear:
        cluster.tick()
        cluster.call("quest_delete_queue", "orders")
        assert ear.heard() == [("quest:alarm", "0 quest:{orders}")]
    assert cluster.read("quest_alarm", "orders") == 0
    assert cluster.tick() == [1000, 1]
    cluster.call("quest_ack", "orders", _outbox(cluster)[0][0])
    assert cluster.read("quest_alarm", "orders") == -1
    with failing("QueueDoesNotExist"):
        cluster.tick()


def test_whole_journey_keeps_order(cluster: Quest) -> None:
    """Many messages taken over in several steps, each step twice, arrive once each and in order."""
    bodies = [f"m{number:03}" for number in range(9)]
    _leaving(cluster, *bodies)
    while items := _outbox(cluster, 3):
        _arrive(cluster, items)
        last = _arrive(cluster, items)
        cluster.call("quest_ack", "orders", last)
        cluster.call("quest_ack", "orders", last)
    assert cluster.bodies(queue="dead") == bodies
