"""Listing: `questd queues`, all queues of a server and how each is."""

import argparse
import asyncio
from typing import Any

from pydantic_core import from_json

from questd import errors, texts
from questd.client import NOT_QUESTD, Client, Refused, name_of
from questd.terminal import Column, Screen

TOGETHER = 16
"""Queues that are asked about at a time."""

COUNTS = {
    "Visible": "ApproximateNumberOfMessages",
    "InFlight": "ApproximateNumberOfMessagesNotVisible",
    "Delayed": "ApproximateNumberOfMessagesDelayed",
}

COLUMNS: dict[str, Column] = {
    "queue": lambda row: str(row["Queue"]),
    "visible#": lambda row: f"{row['Visible']:,}",
    "in flight#": lambda row: f"{row['InFlight']:,}",
    "delayed#": lambda row: f"{row['Delayed']:,}",
    "oldest#": lambda row: texts.age(row["AgeOfOldestMessage"]) if row.get("AgeOfOldestMessage") else "-",
    "paused": lambda row: "paused" if row.get("Paused") else "-",
    "dead-letter queue": lambda row: row["DeadLetterQueue"] or "-",
}


async def queues(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    """Show the queues whose names begin with a prefix."""
    places = asyncio.Semaphore(TOGETHER)

    async def row(url: str) -> dict[str, Any] | None:
        async with places:
            return await _row(client, url)

    found = await asyncio.gather(*[row(url) async for url in client.urls(options.prefix)])
    named = f" whose name begins with {options.prefix}" if options.prefix else ""
    nothing = f"no queue{named} at {client.endpoint}; make one: questd send --create orders hello"
    screen.table([one for one in found if one], COLUMNS, nothing)


async def _row(client: Client, url: str) -> dict[str, Any] | None:
    """Return what is shown of a queue; None when it has been deleted meanwhile."""
    try:
        attributes = await client.attributes(url, "All")
        figures = await _figures(client, url, attributes)
    except Refused as refused:
        if refused.name == errors.QueueDoesNotExist.__name__:
            return None
        raise
    policy = from_json(attributes.get("RedrivePolicy", "{}"))
    dead = name_of(policy["deadLetterTargetArn"]) if "deadLetterTargetArn" in policy else None
    return {"Queue": name_of(url), "QueueUrl": url, **figures, "DeadLetterQueue": dead}


async def _figures(client: Client, url: str, attributes: dict[str, str]) -> dict[str, Any]:
    """Return the figures of a queue; those that AWS has where the server is no questd."""
    try:
        found = await client.extension("GetQueueFigures", QueueUrl=url)
    except Refused as refused:
        if refused.name != NOT_QUESTD:
            raise
        return {name: int(attributes[attribute]) for name, attribute in COUNTS.items()}
    return {name: found[name] for name in (*COUNTS, "AgeOfOldestMessage", "Paused")}
