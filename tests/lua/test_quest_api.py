"""quest_api.lua: sendMessage, getMessage and deleteMessage, as any Redis client calls them."""

import re
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import pytest
import redis

from tests.lua.quest import START_MS, Quest, failing

ITEM = [b"uuid", b"value", b"tries", b"in_flight", b"list", b"handle"]
NOT_IN_FLIGHT = "Message not in flight"


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def lists(request: pytest.FixtureRequest, quest: Quest) -> Iterator[redis.Redis]:
    """Give a client that knows nothing of questd, of either protocol."""
    port = quest.redis.connection_pool.connection_kwargs["port"]
    with redis.Redis(port=port, protocol=request.param) as client:
        yield client


def _send(lists: redis.Redis, *arguments: str | float, name: str = "orders") -> str:
    return bytes(lists.fcall("sendMessage", 1, name, *arguments)).decode()


def _get(lists: redis.Redis, *arguments: str | float, name: str = "orders") -> list[dict[str, Any]]:
    items = lists.fcall("getMessage", 1, name, *arguments)
    assert isinstance(items, list)
    assert all(item[::2] == ITEM for item in items)
    return [{key.decode(): value for key, value in zip(item[::2], item[1::2], strict=True)} for item in items]


def _delete(lists: redis.Redis, handle: bytes, name: str = "orders") -> object:
    return lists.fcall("deleteMessage", 1, name, handle)


def test_story(lists: redis.Redis) -> None:
    """A value sent is got once, with its uuid, and is gone when its handle deletes it."""
    uuid = _send(lists, "hello")
    assert str(UUID(uuid)) == uuid
    assert UUID(uuid).version == 4
    [item] = _get(lists, 10)
    handle = item.pop("handle")
    assert item == {"uuid": uuid.encode(), "value": b"hello", "tries": 0, "in_flight": 1, "list": b"orders"}
    assert _get(lists, 10) == []
    assert _delete(lists, handle) == b"OK"
    assert _get(lists, 10) == []


def test_list_that_is_not_there(quest: Quest, lists: redis.Redis) -> None:
    """Getting from a list that is not there gives nothing and makes none; nothing of it is in flight."""
    assert _get(lists, 1) == []
    with failing(NOT_IN_FLIGHT):
        _delete(lists, b"handle")
    assert quest.keys() == set()


def test_list_is_a_queue(quest: Quest, lists: redis.Redis) -> None:
    """The first send makes a queue with AWS's defaults and five tries; later sends find it."""
    uuids = {_send(lists, "a"), _send(lists, "b")}
    assert len(uuids) == 2
    assert quest.field("orders", "VisibilityTimeout") == "30"
    assert quest.field("orders", "deadLetterTarget") == "orders-dlq"
    assert quest.field("orders", "maxReceiveCount") == "5"
    assert re.fullmatch(r"[0-9a-f]{40}", quest.field("orders", "secret") or "")
    assert quest.create() == 0
    assert quest.bodies() == ["a", "b"]


def test_queue_is_a_list(quest: Quest, lists: redis.Redis) -> None:
    """A queue made otherwise can be used as a list, by its own attributes, and messages with a head are read."""
    quest.create(VisibilityTimeout=1)
    quest.send("a", head=b"\x81\xa1k\xa1v")
    [item] = _get(lists, 1)
    assert (item["uuid"], item["value"]) == (str(UUID(bytes=b"a" + b"." * 15)).encode(), b"a")
    quest.advance(1000)
    assert quest.counts() == (1, 0, 0)
    _send(lists, "b")
    assert quest.field("orders", "deadLetterTarget") is None


def test_fractions_of_seconds(quest: Quest, lists: redis.Redis) -> None:
    """Delay and timeout may be fractions of a second."""
    _send(lists, "a", "0.025")
    quest.advance(24)
    assert _get(lists, 1) == []
    quest.advance(1)
    assert len(_get(lists, 1, "0.02")) == 1
    quest.advance(19)
    assert _get(lists, 1) == []
    quest.advance(1)
    assert _get(lists, 1)[0]["tries"] == 1


def test_default_timeout(quest: Quest, lists: redis.Redis) -> None:
    """Without a timeout a message is hidden for 30 seconds."""
    _send(lists, "a")
    _get(lists, 1)
    quest.advance(29_999)
    assert _get(lists, 1) == []
    quest.advance(1)
    assert len(_get(lists, 1)) == 1


