"""Exchange: `questd send`, `receive`, `peek` and `tail`: messages given to a queue, taken from it, or looked at."""

import argparse
import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, BinaryIO

from questd import entries, lines
from questd.client import Client, Refused
from questd.entries import EVERYTHING, Entry, NotAMessage
from questd.extensions import MOST
from questd.terminal import Column, Misused, Screen, age, state

INTERVAL = 0.2
"""Seconds between two looks of a tail."""

COLUMNS: dict[str, Column] = {
    "message id": lambda message: str(message["MessageId"]),
    "state": state,
    "age#": age,
    "receives#": lambda message: str(message["Attributes"]["ApproximateReceiveCount"]),
    "group": lambda message: str(message["Attributes"].get("MessageGroupId", "-")),
    "body": lambda message: str(message["Body"]),
}


async def send(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    """Send a body, or one for each line of standard input."""
    if options.create:
        fifo = {"Attributes": {"FifoQueue": "true"}} if options.queue.endswith(".fifo") else {}
        url = (await client("CreateQueue", QueueName=options.queue, **fifo))["QueueUrl"]
    else:
        url = await client.url_of(options.queue)
    if options.body != lines.STANDARD:
        reply = await client("SendMessage", QueueUrl=url, **_entry(options, options.body))
        screen.done(reply, f"sent {reply['MessageId']}")
        return
    if options.dedup:
        raise Misused("--dedup is the id of one message, and standard input has many")
    number = 0
    with screen.progress(f"sending to {options.queue}", None) as advance:
        file = lines.opened(lines.STANDARD)
        async for done in sent(client, url, file, lambda line: _entry(options, _text(line))):
            number += len(done)
            advance(len(done))
            for one in done if screen.as_json else ():
                screen.line({name: value for name, value in one.items() if name != "Id"})
    if not screen.as_json:
        screen.done({}, f"sent {number:,} messages to {options.queue}")


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise NotAMessage("is no text in UTF-8") from None


def _entry(options: argparse.Namespace, body: str) -> Entry:
    given = {
        "MessageBody": body,
        "DelaySeconds": options.delay,
        "MessageGroupId": options.group,
        "MessageDeduplicationId": options.dedup,
        "MessageAttributes": dict(options.attribute),
    }
    return {name: value for name, value in given.items() if value not in (None, {})}


def attribute(text: str) -> tuple[str, dict[str, str]]:
    """Return the name and the value of an attribute in a flag: name=value or name:Type=value."""
    name, sign, value = text.partition("=")
    name, _, kind = name.partition(":")
    if not name or not sign:
        raise argparse.ArgumentTypeError(f"should be NAME=VALUE or NAME:Type=VALUE, not {text!r}")
    member = "BinaryValue" if kind.startswith("Binary") else "StringValue"
    return name, {"DataType": kind or "String", member: value}


async def sent(
    client: Client, url: str, file: BinaryIO, entry: Callable[[bytes], Entry]
) -> AsyncGenerator[list[dict[str, Any]]]:
    """Send what the lines of a file say, as they come, empty ones aside; yield what was sent of each batch.

    Raises Refused at one that fails.
    """
    number = done = 0

    def numbered(found: list[bytes]) -> Iterator[tuple[int, Entry]]:
        nonlocal number
        for line in found:
            number += 1
            if line.strip():
                yield number, entry(line)

    try:
        async with aclosing(lines.read(file)) as read:
            async for found in read:
                for batch in entries.batches(numbered(found)):
                    try:
                        reply = await client("SendMessageBatch", QueueUrl=url, Entries=batch)
                    except Refused as refused:
                        where = f"lines {batch[0]['Id']} to {batch[-1]['Id']} were refused"
                        raise Refused(f"{where}, {refused} ({done:,} messages were sent)") from None
                    done += len(reply.get("Successful", []))
                    yield reply.get("Successful", [])
                    if failed := entries.failure(reply):
                        raise Refused(f"line {failed[0]} was refused, {failed[1]} ({done:,} messages were sent)")
    except NotAMessage as error:
        raise Refused(f"line {number} {error} ({done:,} messages were sent)") from None


async def receive(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    """Receive messages, show them, and delete them when asked to."""
    url = await client.url_of(options.queue)
    rest, wait = options.number, options.wait
    while rest > 0:
        found = await received(client, url, min(rest, entries.BATCH), wait, options.visibility)
        if not found:
            break
        for message in found:
            screen.message(message)
        if options.delete:
            await delete(client, url, found)
        rest, wait = rest - len(found), 0
    if rest == options.number:
        screen.say(f"no message to receive in {options.queue}: `questd peek` shows those in flight and delayed too")


async def received(
    client: Client, url: str, number: int, wait: int, visibility: int | None = None
) -> list[dict[str, Any]]:
    """Receive up to ten messages with all that is in them."""
    hidden = {} if visibility is None else {"VisibilityTimeout": visibility}
    members = {"MaxNumberOfMessages": number, "WaitTimeSeconds": wait, **EVERYTHING, **hidden}
    found: list[dict[str, Any]] = (await client("ReceiveMessage", QueueUrl=url, **members)).get("Messages", [])
    return found


async def delete(client: Client, url: str, messages: list[dict[str, Any]]) -> None:
    """Delete messages that were received. Raises Refused."""
    handles = [{"Id": str(i), "ReceiptHandle": one["ReceiptHandle"]} for i, one in enumerate(messages)]
    reply = await client("DeleteMessageBatch", QueueUrl=url, Entries=handles)
    if failed := entries.failure(reply):
        raise Refused(f"message {messages[failed[0]]['MessageId']} was not deleted, {failed[1]}")


async def peek(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    """Show messages and leave them as they are."""
    url = await client.url_of(options.queue)
    found: list[dict[str, Any]] = []
    wanted = {"Contains": options.contains, "States": options.state, "MaxNumberOfMessages": min(options.number, MOST)}
    async with aclosing(looked_at(client, url, 0, wanted)) as messages:
        async for page in messages:
            found += page[: options.number - len(found)]
            if len(found) >= options.number:
                break
    screen.table(found, COLUMNS, f"no such message in {options.queue}")


async def looked_at(
    client: Client, url: str, after: int, wanted: Mapping[str, object]
) -> AsyncGenerator[list[dict[str, Any]]]:
    """Yield messages in the order of their sending, page by page, from behind a sequence to the end of the queue."""
    more: int | None = after
    while more is not None:
        page = await client.extension("PeekMessages", QueueUrl=url, After=more, **wanted)
        yield page["Messages"]
        more = page.get("After")


async def tail(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    """Show messages as they arrive, for ever, and leave them as they are."""
    url = await client.url_of(options.queue)
    seen = await _latest(client, url)
    screen.say(f"waiting for messages in {options.queue}, Ctrl-C ends it")
    while True:
        latest = await _latest(client, url)
        if latest < seen:  # the queue was made anew
            seen = 0
        if latest > seen:
            async for page in looked_at(client, url, seen, {"Contains": options.contains}):
                for message in page:
                    screen.message(message)
                    latest = max(latest, message["Sequence"])
            seen = latest
        await asyncio.sleep(INTERVAL)


async def _latest(client: Client, url: str) -> int:
    latest: int = (await client.extension("GetQueueFigures", QueueUrl=url))["LatestSequence"]
    return latest
