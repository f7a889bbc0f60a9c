"""Cancelling what loses cancellations: redis-py does when one comes while a subscription connects again."""

import asyncio
from collections.abc import Coroutine
from typing import Any

AGAIN_SECONDS = 0.05


async def cancellable(work: Coroutine[Any, Any, None]) -> None:
    """Do it; when this is cancelled, cancel it until it has ended."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task})
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=AGAIN_SECONDS)
    task.result()
