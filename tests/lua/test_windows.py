"""windows.lua: what was sent or received within five minutes is not done twice."""

import pytest

from tests.lua.quest import FIFO, START_MS, VT, Quest, failing

KEY = "quest:{orders.fifo}"


def test_repeated_send(fifo: Quest) -> None:
    """A deduplication id counts once in five minutes, also after its message is gone; the reply names the original."""
    assert fifo.send_fifo("g", "same:a") == [(1, "a")]
    assert fifo.send_fifo("g2", "same:b", "other:c") == [(1, "a"), (2, "c")]
    fifo.delete(*fifo.receive_fifo(), queue=FIFO)
    fifo.advance(299_999)
    assert fifo.send_fifo("g", "same:d") == [(1, "a")]
    assert fifo.bodies_fifo() == []
    fifo.advance(1)
    assert fifo.send_fifo("g", "same:e") == [(3, "e")]


def test_repeated_in_one_batch(fifo: Quest) -> None:
    """Two entries of one batch with one deduplication id make one message (6.3)."""
    assert fifo.send_fifo("g", "same:a", "b", "same:c") == [(1, "a"), (2, "b"), (1, "a")]
    assert fifo.bodies_fifo() == ["a", "b"]


def test_same_attempt_gives_the_same(fifo: Quest) -> None:
    """A receive repeated under its ReceiveRequestAttemptId gives the same messages and handles, hidden anew (6.5)."""
    fifo.send_fifo("g", "1", "2", "3")
    first = fifo.receive_fifo(2, attempt="x")
    fifo.advance(VT - 1)
    assert fifo.receive_fifo(2, attempt="x") == first
    fifo.advance(VT - 1)
    assert fifo.bodies_fifo() == []
    assert fifo.delete(*first, queue=FIFO) == ["OK", "OK"]


def test_attempt_expires(fifo: Quest) -> None:
    """Once the messages are visible again, or after five minutes, the id is a new attempt."""
    fifo.send_fifo("g", "1")
    (first,) = fifo.receive_fifo(1, attempt="x")
    fifo.advance(VT)
    (second,) = fifo.receive_fifo(1, 400_000, attempt="x")
    assert (first.count, second.count) == (1, 2)
    fifo.advance(300_000)
    assert fifo.receive_fifo(1, attempt="x") == []


@pytest.mark.parametrize("undo", ["delete", "change"])
def test_attempt_not_retryable(fifo: Quest, undo: str) -> None:
    """When a message of it was deleted or its visibility changed, an attempt cannot be repeated (2.10, 6.5)."""
    fifo.send_fifo("g", "1", "2")
    one, _ = fifo.receive_fifo(2, attempt="x")
    if undo == "delete":
        fifo.delete(one, queue=FIFO)
    else:
        fifo.change(one, 1000, queue=FIFO)
    with failing("AttemptNotRetryable x"):
        fifo.receive_fifo(2, attempt="x")


def test_an_attempt_that_is_over_is_forgotten(fifo: Quest) -> None:
    """Once a repeated receive began anew, what happens to the earlier one's messages does not matter to the next."""
    fifo.send_fifo("g", "1")
    fifo.receive_fifo(1, attempt="x")
    fifo.advance(VT)
    (later,) = fifo.receive_fifo(1)
    assert fifo.receive_fifo(1, attempt="x") == []
    fifo.delete(later, queue=FIFO)
    assert fifo.receive_fifo(1, attempt="x") == []


def test_windows_of_two_hashes(fifo: Quest) -> None:
    """A window lasts five minutes, in whichever hash it is, and a hash is forgotten when all in it have ended."""
    fifo.send_fifo("g", "1")
    fifo.advance(200_000)
    fifo.send_fifo("g", "2")
    fifo.advance(100_000)
    assert fifo.send_fifo("g", "1") == [(3, "1")]
    assert fifo.redis.exists(f"{KEY}:windows_before")
    fifo.advance(199_999)
    assert fifo.send_fifo("g", "2") == [(2, "2")]
    fifo.advance(1)
    assert fifo.send_fifo("g", "2") == [(4, "2")]
    fifo.advance(100_000)
    fifo.tick(FIFO)
    assert not fifo.redis.exists(f"{KEY}:windows_before")
    assert fifo.send_fifo("g", "2") == [(4, "2")]


def test_windows_are_forgotten(fifo: Quest) -> None:
    """The alarm is there for the last window, and the tick that it brings leaves none."""
    fifo.send_fifo("g", "1")
    for _ in range(7):
        fifo.advance(50_000)
        fifo.send_fifo("g", "2", f"{fifo.clock()}")
    fifo.delete(*fifo.receive_fifo(), queue=FIFO)
    ticks = 0
    while (rest_ms := fifo.tick(FIFO)[0]) >= 0 and ticks < 10:
        fifo.advance(rest_ms)
        ticks += 1
    assert fifo.keys() - {"quest:queues"} == {KEY}
    assert fifo.clock() <= START_MS + 7 * 50_000 + 310_000


def test_windows_without_their_times(fifo: Quest) -> None:
    """A tick that finds windows without times keeps them for as long as they may last, and forgets them then."""
    fifo.send_fifo("g", "1")
    fifo.delete(*fifo.receive_fifo(), queue=FIFO)
    fifo.redis.hdel(f"{KEY}:windows", "")
    fifo.tick(FIFO)
    assert fifo.send_fifo("g", "1") == [(1, "1")]
    fifo.advance(310_000)
    fifo.tick(FIFO)
    assert fifo.keys() - {"quest:queues"} == {KEY}


def test_no_tick_comes_too_early(fifo: Quest) -> None:
    """Each tick says when the next one has work: none is to come again at once, until all is forgotten."""
    for number in range(29):
        fifo.send_fifo("g", str(number))
        fifo.advance(10_000)
    fifo.advance(4_000)  # 294 s after the first: noted shortly before another five minutes begin
    fifo.send_fifo("g", "late:late")
    while messages := fifo.receive_fifo(10):
        fifo.delete(*messages, queue=FIFO)
    waits = []
    while (wait_ms := fifo.tick(FIFO)[0]) >= 0:
        waits.append(wait_ms)
        fifo.advance(wait_ms)
        assert wait_ms > 0, waits
    assert len(waits) <= 3
    assert not fifo.redis.exists(f"{KEY}:windows", f"{KEY}:windows_before")


def test_the_clock_is_put_back(fifo: Quest) -> None:
    """After a clock that was an hour ahead, what is remembered is forgotten in time all the same."""
    fifo.advance(3_600_000)
    fifo.send_fifo("g", "ahead:a")
    fifo.clock("freeze", START_MS)
    for number in range(50):
        fifo.send_fifo("g", str(number))
        fifo.advance(20_000)
    assert fifo.redis.hlen(f"{KEY}:windows") + fifo.redis.hlen(f"{KEY}:windows_before") < 40
