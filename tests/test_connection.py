"""HTTP on the listener's connections: order, pieces, limits, time, ends; and what is no HTTP. Raw bytes, real sockets."""

import asyncio
import contextlib
import gc
import itertools
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from random import Random
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from questd import connection, heads, library
from questd.action import Questd
from questd.answer import Answer
from questd.limits import Limits
from questd.listener import Listener
from questd.request import Request
from questd.server import running
from questd.settings import Settings
from tests.client import Sqs, serving
from tests.fuzz import examples
from tests.requests import with_noise
from tests.servers import RedisServer
from tests.test_longpoll import registered
from tests.waiting import until_true

HOST = b"Host: x\r\n"
CLOSE = b"Connection: close\r\n"


@pytest.fixture
async def sqs(redis_server: RedisServer) -> AsyncIterator[Sqs]:
    """Give a client of a questd with small messages, so that limits are near."""
    async with serving(redis_server.url, max_message_size=1024) as client:
        yield client


BODY_LIMIT = 8 * 1024


@contextlib.asynccontextmanager
async def connected(
    sqs: Sqs, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection with nothing between the test and the wire."""
    host, _, port = sqs.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.close()


async def exchange(sqs: Sqs, *pieces: bytes) -> bytes:
    """Write pieces, one packet each, and return all that comes until the server closes."""
    async with connected(sqs) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        return await asyncio.wait_for(reader.read(), 10)


def request(action: str, *, more: bytes = b"", method: bytes = b"POST", **members: Any) -> bytes:
    """Return the bytes of a request."""
    body = json.dumps(members).encode()
    head = b"%s / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.%s\r\n%s" % (method, action.encode(), more)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(action: str, *chunks: bytes, more: bytes = b"") -> bytes:
    """Return the bytes of a request whose body comes in chunks."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.%s\r\n%s" % (action.encode(), more)
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


def statuses(raw: bytes) -> list[int]:
    """Return the status of every answer in what a server sent."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", raw)]


def bodies(raw: bytes) -> list[bytes]:
    """Return the body of every answer in what a server sent."""
    found = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        found.append(raw[:length])
        raw = raw[length:]
    return found


async def test_pipelined_requests_are_answered_in_order(sqs: Sqs) -> None:
    """Answers come in the order of the requests, also when a later one would be done sooner."""
    url = await sqs.create()
    seen = "http://x/000000000000/q"
    created = [request("GetQueueUrl", QueueName="q"), request("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=1)]
    raw = await exchange(sqs, b"".join(created) + request("ListQueues", more=CLOSE))
    first, second, third = bodies(raw)
    assert (json.loads(first), second, json.loads(third)) == ({"QueueUrl": seen}, b"{}", {"QueueUrls": [seen]})


async def test_many_pipelined_requests(sqs: Sqs) -> None:
    """Thousands of requests in a few packets are all answered, few of them parsed ahead."""
    many = request("ListQueues") * 2000
    raw = await exchange(sqs, many + request("ListQueues", more=CLOSE))
    assert raw.count(b"HTTP/1.1 200 OK") == 2001


async def turns_during(work: Coroutine[Any, Any, bytes]) -> tuple[int, bytes]:
    """Return how many turns of the event loop something takes, and what comes of it."""
    task, turns = asyncio.create_task(work), 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    return turns, task.result()


async def test_requests_answered_at_once_leave_others_their_turn(sqs: Sqs) -> None:
    """However many requests one client has sent, a worker goes on with others after a few of them."""
    flood = (b"GET /nothing HTTP/1.1\r\n" + HOST + b"\r\n") * 4000
    turns, raw = await turns_during(exchange(sqs, flood + b"GET /nothing HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"))
    assert statuses(raw) == [404] * 4001
    assert turns > 4000 / connection.PIPELINED / 2


async def test_small_chunks_leave_others_their_turn(redis_server: RedisServer) -> None:
    """However small the chunks of a body are, a worker goes on with others after a slice of them."""
    chunks = [b" "] * 200_000
    async with serving(redis_server.url) as sqs:
        turns, raw = await turns_during(exchange(sqs, chunked("ListQueues", *chunks, b"{}", more=CLOSE)))
    assert statuses(raw) == [200]
    assert turns > len(chunks) * len(b"1\r\n \r\n") / connection.SLICE / 2


async def test_a_request_in_pieces(sqs: Sqs) -> None:
    """A request that comes byte by byte is a request; so is one in chunks, of any size, with extension and trailer."""
    url = await sqs.create()
    whole = request("SendMessage", more=CLOSE, QueueUrl=url, MessageBody="pieces")
    raw = await exchange(sqs, *(whole[i : i + 1] for i in range(len(whole))))
    assert json.loads(bodies(raw)[0])["MD5OfMessageBody"]
    body = json.dumps({"QueueUrl": url, "MessageBody": "x" * 900}).encode()
    raw = await exchange(sqs, chunked("SendMessage", *(body[i : i + 1] for i in range(len(body))), more=CLOSE))
    assert statuses(raw) == [200]
    raw = await exchange(
        sqs,
        b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n2;name=value\r\n{}\r\n0\r\nX-Amz-Target: AmazonSQS.DeleteQueue\r\n\r\n",
    )
    assert len(json.loads(bodies(raw)[0])["QueueUrls"]) == 1
    assert await sqs.counts(url) == (2, 0, 0)


async def test_expect_100_continue(sqs: Sqs) -> None:
    """A client that asks before it sends its body is told to, in its turn; one that expects something else is refused."""
    whole = request("ListQueues", more=b"Expect: 100-continue\r\n" + CLOSE)
    head, _, body = whole.partition(b"\r\n\r\n")
    async with connected(sqs) as (reader, writer):
        writer.write(request("GetQueueUrl", QueueName="none") + head + b"\r\n\r\n")
        first = await reader.readuntil(b"NonExistentQueue")
        assert first.startswith(b"HTTP/1.1 400")
        assert (await reader.readuntil(b"Continue\r\n\r\n")).endswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.write(body)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
    raw = await exchange(sqs, request("ListQueues", more=b"Expect: the-spanish-inquisition\r\n"))
    assert statuses(raw) == [417]
    raw = await exchange(sqs, whole)
    assert 200 in statuses(raw)


async def test_leave_to_send_a_body_waits_for_its_turn(sqs: Sqs) -> None:
    """100 Continue comes behind the answers to all earlier requests: before one of these it would be taken for theirs."""
    url = await sqs.create()
    send = request("SendMessage", QueueUrl=url, MessageBody="x")
    head = request("ListQueues", more=b"Expect: 100-continue\r\n")[:-2]
    async with connected(sqs) as (reader, writer):
        writer.write(send * 3 + head)
        got = await asyncio.wait_for(reader.readuntil(b" 100 Continue\r\n\r\n"), 5)
    assert statuses(got) == [200, 200, 200, 100]


async def test_an_answer_that_cannot_be_written(
    sqs: Sqs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends the connection: its client neither waits forever nor takes the next answer for this one."""
    written = heads.head_of

    def broken(given: Answer, more: str) -> bytes:
        if given.status == 404:
            raise ValueError("a mistake of ours")
        return written(given, more)

    monkeypatch.setattr(connection, "head_of", broken)
    url = await sqs.create()
    for raw in (b"PUT / HTTP/1.1\r\nHost: x\r\n\r\n", request("DeleteMessage", QueueUrl=url, ReceiptHandle="h")):
        async with connected(sqs) as (reader, writer):
            writer.write(raw + request("ListQueues"))
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
    assert "a connection failed" in caplog.text


async def test_what_is_gone_is_freed_at_once(sqs: Sqs, redis_server: RedisServer) -> None:
    """A connection that ends is forgotten with all it holds: no collector is waited for, and no timer."""
    url = await sqs.create()

    def there() -> int:
        return sum(type(each) is connection.Connection for each in gc.get_objects())

    gc.collect()
    before = there()
    gc.disable()
    try:
        for raw in (
            request("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20),
            request("ReceiveMessage", QueueUrl=url) * 3,
            b"this is no HTTP\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: this\r\nHost: that\r\n\r\n",
        ):
            async with connected(sqs) as (reader, writer):
                writer.write(raw)
                if b"Wait" in raw:
                    await registered(redis_server, "quest:{q}:waiting")
                elif b"this" in raw:
                    await reader.read()
                writer.transport.abort()
            async with asyncio.timeout(1):
                while there() > before:
                    await asyncio.sleep(0.02)
    finally:
        gc.enable()


async def test_keeping_and_closing(sqs: Sqs) -> None:
    """HTTP/1.1 connections are kept unless the client says close, HTTP/1.0 ones are closed; HEAD has no body."""
    kept = request("ListQueues")
    async with connected(sqs) as (reader, writer):
        for _ in range(3):
            writer.write(kept)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Connection: close" not in head
            assert await reader.readexactly(2) == b"{}"
    raw = await exchange(sqs, b"POST / HTTP/1.0\r\nX-Amz-Target: AmazonSQS.ListQueues\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in raw
    raw = await exchange(sqs, b"HEAD /health/live HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"Content-Length: 5" in head
    assert body == b""


async def test_http_1_0(sqs: Sqs) -> None:
    """A client of HTTP/1.0 gets one answer and the end, also when it would go on, and never a 100 that it cannot know."""
    url = await sqs.create()
    body = json.dumps({"QueueUrl": url, "MessageBody": "x"}).encode()
    head = b"POST / HTTP/1.0\r\nX-Amz-Target: AmazonSQS.SendMessage\r\nContent-Length: %d\r\n" % len(body)
    for more in (b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n", b"Expect: anything\r\n"):
        raw = await exchange(sqs, head + more + b"\r\n", body)
        assert statuses(raw) == [200]
        assert b"Connection: close" in raw


REFUSED = {
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 2\r\n\r\n{}": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n\r\n{}": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x2\r\n\r\n{}": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n{}": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n{}": 413,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n": 501,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n": 501,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n": 501,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n": 400,
    b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 501,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nFolded: a\r\n b\r\n\r\n": 400,
    b"POST / HTTP/1.1\nHost: x\n\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nNul: a\x00b\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nBare: a\rb\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\n(name): a\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\n\r\n": 400,
    b"POST / HTTP/1.9\r\nHost: x\r\n\r\n": 400,
    b"POST / elsewhere HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"POST /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"post / HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 400,
    b"POST / HTTP/2.0\r\nHost: x\r\n\r\n": 505,
    b"POST / HTTP/0.9\r\nHost: x\r\n\r\n": 505,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": 400,
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(200)) + b"\r\n": 431,
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 80_000 + b"\r\n\r\n": 431,
    b"GET /" + b"y" * 80_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n": 431,
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 80_000: 431,
    chunked("ListQueues", b" " * BODY_LIMIT, b"{}"): 413,
    request("ListQueues", more=b"X: y\r\n", Padding="x" * BODY_LIMIT): 413,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;" + b"x" * 80_000: 431,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: " + b"x" * 80_000: 431,
}


@pytest.mark.parametrize(("raw", "status"), REFUSED.items(), ids=range(len(REFUSED)))
async def test_refused(sqs: Sqs, raw: bytes, status: int) -> None:
    """What is no HTTP, may be read in two ways or is too much is refused, and nothing after it is done."""
    url = await sqs.create()
    smuggled = request("DeleteQueue", QueueUrl=url)
    answer = await exchange(sqs, request("GetQueueUrl", QueueName="q") + raw + smuggled)
    assert statuses(answer) == [200, status]
    assert (await sqs("ListQueues"))["QueueUrls"] == [url]


async def test_upgrades_are_passed_over(sqs: Sqs) -> None:
    """A client that offers HTTP/2 is answered in HTTP/1.1, and its connection closed; CONNECT leads nowhere."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
    assert statuses(await exchange(sqs, request("ListQueues", more=offer))) == [200]
    raw = b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n"
    assert statuses(await exchange(sqs, raw + request("ListQueues"))) == [404]


async def test_a_client_that_goes_takes_nothing(sqs: Sqs, redis_server: RedisServer) -> None:
    """A receive ends with its client's input; a message that comes later is for others. A send is answered all the same."""
    url = await sqs.create()
    async with connected(sqs) as (reader, writer):
        writer.write(request("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
        await registered(redis_server, "quest:{q}:waiting")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b""
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    assert await sqs.counts(url) == (1, 0, 0)
    async with connected(sqs) as (reader, writer):
        writer.write(request("SendMessage", QueueUrl=url, MessageBody="y") + request("ListQueues"))
        writer.write_eof()
        assert statuses(await asyncio.wait_for(reader.read(), 5)) == [200, 200]
    assert await sqs.counts(url) == (2, 0, 0)


async def test_a_receive_after_the_end_of_input_is_undone(sqs: Sqs) -> None:
    """A receive whose turn comes when its client has ended its input takes nothing."""
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    async with connected(sqs) as (reader, writer):
        writer.write(request("SendMessage", QueueUrl=url, MessageBody="y") + request("ReceiveMessage", QueueUrl=url))
        writer.write_eof()
        assert statuses(await asyncio.wait_for(reader.read(), 5)) == [200]
    while await sqs.counts(url) != (2, 0, 0):
        await asyncio.sleep(0.01)


async def test_a_long_poll_after_the_end_of_input_does_not_wait(sqs: Sqs) -> None:
    """A long poll whose turn comes when its client has ended its input is over at once."""
    url = await sqs.create()
    async with connected(sqs) as (reader, writer):
        poll = request("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)
        writer.write(request("PurgeQueue", QueueUrl=url) + poll + poll)
        writer.write_eof()
        assert statuses(await asyncio.wait_for(reader.read(), 5)) == [200]


async def test_a_client_that_goes_as_redis_replies(sqs: Sqs, redis_server: RedisServer) -> None:
    """A receive is undone also when the loop hears of Redis's reply first, and of the client's end behind it."""
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    await sqs.receive(url, VisibilityTimeout=0)  # from now on a receive is one call
    with redis_server.client() as redis, socket.create_connection(("127.0.0.1", int(sqs.url.split(":")[2]))) as client:
        redis.client_pause(100)  # commands wait
        client.sendall(request("ReceiveMessage", QueueUrl=url))
        await asyncio.sleep(0.05)  # it is among them
        for _ in range(2):
            redis.ping()  # and was replied to by now; nothing else runs here meanwhile
    [message] = await sqs.receive(url, WaitTimeSeconds=2, AttributeNames=["ApproximateReceiveCount"])
    assert message["Attributes"] == {"ApproximateReceiveCount": "2"}


async def test_nothing_follows_what_was_not_answered(sqs: Sqs) -> None:
    """Behind a receive that was undone no answer comes: its client would take that for the receive's."""
    url = await sqs.create()
    send, receive = request("SendMessage", QueueUrl=url, MessageBody="x"), request("ReceiveMessage", QueueUrl=url)
    async with connected(sqs) as (reader, writer):
        writer.write(send + receive + send)
        writer.write_eof()
        answered = await asyncio.wait_for(reader.read(), 5)
    assert statuses(answered) == [200]


async def test_a_slow_reader_is_waited_for(redis_server: RedisServer) -> None:
    """While a client does not read, no further request of its is begun; when it reads, it gets everything."""
    async with serving(redis_server.url) as sqs:
        url = await sqs.create(VisibilityTimeout="0")
        await sqs("SendMessage", QueueUrl=url, MessageBody="x" * 1_000_000)
        async with connected(sqs) as (reader, writer):
            count = 40
            writer.write(request("ReceiveMessage", QueueUrl=url) * count)
            await asyncio.sleep(0.5)
            with redis_server.client() as client:
                name = b"quest:{q}:deliveries"
                received = int.from_bytes(client.hvals(name)[0][:4], "big")
            assert received < count
            got = 0
            while got < count:
                line = await reader.readuntil(b"\r\n\r\n")
                length = int(line.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                got += 1


TIMES = [
    ("IDLE_SECONDS", b""),
    ("IDLE_SECONDS", request("ListQueues")),
    ("IDLE_SECONDS", request("ListQueues") + b"\r\n" * connection.SLICE),
    ("HEAD_SECONDS", b"POST / HTT"),
    ("HEAD_SECONDS", request("ListQueues") + b"POST / HTTP/1.1\r\nX"),
    ("TRANSFER_SECONDS", request("ListQueues")[:-1]),
    ("TRANSFER_SECONDS", chunked("ListQueues", b"{}")[:-1]),
]


@pytest.mark.parametrize(("limit", "raw"), TIMES)
async def test_late_clients_are_ended(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, limit: str, raw: bytes
) -> None:
    """A connection without a request, half a head, half a body: each has its time, and then the connection ends."""
    monkeypatch.setattr(connection, limit, 0.02)
    monkeypatch.setattr("questd.listener.SWEEP_SECONDS", 0.02)
    async with serving(redis_server.url) as sqs, connected(sqs) as (reader, writer):
        writer.write(raw)
        with contextlib.suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)
        assert reader.at_eof() or reader.exception()


async def test_time_begins_with_what_is_unfinished(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that came behind others has its own time, however long those took."""
    monkeypatch.setattr("questd.listener.SWEEP_SECONDS", 0.02)
    raw = chunked("ListQueues", *[b" "] * connection.SLICE, b"{}", more=CLOSE)
    async with serving(redis_server.url) as sqs, connected(sqs) as (reader, writer):
        writer.write(request("ListQueues") + raw[:-1])
        await reader.readuntil(b"}")
        await asyncio.sleep(0.1)
        writer.write(raw[-1:])
        assert statuses(await asyncio.wait_for(reader.read(), 5)) == [200]


@pytest.mark.parametrize("more", [b"", CLOSE])
async def test_who_reads_no_answers_is_ended(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, more: bytes
) -> None:
    """A client that never reads what it asked for has its time, too; whether its connection is to be kept or not."""
    monkeypatch.setattr("questd.listener.SWEEP_SECONDS", 0.02)
    async with listening(redis_server.url) as (sqs, shared):
        url = await sqs.create(VisibilityTimeout="0")
        for _ in range(10):
            await sqs("SendMessage", QueueUrl=url, MessageBody="x" * 1_000_000)
        await sqs.session.close()
        monkeypatch.setattr(connection, "TRANSFER_SECONDS", 0.02)  # not for the sends: a busy machine takes longer
        monkeypatch.setattr(connection, "SLOWEST", 2**30)
        raw = request("ReceiveMessage", more=more, QueueUrl=url, MaxNumberOfMessages=10)
        async with connected(sqs) as (_, writer):
            cast("asyncio.Transport", writer.transport).pause_reading()
            writer.write(raw)
            await until_true(lambda: shared.kept >= 65_536)
            async with asyncio.timeout(5):
                while shared.connections:
                    await asyncio.sleep(0.01)


async def test_who_reads_slowly_at_the_end(redis_server: RedisServer) -> None:
    """An answer that is still being read when the listener ends is read to its end."""
    async with listening(redis_server.url) as (sqs, shared):
        url = await sqs.create(VisibilityTimeout="0")
        for _ in range(10):
            await sqs("SendMessage", QueueUrl=url, MessageBody="x" * 1_000_000)
        async with connected(sqs) as (reader, writer):
            writer.write(request("ReceiveMessage", more=CLOSE, QueueUrl=url, MaxNumberOfMessages=10))
            await until_true(lambda: shared.kept >= 65_536)
            ending = asyncio.ensure_future(sqs.stop())
            await asyncio.sleep(0.02)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
            await ending


async def test_long_polls_outlive_the_limits(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that waits for its answer is not late."""
    for limit in ("IDLE_SECONDS", "HEAD_SECONDS", "TRANSFER_SECONDS"):
        monkeypatch.setattr(connection, limit, 0.02)
    monkeypatch.setattr("questd.listener.SWEEP_SECONDS", 0.02)
    async with serving(redis_server.url) as sqs:
        url = await sqs.create()
        raw = await exchange(sqs, request("ReceiveMessage", more=CLOSE, QueueUrl=url, WaitTimeSeconds=1))
        assert statuses(raw) == [200]


DRIPS = [
    ("HEAD_SECONDS", b"POST / HTTP/1.1\r\nX: "),
    ("TRANSFER_SECONDS", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000\r\n\r\n"),
    ("TRANSFER_SECONDS", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n"),
]


@pytest.mark.parametrize(("limit", "raw"), DRIPS)
async def test_dripping_clients_are_ended(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, limit: str, raw: bytes
) -> None:
    """A client that always sends a little more, and never enough, gets no more time than one that sends nothing."""
    monkeypatch.setattr(connection, limit, 0.2)
    monkeypatch.setattr("questd.listener.SWEEP_SECONDS", 0.02)
    async with serving(redis_server.url) as sqs, connected(sqs) as (reader, writer):
        writer.write(raw)
        ended = asyncio.create_task(reader.read())
        async with asyncio.timeout(3):
            while not ended.done():
                writer.write(b"x")
                await asyncio.sleep(0.02)
        with contextlib.suppress(ConnectionResetError):
            assert ended.result() == b""


@contextlib.asynccontextmanager
async def listening(redis_url: str) -> AsyncIterator[tuple[Sqs, connection.Shared]]:
    """Run a listener, and give what its connections have in common."""
    await library.load(redis_url, test_mode=True)
    limits = Settings(redis_url=redis_url, test_mode=True, max_message_size=2**20)
    async with running(limits) as questd, aiohttp.ClientSession() as session:
        listener = Listener(questd, 1)
        with socket.create_server(("127.0.0.1", 0)) as sock:
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            await listener.start(sock)
            yield Sqs(url, session, listener.close), listener._shared
            await listener.close()


async def test_what_is_kept_is_counted(redis_server: RedisServer) -> None:
    """Unfinished and large requests and unread answers are counted while they are kept, and not a byte of them after."""
    async with listening(redis_server.url) as (sqs, shared):
        url = await sqs.create(VisibilityTimeout="0")
        large = request("SendMessage", QueueUrl=url, MessageBody="x" * 500_000)
        pieces = chunked("SendMessage", *[b"x" * 1000] * 100)
        for raw, more in (
            (large[:400_000], large[400_000:]),
            (large * 3 + large[:20], large[20:]),
            (pieces[:50_000], pieces[50_000:]),
            (request("ListQueues") + large[:10_000], b""),  # ended by the client
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", b"x" * 9),
            (pieces[: pieces.index(b"3e8\r\n") + 50 * 1007], b"no chunk"),  # refused
        ):
            async with connected(sqs) as (_, writer):
                writer.write(raw)
                await until_true(lambda: shared.kept > 0)
                writer.write(more)
                await writer.drain()
                if raw.startswith(b"POST") and more:
                    await until_true(lambda: shared.kept == 0)
            await until_true(lambda: shared.kept == 0)
        async with connected(sqs) as (reader, writer):
            writer.write(request("ReceiveMessage", QueueUrl=url) * 40)
            await until_true(lambda: shared.kept >= 65_536)
            for _ in range(40):
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
            assert shared.kept == 0


async def test_a_large_request_that_comes_whole(redis_server: RedisServer) -> None:
    """It is counted while it is answered, and refused where there is no room for it, or for any as large."""
    async with listening(redis_server.url) as (sqs, shared):
        url = await sqs.create()
        waiting = request("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20, Unknown="x" * 20_000)
        size = len(waiting.partition(b"\r\n\r\n")[2])
        async with connected(sqs) as (reader, writer):
            writer.write(waiting)
            await until_true(lambda: shared.kept == size)
            await sqs("SendMessage", QueueUrl=url, MessageBody="x")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            assert shared.kept == 0
        shared.kept += shared.limits.kept
        assert statuses(await exchange(sqs, waiting)) == [503]
        shared.kept -= shared.limits.kept
        shared.limits.body = size - 1
        assert statuses(await exchange(sqs, waiting)) == [413]
        assert shared.kept == 0


WHOLE = request("ListQueues") + chunked("ListQueues", b"{", b"}") + request("ListQueues", more=CLOSE)


@examples(60)
@given(cuts=st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_any_split(cuts: list[int]) -> None:
    """However the bytes of requests are cut into packets, the same requests come out."""
    assert _parsed(cuts, WHOLE) == [(b"{}", True), (b"{}", True), (b"{}", False)]


@examples(200)
@given(noise=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(max_size=3)), min_size=1, max_size=4))
def test_fuzz(noise: list[tuple[int, bytes]]) -> None:
    """Whatever bytes come, each becomes a request or a refusal, and after a refusal nothing."""
    raw = bytearray(WHOLE)
    for place, piece in noise:
        raw[place : place + 1] = piece
    turns = _parsed([], bytes(raw))
    assert all(keep for _, keep in turns[:-1])


class _Mute(asyncio.Transport):
    """A transport that leads nowhere."""

    def write(self, _data: object) -> None:
        """Drop it."""

    def is_closing(self) -> bool:
        """Say no."""
        return False

    def get_write_buffer_size(self) -> int:
        """Say that nothing waits."""
        return 0


STARTS = (
    *(b"POST / HTTP/1.1", b"GET /?Action=ListQueues HTTP/1.1", b"POST / HTTP/1.0", b"HEAD / HTTP/1.1", b"POST  / HTTP/1.1"),
    *(b"POST http://x/ HTTP/1.1", b"POST / HTTP/1.1 ", b"OPTIONS * HTTP/1.1", b"CONNECT x:1 HTTP/1.1", b"POST / HTTP/2.0", b""),
)  # fmt: skip
LINES = (
    *(b"Host: x", b"Host:x", b"host: y", b"Content-Length: 2", b"Content-Length: 0", b"Content-Length: 7", b"content-length:2"),
    *(b"Content-Length: 02", b"Content-Length: 2 ", b"Content-Length:\t2", b"Content-Length: 2,2", b"Content_Length: 2"),
    *(b"Content-Length : 2", b"Content-Length: \xb2", b"Content-Length:", b"Transfer-Encoding: chunked", b"transfer-encoding:chunked"),
    *(b"Transfer-Encoding: Chunked", b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding:\x0bchunked"),
    *(b"Transfer-Encoding: chunked;x", b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding:"),
    *(b"Connection: close", b"Connection: keep-alive", b"Connection: content-length", b"Expect: 100-continue", b"Upgrade: h2c"),
    *(b"X-Amz-Target: AmazonSQS.ListQueues", b"X: \xff", b" folded", b"\tfolded", b": x", b"X", b"X: a\rHost: z", b"X: a\nHost: z"),
)  # fmt: skip
BODIES = (
    *(b"", b"{}", b"{}{}", b"2\r\n{}\r\n0\r\n\r\n", b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"2;x=y\r\n{}\r\n0\r\n\r\n"),
    *(b"02\r\n{}\r\n0\r\n\r\n", b"2 \r\n{}\r\n0\r\n\r\n", b"2\n{}\n0\n\n", b"2\r\n{}0\r\n\r\n", b"2\r\n{}\r\n00\r\n\r\n"),
    *(b"ffffffffffffffff\r\n{}", b"+2\r\n{}\r\n0\r\n\r\n", b"2\r\n{}\r\n0\r\n", b"2;\n{}\r\n0\r\n\r\n"),
)  # fmt: skip


def strange(chance: Random) -> bytes:
    """Return up to three requests made of parts that each are, or look, right."""
    raw = b""
    for _ in range(chance.randrange(1, 4)):
        lines = [chance.choice(LINES) for _ in range(chance.randrange(4))]
        end = b"\r\n" if chance.random() < 0.9 else b"\n"
        raw += end.join([chance.choice((STARTS[0], *STARTS)), b"Host: x", *lines, b"", chance.choice(BODIES)])
    return raw


@examples(150)
@given(chance=st.randoms(use_true_random=False), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_strange_requests(chance: Random, cuts: list[int]) -> None:
    """Requests that others read in two ways are read in one, however they are cut, and none is taken for two."""
    raw = strange(chance)
    turns = turns_of([], raw)
    assert turns_of(cuts, raw) == turns
    assert all(keep for _, keep in turns[:-1])
    for turn, keep in turns:
        if isinstance(turn, Request) and turn.method == "CONNECT":
            assert not keep  # whatever follows is no HTTP
        elif isinstance(turn, Request):
            length, coding = turn.headers.get("content-length"), turn.headers.get("transfer-encoding")
            assert not (length and coding), raw
            assert coding or len(turn.body) == int(length or 0), raw
            assert not coding or coding.lower() == "chunked", raw


@examples(60)
@given(chance=st.randoms(use_true_random=False))
async def test_strange_requests_over_a_socket(sqs: Sqs, chance: Random, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever bytes come, what goes back is HTTP, no failure of the server, and others are answered."""
    raw = strange(chance)
    if chance.random() < 0.5:
        raw = with_noise(raw, chance)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(connection, "LINGER_SECONDS", 0)
        async with connected(sqs) as (reader, writer):
            writer.write(raw)
            writer.write_eof()
            with contextlib.suppress(ConnectionResetError):
                answers = await asyncio.wait_for(reader.read(), 5)
                assert all(status < 500 or status in {501, 505} for status in statuses(answers)), (raw, answers)
                assert not answers or answers.startswith(b"HTTP/1.1 ")
    assert (await sqs.ask("ListQueues")).status == 200
    assert not caplog.records, raw


def _parsed(cuts: list[int], raw: bytes) -> list[tuple[bytes, bool]]:
    """Feed a connection without a socket; the bodies of what it would answer, and whether more may follow."""
    return [(turn.body, keep) for turn, keep in turns_of(cuts, raw)]


def turns_of(cuts: list[int], raw: bytes) -> list[tuple[Request | Answer, bool]]:
    """Feed a connection without a socket; what it would answer, and whether more may follow."""

    async def feed() -> list[tuple[Request | Answer, bool]]:
        nobody = cast("Questd", None)  # nothing is begun: the client reads nothing
        one = connection.Connection(connection.Shared(nobody, Limits(Settings(max_message_size=BODY_LIMIT // 8))))
        one.connection_made(_Mute())
        one.pause_writing()  # so that every turn stays in its place
        ends = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
        for start, end in itertools.pairwise(ends):
            one.data_received(raw[start:end])
        turns = list(one._turns)
        one.connection_lost(None)
        return turns

    return asyncio.run(feed())
