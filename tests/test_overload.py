"""More than a worker can do, with small limits: it refuses quickly, keeps little, serves those it took, and recovers.

Each test has a questd of its own, one real worker process, and looks at what that process uses: memory, CPU, descriptors.
"""

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.test_capacity import THROTTLED
from tests.test_connection import chunked, request
from tests.test_workers import Questd, serving
from tests.waiting import until_true

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="what a process uses is read from /proc")

MIB = 2**20
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Worker:
    """The one worker of a questd."""

    questd: Questd
    pid: int
    address: tuple[str, int]

    def memory(self) -> int:
        """Return its resident bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * resource.getpagesize()

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        """Return how many files it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    async def connect(self, receive_buffer: int | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a new connection to it."""
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)  # noqa: FBT003  # socket's own
        await asyncio.get_running_loop().sock_connect(sock, self.address)
        return await asyncio.open_connection(sock=sock)

    async def ask(self, action: str, **members: Any) -> tuple[int, bytes]:
        """Ask on a connection of its own."""
        reader, writer = await self.connect()
        with contextlib.closing(writer):
            writer.write(request(action, **members))
            return await answer(reader)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return status and body of the next answer; status 0 when the connection ends without one."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
        return int(head.split()[1]), await reader.readexactly(length)
    except (ConnectionError, asyncio.IncompleteReadError):
        return 0, b""


@contextlib.contextmanager
def worker(*flags: str) -> Iterator[Worker]:
    """Run a questd of one worker."""
    with serving("--ephemeral", *flags) as questd:
        host, _, port = questd.address.removeprefix("http://").partition(":")
        yield Worker(questd, questd.pids("serve")[0], (host, int(port)))


@contextlib.asynccontextmanager
async def connections(
    worker: Worker, number: int, receive_buffer: int | None = None
) -> AsyncIterator[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    """Keep so many connections open for the length of the block."""
    opened = [await worker.connect(receive_buffer) for _ in range(number)]
    try:
        yield opened
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def recovered(worker: Worker) -> None:
    """Wait until a queue can be made, filled, read and removed again."""
    async with asyncio.timeout(5):
        while (await worker.ask("CreateQueue", QueueName="after"))[0] != 200:
            await asyncio.sleep(0.02)
    for action, members in (("SendMessage", {"MessageBody": "x"}), ("ReceiveMessage", {}), ("DeleteQueue", {})):
        status, body = await worker.ask(action, QueueUrl="after", **members)
        assert status == 200, body


@dataclass
class Load:
    """What came of a load: seconds of the accepted and of the refused, and how long a look at the process took."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)


def p99(seconds: list[float]) -> float:
    """Return what one in a hundred exceeds."""
    return sorted(seconds)[len(seconds) * 99 // 100]


async def load(worker: Worker, clients: int, requests: int) -> Load:
    """Let many clients send, one request after the other, and look at the process meanwhile."""
    result = Load()
    done = asyncio.Event()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(requests):
            begun = time.monotonic()
            writer.write(request("SendMessage", QueueUrl="q", MessageBody="x" * 100))
            status, body = await answer(reader)
            took = time.monotonic() - begun
            assert status in {200, 503}, body
            (result.accepted if status == 200 else result.refused).append(took)
            if status == 503:
                assert json.loads(body)["__type"] == "com.amazonaws.sqs#RequestThrottled"

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not done.is_set():
            begun = time.monotonic()
            writer.write(LIVE)
            assert await answer(reader) == (200, b"live\n")
            result.looks.append(time.monotonic() - begun)

    async with connections(worker, clients + 1) as opened:
        looking = asyncio.create_task(look(*opened[0]))
        await asyncio.gather(*(client(*one) for one in opened[1:]))
        done.set()
        await looking
    return result


async def test_more_clients_than_capacity() -> None:
    """With ten times as many clients as may be answered some are refused, quickly, and the accepted wait no longer.

    Compared with the same clients where nobody is refused: there each waits for all the others.
    """
    with worker("--max-requests", "20") as small, worker() as large:
        for each in (small, large):
            await each.ask("CreateQueue", QueueName="q")
            await load(each, 20, 5)
        limited, unlimited = await load(small, 200, 20), await load(large, 200, 20)
        assert len(limited.refused) > 0 == len(unlimited.refused)
        assert len(limited.accepted) + len(limited.refused) == len(unlimited.accepted) == 4000
        assert p99(limited.accepted) < 2 * p99(unlimited.accepted) + 0.1
        assert p99(limited.refused) < 2 * p99(unlimited.accepted) + 0.1
        assert p99(limited.looks) < 1
        count = (await small.ask("GetQueueAttributes", QueueUrl="q", AttributeNames=["All"]))[1]
        assert json.loads(count)["Attributes"]["ApproximateNumberOfMessages"] == str(len(limited.accepted) + 100)
        await recovered(small)


async def test_redis_frozen_under_load() -> None:
    """While Redis stands still as many requests wait as may, all others are refused at once, and memory stays."""
    with worker("--max-requests", "50") as one:
        await one.ask("CreateQueue", QueueName="q")
        server = one.questd.server_pid()
        async with connections(one, 50) as waiting, connections(one, 20) as others:
            before = one.memory()
            os.kill(server, signal.SIGSTOP)
            try:
                for _, writer in waiting:
                    writer.write(request("SendMessage", QueueUrl="q", MessageBody="x" * 100_000))
                async with asyncio.timeout(2):
                    while (await one.ask("ListQueues"))[0] != 503:
                        await asyncio.sleep(0)
                begun = time.monotonic()
                for reader, writer in others * 50:
                    writer.write(request("SendMessage", QueueUrl="q", MessageBody="x"))
                    status, body = await answer(reader)
                    assert (status, json.loads(body)["__type"].partition("#")[2]) == (THROTTLED[0], THROTTLED[2])
                assert time.monotonic() - begun < 3
            finally:
                os.kill(server, signal.SIGCONT)
            statuses = [(await answer(reader))[0] for reader, _ in waiting]
            assert statuses.count(200) >= 45  # a look for 503 may have taken a place
            assert one.memory() - before < 50 * MIB
        await recovered(one)


async def _endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunk: bytes) -> tuple[int, bytes]:
    """Send a body without end until there is an answer."""
    writer.write(chunked("SendMessage")[: -len(b"0\r\n\r\n")])
    told = asyncio.create_task(answer(reader))
    with contextlib.suppress(ConnectionError):
        while not told.done():
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0)
    return await told


