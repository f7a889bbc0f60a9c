"""arguments.lua: whatever arguments a function gets, its failure is told in plain words, and nothing has changed."""

import random
import re
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import redis

from tests import fuzz
from tests.fuzz import TIMES
from tests.lua.functions import READING, WRITING
from tests.lua.quest import FIFO, START_MS, Quest, key_of

Argument = str | bytes | int | float

NUMBERS = (
    "",
    "0",
    "-1",
    "1.5",
    "nan",
    "-nan",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e15",
    "9" * 30,
    "0x10",
    " 1",
    "-0",
    "x",
)
ODD: tuple[Argument, ...] = (
    *("never", "OK", "'", "]]", "%s%d%n", "{x}", "quest:{orders}", "quest:{other}:messages", "a b", "a\r\nb", "\0", "\xff"),
    *(b"\xff\xfe", b"\xc1", b"\x91" * 5000, b"\xdf\xff\xff\xff\xff", b"\0" * 16, b"\0" * 25, b"\0" * 26, b"\xff" * 40),
    *(b"\0" * 22 + b"\0\0\0\1\xc1", b"\0" * 22 + b"\0\0\0\3\x91\xc0\xc0body", "x" * 100_000),
    *("version", "sequence", "secret", "deadLetterTarget", "maxReceiveCount", "FifoQueue", "DelaySeconds", "advance", "freeze"),
)  # fmt: skip
"""Arguments that make no sense, or another one than they were meant to."""

OTHERS: dict[str, list[Any]] = {
    "quest_clock": ["advance", 1],
    "quest_version": [],
    "quest_lease": ["p1", 1000],
    "quest_holder": [],
    "quest_grants": [],
    "sendMessage": ["value", "1"],
    "getMessage": ["1", "0.02"],
    "deleteMessage": ["{handle}"],
}
QUEUES = ("orders", FIFO, "fair", "dead")
KEYS = {"quest_lease": "quest:lease", "quest_holder": "quest:lease", "quest_grants": "quest:lease:grants"}
EVERY = {**WRITING, **READING, **OTHERS}

NOT_PLAIN = re.compile(rb"user_(function|script)|attempt to|bad argument|stack|too many|line \d|\n.*\n|nil\b")
"""What the failure of a program looks like."""


DIGEST = """
local digest = ''
local keys = redis.call('KEYS', '*')
table.sort(keys)
for _, key in ipairs(keys) do digest = redis.sha1hex(digest .. key .. redis.call('DUMP', key)) end
return digest
"""
"""All that a Redis holds, in a few letters."""


class Story:
    """A Redis with queues of each kind in which there is something of everything."""

    def __init__(self, quest: Quest) -> None:
        self.quest = quest
        self.handles: dict[str, str] = {}
        self._digest = quest.redis.register_script(DIGEST)
        quest.reset()
        self._make()
        self._kept = [(key, quest.redis.dump(key)) for key in quest.redis.keys("*")]
        self.begin()

    def begin(self) -> None:
        """Begin again."""
        with self.quest.redis.pipeline() as pipeline:
            pipeline.flushall()
            for key, dump in self._kept:
                pipeline.restore(key, 0, dump)
            pipeline.fcall("quest_clock", 0, "freeze", START_MS)
            pipeline.execute()

    def _make(self) -> None:
        quest = self.quest
        quest.create("dead")
        quest.create("orders", deadLetterTarget="dead", maxReceiveCount=3)
        quest.create(FIFO, FifoQueue="true")
        quest.create("fair")
        quest.send("a", "b", "c")
        quest.send("later", delay_ms=1000)
        quest.ask("quest_send", "fair", b"0" * 16, "", b"\x81\xaeMessageGroupId\xa1g", "body", "g", "")
        quest.send_fifo("g", "1", "2")
        quest.send_fifo("h", "3")
        for queue in ("orders", FIFO, "fair"):
            self.handles[queue] = quest.receive(1, 60_000, queue=queue)[0].handle
        quest.poll(9, queue="dead", process="p1", wait_ms=1000)

    def call(self, function: str, keys: list[Argument], arguments: list[Argument]) -> redis.ResponseError | None:
        """Call a function; the error, if it was one."""
        try:
            self.quest.redis.fcall(function, len(keys), *keys, *arguments)
        except redis.ResponseError as error:
            return error
        return None

    def valid(self, function: str, queue: str) -> tuple[list[Argument], list[Argument]]:
        """Return keys and arguments with which a function does its work."""
        known = {"version": self.quest.field(queue, "version") or "", "handle": self.handles.get(queue, "")}
        arguments = [each.format(**known) if isinstance(each, str) else each for each in EVERY[function]]
        if function == "quest_send" and queue == FIFO:
            arguments[3:] = [b"\x81\xaeMessageGroupId\xa1g", "body", "g", "digest"]
        if function in ("quest_version", "quest_clock"):
            return [], arguments
        key = queue if function in OTHERS and function not in KEYS else key_of(queue)
        return [KEYS.get(function, key)], arguments

    def check(self, function: str, keys: list[Argument], arguments: list[Argument]) -> bool:
        """Call a function with anything; say whether it was refused, which must be in plain words and leave no trace."""
        before = self._digest()
        error = self.call(function, keys, arguments)
        if error:
            self.check_plain(error, function, keys, arguments)
            assert self._digest() == before, (function, keys, arguments, str(error))
        return error is not None

    def check_plain(self, error: redis.ResponseError | None, *of: object) -> None:
        """See that an error is in plain words."""
        assert not error or not NOT_PLAIN.search(str(error).encode()), (*of, str(error))

    def go_on(self, *after: object) -> None:
        """See that the queues still work: whatever was taken is given, moved, described and forgotten again."""
        for _ in range(2):
            for queue in QUEUES if TIMES > 1 else QUEUES[:2]:
                version = self.quest.field(queue, "version") or ""
                calls: dict[str, list[Argument]] = {
                    "quest_attributes": [],
                    "quest_receive": [version, 10, 10, "", 10**6, "", "", 0, 0, 1],
                    "quest_tick": [0],
                }
                for function, arguments in calls.items():
                    self.check_plain(self.call(function, [key_of(queue)], arguments), function, queue, "after", *after)
                self.check_plain(self.call("getMessage", [queue], [10]), "getMessage", queue, "after", *after)
            self.call("quest_clock", [], ["advance", 60_000])


