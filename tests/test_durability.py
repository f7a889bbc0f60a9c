"""What was answered is kept: on the disk, or on replicas, through SIGKILL; what may not be kept is not answered so."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
from redis.exceptions import MovedError

from questd import library
from questd.durability import CannotPromise, Durability, Proof
from questd.pipeline import Pipeline
from questd.primaries import client_of
from tests.client import Sqs, serving
from tests.clusters import cluster
from tests.servers import BINARIES, RedisServer, running
from tests.waiting import until, until_so

AOF = ("--appendonly", "yes")
ALWAYS = (*AOF, "--appendfsync", "always")
REPLICA = ("--repl-diskless-sync-delay", "0")
ASKED = [name for name in BINARIES if name != "redis-7.0"]
"""The servers that have WAITAOF."""

KILLED = [(name, ALWAYS) for name in BINARIES] + [(name, AOF) for name in ASKED]
"""Servers of which an answer is durable, by themselves or by WAITAOF."""

SLOW = "redis-8.2"
"""The one here that lets WAITAOF wait for its next flush, up to a second, where Valkey does it within 100 ms."""


def own(name: str, *options: str) -> contextlib.AbstractContextManager[RedisServer]:
    """Run a server that is installed."""
    binary = BINARIES[name]
    if binary is None:
        pytest.skip(f"{name} is not installed")
    return running(binary, *options)


def calls(server: RedisServer, command: str) -> int:
    """Return how often a command was called."""
    with server.client() as client:
        return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def proof_of(server: RedisServer, setting: Any, user: str = "") -> Proof | None:
    """Return how a server proves its durability to a user."""
    async with client_of(server.url.replace("://", f"://{user}")) as client:
        return await Durability(setting, 1, frozenset()).proof(client.execute_command)


# How a server proves it


@pytest.mark.parametrize("name", BINARIES)
async def test_a_server_that_flushes_before_it_replies(name: str) -> None:
    """Its reply is proof enough, unless it does not flush while its file is rewritten."""
    with own(name, *ALWAYS) as server:
        assert await proof_of(server, "always") is None
    with own(name, *ALWAYS, "--no-appendfsync-on-rewrite", "yes") as server:
        if name == "redis-7.0":
            with pytest.raises(CannotPromise, match=r"from 7\.2 on"):
                await proof_of(server, "always")
        else:
            assert await proof_of(server, "always")


@pytest.mark.parametrize("name", ASKED)
async def test_a_server_that_can_be_asked(name: str) -> None:
    """A server that flushes every second is asked by WAITAOF; without an append-only file it cannot promise."""
    with own(name, *AOF) as server, server.client() as client:
        proof = await proof_of(server, "always")
        assert proof
        assert b"WAITAOF" in proof.command
        client.config_set("appendonly", "no")
        with pytest.raises(
            CannotPromise, match="has no append-only file: CONFIG SET appendonly yes appendfsync always"
        ):
            await proof_of(server, "always")


async def test_a_server_that_cannot_be_asked() -> None:
    """Redis before 7.2 must flush before it replies, and is not taken at its word otherwise."""
    says = r"from 7\.2 on.*CONFIG SET appendonly yes appendfsync always"
    with own("redis-7.0", *AOF) as server, pytest.raises(CannotPromise, match=says):
        await proof_of(server, "always")


@pytest.mark.parametrize("name", BINARIES)
async def test_a_user_who_may_not_ask(name: str) -> None:
    """Who may not see the settings is told by WAITAOF, where there is one; else what he needs is said."""
    with own(name, *ALWAYS) as server, server.client() as client:
        client.execute_command("ACL SETUSER", "u", "on", ">p", "+@all", "~*", "&*", "-config", "-wait")
        if name == "redis-7.0":
            with pytest.raises(CannotPromise, match=r"allow \+config\|get"):
                await proof_of(server, "always", "u:p@")
        else:
            assert await proof_of(server, "always", "u:p@")
            client.execute_command("ACL SETUSER", "u", "-waitaof")
            with pytest.raises(CannotPromise, match=r"allow \+config\|get and \+waitaof"):
                await proof_of(server, "always", "u:p@")
        with pytest.raises(CannotPromise, match=r"allow \+wait,"):
            await proof_of(server, "replicated", "u:p@")


# On the disk


@pytest.mark.parametrize(("name", "options"), KILLED)
async def test_what_was_answered_survives_sigkill(name: str, options: tuple[str, ...]) -> None:
    """A send, a receive and its count, and a delete are there after Redis was killed right behind their answers."""
    with own(name, *options) as server:

        async def die() -> None:
            server.stop()
            server.start()

        async with serving(server.url, durability="always") as sqs:
            await sqs.create("kept")
            await sqs.create("gone")
            await sqs("SendMessage", QueueUrl="gone", MessageBody="x")
            [gone] = await sqs.receive("gone")
            await sqs("SendMessage", QueueUrl="kept", MessageBody="x")
            await die()
            [kept] = await again(sqs, "kept", VisibilityTimeout=600)
            await die()
            assert await counts(sqs, "kept") == (0, 1, 0)
            await sqs(
                "ChangeMessageVisibility", QueueUrl="kept", ReceiptHandle=kept["ReceiptHandle"], VisibilityTimeout=0
            )
            [kept] = await sqs.receive("kept", MessageSystemAttributeNames=["All"])
            assert kept["Attributes"]["ApproximateReceiveCount"] == "2"
            await sqs("DeleteMessage", QueueUrl="gone", ReceiptHandle=gone["ReceiptHandle"])
            await die()
            assert await counts(sqs, "gone") == (0, 0, 0)


async def again(sqs: Sqs, url: str, **members: Any) -> list[dict[str, Any]]:
    """Receive as soon as Redis is back."""
    async with asyncio.timeout(10):
        while (reply := await sqs.ask("ReceiveMessage", QueueUrl=url, **members)).status == 503:
            await asyncio.sleep(0.01)
    messages: list[dict[str, Any]] = reply.json.get("Messages", [])
    return messages


async def counts(sqs: Sqs, url: str) -> tuple[int, int, int]:
    """Return the counts as soon as Redis is back."""
    async with asyncio.timeout(10):
        while (await sqs.ask("GetQueueAttributes", QueueUrl=url)).status == 503:
            await asyncio.sleep(0.01)
    return await sqs.counts(url)


@pytest.fixture
async def slow() -> AsyncIterator[tuple[RedisServer, Sqs]]:
    """Run a Redis that flushes every second, and a questd that waits for it."""
    with own(SLOW, *AOF) as server:
        async with serving(server.url, durability="always") as sqs:
            await sqs.create("q.fifo", FifoQueue="true", ContentBasedDeduplication="true")
            yield server, sqs


def sending(sqs: Sqs, body: str = "x") -> asyncio.Task[Any]:
    """Begin to send a message."""
    return asyncio.create_task(sqs.ask("SendMessage", QueueUrl="q.fifo", MessageBody=body, MessageGroupId="g"))


async def until_waiting(server: RedisServer, count: int) -> None:
    """Wait until so many connections wait for the disk."""
    with server.client() as client:
        await asyncio.to_thread(until, lambda: client.info("clients")["blocked_clients"] == count)


async def test_nothing_is_answered_before_it_is_on_disk(slow: tuple[RedisServer, Sqs]) -> None:
    """What Redis has done and not flushed is not answered; when it dies then, the answer is an error."""
    server, sqs = slow
    send = sending(sqs)
    await until_waiting(server, 1)
    with server.client() as client:
        assert client.hlen("quest:{q.fifo}:messages") == 1
    assert not send.done()
    assert (await send).status == 200
    send = sending(sqs, "y")
    await until_waiting(server, 1)
    server.stop()
    assert (await send).error[0] == 503


async def test_a_repeated_send_waits_too(slow: tuple[RedisServer, Sqs]) -> None:
    """An answer that rests on what another process wrote waits until that is on the disk."""
    server, one = slow
    async with serving(server.url, durability="always") as two:
        await two("GetQueueUrl", QueueName="q.fifo")
        first = sending(one)
        await until_waiting(server, 1)
        second = sending(two)
        await until_waiting(server, 2)
        assert not first.done()
        assert not second.done()
        assert (await first).json["MessageId"] == (await second).json["MessageId"]


async def test_a_file_that_is_switched_off(slow: tuple[RedisServer, Sqs]) -> None:
    """When Redis cannot tell any more, writes are answered with an error that says why."""
    server, sqs = slow
    with server.client() as client:
        client.config_set("appendonly", "no")
    status, _, _, text = (await sending(sqs)).error
    assert status == 503
    assert text.startswith("Redis did it, and may lose it: it cannot tell how durable it is (WAITAOF cannot be used")


# On replicas


class Replicated:
    """A primary and its replica, which can be frozen."""

    def __init__(self, primary: RedisServer, replica: RedisServer) -> None:
        self.primary = primary
        self.replica = replica

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the replica for the length of the block."""
        self.replica.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.replica.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def replicated(name: str) -> Iterator[Replicated]:
    """Run a primary and its replica."""
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(own(name, *REPLICA))
        replica = stack.enter_context(own(name, *REPLICA, "--replicaof", f"127.0.0.1 {primary.port}"))
        client = stack.enter_context(primary.client())
        until(lambda: client.info("replication").get("slave0", {}).get("state") == "online")
        yield Replicated(primary, replica)


