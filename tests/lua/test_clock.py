"""clock.lua: the clock that tests move."""

import time

import pytest
import redis

from questd import source
from tests.lua.quest import START_MS, Quest


def test_frozen_clock_stands(quest: Quest) -> None:
    """A frozen clock stands where it was put, and advances by what it is told."""
    assert quest.clock() == START_MS
    quest.advance(5)
    assert quest.clock() == quest.clock() == START_MS + 5


def test_released_clock_is_the_servers(quest: Quest) -> None:
    """A released clock is the server's, within what a call takes."""
    quest.clock("release")
    assert abs(quest.clock() - time.time() * 1000) < 5000


def test_running_clock_keeps_its_distance(quest: Quest) -> None:
    """A clock that is not frozen goes on running when it was advanced."""
    quest.clock("release")
    quest.advance(3_600_000)
    assert 3_590_000 < quest.clock() - time.time() * 1000 < 3_610_000


def test_moving_asks_to_read_all_alarms(quest: Quest) -> None:
    """Whoever moves the clock tells the background task, which then reads every alarm again; reading it says nothing."""
    with quest.listening("quest:alarm") as ear:
        quest.clock()
        quest.advance(1)
        assert ear.heard() == [("quest:alarm", "0 *")]


def test_clock_outlives_a_load(one_redis: Quest) -> None:
    """The clock stays where it was when the library is loaded anew, as after a restart of the server."""
    one_redis.load()
    assert one_redis.clock() == START_MS
    one_redis.clock("release")
    one_redis.advance(3_600_000)
    one_redis.load()
    assert one_redis.clock() > time.time() * 1000 + 3_590_000


def test_queue_recalls_the_clock(one_redis: Quest) -> None:
    """A function of a queue that is called first after a load sees the moved clock."""
    one_redis.load()
    one_redis.create()
    assert one_redis.field("orders", "created") == str(START_MS)


def test_cluster_function_survives_a_clock_elsewhere(cluster: Quest) -> None:
    """In a cluster the kept clock is in a slot of its own: a queue's function cannot read it and goes on."""
    cluster.load()
    assert cluster.create() == 1


def test_long_poll_keeps_the_servers_time(quest: Quest) -> None:
    """Moving the clock does not end a wait: processes wait by the server's own time."""
    quest.create()
    quest.poll(process="p1", wait_ms=20_000)
    [(_, until_ms)] = quest.redis.zrange("quest:{orders}:waiting", 0, -1, withscores=True)
    assert abs(until_ms - time.time() * 1000 - 20_000) < 5000


def test_no_clock_outside_test_mode(default: Quest) -> None:
    """Without test mode there is no function that moves the clock."""
    default.redis.function_load(source.text(test_mode=False), replace=True)
    try:
        with pytest.raises(redis.ResponseError, match="Function not found"):
            default.clock("freeze", 1)
    finally:
        default.load()
