"""queues.lua: queues are made, described, changed, emptied and deleted."""

from tests.lua.quest import FIFO, START_MS, VT, Quest, failing

DEFAULTS = {
    "DelaySeconds": "0",
    "KmsDataKeyReusePeriodSeconds": "300",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}


def _fields(quest: Quest, queue: str = "orders") -> dict[str, str]:
    flat = [part.decode() for part in quest.read("quest_facts", queue)[1]]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def test_create(quest: Quest) -> None:
    """A new queue has AWS's defaults, the fields given, its times and a version of its own."""
    assert quest.create(VisibilityTimeout=7, tags='{"a":"b"}') == 1
    fields = _fields(quest)
    assert fields.items() >= (DEFAULTS | {"VisibilityTimeout": "7", "tags": '{"a":"b"}'}).items()
    assert fields["created"] == fields["modified"] == str(START_MS)
    assert fields["version"] == fields["incarnation"] + ".1"
    assert fields["layout"] == "2"
    assert quest.counts() == (0, 0, 0)


def test_create_leaves_out_what_is_empty(quest: Quest) -> None:
    """An empty value stands for none, so its field is not kept; an attribute keeps its default."""
    quest.create(Policy="", deadLetterTarget="")
    assert not {"Policy", "deadLetterTarget"} & set(_fields(quest))


def test_create_fifo(quest: Quest) -> None:
    """A FIFO queue has AWS's defaults of its own; the scope of its deduplication is that of its creation for ever."""
    quest.create("a.fifo", FifoQueue="true")
    quest.create("b.fifo", FifoQueue="true", DeduplicationScope="messageGroup", ContentBasedDeduplication="true")
    defaults = {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "false",
        "DeduplicationScope": "queue",
        "FifoThroughputLimit": "perQueue",
        "scope": "queue",
    }
    chosen = {"DeduplicationScope": "messageGroup", "ContentBasedDeduplication": "true", "scope": "messageGroup"}
    assert _fields(quest, "a.fifo").items() >= defaults.items()
    assert _fields(quest, "b.fifo").items() >= (defaults | chosen).items()
    quest.ask("quest_set_attributes", "b.fifo", "DeduplicationScope", "queue")
    assert _fields(quest, "b.fifo").items() >= (defaults | chosen | {"DeduplicationScope": "queue"}).items()
    quest.create()
    assert not {"scope", *(defaults | chosen)} & set(_fields(quest))


def test_create_again(quest: Quest) -> None:
    """Creating what is there with the same values changes nothing; tags do not count, and what is not given neither."""
    quest.create(VisibilityTimeout=7)
    before = _fields(quest)
    quest.advance(5)
    assert quest.create(VisibilityTimeout=7, tags="{}", Policy="") == 0
    assert quest.create() == 0
    assert _fields(quest) == before


def test_create_otherwise(quest: Quest) -> None:
    """Creating what is there with another value names the attribute that differs, RedrivePolicy for its two parts."""
    quest.create(VisibilityTimeout=7, deadLetterTarget="dead", maxReceiveCount=3)
    with failing("QueueNameExists VisibilityTimeout"):
        quest.create(VisibilityTimeout=8)
    with failing("QueueNameExists RedrivePolicy"):
        quest.create(maxReceiveCount=4)
    with failing("QueueNameExists RedrivePolicy"):
        quest.create(deadLetterTarget="")
    with failing("QueueNameExists Policy"):
        quest.create(Policy="{}")


def test_registry(one_redis: Quest) -> None:
    """In one Redis a queue is in the registry from its creation to its deletion."""
    one_redis.create("b")
    one_redis.create("a")
    assert one_redis.redis.zrange("quest:queues", 0, -1) == [b"a", b"b"]
    one_redis.call("quest_delete_queue", "b")
    assert one_redis.redis.zrange("quest:queues", 0, -1) == [b"a"]


def test_registry_of_a_cluster(cluster: Quest) -> None:
    """In a cluster the registry is in a slot of its own: creating and deleting leave it alone and do not fail."""
    cluster.create()
    cluster.call("quest_delete_queue", "orders")
    assert cluster.keys() == {"quest:{orders}:deleted"}


