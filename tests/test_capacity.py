"""What a worker takes on at a time, over HTTP, on both fronts: more is refused at once, in a way that SDKs retry."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from botocore.config import Config

from questd import errors
from questd.capacity import Capacity
from tests.boto import client_of
from tests.client import Sqs, serving
from tests.servers import RedisServer, running
from tests.waiting import until_true

THROTTLED = (503, "RequestThrottled", "RequestThrottled")


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    """Give a Redis that may be frozen."""
    with running() as started:
        yield started


@contextlib.contextmanager
def frozen(redis: RedisServer) -> Iterator[None]:
    """Freeze a Redis for the length of the block."""
    redis.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        redis.process.send_signal(signal.SIGCONT)


@pytest.fixture(params=["listener", "aiohttp"])
async def sqs(own_redis: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[Sqs]:
    """Give a client of a questd that answers four requests at a time, and lets three long polls wait."""
    with own_redis.client() as client:
        client.flushall()
    async with serving(own_redis.url, front=request.param, max_requests=4, max_waiting=3) as client:
        yield client


@contextlib.asynccontextmanager
async def busy(sqs: Sqs, url: str, redis: RedisServer) -> AsyncIterator[None]:
    """Have as many requests in flight as there may be; all of them succeed in the end."""
    with frozen(redis):
        asked = [asyncio.create_task(sqs.ask("SendMessage", QueueUrl=url, MessageBody="x")) for _ in range(5)]
        _, waiting = await asyncio.wait(asked, timeout=4, return_when=asyncio.FIRST_COMPLETED)
        assert len(waiting) == 4
        yield
    assert [reply.status for reply in await asyncio.gather(*waiting)] == [200] * 4


def test_the_counts() -> None:
    """A long poll counts as one that waits while it does, and as a request before and after that; never as both."""
    capacity = Capacity(max_requests=1, max_waiting=1)
    capacity.begin()
    capacity.begin_wait()
    assert (capacity.requests, capacity.waiting) == (0, 1)
    capacity.begin()
    with pytest.raises(errors.TooManyWaiting, match="1 long polls wait"):
        capacity.begin_wait()
    capacity.end_wait()
    assert (capacity.requests, capacity.waiting) == (2, 0)
    capacity.requests -= 1
    with pytest.raises(errors.TooManyRequests, match="1 requests at a time"):
        capacity.begin()


async def test_more_requests_than_allowed(sqs: Sqs, own_redis: RedisServer) -> None:
    """With Redis frozen four of many requests wait, the others are refused at once; it thaws, and all is well."""
    url = await sqs.create()
    with frozen(own_redis):
        asked = [asyncio.create_task(sqs.ask("SendMessage", QueueUrl=url, MessageBody="x")) for _ in range(50)]
        async with asyncio.timeout(4):  # Redis has 5 s before its calls fail
            while sum(task.done() for task in asked) < 46:
                await asyncio.wait([task for task in asked if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        refused = [task.result() for task in asked if task.done()]
        live = await asyncio.wait_for(sqs.session.get(f"{sqs.url}/health/live"), 1)
        assert live.status == 200
    assert {reply.error[:3] for reply in refused} == {THROTTLED}
    assert {reply.error[3] for reply in refused} == {errors.TooManyRequests(4).message}
    statuses = [reply.status for reply in await asyncio.gather(*asked)]
    assert (statuses.count(200), statuses.count(503)) == (4, 46)
    for _ in range(10):
        await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    assert (await sqs.counts(url))[0] == 14


async def test_the_query_protocol_says_it_in_xml(sqs: Sqs, own_redis: RedisServer) -> None:
    """A client of the Query protocol reads the same code in XML."""
    url = await sqs.create()
    async with busy(sqs, url, own_redis):
        reply = await sqs.post(b"Action=ListQueues", {"Content-Type": "application/x-www-form-urlencoded"})
        assert reply.status == 503
        assert b"<Code>RequestThrottled</Code>" in reply.body


async def test_clients_that_go_make_room(sqs: Sqs, own_redis: RedisServer) -> None:
    """Requests whose clients have hung up are not counted any more, however often that happens."""
    url = await sqs.create()
    for _ in range(5):
        polls = [asyncio.create_task(sqs.receive(url, WaitTimeSeconds=20)) for _ in range(3)]
        await _until_waiting(own_redis)
        for poll in polls:
            poll.cancel()
        await asyncio.wait(polls)
    assert await asyncio.wait_for(_waits(sqs, url), 5)
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")


async def _until_waiting(redis: RedisServer) -> None:
    async with asyncio.timeout(5):
        with redis.client() as client:
            while not client.zcard("quest:{q}:waiting"):
                await asyncio.sleep(0.01)


async def _waits(sqs: Sqs, url: str) -> bool:
    """Ask until a long poll may wait."""
    while (reply := await sqs.ask("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=1)).status != 200:
        await asyncio.sleep(0.01)
    return "Messages" not in reply.json


async def test_more_long_polls_than_allowed(sqs: Sqs) -> None:
    """Three wait and are no requests in flight; a fourth gets a message when there is one, and is refused otherwise."""
    url = await sqs.create()
    other = await sqs.create("other")
    await sqs("SendMessage", QueueUrl=other, MessageBody="there")
    polls = [asyncio.create_task(sqs.ask("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)) for _ in range(4)]
    [refused], waiting = await asyncio.wait(polls, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert refused.result().error == (*THROTTLED, errors.TooManyWaiting(3).message)
    [message] = await sqs.receive(other, WaitTimeSeconds=20)
    assert message["Body"] == "there"
    assert await sqs.receive(url) == []
    for i in range(3):
        await sqs("SendMessage", QueueUrl=url, MessageBody=str(i))
    received = await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert sorted(reply.json["Messages"][0]["Body"] for reply in received) == ["0", "1", "2"]


def persistent(url: str, mode: str) -> Any:
    """Return a boto3 client that retries as `mode` says, for a while."""
    retries = {"mode": mode, "total_max_attempts": 12}
    return client_of(url, config=Config(retries=retries, connect_timeout=2, read_timeout=5))


@pytest.mark.parametrize("mode", ["standard", "legacy", "adaptive"])
async def test_boto3_comes_again(sqs: Sqs, own_redis: RedisServer, mode: str) -> None:
    """In each of its modes boto3 takes the refusal for a reason to wait and try again, and succeeds."""
    url = await sqs.create()
    boto = persistent(sqs.url, mode)
    answers: list[int] = []
    boto.meta.events.register(
        "response-received", lambda response_dict, **_: answers.append(response_dict["status_code"])
    )
    async with busy(sqs, url, own_redis):
        sending = asyncio.create_task(asyncio.to_thread(boto.send_message, QueueUrl=url, MessageBody="y"))
        await until_true(lambda: answers)
    assert (await sending)["ResponseMetadata"]["RetryAttempts"] >= 1
    assert (answers[0], answers[-1]) == (503, 200)
    await asyncio.to_thread(boto.close)
