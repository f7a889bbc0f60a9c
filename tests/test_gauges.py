"""What a process tells of itself, read off a questd in this process."""

import asyncio

from questd import library
from questd.errand import answered
from questd.gauges import Gauges
from questd.library import key_of
from questd.request import Request
from questd.server import running
from questd.settings import Settings
from tests.servers import RedisServer


class Front:
    """Two clients are connected."""

    connections = 2


async def test_what_is_told(redis_server: RedisServer) -> None:
    """Connections, requests, sleeping polls and waiting calls are as they are; calls and CPU are added up."""
    await library.load(redis_server.url, test_mode=False)
    async with running(Settings(redis_url=redis_server.url)) as questd:
        gauges = Gauges(questd, Front())
        gauges.note()
        before = questd.counts.sums

        async def ask(_stays_ms: int, _others_ms: int) -> list[int]:
            return [0, 0]

        poll = asyncio.create_task(questd.polls.receive(key_of("q"), 20, ask))
        await asyncio.sleep(0)
        calls = [questd.library.primaries.all[0].pipeline.call("PING") for _ in range(5)]
        questd.capacity.requests = 4
        gauges.note()
        waiting = questd.counts.gauges.pop("redis_calls_waiting")
        assert waiting >= 5  # the background task may have one too
        expected = {"connections": 2, "requests_in_flight": 4, "long_polls_waiting": 1, "redis_calls_waiting": waiting}
        assert questd.counts.gauges == expected
        await asyncio.gather(*calls)
        gauges.note()
        gauges.note()
        sums = questd.counts.sums
        calls_more, writes_more = [sums[name] - before[name] for name in ("redis_calls", "redis_writes")]
        assert 5 <= calls_more < 10
        assert 1 <= writes_more <= calls_more - 4
        assert sums["cpu_ns"] > before["cpu_ns"] > 0
        assert questd.counts.gauges["redis_calls_waiting"] < 5
        poll.cancel()


async def test_calls_that_came_together(redis_server: RedisServer) -> None:
    """Calls that needed no function call of their own are added up, once."""
    await library.load(redis_server.url, test_mode=False)
    async with running(Settings(redis_url=redis_server.url)) as questd:

        async def ask(action: str, members: str) -> None:
            headers = {"x-amz-target": f"AmazonSQS.{action}", "host": "x"}
            assert (await answered(questd, Request("POST", "/", headers, members.encode()))).status == 200

        await ask("CreateQueue", '{"QueueName":"q"}')
        send = ("SendMessage", '{"QueueUrl":"q","MessageBody":"x"}')
        await ask(*send)
        await asyncio.gather(*(ask(*send) for _ in range(5)))
        gauges = Gauges(questd, Front())
        gauges.note()
        gauges.note()
        assert questd.counts.sums["redis_calls_merged"] == 4
        assert sum(questd.counts.requests["SendMessage"].classes) == 6
