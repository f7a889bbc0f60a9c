"""Waiting for what will be so in a moment, and no longer than that takes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any


def until(condition: Callable[[], object], seconds: float = 15) -> None:
    """Return when a condition holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


async def until_so(condition: Callable[[], Awaitable[Any]], seconds: float = 5) -> None:
    """Do the same while a loop runs, for a condition that has to be asked for."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.005)


async def until_true(condition: Callable[[], object], seconds: float = 5) -> None:
    """Do the same while a loop runs."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
