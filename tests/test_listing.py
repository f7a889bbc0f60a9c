"""`questd queues`: all queues and how each is, from questd and from other servers."""

import json

import pytest
from aiohttp import test_utils, web

from questd import client
from tests.client import ARN
from tests.people import People, no_questd


async def test_queues(people: People) -> None:
    """Each queue is an object with counts, age, pause and dead-letter queue."""
    await people.sqs.create("dead")
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}:dead", "maxReceiveCount": 3})
    url = await people.sqs.create("orders", RedrivePolicy=policy)
    await people.sqs.fill(url, "abc")
    await people.sqs("SendMessage", QueueUrl=url, MessageBody="d", DelaySeconds=60)
    await people.sqs.receive(url)
    await people.sqs.advance(5)
    await people("pause", "orders")
    dead, orders = await people("queues")
    assert 5000 <= orders.pop("AgeOfOldestMessage") < 10_000
    assert orders == {
        "Queue": "orders",
        "QueueUrl": url,
        "Visible": 2,
        "InFlight": 1,
        "Delayed": 1,
        "Paused": True,
        "DeadLetterQueue": "dead",
    }
    assert (dead["Queue"], dead["Visible"], dead["Paused"], dead["DeadLetterQueue"]) == ("dead", 0, False, None)


async def test_a_prefix_and_pages(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix chooses queues, and all pages of them are listed."""
    monkeypatch.setattr(client, "PAGE", 2)
    for name in ("a1", "a2", "a3", "a4", "a5", "b1"):
        await people.sqs.create(name)
    assert [row["Queue"] for row in await people("queues", "a")] == ["a1", "a2", "a3", "a4", "a5"]
    assert await people("queues", "c") == []


async def test_the_table(people: People) -> None:
    """On a terminal it is a table; without queues a sentence says how to make one."""
    assert "no queue whose name begins with x at http" in (await people.at_terminal("queues", "x")).out
    url = await people.sqs.create("orders")
    await people.sqs.fill(url, map(str, range(1234)))
    told = await people.at_terminal("queues")
    titles, orders = told.out.splitlines()
    assert [word in titles for word in ("queue", "visible", "in flight", "oldest", "dead-letter queue")] == [True] * 5
    assert orders.split()[:4] == ["orders", "1,234", "0", "0"]
    assert told.status == 0


async def test_another_server(people: People) -> None:
    """A server that is no questd shows what AWS shows."""
    await people.sqs.fill(await people.sqs.create("orders"), "ab")
    async with no_questd(people.sqs) as url:
        [row] = await people("queues", "--endpoint", url)
    assert row["QueueUrl"].startswith(url)
    assert {name: value for name, value in row.items() if name != "QueueUrl"} == {
        "Queue": "orders",
        "Visible": 2,
        "InFlight": 0,
        "Delayed": 0,
        "DeadLetterQueue": None,
    }


async def test_a_queue_that_goes_meanwhile(people: People) -> None:
    """A queue that is deleted while the list is made is left out of it."""
    await people.sqs.create("orders")

    async def answer(http: web.Request) -> web.Response:
        given = await people.sqs.post(await http.read(), dict(http.headers))
        if http.headers["X-Amz-Target"].endswith("ListQueues"):
            given.json["QueueUrls"].insert(0, str(http.url.with_path("/000000000000/gone")))
        return web.json_response(given.json, status=given.status)

    app = web.Application()
    app.router.add_post("/", answer)
    async with test_utils.TestServer(app, access_log=None) as server:
        url = str(server.make_url("")).rstrip("/")
        assert [row["Queue"] for row in await people("queues", "--endpoint", url)] == ["orders"]