def mutations(chance: random.Random, arguments: list[Argument]) -> Iterator[list[Argument]]:
    """Yield arguments with one of them, or their number, changed."""
    for place in range(len(arguments)):
        numbers = NUMBERS if isinstance(arguments[place], int) else chance.sample(NUMBERS, 2)
        for odd in (*numbers, *chance.sample(ODD, 3)):
            yield [*arguments[:place], odd, *arguments[place + 1 :]]
        yield [*arguments[:place], *arguments[place + 1 :]]
    yield [*arguments, chance.choice(ODD)]
    yield [*arguments, *arguments[1:], chance.choice(ODD)]


@pytest.mark.parametrize("function", sorted(EVERY))
def test_arguments_that_are_wrong(default: Quest, function: str) -> None:
    """A function with one wrong argument, or one too many or few, works, or fails in plain words and changes nothing."""
    story = Story(default)
    for turn in range(TIMES):
        chance = fuzz.chance(f"{function} {turn}")
        for queue in ("orders", FIFO, "fair"):
            keys, arguments = story.valid(function, queue)
            for wrong in mutations(chance, arguments):
                if not story.check(function, keys, wrong):
                    story.go_on(function, keys, wrong)
                    story.begin()


@pytest.mark.parametrize("function", sorted(EVERY))
def test_keys_that_are_wrong(default: Quest, function: str) -> None:
    """A function that gets no key, two, or one that is none of its own works, or fails and changes nothing."""
    story = Story(default)
    _, arguments = story.valid(function, "orders")
    for odd in (*ODD, *("quest:queues", "quest:{dead}:waiting", "quest:lease", "quest:{orders", "orders}", "quest:{}")):
        if not story.check(function, [odd], arguments):
            story.begin()
    assert story.check(function, ["a", "b"], arguments)


@pytest.mark.parametrize("function", sorted(EVERY))
def test_very_many_arguments(default: Quest, function: str) -> None:
    """A function that gets more arguments than Lua can unpack says so, and changes nothing."""
    story = Story(default)
    keys, arguments = story.valid(function, "orders")
    for count in (4_000, 9_000, 100_000):
        if not story.check(function, keys, [*arguments, *(["x"] * count)]):
            story.begin()


@pytest.mark.parametrize("function", sorted(EVERY))
def test_chance_arguments(default: Quest, function: str) -> None:
    """A function that gets any number of anything works, or fails in plain words and changes nothing."""
    story = Story(default)
    chance = fuzz.chance(function)
    for _ in range(10 * TIMES):
        keys = [chance.choice((*ODD, key_of("orders"), "orders")) for _ in range(chance.choice((0, 1, 1, 1, 2)))]
        arguments = [chance.choice((*NUMBERS, *ODD)) for _ in range(chance.randrange(12))]
        if not story.check(function, keys, arguments):
            story.go_on(function, keys, arguments)
            story.begin()


@pytest.mark.parametrize("function", ["quest_lease", "quest_holder", "quest_grants"])
@pytest.mark.parametrize("key", ["quest:{orders}", "quest:{orders}:deleted", "quest:queues", "quest:clock", "other"])
def test_keys_of_others(default: Quest, function: str, key: str) -> None:
    """What writes in a key of its own leaves every other key alone."""
    story = Story(default)
    before = story._digest()
    story.call(function, [key], EVERY[function])
    assert story._digest() == before


