"""No call does more than so much, however much there is to do: counted in entries and commands, not in time."""

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
import redis

from questd import source
from tests.lua.quest import FIFO, VT, Message, Quest

MIB = 1_048_576

LIMITS = {
    name: int(value)
    for name, value in re.findall(r"^local ([A-Z_]+) = (\d+)\b", source.text(test_mode=False), re.MULTILINE)
}
"""The library's limits, as it names them: tests/bench/cost.py says what they are worth in µs."""

WORK, TICK, MOVE = LIMITS["WORK_LIMIT"], LIMITS["TICK_LIMIT"], LIMITS["MOVE_LIMIT"]
MOVES = WORK // 40
"""Dead letters that a receive moves."""


def _exhaust(quest: Quest, number: int, body: str = "a") -> None:
    """Fill `orders` with exhausted messages that have been promoted."""
    quest.create("dead")
    quest.create(deadLetterTarget="dead", maxReceiveCount=1)
    for _ in range(number):
        quest.send(body)
    while quest.receive(100):
        pass
    quest.advance(VT)
    while quest.tick()[0] == 0:
        pass


def _commands(quest: Quest, queue: str, most: int) -> dict[str, int]:
    """Return how often a receive calls which command of Redis."""
    version = quest.field(queue, "version") or ""
    return _commands_of(
        quest, lambda: quest.call("quest_receive", queue, version, most, 60_000, "", 10**6, "", "", 0, 0, 1)
    )


def _commands_of(quest: Quest, call: Callable[[], object]) -> dict[str, int]:
    """Return how often a call calls which command of Redis, all but FCALL itself."""
    quest.redis.config_resetstat()
    call()
    stats = quest.redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): of["calls"] for name, of in stats.items() if "fcall" not in name}


@pytest.mark.parametrize("most", [1, 10])
def test_receive_from_a_large_queue(default: Quest, most: int) -> None:
    """A receive takes the same commands of Redis from a queue of thousands, many in flight, as from one of twenty."""
    default.create()
    for _ in range(50):
        default.send(*["a"] * 100)
    for _ in range(10):
        default.receive(100, 60_000)
    default.create("small")
    default.send(*["a"] * 20, queue="small")
    default.receive(1, 60_000, queue="small")
    assert _commands(default, "orders", most) == _commands(default, "small", most)


def test_ten_groups_are_read_and_left_together(default: Quest) -> None:
    """A FIFO receive of ten groups takes the commands of one, and so does a delete that empties ten."""
    default.create(FIFO, FifoQueue="true")
    for number in range(10):
        default.send_fifo(f"g{number}", f"{number}")
    held: list[Message] = []
    receive = _commands_of(default, lambda: held.extend(default.receive_fifo(10, 60_000)))
    assert len(held) == 10
    assert (receive["hmget"], receive.get("lrange"), receive["zadd"], receive["zrem"]) == (1 + 3, None, 1, 1)
    delete = _commands_of(default, lambda: default.delete(*held, queue=FIFO))
    read, written = ("hmget", "zmscore", "exists"), ("hdel", "zrem")
    assert [delete[name] for name in (*read, *written)] == [3, 1, 1, 3, 1]
    assert not delete.keys() & {"lrem", "lindex", "zscore", "zadd"}
    assert default.keys() == {f"quest:{{{FIFO}}}{part}" for part in ("", ":windows")} | {"quest:queues"}


def test_windows_cost_a_send_three_commands(default: Quest) -> None:
    """A FIFO send reads two hashes of windows and writes one, also when others have ended; once in a while it notes the time."""
    default.create(FIFO, FifoQueue="true")
    default.send_fifo("g", "a")
    usual = _commands_of(default, lambda: default.send_fifo("g", "b"))
    assert (usual["hmget"], usual["hset"]) == (1 + 2 + 1, 3)
    default.advance(299_999)
    default.send_fifo("g", "c")
    default.advance(1)
    ended = _commands_of(default, lambda: default.send_fifo("g", "d"))
    assert ended == usual | {"hget": usual["hget"] + 1, "unlink": 1, "rename": 1, "hset": 4}
    assert _commands_of(default, lambda: default.send_fifo("g", "e")) == usual


def test_messages_in_flight_are_counted_once_a_second(default: Quest) -> None:
    """A receive counts what is in flight when it has not done so for a second, or when there may be too many."""
    default.create()
    default.send(*["a"] * 9)
    version = default.field("orders", "version") or ""

    def counts(limit: int) -> bool:
        arguments = (1, 60_000, "", limit, "", "", 0, 0, 1)
        return "zcard" in _commands_of(default, lambda: default.call("quest_receive", "orders", version, *arguments))

    assert [counts(4) for _ in range(4)] == [True, False, False, False]
    with pytest.raises(redis.ResponseError, match="TooManyInFlight"):
        counts(4)
    assert not counts(9)
    default.advance(1000)
    assert counts(9)


