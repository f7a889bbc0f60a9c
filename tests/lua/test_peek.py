"""peek.lua: messages looked at without a trace, whatever their state and however many; and messages dropped."""

import random

import pytest
import redis

from tests.lua.quest import FIFO, VT, Message, Quest, key_of
from tests.lua.test_cost import LIMITS, MIB

STATES = "visible inflight delayed"
PARTS = 6
KEY = key_of("orders")


def _peek(quest: Quest, states: str = STATES, *, queue: str = "orders", limit: int = 100, text: str = "") -> list[str]:
    """Look through a queue, page by page; body and state of each message, and its receive count when there is one."""
    after, found, now_ms = 0, [], quest.clock()
    while True:
        reply = quest.read("quest_peek", queue, states, after, limit, text)
        assert len(reply) <= 2 + PARTS * limit
        for i in range(2, len(reply), PARTS):
            sequence, record, count, first_ms, state, until_ms = reply[i : i + PARTS]
            assert sequence > after
            assert (count > 0, state != b"visible") == (first_ms > 0, until_ms > now_ms)
            found.append(f"{Message('', record, count, first_ms).body} {state.decode()}{f' {count}' if count else ''}")
        after = reply[0]
        if after == 0:
            return found


def _contents(quest: Quest) -> dict[str, bytes]:
    return {key: quest.redis.dump(key) for key in quest.keys()}


def _send_group(quest: Quest, *bodies: str) -> None:
    entries = [part for body in bodies for part in (body.encode().ljust(16), "", "", body, "tenant", "")]
    quest.ask("quest_send", "orders", *entries)


def _fill(quest: Quest) -> list[Message]:
    """Make a queue with a message in each state: timed out, in flight, visible, delayed, deleted; those received."""
    quest.create()
    quest.send("timed out", "in flight", "deleted", "visible")
    quest.send("delayed", delay_ms=500)
    quest.send("last")
    held = [*quest.receive(1), *quest.receive(1, 60_000), *quest.receive(1)]
    quest.delete(held[2])
    quest.advance(VT)
    return held


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_every_state_in_the_order_of_sending(quest: Quest, limit: int) -> None:
    """A look shows each living message with its state by the clock, in the order of sending, in pages of any size."""
    _fill(quest)
    assert _peek(quest, limit=limit) == [
        "timed out visible 1",
        "in flight inflight 1",
        "visible visible",
        "delayed delayed",
        "last visible",
    ]
    assert _peek(quest, "visible", limit=limit) == ["timed out visible 1", "visible visible", "last visible"]
    assert _peek(quest, "inflight", limit=limit) == ["in flight inflight 1"]
    assert _peek(quest, "delayed", limit=limit) == ["delayed delayed"]
    quest.advance(500)
    assert _peek(quest, "delayed", limit=limit) == []


def test_a_look_leaves_no_trace(quest: Quest) -> None:
    """Whatever kind of queue it is and whatever is due in it, a look changes no key."""
    _fill(quest)
    _send_group(quest, "fair")
    quest.create(FIFO, FifoQueue="true", DelaySeconds=1)
    quest.send_fifo("g", "a", "b", queue=FIFO)
    quest.advance(1000)
    quest.receive_fifo(1)
    before = _contents(quest)
    assert len(_peek(quest)) == 6
    assert len(_peek(quest, queue=FIFO)) == 2
    quest.advance(60_000)
    assert len(_peek(quest)) == 6
    assert _contents(quest) == before
    assert sorted(message.count for message in quest.receive()) == [1, 1, 1, 1, 2, 2]


def test_on_a_replica(one_redis: Quest) -> None:
    """A Redis that takes no writes shows its messages."""
    _fill(one_redis)
    one_redis.redis.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(redis.exceptions.ReadOnlyError):
            one_redis.receive()
        assert len(one_redis.read("quest_peek", "orders", STATES, 0, 100, "")) == 2 + 5 * PARTS
    finally:
        one_redis.redis.replicaof("NO", "ONE")


def test_fifo(fifo: Quest) -> None:
    """In a FIFO queue a look passes by the order of groups, and what a message behind one in flight waits for."""
    fifo.send_fifo("a", "a1", "a2")
    fifo.send_fifo("b", "b1")
    fifo.receive_fifo(1, 1000)
    assert _peek(fifo, queue=FIFO) == ["a1 inflight 1", "a2 visible", "b1 visible"]


