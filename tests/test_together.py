"""Calls done together: nobody can tell that his call was one with others."""

import asyncio
from typing import Any

import pytest

from questd import errors, topology
from questd.library import Library
from questd.together import KINDS, KINDS_WITH_GROUPS, Together
from tests.client import Sqs, serving
from tests.servers import RedisServer


async def calls(redis_server: RedisServer, work: Any) -> int:
    """Return how many function calls Redis was asked for while `work` was done."""
    with redis_server.client() as client:
        client.config_resetstat()
        await work
        count: int = client.info("commandstats")["cmdstat_fcall"]["calls"]
        return count


@pytest.fixture
async def url(sqs: Sqs) -> str:
    """Give the URL of a queue that this process knows."""
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="first")
    [message] = await sqs.receive(url)
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return url


async def _cycle(sqs: Sqs, url: str, body: str) -> str:
    await sqs("SendMessage", QueueUrl=url, MessageBody=body)
    [message] = await sqs.receive(url, VisibilityTimeout=60)
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return str(message["Body"])


async def test_many_requests_are_few_calls(sqs: Sqs, url: str, redis_server: RedisServer) -> None:
    """Requests that come together are done by far fewer calls, each gets what is its own, nothing is left."""
    bodies = [f"{i}" for i in range(60)]
    received: list[str] = []

    async def work() -> None:
        received.extend(await asyncio.gather(*(_cycle(sqs, url, body) for body in bodies)))

    assert await calls(redis_server, work()) < 3 * len(bodies) / 2
    assert sorted(received) == sorted(bodies)
    assert await sqs.counts(url) == (0, 0, 0)


async def test_each_sender_gets_his_own_id(sqs: Sqs, url: str) -> None:
    """The MessageId that a sender is told is that of the message with his body."""
    told = await asyncio.gather(*(sqs("SendMessage", QueueUrl=url, MessageBody=str(i)) for i in range(30)))
    found: dict[str, str] = {}
    while messages := await sqs.receive(url, MaxNumberOfMessages=10):
        found |= {message["Body"]: message["MessageId"] for message in messages}
    assert found == {str(i): answer["MessageId"] for i, answer in enumerate(told)}


async def test_batches_and_single_messages_mix(sqs: Sqs, url: str) -> None:
    """Batches join in with single sends and deletes, and each gets the outcomes of its own entries."""
    entries = [{"Id": str(i), "MessageBody": f"b{i}"} for i in range(10)]
    sends = [
        sqs("SendMessageBatch", QueueUrl=url, Entries=entries),
        *(sqs("SendMessage", QueueUrl=url, MessageBody=f"s{i}") for i in range(10)),
        sqs("SendMessageBatch", QueueUrl=url, Entries=[entry | {"MessageBody": "c"} for entry in entries]),
    ]
    answers = await asyncio.gather(*sends)
    assert [len(answers[i]["Successful"]) for i in (0, 11)] == [10, 10]
    taken = [message for _ in range(3) for message in await sqs.receive(url, MaxNumberOfMessages=10)]
    handles = [message["ReceiptHandle"] for message in taken]
    some = [{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate([*handles[:5], "garbage"])]
    deletes = [sqs("DeleteMessageBatch", QueueUrl=url, Entries=some)]
    deletes += [sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=handle) for handle in handles[5:]]
    refused = asyncio.create_task(sqs.ask("DeleteMessage", QueueUrl=url, ReceiptHandle="garbage"))
    answers = await asyncio.gather(*deletes)
    assert [len(answers[0][kind]) for kind in ("Successful", "Failed")] == [5, 1]
    assert (await refused).status == 404
    assert await sqs.counts(url) == (0, 0, 0)


