"""The aiohttp application as others may embed it."""

import asyncio
import contextlib

from pytest_aiohttp import AiohttpClient

from questd import library
from questd.app import application
from questd.server import running
from questd.settings import Settings
from tests.client import serving
from tests.servers import RedisServer
from tests.test_connection import exchange, statuses


async def test_it_can_be_embedded(redis_server: RedisServer, aiohttp_client: AiohttpClient) -> None:
    """A program with an aiohttp server of its own serves questd's application on it."""
    await library.load(redis_server.url, test_mode=False)
    async with running(Settings(redis_url=redis_server.url)) as questd:
        client = await aiohttp_client(application(questd))
        headers = {"X-Amz-Target": "AmazonSQS.CreateQueue"}
        response = await client.post("/", data=b'{"QueueName":"q"}', headers=headers)
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/x-amz-json-1.0"
        assert (await response.json(content_type=None))["QueueUrl"].endswith("/000000000000/q")
        await client.close()


async def test_half_a_request_harms_nobody(redis_server: RedisServer, aiohttp_client: AiohttpClient) -> None:
    """A client that breaks off in the middle of a body is no error of the server."""
    await library.load(redis_server.url, test_mode=False)
    async with running(Settings(redis_url=redis_server.url)) as questd:
        client = await aiohttp_client(application(questd))
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nContent-Length: 100\r\n\r\n{"
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert await reader.read() == b""
        assert (await client.get("/health/live")).status == 200
        await client.close()


async def test_its_limits(redis_server: RedisServer) -> None:
    """As a server of its own it takes as many headers, and as long ones, as the settings say."""
    async with serving(redis_server.url, front="aiohttp", max_headers=16, max_header_size=4096) as sqs:
        head = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        for count, length, taken in ((1, 4000, True), (1, 5000, False), (10, 1, True), (20, 1, False)):
            more = b"".join(b"X%d: %s\r\n" % (i, b"y" * length) for i in range(count))
            with contextlib.suppress(ConnectionResetError):  # it does not linger
                assert (200 in statuses(await exchange(sqs, head + more + b"\r\n"))) is taken
