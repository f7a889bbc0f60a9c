"""questd on a real Redis Cluster of three primaries: queues in different slots, and everything that crosses slots."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from questd import library
from tests.client import ARN, Sqs, serving
from tests.clusters import ClusterServers, cluster


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 5) -> None:
    """Return when the condition holds; fail when it does not in time."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.005)


async def with_dead_letters(sqs: Sqs, name: str, dead: str, tries: int = 1) -> None:
    """Make a queue and its dead-letter queue."""
    await sqs.create(dead)
    await sqs.create(name, RedrivePolicy=json.dumps({"deadLetterTargetArn": f"{ARN}:{dead}", "maxReceiveCount": tries}))


@pytest.fixture(scope="module")
def shared() -> Iterator[ClusterServers]:
    """One Cluster for all tests that do not hurt it."""
    with cluster() as started:
        yield started


@pytest.fixture
def servers(shared: ClusterServers) -> ClusterServers:
    """Return an empty Cluster."""
    shared.empty()
    return shared


@pytest.fixture
async def sqs(servers: ClusterServers) -> AsyncIterator[Sqs]:
    """Give a client of a questd on an empty Cluster."""
    async with serving(servers.url) as client:
        yield client


async def test_the_main_story_in_every_slot(sqs: Sqs, servers: ClusterServers) -> None:
    """Queues on each primary are made, listed, sent to, received from and deleted, as on one Redis."""
    names = [servers.name_at(place) for place in range(3)]
    for name in names:
        url = await sqs.create(name)
        await sqs("SendMessage", QueueUrl=url, MessageBody=f"to {name}")
        assert servers.at(name).client.hlen(f"quest:{{{name}}}:messages") == 1
    assert [url.rpartition("/")[2] for url in (await sqs("ListQueues"))["QueueUrls"]] == sorted(names)
    for name in names:
        [message] = await sqs.receive(name)
        assert message["Body"] == f"to {name}"
        await sqs("DeleteMessage", QueueUrl=name, ReceiptHandle=message["ReceiptHandle"])
        assert await sqs.counts(name) == (0, 0, 0)
        await sqs("DeleteQueue", QueueUrl=name)
    assert await sqs("ListQueues") == {}


async def test_a_library_that_is_gone_comes_back_on_every_primary(sqs: Sqs, servers: ClusterServers) -> None:
    """A primary without functions gets them when it is asked for one."""
    names = [await sqs.create(servers.name_at(place)) for place in range(3)]
    for node in servers.primaries:
        node.client.function_flush()
    await asyncio.gather(*(sqs("SendMessage", QueueUrl=name, MessageBody="x") for name in names for _ in range(10)))
    assert [await sqs.counts(name) for name in names] == [(10, 0, 0)] * 3


async def test_dead_letters_between_slots(sqs: Sqs, servers: ClusterServers) -> None:
    """An exhausted message goes to a dead-letter queue on another primary, once, and its source forgets it there."""
    name, dead = servers.name_at(0), servers.name_at(1)
    await with_dead_letters(sqs, name, dead)
    assert (await sqs("ListDeadLetterSourceQueues", QueueUrl=dead))["queueUrls"][0].endswith(name)
    for body in ("a", "b", "c"):
        await sqs("SendMessage", QueueUrl=name, MessageBody=body)
    await sqs.receive(name, MaxNumberOfMessages=10, VisibilityTimeout=0)
    assert await sqs.receive(name, MaxNumberOfMessages=10) == []

    async def arrived() -> bool:
        return await sqs.counts(dead) == (3, 0, 0)

    await until(arrived)
    letters = await sqs.receive(dead, MaxNumberOfMessages=10, AttributeNames=["All"])
    assert [letter["Body"] for letter in letters] == ["a", "b", "c"]
    assert letters[0]["Attributes"]["DeadLetterQueueSourceArn"] == f"{ARN}:{name}"
    assert letters[0]["Attributes"]["ApproximateReceiveCount"] == "2"
    client = servers.at(name).client

    async def forgotten() -> bool:
        return not client.exists(f"quest:{{{name}}}:outbox")

    await until(forgotten)
    assert await sqs.counts(dead) == (0, 3, 0)


async def test_poison_leaves_by_itself(sqs: Sqs, servers: ClusterServers) -> None:
    """Each primary has a background task: exhausted messages leave without a receive, whichever primary has them."""
    for source, target in ((0, 1), (1, 2), (2, 0)):
        name, dead = servers.name_at(source, "source"), servers.name_at(target, "target")
        await with_dead_letters(sqs, name, dead)
        await sqs("SendMessage", QueueUrl=name, MessageBody="x")
        await sqs.receive(name, VisibilityTimeout=10)
    await sqs.advance(12)
    for place in range(3):
        dead = servers.name_at(place, "target")

        async def arrived(dead: str = dead) -> bool:
            return await sqs.counts(dead) == (1, 0, 0)

        await until(arrived)