def test_late_delete(quest: Quest, lists: redis.Redis) -> None:
    """A handle deletes while its delivery runs: not after the timeout, not after the next delivery, and not twice."""
    _send(lists, "a")
    first = _get(lists, 1, "0.02")[0]["handle"]
    quest.advance(20)
    with failing(NOT_IN_FLIGHT):
        _delete(lists, first)
    second = _get(lists, 1, "0.02")[0]["handle"]
    with failing(NOT_IN_FLIGHT):
        _delete(lists, first)
    _delete(lists, second)
    with failing(NOT_IN_FLIGHT):
        _delete(lists, second)
    with failing(NOT_IN_FLIGHT):
        _delete(lists, b"garbage")
    assert quest.counts() == (0, 0, 0)


def test_count(lists: redis.Redis) -> None:
    """A getMessage gives as many as asked for, in order, and fewer when there are fewer."""
    for value in ("a", "b", "c"):
        _send(lists, value)
    assert [item["value"] for item in _get(lists, 2)] == [b"a", b"b"]
    assert [item["value"] for item in _get(lists, 100)] == [b"c"]


@pytest.mark.parametrize("seconds", [0, 1])
def test_many_at_once(quest: Quest, lists: redis.Redis, seconds: int) -> None:
    """One getMessage gives 100 messages that have timed out, each once, without a background task."""
    quest.create()
    for _ in range(3):
        quest.send(*["a"] * 100)
    while quest.receive(200):
        pass
    quest.advance(1000)
    items = _get(lists, 100, seconds)
    assert len({item["handle"] for item in items}) == 100
    assert quest.counts() == ((300, 0, 0) if seconds == 0 else (200, 100, 0))


def test_timeout_0(lists: redis.Redis) -> None:
    """With timeout 0 a message stays visible, is not in flight, and its tries are counted."""
    _send(lists, "a")
    assert [(item["tries"], item["in_flight"]) for item in _get(lists, 10, 0)] == [(0, 0)]
    [item] = _get(lists, 10, 0)
    assert item["tries"] == 1
    with failing(NOT_IN_FLIGHT):
        _delete(lists, item["handle"])


def _try_five_times(quest: Quest, lists: redis.Redis) -> None:
    for tries in range(5):
        assert [item["tries"] for item in _get(lists, 1, "0.02")] == [tries]
        quest.advance(20)
    assert _get(lists, 1) == []


def test_five_tries(one_redis: Quest) -> None:
    """After five tries a message is in the list `<list>-dlq`, with its uuid and its tries; its tries there do not end."""
    uuid = _send(one_redis.redis, "a")
    assert one_redis.redis.smembers("quest:{orders-dlq}:sources") == {b"orders"}
    _try_five_times(one_redis, one_redis.redis)
    for tries in range(5, 12):
        [item] = _get(one_redis.redis, 1, "0.02", name="orders-dlq")
        assert (item["uuid"], item["value"], item["tries"]) == (uuid.encode(), b"a", tries)
        assert item["list"] == b"orders-dlq"
        one_redis.advance(20)


def test_five_tries_in_a_cluster(cluster: Quest) -> None:
    """In a cluster the message of five tries waits in the outbox for a questd; the send makes its own list alone."""
    _send(cluster.redis, "a")
    assert not {key for key in cluster.keys() if "dlq" in key}
    _try_five_times(cluster, cluster.redis)
    [number, _, target, _] = cluster.read("quest_outbox", "orders", 10, 0)
    assert target == b"orders-dlq"
    assert int(number) > START_MS - 10**12


def test_dead_letter_list_that_is_there(one_redis: Quest) -> None:
    """A list's dead-letter list that is there already is left as it is."""
    one_redis.create("orders-dlq", VisibilityTimeout=7)
    _send(one_redis.redis, "a")
    assert one_redis.field("orders-dlq", "VisibilityTimeout") == "7"


def test_poison_does_not_hide_what_follows(one_redis: Quest) -> None:
    """A getMessage that finds 20 exhausted messages moves them and reaches the living one behind them."""
    one_redis.create("orders-dlq")
    one_redis.create(deadLetterTarget="orders-dlq", maxReceiveCount=1)
    one_redis.send(*["a"] * 20)
    one_redis.receive(20)
    one_redis.advance(20)
    one_redis.tick()
    one_redis.send("b")
    assert [item["value"] for item in _get(one_redis.redis, 1)] == [b"b"]
    assert one_redis.counts("orders-dlq") == (20, 0, 0)


