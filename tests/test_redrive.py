"""Dead-letter queues over HTTP: their sources, and tasks that move their messages (contract 2.20 to 2.23, 7.6)."""

import asyncio
import base64
import json
from typing import Any

import pytest

from tests.client import Sqs, serving
from tests.servers import RedisServer

ARN = "arn:aws:sqs:us-east-1:000000000000"
TO_DEAD = json.dumps({"deadLetterTargetArn": f"{ARN}:dead", "maxReceiveCount": 3})


async def test_sources(sqs: Sqs) -> None:
    """Those are listed that name the queue now: not one that was deleted, nor one whose policy changed."""
    dead = await sqs.create("dead")
    assert await sqs("ListDeadLetterSourceQueues", QueueUrl=dead) == {}
    urls = [await sqs.create(name, RedrivePolicy=TO_DEAD) for name in ("c", "a", "b", "d")]
    await sqs("DeleteQueue", QueueUrl=urls[0])
    await sqs("SetQueueAttributes", QueueUrl=urls[3], Attributes={"RedrivePolicy": ""})
    assert await sqs("ListDeadLetterSourceQueues", QueueUrl=dead) == {"queueUrls": urls[1:3]}
    await sqs.create("other")
    await sqs.set(urls[2], RedrivePolicy=TO_DEAD.replace(":dead", ":other"))
    await sqs("DeleteQueue", QueueUrl=urls[1])
    await sqs.create("a")
    assert await sqs("ListDeadLetterSourceQueues", QueueUrl=dead) == {}


async def test_sources_made_by_redis_quest(sqs: Sqs, redis_server: RedisServer) -> None:
    """A list made by sendMessage is a source of its dead-letter queue."""
    with redis_server.client() as client:
        client.fcall("sendMessage", 1, "notes", "x")
    reply = await sqs("ListDeadLetterSourceQueues", QueueUrl="notes-dlq")
    assert reply == {"queueUrls": [f"{sqs.url}/000000000000/notes"]}


async def test_pages(sqs: Sqs) -> None:
    """With MaxResults there are pages, each beginning after the last of the one before."""
    dead = await sqs.create("dead")
    urls = [await sqs.create(f"q{number}", RedrivePolicy=TO_DEAD) for number in range(5)]
    found: list[str] = []
    token: dict[str, str] = {}
    for _ in range(3):
        page = await sqs("ListDeadLetterSourceQueues", QueueUrl=dead, MaxResults=2, **token)
        found += page["queueUrls"]
        token = {"NextToken": page["NextToken"]} if "NextToken" in page else {}
    assert (found, token) == (urls, {})
    reply = await sqs.ask("ListDeadLetterSourceQueues", QueueUrl=dead, NextToken="!")
    assert reply.error[3] == "Invalid or expired next token."
    reply = await sqs.ask("ListDeadLetterSourceQueues", QueueUrl=dead, MaxResults=0)
    assert reply.error[1] == "InvalidParameterValue"


async def test_no_such_queue(sqs: Sqs) -> None:
    """A queue that does not exist has no sources."""
    reply = await sqs.ask("ListDeadLetterSourceQueues", QueueUrl="nothing")
    assert reply.error[1] == "AWS.SimpleQueueService.NonExistentQueue"


async def dead_letters(sqs: Sqs, *bodies: str, source: str = "q") -> str:
    """Bring messages into the dead-letter queue of a queue; the queue's URL."""
    await sqs.create("dead")
    url = await sqs.create(
        source, RedrivePolicy=json.dumps({"deadLetterTargetArn": f"{ARN}:dead", "maxReceiveCount": 1})
    )
    for body in bodies:
        await sqs("SendMessage", QueueUrl=url, MessageBody=body)
    await sqs.receive(url, MaxNumberOfMessages=10, VisibilityTimeout=0)
    assert await sqs.receive(url, MaxNumberOfMessages=10) == []
    return url


async def finished(sqs: Sqs) -> dict[str, Any]:
    """Return the newest task of the dead-letter queue once it runs no more."""
    async with asyncio.timeout(10):
        while True:
            [task] = (await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}:dead"))["Results"]
            if task["Status"] != "RUNNING":
                return task
            await asyncio.sleep(0.02)


async def test_moving_back(sqs: Sqs) -> None:
    """Each message goes back to its own source as a new one: id, time and count begin anew (contract 7.6)."""
    a = await dead_letters(sqs, "a1", "a2", source="a")
    b = await dead_letters(sqs, "b", source="b")
    await sqs.advance(100)
    handle = (await sqs("StartMessageMoveTask", SourceArn=f"{ARN}:dead"))["TaskHandle"]
    assert json.loads(base64.b64decode(handle))["sourceArn"] == f"{ARN}:dead"
    task = await finished(sqs)
    assert task.pop("StartedTimestamp") > 1_700_000_000_000
    assert task == {
        "Status": "COMPLETED",
        "SourceArn": f"{ARN}:dead",
        "ApproximateNumberOfMessagesMoved": 3,
        "ApproximateNumberOfMessagesToMove": 3,
    }
    assert [message["Body"] for message in await sqs.receive(b)] == ["b"]
    moved = await sqs.receive(a, MaxNumberOfMessages=10, AttributeNames=["All"])
    assert [message["Body"] for message in moved] == ["a1", "a2"]
    for message in moved:
        attributes = message["Attributes"]
        assert attributes["ApproximateReceiveCount"] == "1"
        assert "DeadLetterQueueSourceArn" not in attributes
        assert int(attributes["ApproximateFirstReceiveTimestamp"]) - int(attributes["SentTimestamp"]) < 50_000
    assert len({message["MessageId"] for message in moved}) == 2