async def test_a_move_task_between_slots(sqs: Sqs, servers: ClusterServers) -> None:
    """A task moves a dead-letter queue's messages to a queue on another primary, by name or back to their sources."""
    name, dead, other = (servers.name_at(place) for place in range(3))
    await with_dead_letters(sqs, name, dead)
    await sqs.create(other)
    for body in ("a", "b"):
        await sqs("SendMessage", QueueUrl=name, MessageBody=body)
    for destination in (other, name):
        await sqs.receive(name, MaxNumberOfMessages=10, VisibilityTimeout=0)
        await sqs.receive(name)

        async def dead_count(count: int = 2) -> bool:
            return await sqs.counts(dead) == (count, 0, 0)

        await until(dead_count)
        chosen = {"DestinationArn": f"{ARN}:{destination}"} if destination == other else {}
        await sqs("StartMessageMoveTask", SourceArn=f"{ARN}:{dead}", **chosen)

        async def moved(destination: str = destination) -> bool:
            return await sqs.counts(destination) == (2, 0, 0)

        await until(moved)
        [task] = (await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}:{dead}"))["Results"]
        assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 2)
        for message in await sqs.receive(destination, MaxNumberOfMessages=10):
            await sqs("DeleteMessage", QueueUrl=destination, ReceiptHandle=message["ReceiptHandle"])
        for body in ("a", "b"):
            await sqs("SendMessage", QueueUrl=name, MessageBody=body)


async def test_many_messages_between_slots(sqs: Sqs, servers: ClusterServers) -> None:
    """Hundreds of messages move in a few batches, all of them, once each."""
    name, dead = servers.name_at(0), servers.name_at(1)
    await with_dead_letters(sqs, name, dead)
    bodies = {str(number) for number in range(500)}
    await sqs.fill(dead, bodies)
    await sqs("StartMessageMoveTask", SourceArn=f"{ARN}:{dead}", DestinationArn=f"{ARN}:{name}")

    async def moved() -> bool:
        return await sqs.counts(name) == (500, 0, 0)

    await until(moved, 10)
    client = servers.at(dead).client

    async def forgotten() -> bool:
        return not client.exists(f"quest:{{{dead}}}:outbox")

    await until(forgotten)
    received = [m["Body"] for _ in range(50) for m in await sqs.receive(name, MaxNumberOfMessages=10)]
    assert len(received) == 500
    assert set(received) == bodies


async def test_a_target_that_is_gone(sqs: Sqs, servers: ClusterServers) -> None:
    """Without its dead-letter queue a message stays deliverable, and goes when the policy names another."""
    name, dead, other = (servers.name_at(place) for place in range(3))
    await with_dead_letters(sqs, name, dead)
    await sqs("DeleteQueue", QueueUrl=dead)
    await sqs("SendMessage", QueueUrl=name, MessageBody="x")
    await sqs.receive(name, VisibilityTimeout=0)
    await sqs.receive(name)

    async def back() -> bool:
        return await sqs.counts(name) == (1, 0, 0)

    await until(back)
    [message] = await sqs.receive(name, VisibilityTimeout=0, AttributeNames=["All"])
    assert message["Attributes"]["ApproximateReceiveCount"] == "2"
    assert "DeadLetterQueueSourceArn" not in message["Attributes"]
    await sqs.create(other)
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}:{other}", "maxReceiveCount": 1})
    await sqs.set(name, RedrivePolicy=policy)
    assert await sqs.receive(name) == []

    async def arrived() -> bool:
        return await sqs.counts(other) == (1, 0, 0)

    await until(arrived)


async def listed(sqs: Sqs) -> list[str]:
    """Return the names of all queues."""
    return [url.rpartition("/")[2] for url in (await sqs("ListQueues")).get("QueueUrls", [])]