def test_delay_of_a_fifo_queue(quest: Quest) -> None:
    """In a FIFO queue a delay ends where the queue's DelaySeconds of now says."""
    quest.create(FIFO, FifoQueue="true", DelaySeconds=1)
    quest.send_fifo("a", "a1")
    assert _peek(quest, queue=FIFO) == ["a1 delayed"]
    quest.advance(1000)
    assert _peek(quest, queue=FIFO) == ["a1 visible"]


def test_what_is_past_its_retention(quest: Quest) -> None:
    """A message past its retention period is not shown, as a receive would not give it."""
    quest.create(MessageRetentionPeriod=60)
    quest.send("old")
    quest.advance(60_000)
    quest.send("new")
    assert _peek(quest) == ["new visible"]


@pytest.mark.parametrize("seed", [1, 2])
def test_states_add_up_to_the_counts(default: Quest, seed: int) -> None:
    """After random steps there are as many of each state as the queue counts."""
    chance = random.Random(seed)
    default.create()
    for number in range(300):
        default.send(str(number), delay_ms=chance.choice([0, 0, 300]))
        for message in default.receive(chance.randrange(3) + 1, chance.choice([0, 20, 500])):
            if chance.random() < 0.3:
                default.delete(message)
        default.advance(chance.randrange(10))
    found = [entry.split()[1] for entry in _peek(default, limit=7)]
    counts = default.counts()
    assert tuple(found.count(state) for state in STATES.split()) == counts
    assert all(counts)


def test_text(quest: Quest) -> None:
    """A search finds the messages with a text in their body, byte for byte: no pattern, and not in what is beside it."""
    quest.create()
    quest.send("no", head=b"\x81\xa1k\xa3a.b")
    quest.send("xa.by", "a+b", "A.B", "é a.b")
    assert _peek(quest, text="a.b") == ["xa.by visible", "é a.b visible"]
    assert _peek(quest, text="é", limit=1) == ["é a.b visible"]


def test_gaps_are_stepped_over(default: Quest) -> None:
    """In a queue of thousands a look goes through a limited number of sequences, gone ones too, and is continued there."""
    steps = LIMITS["PEEK_STEPS"]
    default.create()
    for start in range(0, 3 * steps, 100):
        default.send(*map(str, range(start, start + 100)))
    default.redis.hdel(f"{KEY}:messages", *range(1, steps + 501))
    assert default.read("quest_peek", "orders", "visible", 0, 100, "") == [steps, 0]
    reply = default.read("quest_peek", "orders", "visible", steps, 100, "")
    assert (reply[:3], len(reply)) == ([steps + 600, 100, steps + 501], 2 + 100 * PARTS)
    assert default.read("quest_peek", "orders", "inflight", steps, 100, "") == [0, 0]
    assert len(_peek(default)) == 2 * steps - 500


def test_few_are_found_at_once(default: Quest) -> None:
    """Few messages far apart, or few in flight or delayed among many, are found by one look."""
    default.create()
    default.send("first")
    default.redis.hset(KEY, "sequence", 10**12)
    default.send("last")
    assert len(default.read("quest_peek", "orders", "visible", 0, 100, "")) == 2 + 2 * PARTS
    for _ in range(20):
        default.send(*["x"] * 100)
    default.send("later", delay_ms=1000)
    reply = default.read("quest_peek", "orders", "delayed", 0, 100, "")
    assert (reply[:3], len(reply)) == ([0, 1, 10**12 + 2002], 2 + PARTS)


@pytest.mark.parametrize("limit", [7, 100])
def test_few_in_order(default: Quest, limit: int) -> None:
    """Messages that are looked up come in the order of sending too, page by page."""
    default.create()
    for number in range(600):
        default.send(str(number))
        default.redis.hincrby(KEY, "sequence", 1000)
    assert _peek(default, limit=limit) == [f"{number} visible" for number in range(600)]


def test_large_messages(default: Quest) -> None:
    """A look ends with a megabyte, whether it is shown or not."""
    default.create()
    default.send(*["x" * MIB] * 2, "y")
    assert [len(default.read("quest_peek", "orders", "visible", 0, 100, text)) for text in ("", "y")] == [8, 2]
    assert _peek(default, text="y") == ["y visible"]


