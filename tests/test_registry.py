"""The registry in a real Cluster: queues that Redis clients make are found, and those that are deleted leave nothing."""

from collections.abc import AsyncIterator

import pytest

from questd import library, registry, topology
from questd.library import Library
from tests.client import Sqs, serving
from tests.clusters import ClusterServers
from tests.waiting import until_so


@pytest.fixture
async def sqs(servers: ClusterServers) -> AsyncIterator[Sqs]:
    """Give a client of a questd on an empty Cluster."""
    async with serving(servers.url) as client:
        yield client


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

    await until_so(found)
    for name in names:
        client = servers.at(name).client
        for _ in range(5):
            assert len(client.fcall("getMessage", 1, name, 1, "0")) == 1
        assert client.fcall("getMessage", 1, name, 1, "0") == []

        async def dead(name: str = name) -> bool:
            return await sqs.counts(f"{name}-dlq") == (1, 0, 0)

        await until_so(dead)
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

        await until_so(found)
        for name in names:

            async def promoted(name: str = name) -> bool:
                return not servers.at(name).client.zcard(f"quest:{{{name}}}:delayed")

            await until_so(promoted)


async def test_what_a_deleted_queue_leaves_is_unlinked(sqs: Sqs, servers: ClusterServers) -> None:
    """The list of a long group of a deleted FIFO queue is gone after a while, and so is the note of what may be left."""
    name = next(f"{start}.fifo" for i in range(100) if servers.at(f"{(start := f'q{i}')}.fifo") is servers.primaries[1])
    url = await sqs.create(name, FifoQueue="true", ContentBasedDeduplication="true")
    for number in range(30):
        await sqs("SendMessage", QueueUrl=url, MessageBody=f"{number}", MessageGroupId="long")
    assert servers.primaries[1].client.keys("quest:*:group:*")
    await sqs("DeleteQueue", QueueUrl=url)
    short = await sqs.create(servers.name_at(0))
    await sqs("DeleteQueue", QueueUrl=short)

    async def gone() -> bool:
        keys = [key for node in servers.primaries for key in node.client.keys("quest:*")]
        return not [key for key in keys if b"group" in key or b"purged" in key or key == b"quest:remains"]

    await until_so(gone)


async def test_a_queue_made_again_while_it_is_struck_out(sqs: Sqs, servers: ClusterServers) -> None:
    """Who deletes a queue does not strike out another of its name that has been made meanwhile."""
    name = servers.name_at(0)
    await sqs.create(name)
    primaries = topology.of(servers.url)
    await primaries.connect()
    try:
        await registry.strike(Library(primaries, test_mode=True), name)
        assert await listed(sqs) == [name]
        await sqs("DeleteQueue", QueueUrl=name)
        assert await listed(sqs) == []
    finally:
        await primaries.close()


async def test_a_queue_that_cannot_be_made(sqs: Sqs, servers: ClusterServers) -> None:
    """A CreateQueue that fails leaves the registry as it was: a queue that is there stays in it."""
    name = servers.name_at(0)
    await sqs.create(name)
    reply = await sqs.ask("CreateQueue", QueueName=name, Attributes={"DelaySeconds": "7"})
    assert reply.status == 400
    assert await listed(sqs) == [name]