async def test_lists_made_by_redis_cli(sqs: Sqs, servers: ClusterServers) -> None:
    """A list that a Redis client makes is a queue with a dead-letter queue, whichever slots these have."""
    names = [servers.name_at(place, "list") for place in range(3)]
    for name in names:
        servers.at(name).client.fcall("sendMessage", 1, name, "x")

    async def found() -> bool:
        return await listed(sqs) == sorted([*names, *(f"{name}-dlq" for name in names)])

    await until(found)
    for name in names:
        client = servers.at(name).client
        for _ in range(5):
            assert len(client.fcall("getMessage", 1, name, 1, "0")) == 1
        assert client.fcall("getMessage", 1, name, 1, "0") == []

        async def dead(name: str = name) -> bool:
            return await sqs.counts(f"{name}-dlq") == (1, 0, 0)

        await until(dead)
    await sqs("DeleteQueue", QueueUrl=f"{names[0]}-dlq")
    assert f"{names[0]}-dlq" not in await listed(sqs)


async def test_lists_made_before_questd(servers: ClusterServers) -> None:
    """Queues that nobody has registered are found when a questd begins with the background task."""
    await library.load(servers.url, test_mode=True)
    names = [servers.name_at(place, "list") for place in range(3)]
    for name in names:
        servers.at(name).client.fcall("sendMessage", 1, name, "x", "0.02")
    async with serving(servers.url) as sqs:

        async def found() -> bool:
            return await listed(sqs) == sorted([*names, *(f"{name}-dlq" for name in names)])

        await until(found)
        for name in names:

            async def promoted(name: str = name) -> bool:
                return not servers.at(name).client.zcard(f"quest:{{{name}}}:delayed")

            await until(promoted)


async def test_long_polls_of_several_processes(servers: ClusterServers) -> None:
    """Waiters of two questds on queues of every primary get one message each, at once."""
    async with serving(servers.url) as one, serving(servers.url) as two:
        names = [await one.create(servers.name_at(place)) for place in range(3)]
        polls = [
            asyncio.create_task(sqs.receive(name, WaitTimeSeconds=20))
            for name in names
            for sqs in (one, two)
            for _ in range(5)
        ]
        for place in range(3):
            name = servers.name_at(place)
            while servers.at(name).client.zcard(f"quest:{{{name}}}:waiting") < 2:
                await asyncio.sleep(0.002)
        began = time.monotonic()
        for name in names:
            for number in range(10):
                await (one, two)[number % 2]("SendMessage", QueueUrl=name, MessageBody=f"{name}{number}")
        received = await asyncio.wait_for(asyncio.gather(*polls), 5)
        assert len({message["Body"] for messages in received for message in messages}) == 30
        assert time.monotonic() - began < 2


async def test_a_delay_ends_a_long_poll(sqs: Sqs, servers: ClusterServers) -> None:
    """On every primary the background task makes a delayed message visible when it is due, and wakes who waits."""
    names = [await sqs.create(servers.name_at(place)) for place in range(3)]
    for name in names:
        await sqs("SendMessage", QueueUrl=name, MessageBody="x", DelaySeconds=60)
    polls = [asyncio.create_task(sqs.receive(name, WaitTimeSeconds=20)) for name in names]
    for place in range(3):
        name = servers.name_at(place)
        while not servers.at(name).client.exists(f"quest:{{{name}}}:waiting"):
            await asyncio.sleep(0.002)
    await sqs.advance(60)
    received = await asyncio.wait_for(asyncio.gather(*polls), 3)
    assert [len(messages) for messages in received] == [1, 1, 1]


async def test_every_primary_has_its_lease(sqs: Sqs, servers: ClusterServers) -> None:
    """The leases are in the slots of their primaries; unload looks at all of them, and empties all."""
    await sqs.create(servers.name_at(0))

    async def leased() -> bool:
        return all(len(node.client.keys("quest:lease:{*}")) == 1 for node in servers.primaries)

    await until(leased)
    with pytest.raises(library.LibraryRefused, match="a questd is running"):
        await library.unload(servers.url, force=False)
    await sqs.stop()
    await library.unload(servers.url, force=False)
    assert [node.client.function_list() for node in servers.primaries] == [[], [], []]


async def test_what_a_deleted_queue_leaves_is_unlinked(sqs: Sqs, servers: ClusterServers) -> None:
    """The groups of a deleted FIFO queue are gone after a while, and so is the note of them."""
    name = next(f"{start}.fifo" for i in range(100) if servers.at(f"{(start := f'q{i}')}.fifo") is servers.primaries[1])
    url = await sqs.create(name, FifoQueue="true", ContentBasedDeduplication="true")
    for group in range(10):
        await sqs("SendMessage", QueueUrl=url, MessageBody="x", MessageGroupId=f"g{group}")
    await sqs("DeleteQueue", QueueUrl=url)

    async def gone() -> bool:
        keys = [key for node in servers.primaries for key in node.client.keys("quest:*")]
        return not [key for key in keys if b"group" in key or b"purged" in key or key == b"quest:remains"]

    await until(gone)