async def test_moving_elsewhere(sqs: Sqs) -> None:
    """A destination takes all messages, also those without a source."""
    await dead_letters(sqs, "a")
    await sqs("SendMessage", QueueUrl="dead", MessageBody="own")
    other = await sqs.create("other")
    await sqs("StartMessageMoveTask", SourceArn=f"{ARN}:dead", DestinationArn=f"{ARN}:other")
    task = await finished(sqs)
    assert (task["Status"], task["DestinationArn"]) == ("COMPLETED", f"{ARN}:other")
    assert len(await sqs.receive(other, MaxNumberOfMessages=10)) == 2


async def test_no_source(sqs: Sqs) -> None:
    """A message of which nobody knows where it came from fails the task, and stays."""
    await dead_letters(sqs)
    await sqs("SendMessage", QueueUrl="dead", MessageBody="own")
    await sqs("StartMessageMoveTask", SourceArn=f"{ARN}:dead")
    task = await finished(sqs)
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert await sqs.counts("dead") == (1, 0, 0)


async def test_rate_and_restart(redis_server: RedisServer) -> None:
    """A task keeps its rate, and goes on in the next questd when its own is gone."""
    given = {"SourceArn": f"{ARN}:dead", "MaxNumberOfMessagesPerSecond": 1}
    async with serving(redis_server.url) as sqs:
        url = await dead_letters(sqs, *"abcdefgh")
        await sqs("StartMessageMoveTask", **given)
    async with serving(redis_server.url) as sqs:
        [task] = (await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}:dead"))["Results"]
        assert (task["Status"], task["MaxNumberOfMessagesPerSecond"]) == ("RUNNING", 1)
        await sqs.advance(7)
        task = await finished(sqs)
        assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 8)
        assert await sqs.counts(url) == (8, 0, 0)


async def test_cancel(sqs: Sqs) -> None:
    """A cancelled task moves no more, shows no handle, and cannot be cancelled again; a new one can start."""
    await dead_letters(sqs, "a", "b", "c")
    given = {"SourceArn": f"{ARN}:dead", "MaxNumberOfMessagesPerSecond": 1}
    handle = (await sqs("StartMessageMoveTask", **given))["TaskHandle"]
    reply = await sqs.ask("StartMessageMoveTask", **given)
    assert reply.error[3].startswith("There is already a task running.")
    moved = (await sqs("CancelMessageMoveTask", TaskHandle=handle))["ApproximateNumberOfMessagesMoved"]
    [task] = (await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}:dead"))["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("CANCELLED", moved)
    assert "TaskHandle" not in task
    reply = await sqs.ask("CancelMessageMoveTask", TaskHandle=handle)
    assert reply.error == (404, "ResourceNotFoundException", "ResourceNotFoundException", "Task does not exist.")
    await sqs("StartMessageMoveTask", SourceArn=f"{ARN}:dead")
    assert (await finished(sqs))["Status"] == "COMPLETED"
    tasks = (await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}:dead", MaxResults=10))["Results"]
    assert [task["Status"] for task in tasks] == ["COMPLETED", "CANCELLED"]


async def test_fifo(sqs: Sqs) -> None:
    """FIFO messages go back in the order of their group."""
    await sqs.create("dead.fifo", FifoQueue="true")
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}:dead.fifo", "maxReceiveCount": 1})
    url = await sqs.create("q.fifo", FifoQueue="true", ContentBasedDeduplication="true", RedrivePolicy=policy)
    for body in "abc":
        await sqs("SendMessage", QueueUrl=url, MessageBody=body, MessageGroupId="g")
    await sqs.receive(url, MaxNumberOfMessages=10, VisibilityTimeout=0)
    assert await sqs.receive(url) == []
    assert await sqs.counts("dead.fifo") == (3, 0, 0)
    await sqs("StartMessageMoveTask", SourceArn=f"{ARN}:dead.fifo")
    poll = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": 5, "MessageSystemAttributeNames": ["MessageGroupId"]}
    got: list[dict[str, Any]] = []
    while len(got) < 3:
        messages = await sqs.receive(url, **poll)
        assert messages
        for message in messages:
            await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        got += messages
    assert [message["Body"] for message in got] == ["a", "b", "c"]
    assert got[0]["Attributes"] == {"MessageGroupId": "g"}


SHAPE = "arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
NONE = "ResourceNotFoundException"
BAD = "InvalidParameterValue"


