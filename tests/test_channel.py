"""What is published is heard, past every loss, and hearing ends at once."""

import asyncio
import signal

import pytest

from questd import channel
from questd.channel import hear
from tests.client import serving
from tests.servers import DEFAULT, RedisServer, running


async def test_what_is_heard(redis_server: RedisServer) -> None:
    """A subscriber gets None when it can hear, what is published, and None again after a gap."""
    heard = asyncio.Queue[bytes | None]()
    task = asyncio.create_task(hear(redis_server.url, heard.put, "channel"))
    with redis_server.client() as client:
        async with asyncio.timeout(5):
            assert await heard.get() is None
            client.publish("channel", b"\xff")
            assert await heard.get() == b"\xff"
            client.client_kill_filter(_type="pubsub")
            assert await heard.get() is None
    task.cancel()
    await asyncio.wait({task})


async def test_a_frozen_redis_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription without an answer is lost, and made anew when Redis thaws."""
    monkeypatch.setattr(channel, "SILENCE_SECONDS", 0.02)
    heard = asyncio.Queue[bytes | None]()
    with running() as server:
        task = asyncio.create_task(hear(server.url, heard.put, "channel"))
        async with asyncio.timeout(5):
            assert await heard.get() is None
            server.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(0.1)
            server.process.send_signal(signal.SIGCONT)
            assert await heard.get() is None
        task.cancel()
        await asyncio.wait({task})


async def test_questd_stops_while_redis_comes_back() -> None:
    """A questd that is told to stop just when Redis is there again stops."""
    with running(DEFAULT) as redis:
        for delay in (0.001, 0.01, 0.05, 0.1, 0.2, 0.25, 0.3):
            async with asyncio.timeout(10), serving(redis.url) as sqs:
                await sqs.create()
                redis.stop()
                redis.start()
                while (await sqs.ask("ListQueues")).status != 200:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(delay)  # to meet the moment in which a subscription connects again
