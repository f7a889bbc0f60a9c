"""orders.lua: groups of any length, in the hash of orders as far as they are short and in a list beyond."""

from tests.lua.quest import FIFO, Quest

KEY = "quest:{orders.fifo}"
BODIES = [f"m{number:02}" for number in range(60)]


def _order(quest: Quest) -> bytes:
    """Return what the hash has of the group."""
    return bytes(quest.redis.hget(f"{KEY}:order", "g") or b"")


def _list(quest: Quest) -> int:
    """Return the length of the group's list."""
    [*keys] = quest.redis.keys(f"{KEY}:group:*")
    return quest.redis.llen(keys[0]) if keys else 0


def _is_long(quest: Quest) -> bool:
    """Tell whether `long` names the group."""
    return bool(quest.redis.zrange(f"{KEY}:long", 0, -1) == [b"g"])


def test_short_group(fifo: Quest) -> None:
    """A group of few messages needs no key of its own: its order is a text."""
    fifo.send_fifo("g", "1")
    fifo.send_fifo("g", "2", "3")
    assert _order(fifo) == b"1 2 3"
    assert not fifo.redis.keys(f"{KEY}:group:*")
    assert not _is_long(fifo)


def test_long_group(fifo: Quest) -> None:
    """A group of many messages goes on in a list, is received in order, and leaves nothing when all are deleted."""
    for start in range(0, 60, 7):
        fifo.send_fifo("g", *BODIES[start : start + 7])
    assert _order(fifo).endswith(b" +")
    assert len(_order(fifo)) < 60
    assert _list(fifo) > 30
    assert _is_long(fifo)
    received = []
    for most in (1, 2, 40, 10, 10):
        messages = fifo.receive_fifo(most)
        received += [message.body for message in messages]
        assert fifo.delete(*messages, queue=FIFO) == ["OK"] * len(messages)
    assert received == BODIES
    assert fifo.keys() - {"quest:queues"} == {KEY, f"{KEY}:windows"}


def test_whole_group_in_one_call(fifo: Quest) -> None:
    """A long group that comes by one call and goes by one call is as good."""
    fifo.send_fifo("g", *BODIES)
    messages = fifo.receive_fifo(60)
    assert [message.body for message in messages] == BODIES
    assert fifo.delete(*messages, queue=FIFO) == ["OK"] * 60
    assert fifo.keys() - {"quest:queues"} == {KEY, f"{KEY}:windows"}


def test_delete_in_the_middle(fifo: Quest) -> None:
    """Messages leave a long group wherever they are, and the rest stays in order."""
    fifo.send_fifo("g", *BODIES)
    messages = fifo.receive_fifo(60)
    gone = messages[3:5] + messages[30:33] + messages[59:]
    assert fifo.delete(*reversed(gone), queue=FIFO) == ["OK"] * 6
    fifo.advance(1000)
    left = [message.body for message in messages if message not in gone]
    assert fifo.bodies_fifo(100) == left


def test_list_is_used_up(fifo: Quest) -> None:
    """When what the order has is gone it takes more from the list, and is short again at the end."""
    fifo.send_fifo("g", *BODIES)
    before = _list(fifo)
    while _is_long(fifo):
        fifo.delete(*fifo.receive_fifo(1), queue=FIFO)
    assert before > 30
    assert _list(fifo) == 0
    assert 0 < _order(fifo).count(b" ") < 10
    fifo.send_fifo("g", "last")
    assert fifo.bodies_fifo(100)[-1] == "last"


def test_many_come_back_in_front(cluster: Quest) -> None:
    """Dead letters whose target is gone stand before the others of their group again, in order, however many they are."""
    cluster.create(FIFO, FifoQueue="true", deadLetterTarget="dead.fifo", maxReceiveCount=1)
    cluster.send_fifo("g", *BODIES)
    cluster.receive_fifo(40, 5)
    cluster.advance(5)
    while cluster.redis.llen(f"{KEY}:outbox") < 40:
        cluster.tick(FIFO, 0)
    while cluster.call("quest_take_back", FIFO, "dead.fifo"):
        pass
    assert len(_order(cluster)) < 100
    assert cluster.bodies_fifo(100) == BODIES
