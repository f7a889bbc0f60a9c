"""Work that loses a cancellation ends all the same."""

import asyncio
import contextlib

import pytest

from questd.cancellation import cancellable
from tests.client import serving
from tests.servers import DEFAULT, running


async def test_a_lost_cancellation() -> None:
    """Work that swallows its first cancellation gets a second one."""
    lost = []

    async def work() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost.append(1)
                if len(lost) == 3:
                    raise

    task = asyncio.create_task(cancellable(work()))
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(5):
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert len(lost) == 3


async def test_failures_come_through() -> None:
    """What the work raises is raised."""

    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await cancellable(work())


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