def test_a_deep_page_costs_what_the_first_does(default: Quest) -> None:
    """A page at the far end of a queue takes the same commands of Redis as the first one."""
    default.create()
    for _ in range(50):
        default.send(*["a"] * 100)
    commands = []
    for after in (0, 3900):
        default.redis.config_resetstat()
        assert default.read("quest_peek", "orders", "visible", after, 50, "")[1] == 50
        commands.append({name: stats["calls"] for name, stats in default.redis.info("commandstats").items()})
    assert commands[0] == commands[1]


def _drop(quest: Quest, *sequences: int, queue: str = "orders", message_id: bytes = b"") -> int:
    """Drop messages by their sequences and what their ids are, or `message_id`."""
    flat: list[int | bytes] = []
    for sequence in sequences:
        record = quest.redis.hget(f"{key_of(queue)}:messages", sequence)
        flat += [sequence, message_id or (Message("", record, 0, 0).id if record else b"")]
    return int(quest.call("quest_drop", queue, *flat))


def test_drop_in_every_state(quest: Quest) -> None:
    """A message is dropped whatever its state, and nothing of it is left for anybody."""
    held = _fill(quest)
    assert _drop(quest, 1, 2, 3, 4, 5) == 4
    assert _drop(quest, 1, 2, 3, 4, 5) == 0
    assert quest.counts() == (1, 0, 0)
    assert quest.delete(*held) == ["OK"] * 3
    assert quest.change(held[1], 0) == "MessageNotAvailable"
    quest.advance(60_000)
    assert quest.bodies() == ["last"]
    quest.delete(*quest.receive())
    quest.tick()
    assert {key.partition("}")[2] for key in quest.keys() if KEY in key} <= {
        "",
        ":deliveries",
        ":messages",
        ":inflight",
    }


def test_drop_of_a_queue_made_anew(quest: Quest) -> None:
    """A message that has another's sequence is left alone."""
    quest.create()
    quest.send("a")
    assert _drop(quest, 1, message_id=b"b" * 16) == 0
    assert quest.bodies() == ["a"]


def test_drop_releases_a_group(fifo: Quest) -> None:
    """When the message in flight at the head of a FIFO group is dropped, the next one can be received."""
    fifo.send_fifo("g", "a", "b", "c")
    fifo.receive_fifo(1, 60_000)
    assert fifo.bodies_fifo() == []
    assert _drop(fifo, 1, 3, queue=FIFO) == 2
    assert fifo.bodies_fifo() == ["b"]


def test_drop_makes_room(quest: Quest) -> None:
    """Who waits because too many messages are in flight is woken when one of them is dropped."""
    quest.create()
    quest.send("a", "b")
    quest.receive(1, 60_000)
    with quest.listening("quest:wake:p1") as ear:
        assert quest.ask("quest_receive", "orders", 1, VT, "", 1, "", "p1", 20_000, 0, 1)[1:] == [0]
        _drop(quest, 1)
        assert ear.heard() == [("quest:wake:p1", KEY)]


def test_drop_leaves_no_entries(quest: Quest) -> None:
    """Where the first visible messages were dropped, no entries of theirs are left to be skipped."""
    quest.create()
    quest.send("a", "b", "c")
    _drop(quest, 1, 2)
    assert quest.entries() == 1


def test_drop_counts_for_a_tenant(quest: Quest) -> None:
    """A tenant has so many fewer in flight, and a dropped message that was visible is not in its way."""
    quest.create()
    _send_group(quest, "a", "b", "c")
    quest.receive(1, 60_000)
    assert quest.redis.hgetall(f"{KEY}:held") == {b"tenant": b"1"}
    assert _drop(quest, 1, 2) == 2
    assert quest.redis.hgetall(f"{KEY}:held") == {}
    assert quest.bodies() == ["c"]


def test_drop_in_a_full_redis(quest: Quest) -> None:
    """Messages can be dropped when Redis has no memory left."""
    quest.create()
    quest.send("a", "b")
    quest.redis.config_set("maxmemory-policy", "noeviction")
    quest.redis.config_set("maxmemory", 1)
    try:
        assert _drop(quest, 1) == 1
    finally:
        quest.redis.config_set("maxmemory", 0)
