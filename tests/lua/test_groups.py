"""groups.lua: whose turn it is, who wakes, and what a purge leaves."""

import pytest

from tests.lua.quest import FIFO, VT, Quest, failing

KEY = "quest:{orders.fifo}"


def _groups(quest: Quest) -> dict[str, float]:
    """Return the turn of each group that has one."""
    return {name.decode(): turn for name, turn in quest.redis.zrange(f"{KEY}:groups", 0, -1, withscores=True)}


@pytest.mark.parametrize("timeout", [0, 5])
def test_released_group_is_behind(fifo: Quest, timeout: int) -> None:
    """A message made visible again is delivered alone, and its group stands behind the others (6.1.6)."""
    fifo.send_fifo("g1", "a1", "a2")
    a1, _ = fifo.receive_fifo()
    fifo.send_fifo("g2", "b1")
    fifo.change(a1, timeout, queue=FIFO)
    fifo.advance(timeout)
    assert fifo.bodies_fifo(3) == ["b1", "a1"]


def test_group_comes_back(fifo: Quest) -> None:
    """A group without messages is forgotten, and there again with the next one (6.1.10)."""
    fifo.send_fifo("g", "1")
    fifo.delete(*fifo.receive_fifo(), queue=FIFO)
    assert _groups(fifo) == {}
    fifo.send_fifo("g", "2")
    assert fifo.bodies_fifo() == ["2"]


def test_poison_leaves_from_the_head_only(fifo: Quest) -> None:
    """The background task dead-letters what is exhausted and first of its group, one after the other."""
    fifo.create("dead.fifo", FifoQueue="true")
    fifo.ask("quest_set_attributes", FIFO, "deadLetterTarget", "dead.fifo", "maxReceiveCount", 1)
    fifo.send_fifo("g", "1", "2")
    one, _ = fifo.receive_fifo()
    fifo.change(one, 1000, queue=FIFO)
    fifo.advance(VT)
    fifo.tick(FIFO, 0)
    assert fifo.counts(FIFO) == (1, 1, 0)
    fifo.advance(1000)
    fifo.tick(FIFO, 0)
    fifo.tick(FIFO, 0)
    assert fifo.counts(FIFO) == (0, 0, 0)
    assert _groups(fifo) == {}


def test_purge_forgets_all(fifo: Quest) -> None:
    """A purge empties the groups and forgets what was sent; lists of long groups go with the next ticks (6.3)."""
    bodies = [f"{number}" for number in range(50)]
    fifo.send_fifo("g", *bodies)
    fifo.receive_fifo()
    fifo.purge(FIFO)
    assert fifo.counts(FIFO) == (0, 0, 0)
    fifo.send_fifo("g", *bodies)
    assert fifo.bodies_fifo(50) == bodies
    assert len(fifo.redis.keys(f"{KEY}:group:*")) == 2
    fifo.tick(FIFO)
    assert len(fifo.redis.keys(f"{KEY}:group:*")) == 1
    assert not fifo.redis.exists(f"{KEY}:purged")


def test_purge_of_short_groups(fifo: Quest) -> None:
    """Short groups are gone with the purge: nothing is left for the ticks."""
    for number in range(3):
        fifo.send_fifo(f"g{number}", f"m{number}")
    fifo.receive_fifo(1)
    fifo.purge(FIFO)
    assert fifo.keys() - {"quest:queues"} == {KEY}


def test_delete_queue_leaves_nothing(fifo: Quest) -> None:
    """A deleted queue's groups are unlinked by the ticks of its name, whether there is a new queue or not."""
    for number in range(3):
        fifo.send_fifo(f"g{number}", *(f"m{number}-{i}" for i in range(50)))
    fifo.call("quest_delete_queue", FIFO)
    assert fifo.read("quest_alarm", FIFO) == 0
    if not fifo.clustered:
        assert fifo.redis.zrange("quest:remains", 0, -1) == [b"orders.fifo"]
    with failing("QueueDoesNotExist"):
        fifo.tick(FIFO)
    assert fifo.keys() == {f"{KEY}:deleted"}


def test_wakes(fifo: Quest) -> None:
    """A waiting process is woken by a send, and by the delete that frees a group; not by a send to a group in flight."""
    with fifo.listening("quest:wake:p1") as ear:
        fifo.poll(queue=FIFO, process="p1", wait_ms=1000)
        fifo.send_fifo("g", "1")
        assert ear.heard() == [("quest:wake:p1", KEY)]
        (one,) = fifo.receive_fifo()
        fifo.poll(queue=FIFO, process="p1", wait_ms=1000)
        fifo.send_fifo("g", "2")
        assert ear.heard() == []
        fifo.delete(one, queue=FIFO)
        assert ear.heard() == [("quest:wake:p1", KEY)]


def test_many_timeouts_behind_hidden_ones(fifo: Quest) -> None:
    """A receive finds the one free group behind hundreds of timed-out messages that a hidden one blocks."""
    held = []
    for number in range(150):
        fifo.send_fifo(f"g{number}", f"a{number}", f"b{number}")
        held.append(fifo.receive_fifo())
    for first, _ in held:
        fifo.change(first, 60_000, queue=FIFO)
    fifo.send_fifo("free", "last")
    fifo.receive_fifo(1, VT + 1)
    fifo.advance(VT + 1)
    assert fifo.bodies_fifo() == ["last"]
