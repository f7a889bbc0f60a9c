"""quest.lua: the keys it documents, versions, failures, alarms, and what every function promises by its flags."""

import re
from importlib.resources import files

import pytest
import redis

from questd import source
from tests.lua.functions import OF_THE_LEASE, QUEST, READING, WHEN_FULL, WITHOUT_QUEUE, WRITING
from tests.lua.quest import START_MS, Quest, failing, key_of


def _flags(quest: Quest) -> dict[str, set[str]]:
    [found] = quest.redis.function_list(library="quest")
    functions = found[5] if isinstance(found, list) else found[b"functions"]
    flat = [dict(zip(item[::2], item[1::2], strict=True)) if isinstance(item, list) else item for item in functions]
    return {item[b"name"].decode(): {flag.decode() for flag in item[b"flags"]} for item in flat}


def _documented() -> dict[str, str]:
    """Return the keys of a queue and their types, as the table in quest.lua has them."""
    text = (files("questd") / "lua" / "quest.lua").read_text()
    rows = re.findall(r"^--   (?:quest:\{q\}|…(:\w+)) +(hash|list|zset|set|string) ", text, re.MULTILINE)
    return {f"{key_of('orders')}{suffix}": kind for suffix, kind in rows}


def test_every_function_is_known_here(quest: Quest) -> None:
    """The library registers these functions and no others."""
    assert set(_flags(quest)) == {*WRITING, *READING, *OF_THE_LEASE, *QUEST, "quest_version", "quest_clock"}


def test_flags_say_what_a_full_redis_allows(quest: Quest) -> None:
    """`no-writes` is on all that read only; `allow-oom` on all that make room or move on, and on nothing that adds."""
    flags = _flags(quest)
    assert {name for name in flags if "no-writes" in flags[name]} == {*READING, "quest_holder", "quest_version"}
    assert {name for name in flags if "allow-oom" in flags[name]} == WHEN_FULL


def test_reading_functions_run_read_only(quest: Quest) -> None:
    """Each function without writes can be called by FCALL_RO."""
    quest.create()
    for function, arguments in READING.items():
        quest.read(function, "orders", *arguments)
    quest.redis.fcall_ro("quest_holder", 1, "quest:lease")
    assert quest.redis.fcall_ro("quest_version", 0) == [source.version(), 2]


def test_missing_queue(quest: Quest) -> None:
    """Every other function of a queue fails when there is none, and makes no key."""
    for function, arguments in {**WRITING, **READING}.items():
        if function not in WITHOUT_QUEUE:
            with failing("QueueDoesNotExist"):
                quest.call(function, "nothing", *arguments)
    assert quest.keys() == set()


@pytest.mark.parametrize("layout", ["3", "1", None])
def test_a_queue_of_another_layout(quest: Quest, layout: str | None) -> None:
    """A queue that another version has stored in its own way is refused by every function, and stays as it is."""
    [message] = quest.received("x")
    quest.redis.rpush(f"{key_of('orders')}:purged", "1.0")
    if layout:
        quest.redis.hset(key_of("orders"), "layout", layout)
    else:
        quest.redis.hdel(key_of("orders"), "layout")
    quest.load()  # what it knows of a queue it knows for good
    before = {key: quest.redis.dump(key) for key in quest.keys()}
    values = {"{version}": quest.field("orders", "version"), "{handle}": message.handle}
    for function, arguments in {**WRITING, **READING}.items():
        if function not in {"quest_alarm", "quest_outbox", "quest_ack"}:
            with failing(f"OtherLayout orders {layout or 'none'} 2"):
                quest.call(function, "orders", *(values.get(each, each) for each in arguments))
    for function, arguments in (("sendMessage", ["x"]), ("getMessage", [1]), ("deleteMessage", [message.handle])):
        with failing(f"OtherLayout orders {layout or 'none'} 2"):
            quest.redis.fcall(function, 1, "orders", *arguments)
    assert {key: quest.redis.dump(key) for key in quest.keys()} == before


def test_keys_are_those_documented(quest: Quest) -> None:
    """Whatever happens to a queue, its keys are those of the table in quest.lua, with their types."""
    quest.create("dead")
    quest.create(deadLetterTarget="dead", maxReceiveCount=1)
    quest.call("quest_add_source", "orders", "other")
    quest.send("a", "b", "c")
    quest.send("later", delay_ms=1000)
    quest.call("quest_arrive", "orders", "abc123", 1, quest.receive(1)[0].record)
    quest.change(quest.receive(1, 1000)[0], 0)
    quest.poll(9, process="p1", wait_ms=1000)
    quest.poll(9, process="p1", wait_ms=1000)
    documented = _documented()
    kinds = {key: quest.redis.type(key).decode() for key in quest.keys() if key.startswith("quest:{orders}")}
    assert kinds.items() <= documented.items()
    assert len(kinds) >= 8, "the story is to make nearly all of them"