async def test_fifo_sends_keep_their_ids_and_numbers(sqs: Sqs) -> None:
    """FIFO sends that come together have each their own SequenceNumber; a repeated one has the original's."""
    url = await sqs.create("q.fifo", FifoQueue="true")
    await sqs("SendMessage", QueueUrl=url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="x")
    given = [str(i // 2) for i in range(20)]
    answers = await asyncio.gather(
        *(
            sqs("SendMessage", QueueUrl=url, MessageBody=body, MessageGroupId=body, MessageDeduplicationId=body)
            for body in given
        )
    )
    ids: dict[str, set[tuple[str, str]]] = {}
    for body, answer in zip(given, answers, strict=True):
        ids.setdefault(body, set()).add((answer["MessageId"], answer["SequenceNumber"]))
    assert {len(found) for found in ids.values()} == {1}
    assert len({number for found in ids.values() for _, number in found}) == 10


async def _fifo(sqs: Sqs, bodies: list[str]) -> str:
    """Make a FIFO queue of these messages, whose groups are their first characters."""
    url = await sqs.create("q.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    for body in bodies:
        await sqs("SendMessage", QueueUrl=url, MessageBody=body, MessageGroupId=body[0])
    return url


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1, ["a0", "b0", "c0"]),
        (2, ["a0 a1", "b0 b1", "c0 c1"]),
        (4, ["a0 a1 a2 b0", "c0 c1 c2"]),
        (10, ["a0 a1 a2 b0 b1 b2 c0 c1 c2"]),
    ],
)
async def test_receives_never_share_a_group(sqs: Sqs, most: int, expected: list[str]) -> None:
    """Of receives of a FIFO queue that come together each gets messages of its own groups, in order."""
    url = await _fifo(sqs, [f"{group}{i}" for i in range(3) for group in "abc"])
    receives = (sqs.receive(url, VisibilityTimeout=60, MaxNumberOfMessages=most) for _ in range(5))
    received = await asyncio.gather(*receives)
    assert sorted(" ".join(message["Body"] for message in messages) for messages in received if messages) == expected


async def test_receives_of_many_groups_are_few_calls(sqs: Sqs, redis_server: RedisServer) -> None:
    """Receives of a FIFO queue are done together like those of any other."""
    groups = [chr(ord("A") + i) for i in range(50)]
    url = await _fifo(sqs, groups)
    bodies: list[str] = []

    async def work() -> None:
        received = await asyncio.gather(*(sqs.receive(url, VisibilityTimeout=60) for _ in groups))
        bodies.extend(message["Body"] for messages in received for message in messages)

    assert await calls(redis_server, work()) < len(groups) / 2
    assert sorted(bodies) == groups


async def test_an_attempt_is_nobody_elses(sqs: Sqs) -> None:
    """Receives with a ReceiveRequestAttemptId that come together get the same messages again, and the others do not."""
    url = await _fifo(sqs, ["a0", "b0", "c0"])
    taken = await asyncio.gather(
        *(sqs.receive(url, VisibilityTimeout=60, ReceiveRequestAttemptId=each) for each in ("x", "x", "y")),
        sqs.receive(url, VisibilityTimeout=60),
    )
    bodies = [message["Body"] for messages in taken for message in messages]
    assert bodies[0] == bodies[1]
    assert len(set(bodies)) == 3


def test_messages_of_groups_are_dealt_out() -> None:
    """Each gets as many messages as Redis says, in order; time and `more` are everybody's."""
    reply = [1_000, 1, 2, 1, 0, *(part for i in range(3) for part in (f"handle{i}", i, 1, 1))]
    dealt = KINDS_WITH_GROUPS["quest_receive"].split(reply, [_receive(5)] * 3)
    assert [part[:2] for part in dealt] == [[1_000, 1]] * 3
    assert [part[3::4] for part in dealt] == [[0, 1], [2], []]


async def test_long_polls_that_come_together(sqs: Sqs, url: str) -> None:
    """Of receives that wait together and find too little, each of the others waits on, and gets what comes later."""
    await sqs("SendMessage", QueueUrl=url, MessageBody="0")
    polls = [asyncio.create_task(sqs.receive(url, WaitTimeSeconds=20, MaxNumberOfMessages=10)) for _ in range(10)]
    await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
    for i in range(1, 10):
        await sqs("SendMessage", QueueUrl=url, MessageBody=str(i))
        await asyncio.wait([poll for poll in polls if not poll.done()], return_when=asyncio.FIRST_COMPLETED)
    received = await asyncio.wait_for(asyncio.gather(*polls), 3)
    assert sorted(message["Body"] for messages in received for message in messages) == [str(i) for i in range(10)]


async def test_an_error_is_everybodys(sqs: Sqs, url: str, redis_server: RedisServer) -> None:
    """What makes the call fail is told to each of those whose call it was; the next is none the worse."""
    with redis_server.client() as client:
        client.delete("quest:{q}")
    replies = await asyncio.gather(*(sqs.ask("SendMessage", QueueUrl=url, MessageBody="x") for _ in range(10)))
    assert {reply.error[2] for reply in replies} == {"QueueDoesNotExist"}
    assert (await sqs.ask("CreateQueue", QueueName="q")).status == 200
    assert (await sqs.ask("SendMessage", QueueUrl=url, MessageBody="x")).status == 200


