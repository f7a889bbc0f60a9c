"""Paused queues over HTTP: nothing is handed out, by no process, and all that waits goes on when the queue does."""

import asyncio

import pytest

from questd import errors
from questd.action import Questd
from questd.figures import figures
from questd.pause import pause, resume
from tests.client import Sqs, serving
from tests.servers import RedisServer


async def test_another_process_pauses(sqs: Sqs, questd: Questd) -> None:
    """From the answer on every process obeys: sends are taken, a short poll gets nothing, attributes stay AWS's."""
    url = await sqs.create()
    await sqs.fill(url, "ab")
    assert len(await sqs.receive(url)) == 1
    before = await sqs.attributes(url)
    assert await pause(questd, "q")
    assert not await pause(questd, "q")
    assert (await figures(questd, "q")).paused
    assert (await sqs.ask("ReceiveMessage", QueueUrl=url)).body == b"{}"
    await sqs("SendMessage", QueueUrl=url, MessageBody="c")
    assert (await sqs.attributes(url)).keys() == before.keys()
    assert await sqs.create() == url
    assert await resume(questd, "q")
    assert not (await figures(questd, "q")).paused
    assert len(await sqs.receive(url, MaxNumberOfMessages=10)) == 2


async def test_long_polls_wait_for_the_queue(sqs: Sqs, questd: Questd) -> None:
    """Long polls sleep while the queue is paused, those from before and those from after, and get messages when it goes on."""
    url = await sqs.create()
    polls = [asyncio.create_task(sqs.receive(url, WaitTimeSeconds=20))]
    while not (await figures(questd, "q")).waiting:
        await asyncio.sleep(0.002)
    await pause(questd, "q")
    await sqs.fill(url, "abc")
    polls += [asyncio.create_task(sqs.receive(url, WaitTimeSeconds=20)) for _ in range(2)]
    polls.append(asyncio.create_task(sqs.receive(url, WaitTimeSeconds=1)))
    assert await polls.pop() == []
    assert not any(poll.done() for poll in polls)
    async with asyncio.timeout(5):
        await resume(questd, "q")
        assert sorted(message["Body"] for [message] in await asyncio.gather(*polls)) == ["a", "b", "c"]


async def test_under_load(sqs: Sqs, questd: Questd, redis_server: RedisServer) -> None:
    """While many send and receive through two processes, nothing is given during a pause and nothing is lost by it."""
    url = await sqs.create()
    received: list[str] = []
    async with serving(redis_server.url) as other:

        async def consume(client: Sqs) -> None:
            while len(received) < 600:
                for message in await client.receive(url, WaitTimeSeconds=1, MaxNumberOfMessages=10):
                    received.append(message["Body"])
                    await client("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

        async def pauses() -> None:
            for part in range(3):
                await pause(questd, "q")
                before = await figures(questd, "q")
                await (sqs, other)[part % 2].fill(url, map(str, range(200 * part, 200 * part + 200)))
                found = await figures(questd, "q")
                assert (found.visible, found.in_flight <= before.in_flight) == (before.visible + 200, True)
                await resume(questd, "q")

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(pauses())
            for client in (sqs, other) * 8:
                group.create_task(consume(client))
    assert sorted(map(int, received)) == list(range(600))


async def test_no_queue(questd: Questd) -> None:
    """A queue that is not there cannot be paused."""
    for attempt in (pause, resume):
        with pytest.raises(errors.QueueDoesNotExist):
            await attempt(questd, "none")