@pytest.mark.parametrize(
    "function", [name for name, arguments in WRITING.items() if arguments and arguments[0] == "{version}"]
)
def test_other_version_changes_nothing(quest: Quest, function: str) -> None:
    """A call with another version of the queue changes nothing and answers with the queue as it is."""
    quest.create(VisibilityTimeout=7)
    quest.send("a", "b")
    [held] = quest.receive(1)
    known = quest.field("orders", "version")
    quest.ask("quest_set_attributes", "orders", "VisibilityTimeout", 8)
    before = quest.redis.dump("quest:{orders}"), quest.counts()
    arguments = [str(argument).format(version=known, handle=held.handle) for argument in WRITING[function]]
    word, flat = quest.call(function, "orders", *arguments)
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    assert word == b"facts"
    assert fields[b"VisibilityTimeout"] == b"8"
    assert fields[b"version"] == quest.redis.hget("quest:{orders}", "version")
    assert (quest.redis.dump("quest:{orders}"), quest.counts()) == before


def test_failure_is_bare(quest: Quest) -> None:
    """A failure reaches the client as its words alone, without a script's name or line."""
    quest.create(VisibilityTimeout=7)
    with failing("QueueNameExists VisibilityTimeout"):
        quest.create(VisibilityTimeout=8)


def test_error_of_redis_is_kept(quest: Quest) -> None:
    """What Redis itself refuses within a function reaches the client in Redis's words."""
    quest.create()
    quest.redis.set("quest:{orders}:messages", "no hash")
    with pytest.raises(redis.ResponseError, match=r"^WRONGTYPE"):
        quest.send("a")


def test_mistake_of_ours_shows_its_line(quest: Quest) -> None:
    """A mistake in the library itself names the line it is in."""
    quest.redis.rpush("quest:{orders}:outbox", "no item")
    with pytest.raises(redis.ResponseError, match=r"user_function:\d+"):
        quest.read("quest_outbox", "orders", 1, 0)


def test_record_is_binary_safe(quest: Quest) -> None:
    """Head and body are kept byte for byte, with the time of sending."""
    quest.create()
    body = bytes(range(256))
    quest.ask("quest_send", "orders", b"\0" * 16, "", b"\x81\xa1k\xa1v", body, "", "")
    [message] = quest.receive()
    assert message.record == START_MS.to_bytes(6) + b"\0" * 16 + b"\0\0\0\5" + b"\x81\xa1k\xa1v" + body
    assert message.head == {"k": "v"}


def test_large_numbers_are_exact(quest: Quest) -> None:
    """Sequences above 10^14 keep every digit, in the keys and in the handle."""
    quest.create()
    large = 2**53 - 100
    quest.redis.hset("quest:{orders}", "sequence", large)
    assert quest.send("a", "b", "c") == large + 3
    messages = quest.receive(3)
    assert [message.sequence for message in messages] == [large + 1, large + 2, large + 3]
    assert quest.delete(*messages) == ["OK"] * 3
    assert quest.counts() == (0, 0, 0)


def test_alarm_is_published_when_lowered(quest: Quest) -> None:
    """Whoever makes something due earlier than all else says so; what is due later is covered and says nothing."""
    quest.create(MessageRetentionPeriod=60)
    with quest.listening("quest:alarm") as ear:
        quest.send("a")
        assert ear.heard() == [("quest:alarm", "60000 quest:{orders}")]
        quest.send("b")
        assert ear.heard() == []
        quest.receive(1, 500)
        assert ear.heard() == [("quest:alarm", "500 quest:{orders}")]
        quest.receive(1, 900)
        assert ear.heard() == []
        quest.send("c", delay_ms=100)
        assert ear.heard() == [("quest:alarm", "100 quest:{orders}")]
    assert quest.alarm() == 100


def test_publish_refused_by_an_acl(quest: Quest) -> None:
    """A user who may not publish can send, receive and show messages all the same."""
    quest.create()
    quest.poll(process="p1", wait_ms=20_000)
    quest.redis.acl_setuser(
        "mute", enabled=True, nopass=True, commands=["+@all"], keys=["*"], reset_channels=True, reset=True
    )
    try:
        port = quest.redis.connection_pool.connection_kwargs["port"]
        with redis.Redis(port=port, username="mute", protocol=2) as mute:
            other = Quest.__new__(Quest)
            other.redis = mute
            assert other.send("a") == 1
            assert other.change(other.receive()[0], 0) == "OK"
    finally:
        quest.redis.acl_deluser("mute")