def test_counts_need_no_promotion(quest: Quest) -> None:
    """The counts are right at every moment, whether or not anybody promoted what has timed out."""
    quest.create()
    quest.send("a", "b", "c")
    quest.send("d", delay_ms=VT + 1)
    quest.receive(2)
    assert quest.counts() == (1, 2, 1)
    quest.advance(VT - 1)
    assert quest.counts() == (1, 2, 1)
    quest.advance(1)
    assert quest.counts() == (3, 0, 1)
    quest.advance(1)
    assert quest.counts() == (4, 0, 0)


def test_attributes_reply(quest: Quest) -> None:
    """quest_attributes brings the counts and all the fields of the queue."""
    quest.create(VisibilityTimeout=7)
    quest.send("a")
    visible, inflight, delayed, flat = quest.call("quest_attributes", "orders")
    assert (visible, inflight, delayed) == (1, 0, 0)
    assert dict(zip(flat[::2], flat[1::2], strict=True))[b"VisibilityTimeout"] == b"7"


def test_no_version_comes_twice(quest: Quest) -> None:
    """A change that Redis lost does not lend its version to the next one: who knew the queue by it learns it anew."""
    quest.create()
    before = quest.field("orders", "version") or ""
    quest.ask("quest_set_attributes", "orders", "DelaySeconds", 5)
    lost = quest.field("orders", "version")
    quest.redis.hset("quest:{orders}", mapping={"version": before, "DelaySeconds": 0})
    quest.ask("quest_set_attributes", "orders", "DelaySeconds", 6)
    assert quest.field("orders", "version") not in {before, lost}
    quest.send("a")
    assert quest.counts() == (0, 0, 1)


def test_set_attributes(quest: Quest) -> None:
    """A change sets and takes away fields and notes its time; the rest stays."""
    quest.create(Policy="{}", VisibilityTimeout=7)
    quest.advance(1000)
    assert quest.ask("quest_set_attributes", "orders", "Policy", "", "DelaySeconds", 5) == [1]
    fields = _fields(quest)
    assert "Policy" not in fields
    assert (fields["DelaySeconds"], fields["VisibilityTimeout"]) == ("5", "7")
    assert (fields["created"], fields["modified"]) == (str(START_MS), str(START_MS + 1000))


def test_set_attributes_wants_a_tick(quest: Quest) -> None:
    """A change makes a tick due at once: a shorter retention period may have made messages due."""
    quest.create()
    quest.send("a")
    with quest.listening("quest:alarm") as ear:
        quest.ask("quest_set_attributes", "orders", "MessageRetentionPeriod", 60)
        assert ear.heard() == [("quest:alarm", "0 quest:{orders}")]
    assert quest.tick() == [60_000, 0]


def test_defaults_of_the_queue_apply(quest: Quest) -> None:
    """A send and a receive that do not say otherwise take the queue's delay and visibility timeout."""
    quest.create(DelaySeconds=2, VisibilityTimeout=3)
    quest.send("late")
    quest.send("now", delay_ms=0)
    assert quest.bodies(10, "") == ["now"]
    assert quest.counts() == (0, 1, 1)
    quest.advance(2000)
    assert quest.counts() == (1, 1, 0)
    quest.advance(1000)
    assert quest.counts() == (2, 0, 0)


def test_purge(quest: Quest) -> None:
    """A purge forgets visible, delayed and in-flight messages, leaves no key of theirs, and the queue works on."""
    quest.create()
    quest.send("a", "b")
    quest.send("c", delay_ms=1000)
    [held] = quest.receive(1)
    assert quest.purge() == 1
    assert quest.counts() == (0, 0, 0)
    assert quest.keys() - {"quest:queues"} == {"quest:{orders}"}
    assert quest.delete(held) == ["OK"]
    assert quest.change(held, 1000) == "MessageNotAvailable"
    quest.send("d")
    quest.advance(2000)
    assert quest.bodies() == ["d"]