async def test_a_change_of_the_queue_is_everybodys(redis_server: RedisServer) -> None:
    """When another questd has changed the queue, all that came together look again."""
    async with serving(redis_server.url) as one, serving(redis_server.url) as other:
        url = await one.create()
        await one("SendMessage", QueueUrl=url, MessageBody="x" * 1024)
        await other.set(url, MaximumMessageSize="1024")
        sizes = [1024, 1025] * 5
        replies = await asyncio.gather(
            *(one.ask("SendMessage", QueueUrl=url, MessageBody="x" * size) for size in sizes)
        )
        assert [reply.status for reply in replies] == [200, 400] * 5


async def test_a_client_that_goes_takes_nothing_from_the_others(sqs: Sqs, url: str) -> None:
    """A receive whose client hangs up gives its message back, and the others of its call keep theirs."""
    entries = [{"Id": str(i), "MessageBody": str(i)} for i in range(10)]
    await sqs("SendMessageBatch", QueueUrl=url, Entries=entries)
    polls = [asyncio.create_task(sqs.receive(url, VisibilityTimeout=60)) for _ in range(10)]
    await asyncio.sleep(0)
    for poll in polls[::2]:
        poll.cancel()
    await asyncio.wait(polls)
    kept = [message["Body"] for poll in polls[1::2] for message in poll.result()]
    assert len(set(kept)) == len(kept) == 5
    found: list[str] = []
    async with asyncio.timeout(5):
        while len(found) < 5:
            found += [message["Body"] for message in await sqs.receive(url, MaxNumberOfMessages=10, WaitTimeSeconds=1)]
    assert sorted(kept + found) == [str(i) for i in range(10)]


def _receive(most: int, wait_ms: int = 0) -> tuple[Any, ...]:
    return b"v", most, 30, 5, 120_000, "", "p1", wait_ms, 0, 1


@pytest.mark.parametrize(
    ("wanted", "there", "expected"),
    [
        ([1, 1, 1], 3, [[0], [1], [2]]),
        ([1, 1, 1], 2, [[0], [1], []]),
        ([10, 1, 10], 5, [[0, 1], [2], [3, 4]]),
        ([10, 10], 0, [[], []]),
        ([2, 1], 3, [[0, 1], [2]]),
    ],
)
def test_messages_are_dealt_out(wanted: list[int], there: int, expected: list[list[int]]) -> None:
    """One for each in turn, in order, nobody more than he asked for; time and `more` for all."""
    given = [_receive(most) for most in wanted]
    reply = [1_000, 1, *(part for i in range(there) for part in (f"handle{i}", i, 1, 1))]
    dealt = KINDS["quest_receive"].split(reply, given)
    assert [part[:2] for part in dealt] == [[1_000, 1]] * len(wanted)
    assert [part[3::4] for part in dealt] == expected


def test_those_that_wait_are_apart() -> None:
    """A receive that waits is told nothing of a full queue, and one that does not is: they are no one call."""
    mark = KINDS["quest_receive"].mark
    assert mark
    assert mark(_receive(1, 0)) == mark(_receive(10, 0)) != mark(_receive(1, 500)) == mark(_receive(1, 20_000))


async def test_all_hear_of_a_full_queue(redis_server: RedisServer) -> None:
    """Receives that come together in a queue with room for one are answered as if they came one by one."""
    async with serving(redis_server.url, max_in_flight=1) as sqs:
        url = await sqs.create()
        entries = [{"Id": str(i), "MessageBody": "x"} for i in range(10)]
        await sqs("SendMessageBatch", QueueUrl=url, Entries=entries)
        replies = await asyncio.gather(*(sqs.ask("ReceiveMessage", QueueUrl=url) for _ in range(8)))
        assert sorted(reply.status for reply in replies) == [200, *[403] * 7]


