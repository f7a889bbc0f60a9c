"""Views: what is gathered for the pages."""

import asyncio

import pytest

from questd import errors, views
from questd.access import Access, Key
from questd.action import Questd
from questd.history import History
from questd.request import Request
from questd.visits import Visit
from tests.client import Sqs
from tests.clusters import ClusterServers
from tests.visitor import visiting


@pytest.fixture
def visit(questd: Questd) -> Visit:
    """Return a visit of anybody where there are no keys."""
    return Visit(questd, Request("POST", "/", {}, b"", namespace=questd.home), "")


async def test_rates_and_charts(visit: Visit, sqs: Sqs) -> None:
    """An overview has rates and charts as soon as there are two looks to compare."""
    await sqs.create()
    past = History()
    await past.look(visit.questd)
    first = await views.overview(visit, past, "", "")
    assert (first.rows[0].rates, first.charts) == ({"in": 0.0, "out": 0.0}, [])
    await sqs.fill("q", "abc")
    await asyncio.sleep(0.05)
    await past.look(visit.questd)
    second = await views.overview(visit, past, "", "")
    assert second.rows[0].rates["in"] > 0
    assert [chart.title for chart in second.charts] == ["Messages", "Per second"]
    assert second.rows[0].spark.startswith("M")


async def test_charts_of_all_are_for_who_may_see_all(visit: Visit, sqs: Sqs) -> None:
    """Who may list all queues, but look at some only, gets no chart of all; who may look at all does."""
    await sqs.create()
    past = History()
    await past.look(visit.questd)
    await sqs.fill("q", "a")
    await past.look(visit.questd)
    some = Key(secret="a secret of some length", allow=["q:GetQueueAttributes", "*:ListQueues"])
    every = Key(secret="a secret of some length", allow=["*:GetQueueAttributes"])
    visit.questd.gate = Access({"SOME": some, "EVERY": every}, "000000000000")
    visit.questd.gate.admit(visit.request, "SOME")
    assert (await views.overview(visit, past, "", "")).charts == []
    visit.questd.gate.admit(visit.request, "EVERY")
    assert (await views.overview(visit, past, "", "")).charts


async def test_a_queue_that_goes_meanwhile(visit: Visit, sqs: Sqs) -> None:
    """A queue that is deleted while the page is made is left out."""
    await sqs.create("stays")
    await sqs.create("goes")
    await visit.questd.library.execute("DEL", "quest:{goes}")
    page = await views.overview(visit, History(), "", "")
    assert [row.link.name for row in page.rows] == ["stays"]


async def test_rights(visit: Visit, sqs: Sqs) -> None:
    """A queue's pages know what somebody may do with it: all without keys, and no more than his key says."""
    await sqs.create()
    assert (await views.queue(visit, "q")).rights == set(views.RIGHTS)
    key = Key(secret="a secret of some length", allow=["q:GetQueueAttributes,SendMessage,StartMessageMoveTask"])
    visit.questd.gate = Access({"SOME": key}, "000000000000")
    visit.questd.gate.admit(visit.request, "SOME")
    assert (await views.queue(visit, "q")).rights == {"SendMessage", "StartMessageMoveTask"}


async def test_who_may_not_look_at_messages(visit: Visit, sqs: Sqs) -> None:
    """Without the right to receive there is nothing to see of messages, nor of move tasks without theirs."""
    await sqs.fill(await sqs.create(), "a")
    key = Key(secret="a secret of some length", allow=["*:GetQueueAttributes"])
    visit.questd.gate = Access({"LOOK": key}, "000000000000")
    visit.questd.gate.admit(visit.request, "LOOK")
    assert (await views.queue(visit, "q")).figures.visible == 1
    assert await views.messages(visit, "q", "", "", 0) is None
    assert await views.tasks(visit, "q") == []
    assert (await views.overview(visit, History(), "", "")).charts == []
    with pytest.raises(errors.AccessDenied):
        await views.one(visit, "q", 1)


async def test_a_cluster(servers: ClusterServers) -> None:
    """The console shows and changes queues of all shards of a Redis Cluster."""
    async with visiting(servers.url) as (visitor, sqs):
        for name in "abcdef":
            await visitor.post("/queues", QueueName=name)
            await visitor.post(f"/queues/{name}/send", MessageBody=f"in {name}")
        page = await visitor.get("/")
        assert page.has("queues 6 visible 6")
        assert (await visitor.get("/queues/d")).has("in d")
        assert await sqs.counts("f") == (1, 0, 0)