HEADS = (
    *(b"\xc1", b"x", b"\x91" * 50, b"\xdf\xff\xff\xff\xff", b"\x81\xa1k", b"\xc0", b"\x93\1\2\3", b"\xa1g", b"\1"),
    *(
        msgpack.packb({name: []})
        for name in ("MessageGroupId", "ReceiveCount", "FirstReceive_ms", "DeadLetterQueueSource")
    ),
    *(msgpack.packb({name: "x"}) for name in ("ReceiveCount", "FirstReceive_ms", "SentTimestamp")),
)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("end", ["exhausted", "expired", "moved", "got"])
def test_heads_that_are_none(default: Quest, head: bytes, end: str) -> None:
    """A message whose head is none is moved, expires, or is got like one without, and those behind it come."""
    for kind in ("", ".fifo"):
        _test_head(default, head, end, kind)


def _test_head(quest: Quest, head: bytes, end: str, kind: str) -> None:
    quest.reset()
    fields: dict[str, Any] = {"FifoQueue": "true"} if kind else {}
    orders, dead, group = f"orders{kind}", f"dead{kind}", "g" if kind else ""
    quest.create(dead, **fields)
    quest.create(orders, deadLetterTarget=dead, maxReceiveCount=1, MessageRetentionPeriod=60, **fields)
    quest.ask("quest_send", orders, b"0" * 16, "", head, "body", group, "digest" if kind else "")
    if end == "exhausted":
        quest.receive(1, 10, queue=orders)
        quest.advance(20)
        quest.tick(orders, 0)
        assert quest.counts(dead) == (1, 0, 0)
    elif end == "expired":
        quest.advance(60_000)
        quest.tick(orders)
    elif end == "moved":
        quest.call("quest_start_move", orders, "id", dead, 0)
        while quest.tick(orders)[0] == 0:
            pass
        assert quest.bodies(queue=dead) == ["body"]
    elif not kind:
        assert quest.redis.fcall("getMessage", 1, orders, 1)[0][3] == b"body"
    if kind:
        quest.send_fifo("g", "next", queue=orders)
    else:
        quest.send("next", queue=orders)
    assert quest.bodies(queue=orders)[-1:] == ["next"]


MS = ("", "-1", "nan", "inf", "1e15", "x")
REFUSED: list[tuple[str, int, tuple[str, ...]]] = [
    ("quest_receive", 1, ("", "0", "-1", "1.5", "1001", "nan", "inf", "x")),
    ("quest_receive", 2, MS[1:]),
    ("quest_receive", 3, ("x", "-")),
    ("quest_receive", 4, ("", "x")),
    ("quest_receive", 7, ("", "inf", "1e15", "x")),
    ("quest_receive", 8, ("", "inf", "1e15", "x")),
    ("quest_receive", 9, ("", "x")),
    ("quest_send", 1, ("", "x" * 15, "x" * 17)),
    ("quest_send", 2, MS[1:]),
    ("quest_change_visibility", 2, MS),
    ("quest_tick", 0, MS),
    ("quest_purge", 0, MS),
    ("quest_create", 1, MS),
    ("quest_create", 4, ("version", "sequence", "secret", "scope")),
    ("quest_create", 5, ("", "-1", "nan", "x")),
    ("quest_set_attributes", 1, ("version", "sequence", "secret", "FifoQueue")),
    ("quest_set_attributes", 2, ("", "-1", "nan", "x")),
    ("quest_arrive", 1, MS[:4]),
    ("quest_arrive", 2, ("", "x" * 25, "\0" * 25 + "\1")),
    ("quest_ack", 0, MS[:3]),
    ("quest_outbox", 0, ("", "0", "1001", "nan")),
    ("quest_add_source", 0, ("", "a b", "{x}")),
    ("quest_start_move", 0, ("", "a b", "\xff")),
    ("quest_start_move", 1, ("a b", "{x}")),
    ("quest_start_move", 2, MS[:3]),
    ("quest_lease", 0, ("", "a b")),
    ("quest_lease", 1, MS),
    ("quest_clock", 0, ("", "back")),
    ("quest_clock", 1, MS),
]


@pytest.mark.parametrize(("function", "place", "wrong"), REFUSED)
def test_refused(default: Quest, function: str, place: int, wrong: tuple[str, ...]) -> None:
    """Each function refuses what it could not store, reckon with or find again."""
    story = Story(default)
    keys, arguments = story.valid(function, "orders")
    for each in wrong:
        assert story.check(function, keys, [*arguments[:place], each, *arguments[place + 1 :]]), each
