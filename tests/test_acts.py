"""What can be done at the console: each form over HTTP, and what a client of SQS sees of it."""

import asyncio
import json
from typing import Any

from tests.client import ARN, JSON, Sqs, serving
from tests.servers import RedisServer
from tests.visitor import Visitor, visiting


async def test_create(both: tuple[Visitor, Sqs]) -> None:
    """A queue that is made at the console is there for everybody; a FIFO queue gets its ending."""
    visitor, sqs = both
    page = await visitor.post("/queues", QueueName="orders")
    assert (page.status, page.path) == (200, "/queues/orders")
    assert page.has("The queue is there.")
    page = await visitor.post("/queues", QueueName="events", FifoQueue="on")
    assert page.path == "/queues/events.fifo"
    assert [url.rpartition("/")[2] for url in (await sqs("ListQueues"))["QueueUrls"]] == ["events.fifo", "orders"]


async def test_create_with_a_wrong_name(both: tuple[Visitor, Sqs]) -> None:
    """A wrong name is answered in AWS's words, above the form with what was typed."""
    visitor, sqs = both
    page = await visitor.post("/queues", QueueName="no good!")
    assert page.status == 400
    assert page.has("Can only include alphanumeric characters, hyphens, or underscores.")
    assert 'value="no good!"' in page.text
    assert await sqs("ListQueues") == {}


async def test_send(both: tuple[Visitor, Sqs]) -> None:
    """What is sent at the console is received as it was typed, with its attributes and its group."""
    visitor, sqs = both
    url = await sqs.create()
    fields: dict[str, Any] = {
        "MessageBody": "one\r\ntwo",
        "MessageGroupId": "tenant",
        "name0": "price",
        "type0": "Number",
        "value0": "12",
        "name1": "",
        "name2": "raw",
        "type2": "Binary",
        "value2": "AQID",
    }
    page = await visitor.post("/queues/q/send", **fields)
    assert (page.path, page.has("Sent.")) == ("/queues/q/send", True)
    [message] = await sqs.receive(url, AttributeNames=["All"], MessageAttributeNames=["All"])
    assert message["Body"] == "one\ntwo"
    assert message["Attributes"]["MessageGroupId"] == "tenant"
    assert message["MessageAttributes"] == {
        "price": {"DataType": "Number", "StringValue": "12"},
        "raw": {"DataType": "Binary", "BinaryValue": "AQID"},
    }


async def test_send_with_a_delay(both: tuple[Visitor, Sqs]) -> None:
    """A message can be sent for later."""
    visitor, sqs = both
    url = await sqs.create()
    await visitor.post("/queues/q/send", MessageBody="later", DelaySeconds="60")
    assert await sqs.counts(url) == (0, 0, 1)


async def test_send_to_a_fifo_queue(both: tuple[Visitor, Sqs]) -> None:
    """A FIFO queue needs a deduplication id, and says so without losing what was typed."""
    visitor, sqs = both
    url = await sqs.create("q.fifo", FifoQueue="true")
    page = await visitor.post("/queues/q.fifo/send", MessageBody="<b>first</b>", MessageGroupId="g")
    assert page.status == 400
    assert page.has("MessageDeduplicationId")
    assert "&lt;b&gt;first&lt;/b&gt;</textarea>" in page.text
    await visitor.post("/queues/q.fifo/send", MessageBody="x", MessageGroupId="g", MessageDeduplicationId="d")
    assert await sqs.counts(url) == (1, 0, 0)


async def test_drop(both: tuple[Visitor, Sqs]) -> None:
    """One message can be deleted, asked before, also while somebody has it."""
    visitor, sqs = both
    url = await sqs.create()
    await sqs.fill(url, ["keep", "lose"])
    received = await sqs.receive(url, MaxNumberOfMessages=10)
    gone = next(message for message in received if message["Body"] == "lose")
    asked = await visitor.get(f"/queues/q/confirm/drop?sequence=2&message_id={gone['MessageId']}")
    assert asked.has(f"The message {gone['MessageId']} is deleted")
    assert await sqs.counts(url) == (0, 2, 0)
    page = await visitor.post("/queues/q/drop", sequence="2", message_id=gone["MessageId"])
    assert page.has("The message is deleted.")
    assert await sqs.counts(url) == (0, 1, 0)
    assert (await visitor.post("/queues/q/drop", sequence="x", message_id="y")).status == 400


