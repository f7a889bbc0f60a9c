"""questd on a real Redis Cluster of three primaries: queues in different slots, slots that move, primaries that die."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from redis.crc import key_slot

from questd import library
from tests.client import Sqs, serving
from tests.clusters import ClusterServers, cluster, spare_node
from tests.test_server import Client, History, consume, produce
from tests.waiting import until_so


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

    await until_so(leased)
    with pytest.raises(library.LibraryRefused, match="a questd is running"):
        await library.unload(servers.url, force=False)
    await sqs.stop()
    await library.unload(servers.url, force=False)
    assert [node.client.function_list() for node in servers.primaries] == [[], [], []]


@contextlib.contextmanager
def moving(servers: ClusterServers, name: str) -> Iterator[Callable[[], None]]:
    """Give what moves a queue of the first primary to the second; afterwards its slot is back."""
    first, second, _ = servers.primaries
    slot = key_slot(f"quest:{{{name}}}".encode())
    yield lambda: servers.move(slot, first, second, lambda: time.sleep(0.02))
    servers.move(slot, second, first)


async def test_a_queue_that_moves_under_load(sqs: Sqs, servers: ClusterServers) -> None:
    """While its slot moves to another primary a queue answers every request, a little later, and loses nothing."""
    name = servers.name_at(0)
    await sqs.create(name)
    bodies = [str(number) for number in range(400)]
    with moving(servers, name) as move:
        received: list[str] = []
        consumers = [asyncio.create_task(drain(sqs, name, received, len(bodies))) for _ in range(3)]
        moved = asyncio.create_task(asyncio.to_thread(move))
        for body in bodies:
            await sqs("SendMessage", QueueUrl=name, MessageBody=body)
        await moved
        await asyncio.gather(*consumers)
        assert sorted(received) == sorted(bodies)
        assert servers.primaries[1].client.exists(f"quest:{{{name}}}")


async def drain(sqs: Sqs, name: str, received: list[str], expected: int) -> None:
    """Receive and delete until so many messages have been received by all."""
    while len(received) < expected:
        for message in await sqs.receive(name, MaxNumberOfMessages=10, WaitTimeSeconds=1):
            received.append(message["Body"])
            await sqs("DeleteMessage", QueueUrl=name, ReceiptHandle=message["ReceiptHandle"])


async def test_a_long_poll_follows_its_queue(sqs: Sqs, servers: ClusterServers) -> None:
    """Who waits on a queue that moves is woken by a message on its new primary, and so is the background task."""
    name = servers.name_at(0)
    await sqs.create(name)
    await sqs("SendMessage", QueueUrl=name, MessageBody="later", DelaySeconds=60)
    with moving(servers, name) as move:
        polls = [asyncio.create_task(sqs.receive(name, WaitTimeSeconds=20, VisibilityTimeout=600)) for _ in range(2)]
        while not servers.at(name).client.exists(f"quest:{{{name}}}:waiting"):
            await asyncio.sleep(0.002)
        await asyncio.to_thread(move)
        await sqs("SendMessage", QueueUrl=name, MessageBody="now")
        done, _ = await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED, timeout=3)
        assert [message["Body"] for poll in done for message in poll.result()] == ["now"]
        await sqs.advance(60)
        received = await asyncio.wait_for(asyncio.gather(*polls), 3)
        assert sorted(message["Body"] for messages in received for message in messages) == ["later", "now"]


async def test_a_node_gets_its_first_slot() -> None:
    """A slot that moves to a node nobody has called yet, without slots and functions, answers all the while."""
    with cluster(1) as servers, contextlib.ExitStack() as stack:
        async with serving(servers.url) as sqs:
            url = await sqs.create()
            spare = await asyncio.to_thread(spare_node, stack, servers)
            slot = key_slot(b"quest:{q}")
            moved = asyncio.create_task(
                asyncio.to_thread(servers.move, slot, servers.primaries[0], spare, lambda: time.sleep(0.05))
            )
            count = 0
            while not moved.done() or count < 10:
                await sqs("SendMessage", QueueUrl=url, MessageBody="x")
                count += 1
            assert spare.client.hlen("quest:{q}:messages") == count
            assert await sqs.counts(url) == (count, 0, 0)


async def test_a_shard_is_down() -> None:
    """A questd that starts while a primary is away, with the registry even, serves the queues of the others.

    When it is back, so are its queues.
    """
    options = ("--cluster-require-full-coverage", "no", "--appendonly", "yes")
    with cluster(3, *options) as servers:
        dead = servers.primaries.index(servers.at("quest:queues"))
        names = [servers.name_at(place) for place in range(3)]
        async with serving(servers.url) as sqs:
            for name in names:
                await sqs.create(name)
                await sqs("SendMessage", QueueUrl=name, MessageBody="x", DelaySeconds=2)
        servers.primaries[dead].server.stop()
        async with serving(servers.url, test_mode=False) as sqs:
            for name in names:
                reply = await sqs.ask("ReceiveMessage", QueueUrl=name, WaitTimeSeconds=5)
                if name == names[dead]:
                    assert reply.status == 503
                else:
                    assert len(reply.json["Messages"]) == 1
            assert (await sqs.ask("ListQueues")).status == 503
            async with sqs.session.get(f"{sqs.url}/health/ready") as response:
                assert response.status == 200
            servers.primaries[dead].server.start()

            async def back() -> bool:
                return (await sqs.ask("ListQueues")).status == 200

            await until_so(back, 10)
            assert len(await sqs.receive(names[dead], WaitTimeSeconds=5)) == 1


class Gated(Client):
    """A client that can be kept from asking, so that nothing is under way, and notes which queues it was refused."""

    def __init__(self, sqs: Sqs) -> None:
        super().__init__(sqs.session, [sqs.url])
        self.gate = asyncio.Event()
        self.gate.set()
        self.busy = 0
        self.refused: set[str] = set()

    async def ask(self, action: str, **members: Any) -> dict[str, Any]:
        """Ask while the gate is open, until the answer is 200; a 503 is asked again."""
        while True:
            await self.gate.wait()
            self.busy += 1
            reply = await Sqs(self.endpoints[0], self.session).ask(action, **members)
            self.busy -= 1
            if reply.status == 200:
                return reply.json
            assert reply.status == 503, reply.body
            self.refused.add(members["QueueUrl"])
            await asyncio.sleep(0.01)


def loaded(client: Client, url: str, history: History, bodies: list[str], expected: int) -> list[asyncio.Task[None]]:
    """Produce and consume until everything that is expected was deleted."""
    producers = [asyncio.create_task(produce(client, url, bodies[i::2])) for i in range(2)]
    return producers + [asyncio.create_task(consume(client, url, history, expected)) for _ in range(4)]


async def test_a_primary_dies_under_load() -> None:
    """A primary is killed under load and its replica takes over: nothing acknowledged is lost, nothing given wrongly.

    What a primary has acknowledged and not yet sent to its replica, Redis itself loses: messages, deletes and receives
    alike. So that each of them counts here, clients hold their breath until the replica has everything, and go on in
    the moment of the kill. Queues on the other primaries never see a 503.
    """
    bodies = [str(number) for number in range(2000)]
    everything = {*bodies, "delayed"}
    with cluster(3, "--cluster-require-full-coverage", "no", replicas=True) as servers:
        async with serving(servers.url, test_mode=False) as sqs:
            client, histories, load = Gated(sqs), [History() for _ in range(3)], list[asyncio.Task[None]]()
            urls = [await sqs.create(servers.name_at(place)) for place in range(3)]
            for url, history in zip(urls, histories, strict=True):
                await sqs("SendMessage", QueueUrl=url, MessageBody="delayed", DelaySeconds=4)
                load += loaded(client, url, history, bodies, len(everything))
            while len(histories[0].deleted) < 300:
                await asyncio.sleep(0.005)
            client.gate.clear()

            async def safe() -> bool:
                return client.busy == 0 and servers.replicated(0)

            await until_so(safe)
            assert len(histories[0].deleted) < len(bodies)
            assert not client.refused
            servers.primaries[0].server.stop()
            client.gate.set()
            await asyncio.wait_for(asyncio.gather(*load), 40)
            for history in histories:
                history.check(everything)
            assert servers.replicas[0].is_primary
            assert client.refused == {urls[0]}
