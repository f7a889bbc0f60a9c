"""The relay on a real Cluster: dead letters and move tasks between slots, and what becomes of them without a target."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator

import pytest

from tests.client import ARN, Sqs, serving
from tests.clusters import ClusterServers, cluster
from tests.waiting import until, until_so


@pytest.fixture
async def sqs(servers: ClusterServers) -> AsyncIterator[Sqs]:
    """Give a client of a questd on an empty Cluster."""
    async with serving(servers.url) as client:
        yield client


async def with_dead_letters(sqs: Sqs, name: str, dead: str) -> None:
    """Make a queue and its dead-letter queue."""
    await sqs.create(dead)
    await sqs.create(name, RedrivePolicy=json.dumps({"deadLetterTargetArn": f"{ARN}:{dead}", "maxReceiveCount": 1}))


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

    await until_so(arrived)
    letters = await sqs.receive(dead, MaxNumberOfMessages=10, AttributeNames=["All"])
    assert [letter["Body"] for letter in letters] == ["a", "b", "c"]
    assert letters[0]["Attributes"]["DeadLetterQueueSourceArn"] == f"{ARN}:{name}"
    assert letters[0]["Attributes"]["ApproximateReceiveCount"] == "2"
    client = servers.at(name).client

    async def forgotten() -> bool:
        return not client.exists(f"quest:{{{name}}}:outbox")

    await until_so(forgotten)
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

        await until_so(arrived)


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

        await until_so(dead_count)
        chosen = {"DestinationArn": f"{ARN}:{destination}"} if destination == other else {}
        await sqs("StartMessageMoveTask", SourceArn=f"{ARN}:{dead}", **chosen)

        async def moved(destination: str = destination) -> bool:
            return await sqs.counts(destination) == (2, 0, 0)

        await until_so(moved)
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

    await until_so(moved, 10)
    client = servers.at(dead).client

    async def forgotten() -> bool:
        return not client.exists(f"quest:{{{dead}}}:outbox")

    await until_so(forgotten)
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

    await until_so(back)
    [message] = await sqs.receive(name, VisibilityTimeout=0, AttributeNames=["All"])
    assert message["Attributes"]["ApproximateReceiveCount"] == "2"
    assert "DeadLetterQueueSourceArn" not in message["Attributes"]
    await sqs.create(other)
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}:{other}", "maxReceiveCount": 1})
    await sqs.set(name, RedrivePolicy=policy)
    assert await sqs.receive(name) == []

    async def arrived() -> bool:
        return await sqs.counts(other) == (1, 0, 0)

    await until_so(arrived)


async def test_without_word_of_its_disk(sqs: Sqs, servers: ClusterServers) -> None:
    """A target that cannot say what is on its disk gets two seconds before the source forgets what it took."""
    name, dead = servers.name_at(0), servers.name_at(1)
    await with_dead_letters(sqs, name, dead)
    source, target = servers.at(name).client, servers.at(dead).client
    target.config_set("appendonly", "no")
    try:
        await sqs("SendMessage", QueueUrl=name, MessageBody="x")
        await sqs.receive(name, VisibilityTimeout=0)
        await sqs.receive(name)

        async def arrived() -> bool:
            return await sqs.counts(dead) == (1, 0, 0)

        async def forgotten() -> bool:
            return not source.exists(f"quest:{{{name}}}:outbox")

        await until_so(arrived)
        began = time.monotonic()
        await until_so(forgotten)
        assert time.monotonic() - began > 1.5
        assert await sqs.counts(dead) == (1, 0, 0)
    finally:
        target.config_set("appendonly", "yes")


async def test_a_move_task_without_its_target(sqs: Sqs, servers: ClusterServers) -> None:
    """A move to a queue that was deleted meanwhile fails, and the messages are where they were."""
    name, dead, other = (servers.name_at(place) for place in range(3))
    await with_dead_letters(sqs, name, dead)
    await sqs.create(other)
    await sqs.fill(dead, ["a", "b", "c"])
    source = f"{ARN}:{dead}"
    await sqs("StartMessageMoveTask", SourceArn=source, DestinationArn=f"{ARN}:{other}", MaxNumberOfMessagesPerSecond=1)
    await sqs("DeleteQueue", QueueUrl=other)
    await sqs.advance(10)

    async def failed() -> bool:
        [task] = (await sqs("ListMessageMoveTasks", SourceArn=source))["Results"]
        return bool(task["Status"] == "FAILED")

    await until_so(failed)

    async def back() -> bool:
        return (await sqs.counts(dead))[0] + (await sqs.counts(dead))[1] >= 2

    await until_so(back)


async def test_the_primary_of_the_target_dies() -> None:
    """What a target took and forgot, as its replica takes over without it, is handed on again: nothing is lost."""
    bodies = {str(number) for number in range(50)}
    with cluster(2, "--cluster-require-full-coverage", "no", replicas=True) as servers:
        name, dead = servers.name_at(0), servers.name_at(1)
        primary, replica = servers.primaries[0], servers.replicas[0]
        async with serving(servers.url, test_mode=False) as sqs:
            await with_dead_letters(sqs, name, dead)
            await sqs.fill(dead, bodies)
            await asyncio.to_thread(until, lambda: servers.replicated(0))
            replica.server.process.send_signal(signal.SIGSTOP)
            primary.client.client_kill_filter(_type="replica")  # it cannot find what comes now in its socket
            await sqs("StartMessageMoveTask", SourceArn=f"{ARN}:{dead}", DestinationArn=f"{ARN}:{name}")
            await asyncio.to_thread(until, lambda: primary.client.hlen(f"quest:{{{name}}}:messages") == len(bodies))
            primary.server.stop()
            replica.server.process.send_signal(signal.SIGCONT)
            replica.run("CLUSTER FAILOVER", "TAKEOVER")

            async def arrived() -> bool:
                reply = await sqs.ask("GetQueueAttributes", QueueUrl=name, AttributeNames=["All"])
                return reply.json.get("Attributes", {}).get("ApproximateNumberOfMessages") == str(len(bodies))

            await until_so(arrived, 20)
            received = [m["Body"] for _ in range(8) for m in await sqs.receive(name, MaxNumberOfMessages=10)]
            assert len(received) == len(bodies)
            assert set(received) == bodies

            async def forgotten() -> bool:
                return not servers.primaries[1].client.exists(f"quest:{{{dead}}}:outbox")

            await until_so(forgotten, 10)