async def test_purge(both: tuple[Visitor, Sqs]) -> None:
    """A queue can be emptied; the page before says how many messages that are."""
    visitor, sqs = both
    url = await sqs.create()
    await sqs.fill(url, "abc")
    assert (await visitor.get("/queues/q/confirm/purge")).has("All 3 messages of q are deleted")
    page = await visitor.post("/queues/q/purge")
    assert page.has("The queue is empty.")
    assert await sqs.counts(url) == (0, 0, 0)


async def test_delete(both: tuple[Visitor, Sqs]) -> None:
    """A queue can be deleted; then the overview says so."""
    visitor, sqs = both
    await sqs.create()
    assert (await visitor.get("/queues/q/confirm/delete")).has("with its 0 messages")
    page = await visitor.post("/queues/q/delete")
    assert (page.path, page.has("The queue is deleted.")) == ("/", True)
    assert await sqs("ListQueues") == {}
    assert (await visitor.get("/queues/q")).status == 400
    assert (await visitor.get("/queues/q")).has("QueueDoesNotExist")


async def test_pause(both: tuple[Visitor, Sqs]) -> None:
    """A paused queue hands nothing out and says so, until it is resumed."""
    visitor, sqs = both
    url = await sqs.create()
    await sqs.fill(url, "a")
    page = await visitor.post("/queues/q/pause")
    assert page.has("Paused: messages are taken, and none is handed out.")
    assert (await visitor.get("/")).has("q paused")
    assert await sqs.receive(url) == []
    await visitor.post("/queues/q/resume")
    assert len(await sqs.receive(url)) == 1


async def _letters(sqs: Sqs) -> tuple[str, str]:
    """Make a queue and its dead-letter queue with three dead letters; return their URLs."""
    dead = await sqs.create("dead")
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}:dead", "maxReceiveCount": 1})
    url = await sqs.create("orders", RedrivePolicy=policy)
    await sqs.fill(url, "abc")
    await sqs.receive(url, MaxNumberOfMessages=10, VisibilityTimeout=0)
    await sqs.receive(url, MaxNumberOfMessages=10)
    assert await sqs.counts(dead) == (3, 0, 0)
    return url, dead


async def test_redrive(both: tuple[Visitor, Sqs]) -> None:
    """Dead letters are moved back to where they came from, and the page shows how far that is."""
    visitor, sqs = both
    url, dead = await _letters(sqs)
    assert (await visitor.get("/queues/dead/confirm/redrive")).has("The 3 visible messages of dead are moved")
    page = await visitor.post("/queues/dead/redrive", target="", rate="")
    assert page.has("The messages are being moved.")
    while await sqs.counts(url) != (3, 0, 0):
        await asyncio.sleep(0.01)
    assert await sqs.counts(dead) == (0, 0, 0)
    while not (page := await visitor.get("/queues/dead")).has("completed"):
        await asyncio.sleep(0.01)
    assert page.has("3 of 3 moved to where each came from")


async def test_redrive_of_what_came_from_no_queue(both: tuple[Visitor, Sqs]) -> None:
    """What somebody sent to a dead-letter queue cannot go back: the page says why, and what to do."""
    visitor, sqs = both
    _, dead = await _letters(sqs)
    await sqs("PurgeQueue", QueueUrl=dead)
    await sqs("SendMessage", QueueUrl=dead, MessageBody="by hand")
    await visitor.post("/queues/dead/redrive", target="", rate="")
    while not (page := await visitor.get("/queues/dead")).has("failed"):
        await asyncio.sleep(0.01)
    assert page.has("a message was sent here, and came from no queue. Redrive to a queue that you choose.")


async def test_redrive_to_a_source_slowly_and_stop(both: tuple[Visitor, Sqs]) -> None:
    """A redrive can go to one of the sources, at a rate, and be stopped."""
    visitor, sqs = both
    url, dead = await _letters(sqs)
    page = await visitor.post("/queues/dead/redrive", target="orders", rate="1")
    assert page.has("to orders")
    handle = page.text.partition('name="TaskHandle" value="')[2].partition('"')[0]
    page = await visitor.post("/queues/dead/cancel", TaskHandle=handle)
    assert page.has("cancelled")
    visible, _, _ = await sqs.counts(dead)
    assert visible + (await sqs.counts(url))[0] == 3
    assert visible


