"""The background task: what falls due happens by itself, one process at a time does it, idle queues cost nothing."""

import asyncio
import json
import time
from typing import cast

import pytest

from questd import library
from questd.background import Background
from questd.library import Library
from questd.primaries import Primary
from tests.client import Sqs, serving
from tests.servers import RedisServer
from tests.waiting import until_so

DEAD = "arn:aws:sqs:us-east-1:000000000000:dead"


async def poisoned(sqs: Sqs, seconds: float) -> tuple[str, str, str]:
    """Make a queue with a message on its last delivery, visible again after `seconds`: its URL, handle and DLQ."""
    dead = await sqs.create("dead")
    url = await sqs.create(RedrivePolicy=json.dumps({"deadLetterTargetArn": DEAD, "maxReceiveCount": 1}))
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    [message] = await sqs.receive(url, VisibilityTimeout=60)
    await sqs.advance(seconds)
    return url, message["ReceiptHandle"], dead


async def test_poison_goes_to_its_dlq_without_a_receive(sqs: Sqs) -> None:
    """An exhausted message moves by itself, dead_letter_after (2 s) after it became visible, and not before."""
    url, _, dead = await poisoned(sqs, 60)
    await sqs.advance(1)
    assert await sqs.counts(url) == (1, 0, 0)
    await sqs.advance(1)

    async def moved() -> bool:
        return await sqs.counts(dead) == (1, 0, 0)

    await until_so(moved)
    assert await sqs.counts(url) == (0, 0, 0)


async def test_a_late_consumer_keeps_its_chance(sqs: Sqs) -> None:
    """Until then the last handle still deletes or hides the message (contract 11.1, 11.3)."""
    url, handle, dead = await poisoned(sqs, 61)
    await sqs("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=30)
    await sqs.advance(20)
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=handle)
    assert (await sqs.counts(url), await sqs.counts(dead)) == ((0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize("settings", [{"dead_letter_after": "never"}, {"strict_aws": True}])
async def test_never_leaves_it_to_the_next_receive(redis_server: RedisServer, settings: dict[str, object]) -> None:
    """With `never`, as on AWS, only a receive moves an exhausted message (contract 7.3)."""
    async with serving(redis_server.url, **settings) as sqs:
        url, _, dead = await poisoned(sqs, 60)
        with redis_server.client() as client:

            async def ticked() -> bool:
                return client.zcard("quest:{q}:inflight") == 0 and client.exists("quest:{q}:poison") == 0

            await until_so(ticked)
        assert await sqs.counts(url) == (1, 0, 0)
        assert await sqs.receive(url) == []
        assert await sqs.counts(dead) == (1, 0, 0)


async def test_what_is_past_retention_leaves_redis(sqs: Sqs, redis_server: RedisServer) -> None:
    """Expired messages are removed without anyone asking, visible, delayed and in flight."""
    url = await sqs.create(MessageRetentionPeriod="60")
    for delay in (0, 0, 100):
        await sqs("SendMessage", QueueUrl=url, MessageBody="x", DelaySeconds=delay)
    await sqs.receive(url, VisibilityTimeout=200)
    await sqs.advance(60)
    with redis_server.client() as client:

        async def gone() -> bool:
            return client.exists("quest:{q}:messages") == 0

        await until_so(gone)


async def test_a_shorter_retention_works_on_what_is_there(sqs: Sqs) -> None:
    """A changed MessageRetentionPeriod applies to messages sent before (contract 5.5)."""
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    await sqs.advance(100)
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"MessageRetentionPeriod": "60"})

    async def gone() -> bool:
        return await sqs.counts(url) == (0, 0, 0)

    await until_so(gone)


