"""Whole processes: several questds on one Redis, killed and restarted under load; what was acknowledged stays."""

import asyncio
import contextlib
import itertools
import json
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.client import JSON, Sqs, serving
from tests.servers import DEFAULT, RedisServer, running

VISIBILITY_SECONDS = 3


@contextlib.asynccontextmanager
async def process(*options: str) -> AsyncIterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run `questd serve` as a process of its own; gives its URL."""
    command = [sys.executable, "-m", "questd", "serve", "--port", "0", *options]
    started = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert started.stdout
        line = (await asyncio.to_thread(started.stdout.readline)).decode()
        found = re.search(r"http://\S+", line)
        assert found, line
        yield found[0], started
    finally:
        started.terminate()
        assert started.stdout
        started.stdout.close()
        await asyncio.to_thread(started.wait)


class Client:
    """A client that goes on with the next endpoint when one is gone, as one behind a load balancer does."""

    def __init__(self, session: aiohttp.ClientSession, endpoints: list[str]) -> None:
        self.session = session
        self.endpoints = endpoints

    async def ask(self, action: str, **members: Any) -> dict[str, Any]:
        """Ask until somebody answers 200; a 503 or a lost connection is asked again."""
        headers = {**JSON, "X-Amz-Target": f"AmazonSQS.{action}"}
        for turn in range(10_000):
            endpoint = self.endpoints[turn % len(self.endpoints)]
            try:
                async with self.session.post(endpoint, data=json.dumps(members), headers=headers) as response:
                    body = await response.read()
                    if response.status == 200:
                        answered: dict[str, Any] = json.loads(body or b"{}")
                        return answered
                    assert response.status == 503, body
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.01)
        raise AssertionError("nobody answers")


class History:
    """Who was given which message when, to be judged in the end."""

    def __init__(self) -> None:
        self.deliveries: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        self.deleted: dict[str, float] = {}

    def check(self, expected: set[str]) -> None:
        """Fail when a message was lost, given to two holders at once, or given again after it was deleted."""
        assert self.deleted.keys() == expected
        for body, times in self.deliveries.items():
            times.sort()
            for (asked, _), (_, answered) in itertools.pairwise(times):
                assert answered - asked >= VISIBILITY_SECONDS, f"{body} was given twice within its timeout"
            assert times[-1][0] <= self.deleted[body], f"{body} was given after it was deleted"


async def produce(client: Client, url: str, bodies: list[str]) -> None:
    """Send bodies in batches of ten."""
    for start in range(0, len(bodies), 10):
        entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies[start : start + 10])]
        assert "Failed" not in await client.ask("SendMessageBatch", QueueUrl=url, Entries=entries)


async def consume(client: Client, url: str, history: History, expected: int) -> None:
    """Receive and delete until everything that is expected was deleted by somebody."""
    while len(history.deleted) < expected:
        asked = time.monotonic()
        reply = await client.ask(
            "ReceiveMessage",
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=1,
            VisibilityTimeout=VISIBILITY_SECONDS,
        )
        answered = time.monotonic()
        messages = reply.get("Messages", [])
        for message in messages:
            history.deliveries[message["Body"]].append((asked, answered))
        if messages:
            entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)]
            await client.ask("DeleteMessageBatch", QueueUrl=url, Entries=entries)
            for message in messages:
                history.deleted.setdefault(message["Body"], time.monotonic())


async def test_twenty_consumers_and_a_questd_killed_in_the_middle(redis_server: RedisServer) -> None:
    """Of 10 000 messages none is lost or given twice within its timeout, though one of two questds is killed."""
    async with (
        process("--redis-url", redis_server.url) as (one, _),
        process("--redis-url", redis_server.url) as (two, victim),
        aiohttp.ClientSession() as session,
    ):
        client, history = Client(session, [one]), History()
        url = (await client.ask("CreateQueue", QueueName="drain"))["QueueUrl"]
        bodies = [str(i) for i in range(10_000)]
        half = len(bodies) // 2
        await asyncio.gather(produce(client, url, bodies[:half]), produce(client, url, bodies[half:]))
        consumers = [
            asyncio.create_task(consume(Client(session, [[one, two], [two, one]][i % 2]), url, history, len(bodies)))
            for i in range(20)
        ]
        while len(history.deleted) < len(bodies) // 3:
            await asyncio.sleep(0.01)
        victim.kill()
        await asyncio.gather(*consumers)
        history.check(set(bodies))


async def test_redis_restarted_under_load() -> None:
    """Redis is killed and comes back while everybody goes on: what was acknowledged is there, 503 meanwhile."""
    with running(DEFAULT, "--appendonly", "yes", "--appendfsync", "always") as redis:
        async with serving(redis.url) as sqs:
            url = await sqs.create("load")
            client, history = Client(sqs.session, [sqs.url]), History()
            bodies = [str(i) for i in range(1000)]
            consumers = [asyncio.create_task(consume(client, url, history, len(bodies))) for _ in range(4)]
            producers = [asyncio.create_task(produce(client, url, bodies[i::4])) for i in range(4)]
            while len(history.deleted) < 200:
                await asyncio.sleep(0.005)
            redis.stop()
            began = time.monotonic()
            assert (await sqs.ask("ListQueues")).status == 503
            assert time.monotonic() - began < 1
            redis.start()
            await asyncio.gather(*producers, *consumers)
            # A send whose answer was lost with Redis may have been stored and is sent again: twice, but never lost.
            assert history.deleted.keys() == set(bodies)


async def test_a_redis_that_is_away_is_a_503_at_once() -> None:
    """Without Redis every request is answered at once, readiness says so, and all is well when it is back."""
    with running() as redis:
        async with serving(redis.url) as sqs:
            url = await sqs.create()
            redis.stop()
            async with asyncio.timeout(2):
                while (reply := await sqs.ask("SendMessage", QueueUrl=url, MessageBody="x")).status == 200:
                    pass
            assert reply.error[:3] == (503, "ServiceUnavailable", "ServiceUnavailable")
            async with sqs.session.get(f"{sqs.url}/health/ready") as response:
                assert response.status == 503
            async with sqs.session.get(f"{sqs.url}/health/live") as response:
                assert response.status == 200
            redis.start()
            async with asyncio.timeout(3):
                while (await sqs.ask("CreateQueue", QueueName="q")).status != 200:
                    await asyncio.sleep(0.01)
            await sqs("SendMessage", QueueUrl=url, MessageBody="x")


async def test_messages_survive_a_restart(tmp_path: Path) -> None:
    """With its own private server questd keeps what it was given, and who holds it, over a restart."""
    options = ("--data-dir", str(tmp_path))
    async with aiohttp.ClientSession() as session:
        async with process(*options) as (endpoint, _):
            client = Client(session, [endpoint])
            await client.ask("CreateQueue", QueueName="kept", Attributes={"VisibilityTimeout": "40"})
            for body in ("held", "free"):
                await client.ask("SendMessage", QueueUrl="kept", MessageBody=body)
            held = (await client.ask("ReceiveMessage", QueueUrl="kept"))["Messages"][0]
        async with process(*options) as (endpoint, _):
            client = Client(session, [endpoint])
            attributes = await client.ask("GetQueueAttributes", QueueUrl="kept", AttributeNames=["VisibilityTimeout"])
            assert attributes == {"Attributes": {"VisibilityTimeout": "40"}}
            messages = (await client.ask("ReceiveMessage", QueueUrl="kept", MaxNumberOfMessages=10))["Messages"]
            assert [message["Body"] for message in messages] == ["free"]
            await client.ask("DeleteMessage", QueueUrl="kept", ReceiptHandle=held["ReceiptHandle"])


async def test_workers_share_a_port(redis_server: RedisServer) -> None:
    """With several workers a message sent to one is received from another, and a waiting one is woken."""
    async with (
        process("--redis-url", redis_server.url, "--workers", "3") as (endpoint, _),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        client = Client(session, [endpoint])
        await client.ask("CreateQueue", QueueName="q")
        waiters = [
            asyncio.create_task(client.ask("ReceiveMessage", QueueUrl="q", WaitTimeSeconds=20)) for _ in range(10)
        ]
        await asyncio.gather(*(client.ask("SendMessage", QueueUrl="q", MessageBody=str(i)) for i in range(10)))
        received = await asyncio.wait_for(asyncio.gather(*waiters), 5)
        assert sorted(int(reply["Messages"][0]["Body"]) for reply in received) == list(range(10))


async def test_a_client_that_hangs_up_while_it_is_answered(sqs: Sqs, redis_server: RedisServer) -> None:
    """A receive that Redis did for a client that had gone is given back: counted no more, first in line."""
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    with redis_server.client() as client:
        client.client_pause(200)  # commands wait: a client that hangs up now has gone before the reply
        task = asyncio.create_task(sqs.receive(url))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait({task})
    async with asyncio.timeout(3):
        while await sqs.counts(url) != (1, 0, 0):  # asked behind the receive, on the same connection
            await asyncio.sleep(0.005)
    [message] = await sqs.receive(url, AttributeNames=["ApproximateReceiveCount"])
    assert message["Attributes"] == {"ApproximateReceiveCount": "1"}


async def test_a_long_poll_outlives_a_restart_of_redis() -> None:
    """A receive that waits while Redis is killed and comes back gets the next message."""
    with running(DEFAULT, "--appendonly", "yes", "--appendfsync", "always") as redis:
        async with serving(redis.url) as sqs:
            url = await sqs.create()
            with redis.client() as client:
                task = asyncio.create_task(sqs.receive(url, WaitTimeSeconds=20))
                while not client.exists("quest:{q}:waiting"):
                    await asyncio.sleep(0.002)
            redis.stop()
            redis.start()
            await Client(sqs.session, [sqs.url]).ask("SendMessage", QueueUrl=url, MessageBody="x")
            assert len(await asyncio.wait_for(task, 5)) == 1
