"""Dead-letter queues over HTTP (contract 2.20)."""

import json

from tests.client import Sqs

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
