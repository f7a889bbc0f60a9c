"""Metrics as Prometheus reads them: real scrapes of a questd with real processes under some load."""

import asyncio
import json
import os
import re
import signal
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from questd import metrics
from questd.counts import BOUNDS_MS
from tests.client import Sqs, serving
from tests.servers import DEFAULT, RedisServer, running
from tests.test_workers import Questd, alive
from tests.test_workers import serving as serving_processes
from tests.waiting import until

DASHBOARD = Path(__file__).parent.parent / "docs" / "monitoring" / "grafana" / "questd.json"

Samples = dict[tuple[str, ...], float]
"""Values by the metric's name and its labels' values."""


def read(text: str) -> Samples:
    """Return the samples of a scrape."""
    families = text_string_to_metric_families(text)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def scraped(questd: Questd) -> Samples:
    """Scrape a questd with a console."""
    with urllib.request.urlopen(f"{questd.console}/metrics", timeout=5) as answer:
        return read(answer.read().decode())


def total(samples: Samples, name: str, *labels: str) -> float:
    """Return the sum of a metric over the labels that are not given."""
    return sum(value for key, value in samples.items() if key[0] == name and key[1 : len(labels) + 1] == labels)


@asynccontextmanager
async def client_of(questd: Questd) -> AsyncIterator[Sqs]:
    """Give a client of a questd with processes of its own; each request has a new connection, and any worker."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield Sqs(questd.address, session)


@pytest.fixture
async def console(redis_server: RedisServer) -> AsyncIterator[Sqs]:
    """Give a client of a console on an empty Redis."""
    async with serving(redis_server.url, front="console") as client:
        yield client


async def text_of(console: Sqs, **headers: str) -> str:
    """Return a scrape of a console in this process."""
    async with console.session.get(f"{console.url}/metrics", headers=headers) as answer:
        assert answer.status == 200
        return await answer.text()


async def load(sqs: Sqs, count: int) -> None:
    """Send, receive and delete so many messages, and fail twice as often."""
    url = await sqs.create()

    async def cycle() -> None:
        await sqs("SendMessage", QueueUrl=url, MessageBody="x")
        [message] = await sqs.receive(url)
        await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        await sqs.ask("SendMessage", QueueUrl="nowhere", MessageBody="x")
        await sqs.ask("SendMessage", QueueUrl=url)

    await asyncio.gather(*(cycle() for _ in range(count)))


async def test_requests_of_all_processes() -> None:
    """The requests of two workers are counted by action and error; the histogram has as many, and grows upwards."""
    with serving_processes("--ephemeral", "--workers", "2", "--console-port", "0") as questd:
        async with client_of(questd) as sqs:
            await load(sqs, 30)
            await sqs.ask("NoAction")
        found = scraped(questd)
    requests = {key[1:]: value for key, value in found.items() if key[0] == "questd_requests_total" and value}
    assert requests == {
        ("CreateQueue", ""): 1,
        ("SendMessage", ""): 30,
        ("SendMessage", "QueueDoesNotExist"): 30,
        ("SendMessage", "MissingRequiredParameterException"): 30,
        ("ReceiveMessage", ""): 30,
        ("DeleteMessage", ""): 30,
        ("", "UnknownOperationException"): 1,
    }
    for action in {key[0] for key in requests}:
        count = total(found, "questd_requests_total", action)
        assert found["questd_request_seconds_count", action] == count
        bounds = [str(bound / 1000) for bound in BOUNDS_MS] + ["+Inf"]
        buckets = [found["questd_request_seconds_bucket", action, bound] for bound in bounds]
        assert buckets == sorted(buckets)
        assert buckets[-1] == count
        assert 0 < found["questd_request_seconds_sum", action] < 60
    assert found["questd_processes",] == 3


async def test_counts_go_on_when_processes_end() -> None:
    """Nothing that is counted goes down or is lost when a worker is killed, and when all are replaced."""
    with serving_processes("--ephemeral", "--workers", "2", "--console-port", "0") as questd:
        async with client_of(questd) as sqs:
            await load(sqs, 5)
            before = scraped(questd)
            first, _ = questd.pids("serve")
            os.kill(first, signal.SIGKILL)
            await asyncio.to_thread(until, lambda: len(questd.pids("serve")) == 3 and questd.lives())
            killed = scraped(questd)
            old = [pid for pid in (*questd.pids("serve"), *questd.pids("observe")) if alive(pid)]
            questd.process.send_signal(signal.SIGUSR2)
            await asyncio.to_thread(until, lambda: not any(map(alive, old)), 20)
            await load(sqs, 5)
            replaced = scraped(questd)
    assert total(before, "questd_requests_total", "DeleteMessage") == 5
    assert total(killed, "questd_requests_total", "DeleteMessage") == 5
    assert total(replaced, "questd_requests_total", "DeleteMessage") == 10
    for earlier, later in ((before, killed), (killed, replaced)):
        counters = {key for key in earlier if key[0].endswith(("_total", "_count", "_sum", "_bucket"))}
        assert {key for key in counters if later.get(key, 0) < earlier[key]} == set()


def names_in(dashboard: dict[str, Any]) -> set[str]:
    """Return the metrics that the queries of a dashboard name."""
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [each["query"]["query"] for each in dashboard["templating"]["list"]]
    return {name for query in queries for name in re.findall(r"questd_\w+", query)}


def test_the_dashboard_shows_what_there_is() -> None:
    """Every metric that a query of the Grafana dashboard names is in a scrape, and every metric is on the dashboard."""
    with serving_processes("--ephemeral", "--console-port", "0") as questd:
        urllib.request.urlopen(f"{questd.address}/?Action=CreateQueue&QueueName=q", timeout=5).close()
        there = {key[0] for key in scraped(questd)}
    named = names_in(json.loads(DASHBOARD.read_text()))
    assert named <= there
    assert {name for name in there - named if not name.endswith(("_count", "_sum", "_created"))} == set()


async def test_what_processes_tell_of_themselves() -> None:
    """Connections, long polls, calls of Redis and CPU are there within a second; a wait is no time of an answer."""
    with serving_processes("--ephemeral", "--console-port", "0") as questd:
        async with client_of(questd) as sqs:
            url = await sqs.create()
            poll = asyncio.create_task(sqs.receive(url, WaitTimeSeconds=20))

            def eventually(condition: Callable[[Samples], object]) -> None:
                until(lambda: condition(scraped(questd)))

            await asyncio.to_thread(eventually, lambda found: total(found, "questd_long_polls_waiting") == 1)
            found = scraped(questd)
            assert total(found, "questd_requests_in_flight") == 0
            assert total(found, "questd_connections") >= 1
            assert total(found, "questd_redis_calls_waiting") >= 0
            await sqs("SendMessage", QueueUrl=url, MessageBody="x")
            assert len(await poll) == 1
            await asyncio.to_thread(eventually, lambda found: total(found, "questd_long_polls_waiting") == 0)
            found = scraped(questd)
    waited = total(found, "questd_long_poll_seconds_total")
    assert waited > 0.5
    assert found["questd_request_seconds_sum", "ReceiveMessage"] < waited / 2
    assert total(found, "questd_redis_calls_total") >= total(found, "questd_redis_writes_total") > 3
    assert ("questd_redis_calls_merged_total", "0") in found
    assert total(found, "questd_cpu_seconds_total") > 0


async def test_queues(redis_server: RedisServer) -> None:
    """Of each queue: messages by state, the age of the oldest, what went to its dead-letter queue."""
    async with serving(redis_server.url) as sqs, serving(redis_server.url, front="console") as console:
        dead = await sqs.create("dead")
        arn = (await sqs.attributes(dead, "QueueArn"))["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
        url = await sqs.create("q", RedrivePolicy=policy, VisibilityTimeout="5")
        await sqs("SendMessage", QueueUrl=url, MessageBody="exhausted")
        await sqs.receive(url)
        await sqs.advance(5)
        assert await sqs.receive(url) == []
        await sqs.fill(url, "abc")
        await sqs("SendMessage", QueueUrl=url, MessageBody="later", DelaySeconds=900)
        await sqs.receive(url)
        await sqs.advance(2)
        with redis_server.client() as client:
            client.fcall("quest_pause", 1, "quest:{q}", 1)
        found = read(await text_of(console))
    assert [found["questd_queue_messages", "q", state] for state in ("visible", "in_flight", "delayed")] == [2, 1, 1]
    assert [found["questd_queue_messages", "dead", state] for state in ("visible", "in_flight", "delayed")] == [1, 0, 0]
    assert 2 <= found["questd_queue_oldest_message_seconds", "q"] < 4
    assert found["questd_queue_dead_letters_total", "q"] == 1
    assert found["questd_queue_dead_letters_total", "dead"] == 0
    assert (found["questd_queue_noisy_groups", "q"], found["questd_queue_paused", "q"]) == (0, 1)
    assert found["questd_queue_paused", "dead"] == 0
    assert (found["questd_queues",], found["questd_queues_left_out",], found["questd_redis_up",]) == (2, 0, 1)


async def test_noisy_groups(redis_server: RedisServer) -> None:
    """A fair queue tells how many of its groups wait for the others."""
    async with serving(redis_server.url) as sqs, serving(redis_server.url, front="console") as console:
        url = await sqs.create()
        for _ in range(5):
            entries = [{"Id": str(i), "MessageBody": "x", "MessageGroupId": "loud"} for i in range(10)]
            await sqs("SendMessageBatch", QueueUrl=url, Entries=entries)
        for _ in range(4):
            await sqs.receive(url, MaxNumberOfMessages=10)
        found = read(await text_of(console))
    assert found["questd_queue_noisy_groups", "q"] == 1


async def test_many_queues(console: Sqs, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape looks at so many queues and says how many it left out; one that is gone by then is left out silently."""
    monkeypatch.setattr(metrics, "QUEUES", 2)
    async with serving(redis_server.url) as sqs:
        for name in "cba":
            await sqs.create(name)
        with redis_server.client() as client:
            client.zadd("quest:queues", {"B": 0})
        found = read(await text_of(console))
    assert {key[1] for key in found if key[0] == "questd_queue_messages"} == {"a"}
    assert (found["questd_queues",], found["questd_queues_left_out",]) == (4, 2)


async def test_without_redis() -> None:
    """Without Redis there are still the metrics of the processes, and one that says so."""
    with running(DEFAULT) as server:
        async with serving(server.url, front="console") as console:
            server.stop()
            found = read(await text_of(console))
    assert found["questd_redis_up",] == 0
    assert found["questd_processes",] == 1
    assert ("questd_queues",) not in found


async def test_both_formats(console: Sqs) -> None:
    """Who asks for OpenMetrics gets it."""
    assert (await text_of(console, Accept="application/openmetrics-text")).endswith("# EOF\n")
    assert "# EOF" not in await text_of(console)
