"""questd on a real Redis Cluster of three primaries: queues in different slots, and everything that crosses slots."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.client import Sqs, serving
from tests.clusters import ClusterServers, cluster


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