async def test_redrive_of_a_queue_that_is_no_dead_letter_queue(both: tuple[Visitor, Sqs]) -> None:
    """What an action refuses is said on the queue's page."""
    visitor, sqs = both
    await sqs.create()
    page = await visitor.post("/queues/q/redrive", target="", rate="")
    assert page.status == 400
    assert 'role="alert"' in page.text


async def test_attributes(both: tuple[Visitor, Sqs]) -> None:
    """Attributes are changed where they differ, the dead-letter queue by its name, and taken away when empty."""
    visitor, sqs = both
    await sqs.create("dead")
    url = await sqs.create("orders", Policy="")
    before = await sqs.attributes(url)
    page = await visitor.post(
        "/queues/orders/attributes", VisibilityTimeout="45", DelaySeconds="0", target="dead", maxReceiveCount="4"
    )
    assert page.has("The attributes are changed.")
    after = await sqs.attributes(url)
    assert after["VisibilityTimeout"] == "45"
    assert json.loads(after["RedrivePolicy"]) == {"deadLetterTargetArn": f"{ARN}:dead", "maxReceiveCount": 4}
    assert after["DelaySeconds"] == before["DelaySeconds"]
    assert (await visitor.get("/queues/dead")).has("dead letters of orders")
    await visitor.post("/queues/orders/attributes", target="", maxReceiveCount="")
    assert "RedrivePolicy" not in await sqs.attributes(url)


async def test_wrong_attributes(both: tuple[Visitor, Sqs]) -> None:
    """A wrong value is refused in AWS's words, and stays in its field."""
    visitor, sqs = both
    url = await sqs.create()
    wrong: list[dict[str, Any]] = [{"VisibilityTimeout": "99999"}, {"target": "nowhere", "maxReceiveCount": "2"}]
    for fields in wrong:
        page = await visitor.post("/queues/q/attributes", **fields)
        assert page.status == 400
        for value in fields.values():
            assert f'value="{value}"' in page.text
    assert (await sqs.attributes(url, "VisibilityTimeout")) == {"VisibilityTimeout": "30"}


async def test_tags(both: tuple[Visitor, Sqs]) -> None:
    """Tags are set and taken away."""
    visitor, sqs = both
    url = await sqs.create()
    assert (await visitor.post("/queues/q/tag", key="team", value="red")).has("team red")
    assert (await sqs("ListQueueTags", QueueUrl=url))["Tags"] == {"team": "red"}
    await visitor.post("/queues/q/untag", key="team")
    assert await sqs("ListQueueTags", QueueUrl=url) == {}
    assert (await visitor.post("/queues/q/tag", key="aws:x", value="")).status == 400


async def test_no_such_act(both: tuple[Visitor, Sqs]) -> None:
    """What nobody can do is not found."""
    visitor, sqs = both
    await sqs.create()
    assert (await visitor.post("/queues/q/explode")).status == 404
    assert (await visitor.get("/queues/q/confirm/explode")).status == 404
    assert (await visitor.post("/queues/none/purge")).has("QueueDoesNotExist")


async def test_queues_of_other_regions(redis_server: RedisServer) -> None:
    """With several regions, the console shows and changes the queues of each, under their own paths."""
    async with (
        visiting(redis_server.url, multi_region=True) as (visitor, _),
        serving(redis_server.url, multi_region=True) as sqs,
    ):
        headers = {"Host": "sqs.eu-west-1.localhost", "X-Amz-Target": "AmazonSQS.CreateQueue", **JSON}
        assert (await sqs.post(b'{"QueueName": "q"}', headers)).status == 200
        page = await visitor.get("/")
        assert page.has("eu-west-1/000000000000/q")
        path = "/queues/~eu-west-1~000000000000~q"
        assert f'href="{path}"' in page.text
        assert (await visitor.post(f"{path}/send", MessageBody="x")).has("Sent.")
        there = "http://localhost/queue/eu-west-1/000000000000/q"
        assert await sqs.counts(there) == (1, 0, 0)
