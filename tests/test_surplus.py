"""More connections than questd serves: they are told so, in a way that SDKs retry, and cost little."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from questd import surplus
from tests.client import Sqs, serving
from tests.servers import RedisServer
from tests.test_capacity import persistent
from tests.test_connection import CLOSE, connected, request, statuses
from tests.waiting import until_true

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=["listener", "aiohttp"])
async def sqs(redis_server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[Sqs]:
    """Give a client of a questd that serves two connections."""
    async with serving(redis_server.url, front=request.param, max_connections=2) as client:
        yield client


@contextlib.asynccontextmanager
async def filled(sqs: Sqs) -> AsyncIterator[None]:
    """Use up the two connections for the length of the block."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            reader, writer = await stack.enter_async_context(connected(sqs))
            writer.write(LIVE)
            assert b"200 OK" in await reader.readuntil(b"live\n")
        yield


async def answer(sqs: Sqs, raw: bytes) -> bytes:
    """Return all that a connection gets for what it sends, b"" when it is closed or reset without a word."""
    async with connected(sqs) as (reader, writer):
        writer.write(raw)
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(reader.read(), 5)
    return b""


async def test_one_too_many(sqs: Sqs) -> None:
    """A connection without room gets a 503 without a body, and its end, whatever it sends; then there is room again."""
    async with filled(sqs):
        for raw in (LIVE, request("ListQueues", QueueNamePrefix="x" * 100_000), b"\x16\x03\x01"):
            head, _, body = (await answer(sqs, raw)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"\r\nRetry-After: 1\r\n" in head
            assert head.endswith(b"\r\nConnection: close")
            assert body == b""
    async with asyncio.timeout(5):
        while statuses(await answer(sqs, request("ListQueues", more=CLOSE))) != [200]:
            await asyncio.sleep(0.01)


async def test_a_silent_one(sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without room that says nothing is ended soon."""
    monkeypatch.setattr(surplus, "LINGER_SECONDS", 0.02)
    async with filled(sqs):
        assert await asyncio.wait_for(answer(sqs, b""), 2) == b""


async def test_far_too_many(sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many are told why at a time; the others are closed at once."""
    monkeypatch.setattr(surplus, "MOST", 3)
    async with filled(sqs), contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(connected(sqs))
        async with asyncio.timeout(1):
            assert await answer(sqs, b"") == b""


@pytest.mark.parametrize("mode", ["standard", "legacy", "adaptive"])
async def test_boto3_comes_again(sqs: Sqs, mode: str) -> None:
    """In each of its modes boto3 tries again, and succeeds when there is room."""
    boto = persistent(sqs.url, mode)
    answers: list[int] = []
    boto.meta.events.register(
        "response-received", lambda response_dict, **_: answers.append(response_dict["status_code"])
    )
    async with filled(sqs):
        listing = asyncio.create_task(asyncio.to_thread(boto.list_queues))
        await until_true(lambda: answers)
    assert (await listing)["ResponseMetadata"]["RetryAttempts"] >= 1
    assert (answers[0], answers[-1]) == (503, 200)
    await asyncio.to_thread(boto.close)
