"""The listener beside the aiohttp application: the same bytes; and how either ends."""

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from questd import listener
from tests.client import Sqs, serving
from tests.servers import RedisServer
from tests.test_connection import CLOSE, connected, exchange, request
from tests.test_longpoll import registered
from tests.test_port import certify
from tests.test_surplus import LIVE
from tests.waiting import until_so

FRONTS = ("listener", "aiohttp")

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"

STORY = [
    request("CreateQueue", more=CLOSE, QueueName="q"),
    request("ListQueues", more=CLOSE),
    request("GetQueueUrl", more=CLOSE, QueueName="none"),
    request("NoAction", more=CLOSE),
    request("SendMessage", more=CLOSE, QueueUrl="http://x/000000000000/q", MessageBody="ä"),
    request("SendMessage", more=CLOSE, QueueUrl="http://x/000000000000/q"),
    request("ReceiveMessage", more=CLOSE, QueueUrl="q", MaxNumberOfMessages=10),
    b"GET / HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n",
    b"HEAD / HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n",
    b"PUT / HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"Content-Length: 0\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n",
    b"GET /_questd/clock HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n",
    b"GET /000000000000/q?Action=GetQueueAttributes HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\n" + CLOSE + FORM + b"Content-Length: 18\r\n\r\nAction=DeleteQueue",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nX-Amz-Target: AmazonSQS.ListQueues\r\n"
    + CLOSE
    + b"Content-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
    b"GET http://y:8/health/live HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n",
    b"GET http://y:8/?Action=ListQueues HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n",
    b"POST http://y:8/ HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.ListQueues \t\r\n" + CLOSE + b"\r\n",
    b"POST / HTTP/1.1\r\nHost: sqs.eu-west-1.x\r\nhost-twice: y\r\nX-Amz-Target: AmazonSQS.ListQueues\r\n"
    b"x-amz-target: AmazonSQS.CreateQueue\r\n" + CLOSE + b"\r\n",
]


def _normal(raw: bytes) -> bytes:
    """Return an answer without what differs from one request to the next."""
    raw = re.sub(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", b"<id>", raw)
    raw = re.sub(rb"(?<=Date: )[^\r]*", b"<date>", raw)
    return re.sub(rb'"ReceiptHandle":"[^"]*"|\d{10,13}', b"<time>", raw)


async def test_the_same_bytes(redis_server: RedisServer) -> None:
    """Both fronts answer a request with the same bytes, but for its id and the time."""
    said = {}
    for front in FRONTS:
        with redis_server.client() as client:
            client.flushall()
        async with serving(redis_server.url, front=front) as sqs:
            said[front] = [_normal(await exchange(sqs, raw)) for raw in STORY]
    for raw, ours, theirs in zip(STORY, said["listener"], said["aiohttp"], strict=True):
        assert ours == theirs, raw


@pytest.mark.parametrize("front", FRONTS)
async def test_the_end(redis_server: RedisServer, front: str) -> None:
    """A questd that ends closes idle connections, ends long polls with nothing, and answers what it has."""
    async with serving(redis_server.url, front=front) as sqs:
        url = await sqs.create()
        async with connected(sqs) as (idle, _), connected(sqs) as (poll, writer):
            writer.write(request("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
            await registered(redis_server, "quest:{q}:waiting")
            await asyncio.wait_for(sqs.stop(), 3)
            assert await asyncio.wait_for(idle.read(), 1) == b""
            assert (await asyncio.wait_for(poll.read(), 1)).endswith(b"{}")


HELLO = b"\x16\x03\x01\x02\x00"
"""How the first message of a TLS handshake begins."""


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()


def _stay(_: socket.socket) -> None:
    pass


@pytest.mark.parametrize(
    ("said", "end", "patience"),
    [
        pytest.param(LIVE, _stay, 10, id="no TLS"),
        pytest.param(HELLO, socket.socket.close, 10, id="closed"),
        pytest.param(HELLO, _reset, 10, id="reset"),
        pytest.param(HELLO, _stay, 1, id="too late"),
    ],
)
def test_handshakes_are_connections(  # noqa: PLR0917  # what it is about, and fixtures
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: bytes,
    end: Callable[[socket.socket], None],
    patience: float,
) -> None:
    """A TLS handshake that is not over takes up a connection, until it has failed in whatever way."""
    monkeypatch.setattr(listener, "HEAD_SECONDS", patience)
    certificate = certify(tmp_path)
    trusting = ssl.create_default_context(cafile=certificate["tls_cert"])

    async def statuses_of(sqs: Sqs, count: int) -> list[bytes]:
        async with contextlib.AsyncExitStack() as asking:
            found = []
            for _ in range(count):
                reader, writer = await asking.enter_async_context(connected(sqs, trusting))
                writer.write(LIVE)
                found.append((await reader.readline())[9:12])
            return found

    async def run() -> None:
        async with serving(redis_server.url, max_connections=2, **certificate) as sqs:
            where = "127.0.0.1", int(sqs.url.rpartition(":")[2])
            with socket.create_connection(where) as one, socket.create_connection(where) as other:
                assert await statuses_of(sqs, 1) == [b"503"]
                for client in one, other:
                    client.sendall(said)
                    end(client)

                async def is_room() -> bool:
                    return await statuses_of(sqs, 2) == [b"200", b"200"]

                await until_so(is_room)

    # That of the workers. asyncio's own leaves what has failed in cycles, which the collector finds in its time.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