@pytest.mark.parametrize("size", [2, 65_536])
async def test_endless_bodies(size: int) -> None:
    """Bodies without end, in large chunks and in tiny ones, are refused at the limit, and take little more than it."""
    with worker("--max-message-size", "65536") as one:
        chunk = b"%x\r\n%s\r\n" % (size, b"x" * size) * max(1, 65_536 // size)
        before = one.memory()
        async with connections(one, 16) as opened:
            most = 0
            asked = [asyncio.create_task(_endless(*each, chunk)) for each in opened]
            while not all(task.done() for task in asked):
                await asyncio.sleep(0.01)
                most = max(most, one.memory())
            assert {task.result()[0] for task in asked} == {413}
        assert most - before < 16 * 8 * 65_536 + 16 * MIB  # the bodies of all, and what else it takes
        await recovered(one)


async def test_bodies_that_do_not_end() -> None:
    """Of many large bodies that never come whole only so much is kept; the others are refused, small requests are not."""
    with worker("--max-message-size", "65536", "--max-buffered", str(4 * MIB)) as one:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.SendMessage\r\nContent-Length: 500000\r\n\r\n"
        before = one.memory()
        async with connections(one, 100) as opened:
            for _, writer in opened:
                writer.write(head + b"x" * 400_000)
            asked = [asyncio.create_task(answer(reader)) for reader, _ in opened]
            done, waiting = await asyncio.wait(asked, timeout=2)
            assert len(waiting) <= 4 * MIB // 400_000
            assert {task.result()[0] for task in done} <= {503, 0}  # 0: reset while it was still sending
            assert len([task for task in done if task.result()[0] == 503]) > 0
            assert (await one.ask("ListQueues"))[0] == 200
            assert one.memory() - before < 4 * MIB + 16 * MIB
        await recovered(one)
        await one.ask("CreateQueue", QueueName="large")
        assert (await one.ask("SendMessage", QueueUrl="large", MessageBody="x" * 65_000))[0] == 200


async def test_slow_readers() -> None:
    """Of large answers that nobody reads only so much is kept: clients that do not read are let go beyond it."""
    with worker("--max-message-size", "65536", "--max-buffered", str(4 * MIB)) as one:
        await one.ask("CreateQueue", QueueName="q", Attributes={"VisibilityTimeout": "0"})
        for _ in range(10):
            await one.ask("SendMessage", QueueUrl="q", MessageBody="x" * 65_000)
        receive = request("ReceiveMessage", QueueUrl="q", MaxNumberOfMessages=10)
        await one.ask("ReceiveMessage", QueueUrl="q", MaxNumberOfMessages=10)
        begun = one.memory()
        await unread(one, receive)
        first = one.memory()
        for _ in range(2):
            await unread(one, receive)
        assert first - begun < 4 * MIB + 40 * 3 * MIB  # and 40 answers in the making
        assert one.memory() - first < 24 * MIB  # what was kept of the first is gone


async def unread(one: Worker, receive: bytes) -> None:
    """Ask over 40 connections for ten times what the system takes in, 4 MiB each, and read nothing until they end."""
    async with connections(one, 40, receive_buffer=4096) as opened:
        for _, writer in opened:
            writer.write(receive * 10)
        await until_true(lambda: one.descriptors() < 50, 30)
        assert (await one.ask("ListQueues"))[0] == 200
    await recovered(one)


async def test_silent_connections() -> None:
    """Of many connections that say nothing only so many are kept; those that are served are served all the same."""
    with worker("--max-connections", "50") as one:
        async with connections(one, 50) as served:
            for reader, writer in served:
                writer.write(LIVE)
                assert (await answer(reader))[0] == 200
            before, most = one.memory(), one.descriptors()
            async with connections(one, 1000):
                for reader, writer in served:
                    writer.write(LIVE)
                    assert (await answer(reader))[0] == 200
                assert one.descriptors() <= most + 256 + 10
                assert one.memory() - before < 16 * MIB
        await recovered(one)
        await until_true(lambda: one.descriptors() <= most)


async def test_no_descriptors_left() -> None:
    """Without descriptors new connections wait or are closed, at no cost in CPU; the others go on, and it recovers."""
    with worker() as one:
        reader, writer = await one.connect()
        writer.write(LIVE)
        assert (await answer(reader))[0] == 200
        limit = one.descriptors() + 10
        resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (limit, limit))
        async with connections(one, 100):
            await asyncio.sleep(0.2)
            before = one.cpu()
            await asyncio.sleep(1)
            assert one.cpu() - before < 0.3
            assert one.descriptors() <= limit
            writer.write(LIVE)
            assert (await answer(reader))[0] == 200
        await recovered(one)
        writer.close()


async def test_a_low_limit_of_descriptors_is_told() -> None:
    """At start questd says when the system does not let it have as many connections as it is told to serve."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with worker("--max-connections", str(hard)) as one:
        assert f"connections instead of {hard}: this system lets a process have" in one.questd.errors.read_text()
        assert resource.prlimit(one.pid, resource.RLIMIT_NOFILE)[0] == hard