@pytest.mark.parametrize(
    ("action", "given", "code", "text"),
    [
        (
            "StartMessageMoveTask",
            {"SourceArn": f"{ARN}:nothing"},
            NONE,
            "The resource that you specified for the SourceArn parameter doesn't exist.",
        ),
        (
            "ListMessageMoveTasks",
            {"SourceArn": "arn:aws:sqs:eu-west-1:000000000000:dead"},
            NONE,
            "The resource that you specified for the SourceArn parameter doesn't exist.",
        ),
        (
            "StartMessageMoveTask",
            {"SourceArn": f"{ARN}:dead", "DestinationArn": f"{ARN}:nothing"},
            NONE,
            "The resource that you specified for the DestinationArn parameter doesn't exist.",
        ),
        (
            "StartMessageMoveTask",
            {"SourceArn": f"{ARN}:q"},
            BAD,
            "Source queue must be configured as a Dead Letter Queue.",
        ),
        (
            "StartMessageMoveTask",
            {"SourceArn": "dead"},
            BAD,
            f"You must use this format to specify the SourceArn: {SHAPE}",
        ),
        ("StartMessageMoveTask", {}, "MissingParameter", "The request must contain the parameter SourceArn."),
        (
            "StartMessageMoveTask",
            {"SourceArn": f"{ARN}:dead", "MaxNumberOfMessagesPerSecond": 501},
            BAD,
            (
                "Value for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: You must enter a number that's between "
                "1 and 500."
            ),
        ),
        (
            "ListMessageMoveTasks",
            {"SourceArn": f"{ARN}:dead", "MaxResults": 11},
            BAD,
            "Value for parameter MaxResults is invalid. Reason: You must enter a number that's between 1 and 10.",
        ),
        (
            "StartMessageMoveTask",
            {"SourceArn": f"{ARN}:dead", "DestinationArn": f"{ARN}:dead"},
            BAD,
            "Source queue arn and destination queue arn cannot be the same.",
        ),
        (
            "StartMessageMoveTask",
            {"SourceArn": f"{ARN}:dead", "DestinationArn": f"{ARN}:q.fifo"},
            BAD,
            "The source queue and destination queue must be of the same queue type.",
        ),
        ("CancelMessageMoveTask", {"TaskHandle": "x"}, BAD, "Value for parameter TaskHandle is invalid."),
        ("CancelMessageMoveTask", {"TaskHandle": "W10="}, BAD, "Value for parameter TaskHandle is invalid."),
        (
            "CancelMessageMoveTask",
            {"TaskHandle": base64.b64encode(f'{{"taskId":"x","sourceArn":"{ARN}:dead"}}'.encode()).decode()},
            NONE,
            "Task does not exist.",
        ),
        (
            "CancelMessageMoveTask",
            {"TaskHandle": base64.b64encode(f'{{"taskId":"x","sourceArn":"{ARN}:gone"}}'.encode()).decode()},
            NONE,
            "The resource that you specified for the SourceArn parameter doesn't exist.",
        ),
    ],
)
async def test_tasks_that_are_none(sqs: Sqs, action: str, given: dict[str, Any], code: str, text: str) -> None:
    """What the move actions refuse, in AWS's words (contract 7.6)."""
    await dead_letters(sqs)
    await sqs.create("q.fifo", FifoQueue="true")
    reply = await sqs.ask(action, **given)
    assert (reply.error[1], reply.error[3]) == (code, text)
    assert reply.status == (404 if code == NONE else 400)


async def test_no_tasks(sqs: Sqs) -> None:
    """A queue without tasks has no Results."""
    await sqs.create("dead")
    assert await sqs("ListMessageMoveTasks", SourceArn=f"{ARN}:dead") == {}


async def test_a_dead_letter_queue_made_anew(sqs: Sqs) -> None:
    """A dead-letter queue that is deleted and made again is still its sources', and its messages can be moved back."""
    url = await dead_letters(sqs, "a")
    dead = url.rpartition("/")[0] + "/dead"
    await sqs("DeleteQueue", QueueUrl=dead)
    await sqs.create("dead")
    assert (await sqs("ListDeadLetterSourceQueues", QueueUrl=dead))["queueUrls"] == [url]
    assert (await sqs("StartMessageMoveTask", SourceArn=f"{ARN}:dead"))["TaskHandle"]


@pytest.mark.parametrize("wrong", [{"DelaySeconds": "901"}, {"KmsMasterKeyId": "\0"}])
async def test_a_source_that_is_refused_is_none(sqs: Sqs, redis_server: RedisServer, wrong: dict[str, str]) -> None:
    """A dead-letter queue hears of a queue only when all that is asked for with it is right."""
    await sqs.create("dead")
    url, policy = await sqs.create(), {"RedrivePolicy": TO_DEAD}
    assert (await sqs.ask("CreateQueue", QueueName="new", Attributes=policy | wrong)).status == 400
    assert (await sqs.ask("CreateQueue", QueueName="new", Attributes=policy, tags={"": "x"})).status == 400
    assert (await sqs.ask("SetQueueAttributes", QueueUrl=url, Attributes=policy | wrong)).status == 400
    with redis_server.client() as client:
        assert client.exists("quest:{dead}:sources") == 0
