"""Long polls over HTTP: what wakes them, how long they last, and that nothing is lost or taken for nobody."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.client import Sqs, serving
from tests.servers import RedisServer


async def waiting(sqs: Sqs, redis_server: RedisServer, url: str, **members: Any) -> asyncio.Task[list[dict[str, Any]]]:
    """Return a receive that waits, once Redis knows that it does."""
    task = asyncio.create_task(sqs.receive(url, **{"WaitTimeSeconds": 20} | members))
    await registered(redis_server)
    return task


async def registered(redis_server: RedisServer, key: str = "quest:{q}:waiting") -> None:
    """Return when somebody waits on the queue."""
    with redis_server.client() as client:
        while not client.exists(key):
            await asyncio.sleep(0.002)


async def send(sqs: Sqs, url: str, **members: Any) -> None:
    """Send a message."""
    await sqs("SendMessage", QueueUrl=url, **{"MessageBody": "x"} | members)


async def test_an_empty_queue_makes_it_wait(sqs: Sqs) -> None:
    """Without a message a long poll waits its time, then answers `{}` (contract 5.1)."""
    url = await sqs.create()
    began = time.monotonic()
    assert (await sqs.ask("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=1)).body == b"{}"
    assert 1 <= time.monotonic() - began < 2


async def test_the_queue_has_a_default(sqs: Sqs, redis_server: RedisServer) -> None:
    """ReceiveMessageWaitTimeSeconds waits; an explicit 0 does not (contract 5.1)."""
    url = await sqs.create(ReceiveMessageWaitTimeSeconds="20")
    assert await sqs.receive(url, WaitTimeSeconds=0) == []
    task = asyncio.create_task(sqs.receive(url))
    await registered(redis_server)
    await send(sqs, url)
    assert len(await task) == 1


async def test_another_questd_has_changed_the_wait(sqs: Sqs, redis_server: RedisServer) -> None:
    """A receive waits as the queue says now, also the first one after another process changed it."""
    url = await sqs.create()
    assert await sqs.receive(url, MessageAttributeNames=None) == []
    async with serving(redis_server.url) as other:
        await other("SetQueueAttributes", QueueUrl=url, Attributes={"ReceiveMessageWaitTimeSeconds": "20"})
        poll = asyncio.create_task(sqs.receive(url))
        await registered(redis_server)
        await other("SendMessage", QueueUrl=url, MessageBody="x")
        assert len(await asyncio.wait_for(poll, 5)) == 1


async def test_another_questd_has_ended_the_wait(sqs: Sqs, redis_server: RedisServer) -> None:
    """When ReceiveMessageWaitTimeSeconds is 0 by now, a process that knew another value waits no more."""
    async with serving(redis_server.url) as other, asyncio.timeout(5):
        url = await other.create(ReceiveMessageWaitTimeSeconds="20")
        await send(sqs, url)
        assert len(await sqs.receive(url)) == 1
        task = asyncio.create_task(sqs.receive(url))
        await registered(redis_server)
        await other.set(url, ReceiveMessageWaitTimeSeconds="0")
        assert await task == []
        assert await sqs.receive(url) == []


async def test_it_does_not_wait_for_ten(sqs: Sqs, redis_server: RedisServer) -> None:
    """A long poll for ten messages returns with the first (contract 5.1)."""
    url = await sqs.create()
    task = await waiting(sqs, redis_server, url, MaxNumberOfMessages=10)
    await send(sqs, url)
    assert len(await asyncio.wait_for(task, 1)) == 1


async def by_timeout(sqs: Sqs, url: str) -> Callable[[], Awaitable[Any]]:
    """Prepare a message whose visibility timeout ends."""
    await send(sqs, url)
    await sqs.receive(url, VisibilityTimeout=60)
    return lambda: sqs.advance(60)


async def by_delay(sqs: Sqs, url: str) -> Callable[[], Awaitable[Any]]:
    """Prepare a message whose delay ends."""
    await send(sqs, url, DelaySeconds=60)
    return lambda: sqs.advance(60)


async def by_visibility_zero(sqs: Sqs, url: str) -> Callable[[], Awaitable[Any]]:
    """Prepare a message that its holder gives back."""
    await send(sqs, url)
    handle = (await sqs.receive(url))[0]["ReceiptHandle"]
    return lambda: sqs("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)


async def by_dead_letter(sqs: Sqs, _url: str) -> Callable[[], Awaitable[Any]]:
    """Prepare a message that becomes a dead letter of the queue."""
    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:q", "maxReceiveCount": 1})
    source = await sqs.create("source", RedrivePolicy=policy)
    await send(sqs, source)
    await sqs.receive(source, VisibilityTimeout=0)
    return lambda: sqs.receive(source)


async def by_sending(sqs: Sqs, url: str) -> Callable[[], Awaitable[Any]]:
    """Prepare nothing."""
    return lambda: send(sqs, url)


@pytest.mark.parametrize("prepare", [by_sending, by_delay, by_timeout, by_visibility_zero, by_dead_letter])
async def test_what_wakes_it(
    sqs: Sqs, redis_server: RedisServer, prepare: Callable[[Sqs, str], Awaitable[Callable[[], Awaitable[Any]]]]
) -> None:
    """A message that becomes visible, in whichever way, ends a long poll at once."""
    url = await sqs.create()
    happen = await prepare(sqs, url)
    task = await waiting(sqs, redis_server, url)
    await happen()
    assert len(await asyncio.wait_for(task, 1)) == 1


async def test_a_delay_wakes_within_50_ms_of_its_time(sqs: Sqs, redis_server: RedisServer) -> None:
    """The background task republishes promptly: here by the real clock, a delay of one second."""
    url = await sqs.create()
    began = time.monotonic()
    await send(sqs, url, DelaySeconds=1)
    task = await waiting(sqs, redis_server, url)
    assert len(await task) == 1
    # What is checked is that no polling interval hides in there; 50 ms are shown by hand on a quiet machine.
    assert 1 <= time.monotonic() - began < 1.5


async def test_deleting_the_queue_ends_it(sqs: Sqs, redis_server: RedisServer) -> None:
    """A long poll on a queue that is deleted gets QueueDoesNotExist at once."""
    url = await sqs.create()
    task = asyncio.create_task(sqs.ask("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
    await registered(redis_server)
    await sqs("DeleteQueue", QueueUrl=url)
    assert (await asyncio.wait_for(task, 1)).error[2] == "QueueDoesNotExist"


async def test_every_message_wakes_one_more(sqs: Sqs, redis_server: RedisServer) -> None:
    """Twenty waiters and a batch of ten: ten of them get one message each, the others go on waiting."""
    url = await sqs.create()
    tasks = [await waiting(sqs, redis_server, url) for _ in range(20)]
    entries = [{"Id": str(i), "MessageBody": str(i)} for i in range(10)]
    for _ in range(2):
        await sqs("SendMessageBatch", QueueUrl=url, Entries=entries)
    received = await asyncio.wait_for(asyncio.gather(*tasks), 2)
    assert sorted(message["Body"] for messages in received for message in messages) == sorted("01234567890123456789")


async def test_waiters_of_several_processes(redis_server: RedisServer) -> None:
    """Waiters of two questds share what there is: none sleeps beside a visible message."""
    async with serving(redis_server.url) as one, serving(redis_server.url) as two:
        url = await one.create()
        tasks = [asyncio.create_task(sqs.receive(url, WaitTimeSeconds=20)) for sqs in (one, two) for _ in range(10)]
        with redis_server.client() as client:
            while client.zcard("quest:{q}:waiting") < 2:
                await asyncio.sleep(0.002)
        for i in range(20):
            await (one, two)[i % 2]("SendMessage", QueueUrl=url, MessageBody=str(i))
        received = await asyncio.wait_for(asyncio.gather(*tasks), 3)
        assert sorted(int(message["Body"]) for messages in received for message in messages) == list(range(20))


async def test_a_client_that_hangs_up_takes_nothing(sqs: Sqs, redis_server: RedisServer) -> None:
    """A message sent after a waiting client has gone is not taken for it: no receive is counted."""
    url = await sqs.create()
    task = await waiting(sqs, redis_server, url)
    task.cancel()
    await asyncio.wait({task})
    for _ in range(50):  # the server sees the end of the connection a moment later
        await asyncio.sleep(0.002)
    await send(sqs, url)
    assert await sqs.counts(url) == (1, 0, 0)
    [message] = await sqs.receive(url, AttributeNames=["ApproximateReceiveCount"])
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


async def test_hanging_up_hands_the_wake_on(sqs: Sqs, redis_server: RedisServer) -> None:
    """Waiters that hang up while messages come lose none: whoever still waits gets them."""
    url = await sqs.create()
    gone = [await waiting(sqs, redis_server, url) for _ in range(10)]
    stays = [await waiting(sqs, redis_server, url) for _ in range(10)]
    for task in gone:
        task.cancel()
    for i in range(10):
        await send(sqs, url, MessageBody=str(i))
    received = await asyncio.wait_for(asyncio.gather(*stays), 3)
    assert sorted(int(message["Body"]) for messages in received for message in messages) == list(range(10))


async def test_a_subscription_made_anew_wakes_everybody(sqs: Sqs, redis_server: RedisServer) -> None:
    """When Redis drops the subscription, wakes may be lost: waiters ask again as soon as it is back."""
    url = await sqs.create()
    task = await waiting(sqs, redis_server, url)
    with redis_server.client() as client:
        client.client_kill_filter(_type="pubsub")
        client.execute_command("FCALL", "sendMessage", 1, "q", "x")
    assert len(await asyncio.wait_for(task, 3)) == 1


async def test_a_queue_that_is_made_anew_after_everything_was_flushed(sqs: Sqs, redis_server: RedisServer) -> None:
    """Who waits on a queue that FLUSHALL took away gets the messages of the one that is made in its place, at once."""
    url = await sqs.create()
    poll = await waiting(sqs, redis_server, url)
    with redis_server.client() as client:
        client.flushall()
    await sqs.create()
    await send(sqs, url)
    assert len(await asyncio.wait_for(poll, 3)) == 1


async def test_the_end_of_the_server_ends_it(redis_server: RedisServer) -> None:
    """When questd stops, long polls are answered with nothing."""
    async with serving(redis_server.url) as sqs:
        url = await sqs.create()
        task = asyncio.create_task(sqs.ask("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))
        await registered(redis_server)
        # Leaving the block stops the server, and closes the client only after it.
        async with asyncio.timeout(3):
            await sqs.stop()
        assert (await task).body == b"{}"
