"""`questd redrive`, `purge`, `pause` and `resume`."""

import asyncio
import json
import re

import pytest

from tests.client import ARN, Sqs
from tests.people import People


async def dead_letters(sqs: Sqs, number: int) -> str:
    """Make the queues `orders` and `dead`, with dead letters of the one in the other; the URL of `orders`."""
    await sqs.create("dead")
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}:dead", "maxReceiveCount": 1})
    url = await sqs.create("orders", RedrivePolicy=policy, VisibilityTimeout="1")
    await sqs.fill(url, map(str, range(number)))
    while await sqs.receive(url, MaxNumberOfMessages=10):
        pass
    await sqs.advance(1)
    assert await sqs.receive(url, MaxNumberOfMessages=10) == []
    return url


async def test_redrive(people: People) -> None:
    """Dead letters go back to where they came from, and are counted."""
    url = await dead_letters(people.sqs, 25)
    assert await people("redrive", "dead") == [{"Queue": "dead", "Moved": 25}]
    assert await people.sqs.counts(url) == (25, 0, 0)


async def test_redrive_elsewhere(people: People) -> None:
    """They go elsewhere when asked to, no faster than asked to, and a terminal shows how far it is."""
    await dead_letters(people.sqs, 3)
    there = await people.sqs.create("there")
    told = await people.at_terminal("redrive", "dead", "--to", "there", "--rate", "100")
    assert told.status == 0
    assert "redriving dead" in told.out
    assert "3/3" in told.out
    assert "moved 3 messages out of dead" in told.out
    assert await people.sqs.counts(there) == (3, 0, 0)
    [task] = (await people.sqs("ListMessageMoveTasks", SourceArn=f"{ARN}:dead"))["Results"]
    assert (task["MaxNumberOfMessagesPerSecond"], task["DestinationArn"]) == (100, f"{ARN}:there")


async def test_a_redrive_that_cannot_begin(people: People) -> None:
    """What is no dead-letter queue is not redriven."""
    await people.sqs.create("orders")
    assert "Source queue must be configured as a Dead Letter Queue" in await people.refused("redrive", "orders")
    assert "there is no queue nowhere" in await people.refused("redrive", "orders", "--to", "nowhere")


async def test_a_redrive_that_fails(people: People) -> None:
    """A redrive that ends before all messages are moved says why, and has status 1."""
    await dead_letters(people.sqs, 10)
    there = await people.sqs.create("there")
    running = asyncio.create_task(people.piped("redrive", "dead", "--to", "there", "--rate", "1"))
    while (await people.sqs.ask("ListMessageMoveTasks", SourceArn=f"{ARN}:dead")).json.get("Results") is None:
        await asyncio.sleep(0.01)
    await people.sqs("DeleteQueue", QueueUrl=there)
    await people.sqs.advance(2)
    told = await running
    assert (told.status, told.out) == (1, "")
    assert re.fullmatch(r"questd: the redrive of dead is FAILED, \S.* \(\d messages were moved\)\n", told.err)


async def test_a_redrive_to_nowhere(people: People) -> None:
    """Who redrives what somebody sent to the dead-letter queue is told that he has to say where it goes, and then can."""
    url = await dead_letters(people.sqs, 0)
    await people.sqs("SendMessage", QueueUrl="dead", MessageBody="by hand")
    told = await people.piped("redrive", "dead")
    assert told.status == 1
    assert "CouldNotDetermineMessageSource: a message was sent there, and came from no queue. --to QUEUE" in told.err
    assert await people("redrive", "dead", "--to", "orders") == [{"Queue": "dead", "Moved": 1}]
    assert await people.sqs.counts(url) == (1, 0, 0)


@pytest.mark.parametrize(("typed", "status", "left"), [("y\n", 0, 0), ("n\n", 1, 2), ("\n", 1, 2)])
async def test_purge_asks(people: People, typed: str, status: int, left: int) -> None:
    """A purge asks, with what it would delete, and does it only after a yes."""
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, "ab")
    told = await people.at_terminal("purge", "orders", typed=typed)
    assert "Delete all 2 messages of orders, those in flight and delayed too? [y/N]" in told.out
    assert told.status == status
    assert await people.sqs.counts(url) == (left, 0, 0)


async def test_purge_in_a_script(people: People) -> None:
    """In a script nobody is asked: it needs the flag, and says how many messages there were, in whatever state."""
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, "ab")
    await people.sqs.receive(url)
    await people.sqs("SendMessage", QueueUrl=url, MessageBody="c", DelaySeconds=60)
    told = await people.piped("purge", "orders")
    assert (told.status, told.err) == (2, "questd: there is nobody to ask: say --yes (see questd purge --help)\n")
    assert await people("purge", "orders", "--yes") == [{"Queue": "orders", "Purged": 3}]
    assert await people.sqs.counts(url) == (0, 0, 0)


async def test_pause_and_resume(people: People) -> None:
    """A paused queue hands nothing out until it is resumed; a sentence says what was changed."""
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, "a")
    assert await people("pause", "orders") == [{"Queue": "orders", "Paused": True}]
    assert await people.sqs.receive(url) == []
    assert "orders was paused already: questd resume orders" in (await people.at_terminal("pause", "orders")).out
    assert await people("resume", "orders") == [{"Queue": "orders", "Paused": False}]
    assert len(await people.sqs.receive(url)) == 1
    assert "orders was not paused" in (await people.at_terminal("resume", "orders")).out