@pytest.mark.parametrize("name", BINARIES)
async def test_too_few_replicas_are_an_error(name: str) -> None:
    """Without the replica a send and receives are answered with an error, and what was received is given back."""
    with replicated(name) as servers:
        async with serving(servers.primary.url, durability="replicated") as sqs:
            await sqs.create()
            await sqs.fill("q", "abc")
            with servers.frozen():
                send = asyncio.create_task(sqs.ask("SendMessage", QueueUrl="q", MessageBody="d"))
                receives = [sqs.ask("ReceiveMessage", QueueUrl="q", VisibilityTimeout=600) for _ in range(2)]
                for reply in await asyncio.gather(send, *receives):
                    text = "Redis did it, and may lose it: after 1 s it was on 0 of 1 replicas"
                    assert reply.error == (503, "ServiceUnavailable", "ServiceUnavailable", text)

                async def given_back() -> bool:
                    return await sqs.counts("q") == (4, 0, 0)

                await until_so(given_back)
            found = await sqs.receive("q", MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])
            assert sorted(each["Body"] for each in found) == ["a", "b", "c", "d"]
            assert {each["Attributes"]["ApproximateReceiveCount"] for each in found} == {"1"}


@pytest.mark.parametrize("name", BINARIES)
async def test_one_proof_for_all_that_came_together(name: str) -> None:
    """Calls of many requests share a proof, and those that only read need none."""
    with replicated(name) as servers:
        async with serving(servers.primary.url, durability="replicated") as sqs:
            await sqs.create()
            before = calls(servers.primary, "wait")
            await asyncio.gather(*(sqs("SendMessage", QueueUrl="q", MessageBody="x") for _ in range(100)))
            assert 0 < calls(servers.primary, "wait") - before < 50
            before = calls(servers.primary, "wait")
            await sqs.counts("q")
            await sqs("GetQueueUrl", QueueName="q")
            assert calls(servers.primary, "wait") == before