def test_receive_among_dead_entries(default: Quest) -> None:
    """A receive drops at most two work limits and a few of dead entries, and goes on where it stopped."""
    default.create()
    default.redis.rpush("quest:{orders}:visible", *range(10**6, 10**6 + 10_000))
    default.send("alive")
    lengths = [default.entries()]
    while lengths[-1] > 0:
        default.poll(10)
        lengths.append(default.entries())
    dropped = [before - after for before, after in pairwise(lengths)]
    assert max(dropped) <= 2 * WORK + 20
    assert min(dropped[:-1]) >= WORK


def test_dead_entries_without_messages(default: Quest) -> None:
    """Without any message all entries are dead, and one receive drops them at once."""
    default.create()
    default.redis.rpush("quest:{orders}:visible", *range(1, 10_001))
    assert default.poll()[1] == 0
    assert default.entries() == 0


def test_receive_among_hidden_entries(default: Quest) -> None:
    """A receive looks at few entries of hidden messages, not at all of them."""
    default.create()
    default.send(*["a"] * 400)
    held = default.receive(400)
    default.advance(VT)
    while default.tick()[0] == 0:
        pass
    for message in held:
        default.change(message, 60_000)
    assert default.poll()[1:] == [1]
    assert 400 - WORK // 10 - 10 <= default.entries() <= 400 - WORK // 10


@pytest.mark.parametrize("most", [10, 200])
def test_receive_promotes_some(default: Quest, most: int) -> None:
    """A receive makes at most a hundred timed-out messages visible, or as many as it may give."""
    default.create()
    for _ in range(5):
        default.send(*["a"] * 100)
    default.receive(500)
    default.advance(VT)
    assert len(default.poll(most)) == 2 + 4 * most
    assert default.entries() == max(most, 100) - most


def test_receive_moves_some(one_redis: Quest) -> None:
    """A receive moves few messages to the dead-letter queue and says that there is more."""
    _exhaust(one_redis, 100)
    assert one_redis.poll(10)[1:] == [1]
    assert MOVES <= one_redis.counts("dead")[0] <= MOVES + 10


def test_get_message_moves_some(one_redis: Quest) -> None:
    """A getMessage moves as many in each of its rounds, which are few."""
    _exhaust(one_redis, 100)
    assert one_redis.redis.fcall("getMessage", 1, "orders", 100) == []
    rounds = LIMITS["ROUNDS"]
    assert rounds * MOVES <= one_redis.counts("dead")[0] <= rounds * (MOVES + 10)


def test_tick_moves_some(one_redis: Quest) -> None:
    """A tick moves so many messages to the dead-letter queue and wants the next at once."""
    _exhaust(one_redis, MOVE + 1)
    one_redis.advance(2000)
    assert one_redis.tick() == [0, 0]
    assert one_redis.counts("dead") == (MOVE, 0, 0)
    assert one_redis.tick() == [-1, 0]
    assert one_redis.counts("dead") == (MOVE + 1, 0, 0)


def test_tick_moves_few_large_ones(one_redis: Quest) -> None:
    """Of messages of 1 MiB a tick moves one."""
    _exhaust(one_redis, 3, "x" * MIB)
    one_redis.advance(2000)
    for moved in (1, 2, 3):
        one_redis.tick()
        assert one_redis.counts("dead") == (moved, 0, 0)


def test_tick_expires_some(default: Quest) -> None:
    """A tick forgets so many messages past their retention period, and wants the next at once."""
    default.create(MessageRetentionPeriod=60)
    default.send(*["a"] * TICK)
    default.send(*["a"] * (TICK + 1))
    default.advance(60_000)
    assert default.tick() == [0, 0]
    assert default.tick() == [0, 0]
    assert default.counts() == (1, 0, 0)
    assert default.tick() == [-1, 0]
    assert default.counts() == (0, 0, 0)


def test_tick_expires_few_large_ones(default: Quest) -> None:
    """Of messages of 1 MiB a tick forgets one."""
    default.create(MessageRetentionPeriod=60)
    default.send(*["x" * MIB] * 3)
    default.advance(60_000)
    for left in (2, 1, 0):
        default.tick()
        assert default.counts() == (left, 0, 0)


def test_tick_expires_some_arrivals(default: Quest) -> None:
    """A tick forgets so many dead letters past their retention period, and wants the next at once."""
    default.create(MessageRetentionPeriod=60)
    arrivals = [part for number in range(1, TICK + 2) for part in (number, b"\0" * 26)]
    default.call("quest_arrive", "orders", "abc123", *arrivals)
    default.redis.hset("quest:{orders}", "oldest", TICK + 2)  # so that only their own order finds them
    assert default.tick() == [0, 0]
    assert default.counts() == (1, 0, 0)
    default.tick()
    assert default.counts() == (0, 0, 0)


def test_oldest_steps_over_some(default: Quest) -> None:
    """A tick steps over so many sequences of deleted messages, and comes again in a while."""
    default.create()
    default.send(*["a"] * TICK)
    default.send(*["a"] * TICK)
    default.send("alive")
    default.delete(*default.receive(TICK), *default.receive(TICK))
    assert default.tick() == [LIMITS["REST_MS"], 0]
    assert default.field("orders", "oldest") == str(TICK + 1)