def test_purge_keeps_transfers_and_waits(quest: Quest) -> None:
    """A purge leaves alone what is on its way between queues, and who waits."""
    quest.create()
    quest.poll(process="p1", wait_ms=20_000)
    quest.call("quest_arrive", "orders", "abc123", 1, b"\0" * 26 + b"body")
    quest.poll(process="p2", wait_ms=20_000)
    quest.redis.rpush("quest:{orders}:outbox", "1 abc123 other record")
    quest.purge()
    assert quest.keys() >= {"quest:{orders}:outbox", "quest:{orders}:inbox"}


def test_purge_too_soon(quest: Quest) -> None:
    """A second purge within the time given is refused and names the queue."""
    quest.create()
    quest.purge(wait_ms=60_000)
    quest.send("a")
    quest.advance(59_999)
    with failing("PurgeQueueInProgress orders"):
        quest.purge(wait_ms=60_000)
    assert quest.counts() == (1, 0, 0)
    quest.advance(1)
    assert quest.purge(wait_ms=60_000) == 1
    assert quest.purge(wait_ms=0) == 1


def test_the_clock_is_put_back(quest: Quest) -> None:
    """A clock that was an hour ahead keeps nobody from purging a queue, or from making it again."""
    quest.advance(3_600_000)
    quest.create()
    quest.purge()
    quest.clock("freeze", START_MS)
    assert quest.purge(wait_ms=60_000) == 1
    quest.advance(3_600_000)
    quest.call("quest_delete_queue", "orders")
    quest.clock("freeze", START_MS)
    assert quest.create() == 1


def test_delete_queue(quest: Quest) -> None:
    """A deleted queue leaves its tombstone, which goes after a minute, and the names of those that name it."""
    quest.create("dead")
    quest.create(deadLetterTarget="dead", maxReceiveCount=3)
    quest.call("quest_add_source", "orders", "other")
    quest.call("quest_arrive", "orders", "abc123", 1, b"\0" * 26 + b"body")
    quest.send("a", "b", "c")
    quest.send("d", delay_ms=1000)
    quest.change(quest.receive(1)[0], 0)
    quest.receive(2)
    quest.poll(10, process="p1", wait_ms=20_000)
    assert quest.call("quest_delete_queue", "orders") == 1
    assert quest.keys() - {"quest:queues", "quest:{dead}"} == {"quest:{orders}:deleted", "quest:{orders}:sources"}
    assert quest.redis.get("quest:{orders}:deleted") == str(START_MS).encode()
    assert 50_000 < quest.redis.pttl("quest:{orders}:deleted") <= 60_000


def test_delete_queue_keeps_what_leaves(quest: Quest) -> None:
    """Messages of a deleted queue that are on their way to another slot still go there."""
    quest.create()
    quest.redis.rpush("quest:{orders}:outbox", b"7 abc123 other \0\0\0\x01urecord")
    quest.call("quest_delete_queue", "orders")
    assert quest.read("quest_outbox", "orders", 10, 0) == [b"7", b"abc123", b"other", b"record"]
    assert quest.call("quest_ack", "orders", 7) == 1
    assert quest.keys() - {"quest:queues"} == {"quest:{orders}:deleted"}


def test_create_too_soon_after_deletion(quest: Quest) -> None:
    """A name is free again when the time given has passed since its queue was deleted; the time is compared."""
    quest.create()
    quest.call("quest_delete_queue", "orders")
    quest.advance(59_999)
    with failing("QueueDeletedRecently"):
        quest.create(wait_ms=60_000)
    quest.advance(1)
    assert quest.create(wait_ms=60_000) == 1
    assert "quest:{orders}:deleted" not in quest.keys()


def test_create_at_once_after_deletion(quest: Quest) -> None:
    """Without a time to wait a name is free at once, and its new queue is another one: empty, another incarnation."""
    quest.create()
    quest.send("a")
    before = _fields(quest)
    quest.call("quest_delete_queue", "orders")
    assert quest.create() == 1
    assert quest.counts() == (0, 0, 0)
    assert _fields(quest)["incarnation"] != before["incarnation"]