@pytest.mark.parametrize("name", ["q", "q.fifo"])
async def test_sends_share_what_room_there_is(redis_server: RedisServer, name: str) -> None:
    """Sends that come together, and have no room together, are done one by one: the queue gets as many as it may."""
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if "." in name else {}
    group = {"MessageGroupId": "g"} if fifo else {}
    async with serving(redis_server.url, max_messages=20) as sqs:
        url = await sqs.create(name, **fifo)
        await sqs("SendMessage", QueueUrl=url, MessageBody="known", **group)
        batch = [{"Id": str(i), "MessageBody": f"b{i}", **group} for i in range(10)]
        sends = [sqs.ask("SendMessageBatch", QueueUrl=url, Entries=batch)]
        sends += [sqs.ask("SendMessage", QueueUrl=url, MessageBody=str(i), **group) for i in range(30)]
        replies = await asyncio.gather(*sends)
        assert sorted({reply.status for reply in replies}) == [200, 403]
        singles = [reply.status for reply in replies[1:]].count(200)
        assert singles + (10 if replies[0].status == 200 else 0) == 19
        assert await sqs.counts(url) == (20, 0, 0)


def test_sends_with_a_limit_together() -> None:
    """The most messages that the queue may have come last, and once."""
    one, two = (b"id1", "", b"", b"x", "", b""), (b"id2", "", b"", b"y", "", b"")
    kind = KINDS["quest_send"]
    assert kind.merge([(b"v", *one, 5), (b"v", *two, *one, 5)]) == (b"v", *one, *two, *one, 5)
    assert kind.merge([(b"v", *one), (b"v", *two)]) == (b"v", *one, *two)
    assert kind.weight((b"v", *one, 5)) == 1
    assert kind.split([1, b"a", 2, b"b", 3, b"c"], [(b"v", *one, 5), (b"v", *two, *one, 5)]) == [
        [1, b"a"],
        [2, b"b", 3, b"c"],
    ]


def test_receives_together_wait_as_the_most_patient() -> None:
    """A receive for many wants as much as all of them, and waits for as long as the last of them."""
    merged = KINDS["quest_receive"].merge([_receive(1), _receive(10, 500), _receive(2, 20_000)])
    assert merged == (b"v", 13, 30, 5, 120_000, "", "p1", 20_000, 0, 3)


def test_no_call_is_too_heavy() -> None:
    """Large messages count for what they are: sends of 64 KiB go alone."""
    weight = KINDS["quest_send"].weight
    assert weight((b"v", b"id", "", b"", b"x" * 100, "", b"")) == 1
    assert weight((b"v", *(b"id", "", b"", b"x" * 100, "", b"") * 2)) == 2
    assert weight((b"v", b"id", "", b"", b"x" * 65_536, "", b"")) == 65
    assert weight((b"v", *(b"id", "", b"", b"x" * 2048, "", b"") * 10)) == 30


def test_errors_can_be_told_many_times() -> None:
    """Every error that Redis may name can be made again out of its values."""
    error = errors.QueueNameExists("DelaySeconds")
    assert type(error)(*error.values).message == error.message


async def test_a_call_that_cannot_be_made(redis_server: RedisServer) -> None:
    """A mistake of ours in one call is raised for all that came with it: nobody waits for ever."""
    primaries = topology.of(redis_server.url)
    await primaries.connect()
    together = Together(Library(primaries, test_mode=True))
    calls = [together.call("quest_delete", "quest:{q}", b"v", handle, grouped=False) for handle in ("right", None)]  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        failures = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(failure) for failure in failures] == [TypeError, TypeError]
    await primaries.close()


async def test_a_reply_that_makes_no_sense(redis_server: RedisServer) -> None:
    """Calls whose reply cannot be dealt out fail; nobody waits for ever."""
    with redis_server.client() as client:
        client.function_load(
            "#!lua name=quest\nredis.register_function('quest_delete', function() return 1 end)", replace=True
        )
    primaries = topology.of(redis_server.url)
    await primaries.connect()
    together = Together(Library(primaries, test_mode=False))
    deletes = [together.call("quest_delete", "quest:{a}", b"v", "handle", grouped=False) for _ in range(2)]
    found = await asyncio.wait_for(asyncio.gather(*deletes, return_exceptions=True), 3)
    assert all(isinstance(each, Exception) for each in found), found
    await primaries.close()


async def test_calls_are_written_as_soon_as_they_are_together(redis_server: RedisServer) -> None:
    """What a tick asked for is on its way to Redis in the next one: no other tick is waited for."""
    primaries = topology.of(redis_server.url)
    await primaries.connect()
    pipeline = primaries.all[0].pipeline
    together = Together(Library(primaries, test_mode=True))
    before = pipeline.calls
    replies = [together.call("quest_delete", f"quest:{{{name}}}", b"v", "h", grouped=False) for name in "ab"]
    await asyncio.sleep(0)
    assert pipeline.calls - before == 2
    await asyncio.gather(*replies, return_exceptions=True)
    await primaries.close()
