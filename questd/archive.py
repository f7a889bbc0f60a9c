"""Archive: `questd export` and `questd import`, the messages of a queue as JSON Lines, one message a line."""

import argparse
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO

from questd import entries, lines
from questd.client import NOT_QUESTD, Client, Refused
from questd.entries import Entry
from questd.exchange import delete, looked_at, received, sent
from questd.terminal import Screen, as_line
from questd.upkeep import messages

WAIT = 1
"""Seconds that a queue has to have been empty: a server of many machines may not find all of it at once."""

Messages = list[dict[str, Any]]


async def export(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    """Write the messages of a queue to a file."""
    url = await client.url_of(options.queue)
    pages = _drained(client, url) if options.drain else _peeked(client, url)
    total = await messages(client, url)
    number = 0
    file = _created(options.file)
    try:
        async with aclosing(pages):
            with screen.progress(f"exporting {options.queue}", total) as advance:
                async for page in pages:
                    file.writelines(as_line(_exported(message)).encode() for message in page)
                    _keep(file)  # before a drain deletes them
                    number += len(page)
                    advance(len(page))
    except Refused as refused:
        if not number:
            _forget(options.file)
        raise Refused(f"{refused} ({number:,} messages were exported)") from None
    finally:
        if file is not sys.stdout.buffer:
            file.close()
    sentence = f"exported {number:,} messages of {options.queue}"
    if options.file == lines.STANDARD:
        screen.say(sentence)
    else:
        screen.done({"Queue": options.queue, "Exported": number}, sentence)


def _created(name: str) -> BinaryIO:
    """Make a new file. Raises Refused; an older export is never written over."""
    if name == lines.STANDARD:
        return sys.stdout.buffer
    try:
        return Path(name).open("xb")
    except FileExistsError:
        raise Refused(f"{name} is there already: name another file, or remove it") from None
    except OSError as error:
        raise Refused(f"{name} cannot be made: {error.strerror}") from None


def _forget(name: str) -> None:
    if name != lines.STANDARD:
        Path(name).unlink()


def _keep(file: BinaryIO) -> None:
    file.flush()
    if file is not sys.stdout.buffer:
        os.fsync(file.fileno())


def _exported(message: dict[str, Any]) -> Entry:
    """Return what is written of a message: what sends it again, and when it was sent."""
    sent_ms = int(message["Attributes"]["SentTimestamp"])
    return entries.of_message(message) | {"SentTimestamp": sent_ms}


async def _peeked(client: Client, url: str) -> AsyncGenerator[Messages]:
    try:
        async with aclosing(looked_at(client, url, 0, {})) as pages:
            async for page in pages:
                yield page
    except Refused as refused:
        if refused.name == NOT_QUESTD:
            raise Refused(
                f"{client.endpoint} is no questd, which could show messages: --drain takes them out"
            ) from None
        raise


async def _drained(client: Client, url: str) -> AsyncGenerator[Messages]:
    """Yield messages, and delete them when they have been taken care of."""
    while found := await received(client, url, entries.BATCH, WAIT):
        yield found
        await delete(client, url, found)


async def import_(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    """Send the messages that a file has."""
    url = await client.url_of(options.queue)
    try:
        file = lines.opened(options.file)
    except OSError as error:
        raise Refused(f"{options.file} cannot be read: {error.strerror}") from None

    def entry(line: bytes) -> Entry:
        return entries.for_queue(entries.of_json(line), url, options.group)

    number = 0
    with file, screen.progress(f"importing to {options.queue}", lines.count(file)) as advance:
        async with aclosing(sent(client, url, file, entry)) as batches:
            async for done in batches:
                number += len(done)
                advance(len(done))
    screen.done({"Queue": options.queue, "Sent": number}, f"sent {number:,} messages to {options.queue}")