def test_a_paused_queue_hands_nothing_out(quest: Quest) -> None:
    """A paused queue takes messages, and gives none to anybody until it goes on; what is in flight can be deleted."""
    quest.create()
    quest.send("a", "b")
    [a] = quest.receive(1, 1000)
    version = quest.field("orders", "version")
    assert [quest.call("quest_pause", "orders", 1) for _ in range(2)] == [1, 0]
    assert quest.field("orders", "version") != version, "a replica or another node may know it from before"
    assert _fields(quest)["paused"] == "1"
    quest.send("c")
    assert quest.bodies() == []
    assert quest.redis.fcall("getMessage", 1, "orders", 10) == []
    assert quest.delete(a) == ["OK"]
    assert quest.counts() == (2, 0, 0)
    assert [quest.call("quest_pause", "orders", 0) for _ in range(2)] == [1, 0]
    assert "paused" not in _fields(quest)
    assert quest.bodies(1) == ["b"]
    assert quest.redis.fcall("getMessage", 1, "orders", 10)[0][3] == b"c"


def test_a_paused_queue_that_is_full(quest: Quest) -> None:
    """A short poll of a paused queue is answered empty, also with as many messages in flight as may be."""
    quest.create()
    quest.send("a", "b")
    quest.receive(1, 1000)
    quest.call("quest_pause", "orders", 1)
    assert quest.ask("quest_receive", "orders", 1, VT, "", 1, "", "", 0, 0, 1)[1:] == [0]


def test_a_paused_fifo_queue(fifo: Quest) -> None:
    """A repeated receive of a paused FIFO queue gets nothing either, and the same messages when it goes on."""
    fifo.send_fifo("g", "a")
    [first] = fifo.receive_fifo(1, 1000, attempt="x")
    fifo.call("quest_pause", FIFO, 1)
    assert fifo.receive_fifo(1, 1000, attempt="x") == []
    fifo.call("quest_pause", FIFO, 0)
    [again] = fifo.receive_fifo(1, 1000, attempt="x")
    assert again.handle == first.handle


def test_nobody_is_woken_for_a_paused_queue(quest: Quest) -> None:
    """Who waits on a paused queue sleeps until it goes on, whatever comes in meanwhile."""
    quest.create()
    quest.call("quest_pause", "orders", 1)
    quest.send("a")
    with quest.listening("quest:wake:p1", "quest:wake:p2") as ear:
        for process in ("p1", "p2"):
            assert quest.poll(process=process, wait_ms=20_000)[1:] == [0]
        quest.send("b")
        quest.send("c", delay_ms=10)
        quest.advance(10)
        quest.tick()
        quest.call("quest_pass", "orders")
        assert ear.heard() == []
        quest.call("quest_pause", "orders", 0)
        assert {channel for channel, _ in ear.heard()} == {"quest:wake:p1", "quest:wake:p2"}


def test_a_paused_queue_moves_its_messages(one_redis: Quest) -> None:
    """In a paused queue dead letters still leave, and a move task goes on."""
    one_redis.create("dead")
    one_redis.create(deadLetterTarget="dead", maxReceiveCount=1)
    one_redis.send("a")
    one_redis.receive(1)
    for queue in ("orders", "dead"):
        one_redis.call("quest_pause", queue, 1)
    one_redis.advance(VT)
    one_redis.tick(dead_letter_after=0)
    assert (one_redis.counts(), one_redis.counts("dead")) == ((0, 0, 0), (1, 0, 0))
    one_redis.call("quest_start_move", "dead", "id", "", 0)
    one_redis.tick("dead")
    assert (one_redis.counts(), one_redis.counts("dead")) == ((1, 0, 0), (0, 0, 0))


def test_going_on_in_a_full_redis(quest: Quest) -> None:
    """A paused queue can go on when Redis has no memory left, so that its consumers make room."""
    quest.create()
    quest.send("a")
    quest.call("quest_pause", "orders", 1)
    quest.redis.config_set("maxmemory-policy", "noeviction")
    quest.redis.config_set("maxmemory", 1)
    try:
        assert quest.call("quest_pause", "orders", 0) == 1
        assert quest.bodies() == ["a"]
    finally:
        quest.redis.config_set("maxmemory", 0)
