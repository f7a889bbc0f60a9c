"""tasks.lua: move tasks, tick by tick."""

import msgpack
import pytest

from tests.lua.quest import START_MS, VT, Quest, failing


def _task(quest: Quest) -> dict[str, object]:
    [packed, *_] = quest.read("quest_tasks", "dead")
    return dict(msgpack.unpackb(packed))


@pytest.fixture
def dead(one_redis: Quest) -> Quest:
    """Make a queue and its dead-letter queue with five messages."""
    one_redis.create("dead")
    one_redis.create(deadLetterTarget="dead", maxReceiveCount=1)
    one_redis.send(*"abcde")
    one_redis.receive(5, VT)
    one_redis.advance(VT)
    assert one_redis.receive() == []
    assert one_redis.counts("dead") == (5, 0, 0)
    return one_redis


def test_a_rate(dead: Quest) -> None:
    """With a rate the first message moves at once, the others when they are due."""
    dead.call("quest_start_move", "dead", "t", "", 10)
    assert dead.alarm("dead") == VT
    for number in range(1, 5):
        assert dead.tick("dead")[0] == 100
        assert dead.counts() == (number, 0, 0)
        dead.advance(99)
        assert dead.tick("dead")[0] == 1
        dead.advance(1)
    dead.tick("dead")
    task = _task(dead)
    assert task == {
        "id": "t",
        "destination": "",
        "rate": 10,
        "status": "COMPLETED",
        "started_ms": START_MS + VT,
        "to_move": 5,
        "moved": 5,
        "failure": "",
    }


def test_a_late_tick_catches_up(dead: Quest) -> None:
    """A tick that comes late moves all that are due."""
    dead.call("quest_start_move", "dead", "t", "", 10)
    dead.advance(250)
    dead.tick("dead")
    assert _task(dead)["moved"] == 3


def test_one_at_a_time(dead: Quest) -> None:
    """A second task is refused while one runs; the latest ten are remembered."""
    dead.call("quest_start_move", "dead", "t", "", 0)
    with failing("TaskIsRunning"):
        dead.call("quest_start_move", "dead", "u", "", 0)
    for number in range(12):
        dead.tick("dead")
        dead.call("quest_start_move", "dead", f"t{number}", "", 0)
    assert len(dead.read("quest_tasks", "dead")) == 10
    assert _task(dead)["id"] == "t11"


def test_what_is_hidden_stays(dead: Quest) -> None:
    """A task moves what is visible and ends with it."""
    dead.receive(2, 1000, queue="dead")
    dead.call("quest_start_move", "dead", "t", "", 0)
    dead.tick("dead")
    assert (_task(dead)["moved"], _task(dead)["status"]) == (3, "COMPLETED")
    assert dead.counts("dead") == (0, 2, 0)


def test_the_destination_goes_away(dead: Quest) -> None:
    """When a message's source was deleted the task fails, and the message is the first again."""
    dead.call("quest_start_move", "dead", "t", "", 1)
    dead.tick("dead")
    dead.call("quest_delete_queue", "orders")
    dead.advance(1000)
    dead.tick("dead")
    assert _task(dead)["status"] == "FAILED"
    assert _task(dead)["failure"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert dead.bodies(queue="dead") == list("bcde")


def test_cancel(dead: Quest) -> None:
    """A cancelled task moves nothing any more."""
    dead.call("quest_start_move", "dead", "t", "", 1)
    dead.tick("dead")
    with failing("TaskDoesNotExist"):
        dead.call("quest_cancel_move", "dead", "other")
    assert dead.call("quest_cancel_move", "dead", "t") == 1
    dead.advance(5000)
    dead.tick("dead")
    assert dead.counts("dead") == (4, 0, 0)
    with failing("TaskDoesNotExist"):
        dead.call("quest_cancel_move", "dead", "t")


def test_a_deleted_queue_forgets_its_tasks(dead: Quest) -> None:
    """Tasks go with their queue."""
    dead.call("quest_start_move", "dead", "t", "", 1)
    dead.call("quest_delete_queue", "dead")
    assert not dead.redis.exists("quest:{dead}:tasks")


def test_across_slots(cluster: Quest) -> None:
    """In a Cluster a task's messages leave by the outbox, and the task fails when they come back."""
    cluster.create("dead")
    cluster.create("other")
    cluster.send("a", "b", "c", queue="dead")
    cluster.call("quest_start_move", "dead", "t", "other", 1)
    cluster.tick("dead")
    number, incarnation, target, record = cluster.read("quest_outbox", "dead", 10, 0)
    assert target == b"other"
    cluster.call("quest_arrive", "other", incarnation, number, record)
    cluster.call("quest_ack", "dead", number)
    assert cluster.bodies(queue="other") == ["a"]
    cluster.advance(1000)
    assert cluster.tick("dead")[1] == 1
    assert cluster.call("quest_take_back", "dead", "other") == 1
    assert cluster.counts("dead") == (2, 0, 0)
    assert _task(cluster)["status"] == "FAILED"