def test_wakes_the_next(quest: Quest, lists: redis.Redis) -> None:
    """A getMessage that leaves messages behind wakes who waits for them."""
    quest.create()
    quest.poll(process="p1", wait_ms=20_000)
    _send(lists, "a")
    _send(lists, "b")
    with quest.listening("quest:wake:p1") as ear:
        quest.redis.zadd("quest:{orders}:waiting", {"p1": 2**45})
        quest.redis.hset("quest:{orders}", "waits", 1)
        _get(lists, 1)
        assert ear.heard() == [("quest:wake:p1", "quest:{orders}")]


SEND_USAGE = "usage: FCALL sendMessage 1 <list> <value> [seconds before it is visible]"
GET_USAGE = "usage: FCALL getMessage 1 <list> <count> [seconds to process them]"
DELETE_USAGE = "usage: FCALL deleteMessage 1 <list> <handle>"
NAME_RULE = "a list name is 1 to 80 letters, digits, hyphens or underscores"
COUNT_RULE = "the count must be a whole number from 1 to 100"
DELAY_RULE = "the delay must be a number of seconds from 0 to 900"
TIMEOUT_RULE = "the timeout must be a number of seconds from 0 to 43200"

MISTAKES: list[tuple[str, Sequence[str], Sequence[str | float], str]] = [
    ("sendMessage", ["orders"], [], SEND_USAGE),
    ("sendMessage", ["orders"], ["a", 1, 2], SEND_USAGE),
    ("sendMessage", [], ["orders", "a"], SEND_USAGE),
    ("sendMessage", ["orders", "more"], ["a"], SEND_USAGE),
    ("sendMessage", ["orders"], [""], "a value is 1 to 1048576 bytes"),
    ("sendMessage", ["orders"], ["x" * 1_048_577], "a value is 1 to 1048576 bytes"),
    *(("sendMessage", ["orders"], ["a", delay], DELAY_RULE) for delay in (-1, 901, 1e300, "nan", "inf", "x", "")),
    *(("sendMessage", [name], ["a"], NAME_RULE) for name in ("a{b}c", "{", "", "a b", "a.fifo", "é", "x" * 81, "a\0")),
    (
        "sendMessage",
        ["x" * 77],
        ["a"],
        "a list name is at most 76 characters: its dead-letter queue is named <list>-dlq",
    ),
    ("getMessage", ["orders"], [], GET_USAGE),
    ("getMessage", ["orders"], [1, 2, 3], GET_USAGE),
    ("getMessage", [], ["orders", 1], GET_USAGE),
    *(("getMessage", ["orders"], [count], COUNT_RULE) for count in (0, -1, 101, 1.5, "x", "", "nan", "inf")),
    *(("getMessage", ["orders"], [1, seconds], TIMEOUT_RULE) for seconds in (-1, 43_201, 1e300, "x", "nan")),
    ("getMessage", ["a{b}c"], [1], NAME_RULE),
    ("deleteMessage", ["orders"], [], DELETE_USAGE),
    ("deleteMessage", ["orders"], ["a", "b"], DELETE_USAGE),
    ("deleteMessage", [], ["orders"], DELETE_USAGE),
    ("deleteMessage", ["a{b}c"], ["handle"], NAME_RULE),
]


def _id(value: object) -> str | None:
    return f"{value!r}"[:40] if isinstance(value, list) else None


@pytest.mark.parametrize("there", [False, True], ids=["no list", "list"])
@pytest.mark.parametrize(("function", "keys", "arguments", "text"), MISTAKES, ids=_id)
def test_mistakes(
    default: Quest, function: str, keys: list[str], arguments: list[str | float], text: str, *, there: bool
) -> None:
    """A call that makes no sense fails with a clear text and changes nothing, whether or not the list is there."""
    if there:
        default.create()
    before = default.keys()
    with failing(text):
        default.redis.fcall(function, len(keys), *keys, *arguments)
    assert default.keys() == before


def test_mistakes_everywhere(quest: Quest) -> None:
    """Every server gives a mistake's text bare, a cluster too."""
    with failing(NAME_RULE):
        quest.redis.fcall("sendMessage", 1, "a{b}c", "value")
    with failing(COUNT_RULE):
        quest.redis.fcall("getMessage", 1, "orders", "0")
    assert quest.keys() == set()


def test_longest_name(quest: Quest) -> None:
    """A list name of 76 characters has room for its dead-letter list's."""
    assert _send(quest.redis, "a", name="x" * 76)


def test_largest_value(quest: Quest) -> None:
    """A value of 1 MiB of any bytes comes back as it was."""
    value = bytes(range(256)) * 4096
    quest.redis.fcall("sendMessage", 1, "orders", value)
    assert _get(quest.redis, 1)[0]["value"] == value
