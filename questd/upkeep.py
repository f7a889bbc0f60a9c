"""Upkeep: `questd redrive`, `purge`, `pause` and `resume`: what is done to a queue as a whole."""

import argparse
import asyncio
from typing import Any

from questd.client import Client, Refused
from questd.listing import COUNTS
from questd.terminal import Screen

INTERVAL = 0.1
"""Seconds between two looks at a move task."""

NO_SOURCE = "CouldNotDetermineMessageSource"
"""Why a move task fails whose messages have no queue to go back to (AWS's name for it)."""

SENT_THERE = ": a message was sent there, and came from no queue. --to QUEUE says where all of them go"


async def redrive(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    """Move the messages of a dead-letter queue back to where they came from, or elsewhere, and watch it."""
    source = await _arn(client, options.queue)
    more: dict[str, Any] = {"DestinationArn": await _arn(client, options.to)} if options.to else {}
    if options.rate is not None:
        more["MaxNumberOfMessagesPerSecond"] = options.rate
    await client("StartMessageMoveTask", SourceArn=source, **more)
    task = await _task(client, source)
    moved = 0
    with screen.progress(f"redriving {options.queue}", task["ApproximateNumberOfMessagesToMove"]) as advance:
        while True:
            advance(task["ApproximateNumberOfMessagesMoved"] - moved)
            moved = task["ApproximateNumberOfMessagesMoved"]
            if task["Status"] not in {"RUNNING", "CANCELLING"}:
                break
            await asyncio.sleep(INTERVAL)
            task = await _task(client, source)
    if task["Status"] != "COMPLETED":
        why = task.get("FailureReason", "somebody ended it")
        why += SENT_THERE if why == NO_SOURCE else ""
        raise Refused(f"the redrive of {options.queue} is {task['Status']}, {why} ({moved:,} messages were moved)")
    screen.done({"Queue": options.queue, "Moved": moved}, f"moved {moved:,} messages out of {options.queue}")


async def _arn(client: Client, queue: str) -> str:
    return (await client.attributes(await client.url_of(queue), "QueueArn"))["QueueArn"]


async def _task(client: Client, source: str) -> dict[str, Any]:
    """Return the latest move task of a queue."""
    task: dict[str, Any] = (await client("ListMessageMoveTasks", SourceArn=source, MaxResults=1))["Results"][0]
    return task


async def purge(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    """Delete all messages of a queue, when somebody agrees."""
    url = await client.url_of(options.queue)
    number = await messages(client, url)
    question = f"Delete all {number:,} messages of {options.queue}, those in flight and delayed too?"
    if not options.yes and not screen.agree(question, "--yes"):
        raise Refused(f"nothing was deleted from {options.queue}")
    await client("PurgeQueue", QueueUrl=url)
    screen.done({"Queue": options.queue, "Purged": number}, f"deleted {number:,} messages of {options.queue}")


async def messages(client: Client, url: str) -> int:
    """Return how many messages a queue has, whatever their state."""
    return sum(map(int, (await client.attributes(url, *COUNTS.values())).values()))


async def pause(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    """Let a queue take messages and hand none out."""
    reply = await client.extension("PauseQueue", QueueUrl=await client.url_of(options.queue))
    how = "is paused" if reply["Changed"] else "was paused already"
    screen.done({"Queue": options.queue, "Paused": True}, f"{options.queue} {how}: questd resume {options.queue}")


async def resume(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    """Let a paused queue hand messages out again."""
    reply = await client.extension("ResumeQueue", QueueUrl=await client.url_of(options.queue))
    how = "hands messages out again" if reply["Changed"] else "was not paused"
    screen.done({"Queue": options.queue, "Paused": False}, f"{options.queue} {how}")