async def test_idle_queues_cost_nothing(sqs: Sqs, redis_server: RedisServer) -> None:
    """Queues without messages have no alarm, and but for the lease and a ping Redis is asked nothing meanwhile."""
    for i in range(20):
        url = await sqs.create(f"q{i}")
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    [message] = await sqs.receive(url)
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    await sqs.advance(400_000)
    with redis_server.client() as client:

        async def idle() -> bool:
            return not any(client.hget(f"quest:{{q{i}}}", "alarm") for i in range(20))

        await until_so(idle)
        client.config_resetstat()
        await asyncio.sleep(1.2)
        calls = {name: stat["calls"] for name, stat in client.info("commandstats").items()}
    asked = {name for name in calls if name not in ("cmdstat_config|resetstat", "cmdstat_info")}
    assert asked <= {"cmdstat_fcall", "cmdstat_time", "cmdstat_get", "cmdstat_set", "cmdstat_ping"}
    assert calls["cmdstat_fcall"] <= 2


async def test_another_process_takes_over(redis_server: RedisServer) -> None:
    """When the holder of the lease ends, another does the task at once; when it vanishes, within five seconds."""
    async with serving(redis_server.url) as one:
        async with serving(redis_server.url) as two:
            url = await one.create()
            await one("SendMessage", QueueUrl=url, MessageBody="x", DelaySeconds=600)
            with redis_server.client() as client:
                client.execute_command("FCALL", "quest_lease", 1, "quest:lease", "vanished", 3000)
                client.set("quest:lease", f"vanished {int(time.time() * 1000) + 3000}")
            began = time.monotonic()
            await two.advance(600)
            with redis_server.client() as client:

                async def promoted() -> bool:
                    return client.zcard("quest:{q}:delayed") == 0

                await until_so(promoted, 5)
            assert time.monotonic() - began < 5
        with redis_server.client() as client:

            async def taken() -> bool:
                return bool(client.fcall("quest_holder", 1, "quest:lease"))

            await until_so(taken)


async def test_a_lost_subscription_reads_every_alarm_again(sqs: Sqs, redis_server: RedisServer) -> None:
    """An alarm that was published while nobody listened is not missed."""
    await sqs.create()
    with redis_server.client() as client:

        async def listens() -> bool:
            return client.pubsub_numsub("quest:alarm")[0][1] == 1

        await until_so(listens)
        client.client_kill_filter(_type="pubsub")
        client.execute_command("FCALL", "sendMessage", 1, "q", "x", "0.05")

        async def promoted() -> bool:
            return client.zcard("quest:{q}:delayed") == 0

        await until_so(promoted)


async def test_odd_publications_harm_nobody(sqs: Sqs, redis_server: RedisServer) -> None:
    """What strangers publish on the channels is no reason to stop listening."""
    url = await sqs.create()
    with redis_server.client() as client:
        for channel in client.pubsub_channels("quest:*"):
            for text in (b"\xff\xfe", b"", b"x y", b"-1 quest:{q}", b"99"):
                client.publish(channel, text)
    task = asyncio.create_task(sqs.receive(url, WaitTimeSeconds=20))
    with redis_server.client() as client:
        while not client.exists("quest:{q}:waiting"):
            await asyncio.sleep(0.002)
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    assert len(await asyncio.wait_for(task, 2)) == 1


async def test_overtaken_alarms_do_not_pile_up() -> None:
    """The heap stays as small as what is due, however often an earlier alarm overtakes a later one."""
    background = Background("p", cast("Library", None), cast("Primary", None), 0)
    for _ in range(10_000):
        background._note("q", 400_000_000)
        background._note("q", 0)
        background._take_due()
    assert len(background._heap) < 200


async def test_more_queues_than_the_pipeline_takes(redis_server: RedisServer) -> None:
    """A questd that takes over reads the alarms of 12 000 queues, and ticks the one that is due."""
    await library.load(redis_server.url, test_mode=True)
    with redis_server.client() as client:
        with client.pipeline(transaction=False) as pipeline:
            for i in range(12_000):
                pipeline.fcall("quest_create", 1, f"quest:{{m{i}}}", "secret", 0, 2**20, 345_600)
            pipeline.execute()
        client.fcall("sendMessage", 1, "m7", "x", "0.02")
        async with serving(redis_server.url):

            async def promoted() -> bool:
                return client.zcard("quest:{m7}:delayed") == 0

            await until_so(promoted)