@pytest.mark.parametrize("name", BINARIES)
async def test_a_replica_that_takes_over_has_what_was_answered(name: str) -> None:
    """Right behind the answers the primary is lost for good: the replica has every message."""
    with replicated(name) as servers, servers.replica.client() as client:
        async with serving(servers.primary.url, durability="replicated") as sqs:
            await sqs.create()
            await asyncio.gather(*(sqs("SendMessage", QueueUrl="q", MessageBody="x") for _ in range(50)))
            servers.primary.stop()
            assert client.hlen("quest:{q}:messages") == 50


async def test_each_primary_of_a_cluster_has_its_own() -> None:
    """A frozen replica is an error for the queues of its primary, and for no others."""
    with cluster(2, replicas=True) as servers:
        async with serving(servers.url, durability="replicated") as sqs:
            names = [servers.name_at(place) for place in (0, 1)]
            for name in names:
                await sqs.create(name)
            servers.replicas[0].server.process.send_signal(signal.SIGSTOP)
            sends = (sqs.ask("SendMessage", QueueUrl=name, MessageBody="x") for name in names)
            assert [reply.status for reply in await asyncio.gather(*sends)] == [503, 200]


async def test_a_queue_that_has_moved_spoils_no_proof() -> None:
    """A write that came with one to a queue of another server is proved, though it went first and was refused."""
    with cluster(2, "--appendonly", "yes") as servers:
        await library.load(servers.url, test_mode=False)
        here, there = (f"quest:{{{servers.name_at(place)}}}" for place in (0, 1))
        pipeline = Pipeline(
            servers.primaries[0].server.url, durability=Durability("always", 1, frozenset({"quest_create"}))
        )
        try:
            await pipeline.connect()
            moved, *made = (
                pipeline.call("FCALL", "quest_create", 1, key, "5ec2e7", 0, 1024, 60) for key in (there, here, here)
            )
            with pytest.raises(MovedError):
                await moved
            assert await asyncio.wait_for(asyncio.gather(*made), 5) == [1, 0]
        finally:
            await pipeline.close()


def test_what_lacks() -> None:
    """A proof says what it lacks; an error on the way to it is none."""
    proof = Proof(b"", 2, "replicas", 500)
    assert proof.lack([1, 2]) is None
    assert proof.lack([1, 3]) is None
    assert proof.lack([1, 1]) == "Redis did it, and may lose it: after 0.5 s it was on 1 of 2 replicas"
    disk = Proof(b"", 1, "disks", 500)
    assert disk.lack([1, [1, 0]]) is None
    assert disk.lack([1, [0, 1]]) == "Redis did it, and may lose it: after 0.5 s it was on 0 of 1 disks"
    lack = disk.lack([redis.ResponseError("MOVED"), [1, 0]])
    assert lack == "Redis did it, and may lose it: it cannot tell how durable it is (MOVED)"
