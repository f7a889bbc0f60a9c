"""FIFO queues over HTTP: what a client sees of order, deduplication and handles (contract 2.8 to 2.13, 6)."""

import asyncio
import hashlib
from typing import Any

import pytest

from tests.client import Sqs, serving
from tests.servers import RedisServer
from tests.test_longpoll import registered

SAME = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
CHARACTERS = "can only include alphanumeric and punctuation characters. 1 to 128 in length."


@pytest.fixture
async def url(sqs: Sqs) -> str:
    """Make a FIFO queue."""
    return await sqs.create("q.fifo", FifoQueue="true")


async def send(sqs: Sqs, url: str, body: str, group: str = "g", **members: Any) -> dict[str, Any]:
    """Send a message of a group, with its body as deduplication id if no other is given."""
    return await sqs(
        "SendMessage",
        QueueUrl=url,
        MessageBody=body,
        **{"MessageGroupId": group, "MessageDeduplicationId": body, **members},
    )


async def test_what_a_message_shows(sqs: Sqs, url: str) -> None:
    """A sender gets a growing sequence number of 20 digits, which the receiver sees with group and deduplication id."""
    first, second = await send(sqs, url, "a"), await send(sqs, url, "b")
    assert len(first["SequenceNumber"]) == len(second["SequenceNumber"]) == 20
    assert first["SequenceNumber"] < second["SequenceNumber"]
    message, _ = await sqs.receive(url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])
    assert message["MessageId"] == first["MessageId"]
    shown = {
        "MessageGroupId": "g",
        "MessageDeduplicationId": "a",
        "SequenceNumber": first["SequenceNumber"],
        "ApproximateReceiveCount": "1",
    }
    assert message["Attributes"].items() >= shown.items()


async def test_content_based_deduplication(sqs: Sqs) -> None:
    """The SHA-256 of the body is the id when none is given; attributes do not count (contract 6.3)."""
    url = await sqs.create("q.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    first = await sqs("SendMessage", QueueUrl=url, MessageBody="a", MessageGroupId="g")
    attribute = {"k": {"DataType": "String", "StringValue": "v"}}
    again = await sqs("SendMessage", QueueUrl=url, MessageBody="a", MessageGroupId="h", MessageAttributes=attribute)
    assert (again["MessageId"], again["SequenceNumber"]) == (first["MessageId"], first["SequenceNumber"])
    other = await sqs("SendMessage", QueueUrl=url, MessageBody="a", MessageGroupId="g", MessageDeduplicationId="x")
    assert other["MessageId"] != first["MessageId"]
    messages = await sqs.receive(url, MaxNumberOfMessages=10, AttributeNames=["MessageDeduplicationId"])
    ids = [message["Attributes"]["MessageDeduplicationId"] for message in messages]
    assert ids == [hashlib.sha256(b"a").hexdigest(), "x"]


async def test_five_minutes(sqs: Sqs, url: str) -> None:
    """A deduplication id counts for five minutes from the first send, also past the delete (contract 6.3)."""
    first = await send(sqs, url, "a")
    [message] = await sqs.receive(url)
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    await sqs.advance(299)
    assert (await send(sqs, url, "a"))["MessageId"] == first["MessageId"]
    await sqs.advance(2)
    assert (await send(sqs, url, "a"))["MessageId"] != first["MessageId"]


async def test_scope_is_as_created(sqs: Sqs) -> None:
    """Deduplication is per queue or per group as the queue was made, whatever its attribute says later (11.15, 11.16)."""
    for scope, other, expected in (("messageGroup", "queue", 2), ("queue", "messageGroup", 1)):
        url = await sqs.create(f"{scope}.fifo", FifoQueue="true", DeduplicationScope=scope)
        await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"DeduplicationScope": other})
        for group in ("g", "h", "g"):
            await send(sqs, url, "a", group)
        assert (await sqs.counts(url))[0] == expected


@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        ({"MessageGroupId": None}, "MissingParameter", "The request must contain the parameter MessageGroupId."),
        ({"MessageDeduplicationId": None}, "InvalidParameterValue", SAME),
        (
            {"DelaySeconds": 2},
            "InvalidParameterValue",
            (
                "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for "
                "this queue type."
            ),
        ),
        (
            {"MessageGroupId": ""},
            "InvalidParameterValue",
            f"Value  for parameter MessageGroupId is invalid. Reason: MessageGroupId {CHARACTERS}",
        ),
        (
            {"MessageDeduplicationId": "d" * 129},
            "InvalidParameterValue",
            (
                f"Value {'d' * 129} for parameter MessageDeduplicationId is invalid. "
                f"Reason: MessageDeduplicationId {CHARACTERS}"
            ),
        ),
        (
            {"MessageDeduplicationId": "a b"},
            "InvalidParameterValue",
            f"Value a b for parameter MessageDeduplicationId is invalid. Reason: MessageDeduplicationId {CHARACTERS}",
        ),
    ],
)
async def test_what_a_fifo_queue_refuses(sqs: Sqs, url: str, members: dict[str, Any], code: str, text: str) -> None:
    """A send without group or deduplication id, or with a delay, is refused in AWS's words (contract 2.8)."""
    given = {"MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "d", **members}
    reply = await sqs.ask("SendMessage", QueueUrl=url, **given)
    assert (reply.error[0], reply.error[1], reply.error[3]) == (400, code, text)


async def test_delay_is_the_queues(sqs: Sqs) -> None:
    """DelaySeconds 0 is accepted and the queue's delay applies all the same (contract 11.10)."""
    url = await sqs.create("q.fifo", FifoQueue="true", DelaySeconds="10")
    await send(sqs, url, "a", DelaySeconds=0)
    assert await sqs.counts(url) == (0, 0, 1)
    await sqs.advance(10)
    assert len(await sqs.receive(url)) == 1


@pytest.mark.parametrize(
    ("member", "text"),
    [("MessageGroupId", "The request must contain the parameter MessageGroupId."), ("MessageDeduplicationId", SAME)],
)
async def test_a_batch_without_ids_fails_as_a_whole(sqs: Sqs, url: str, member: str, text: str) -> None:
    """One entry without group or deduplication id fails the batch, as InvalidParameterValue (contract 6.7, 11.9)."""
    good = {"Id": "a", "MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "a"}
    bad = {**good, "Id": "b", member: None}
    reply = await sqs.ask("SendMessageBatch", QueueUrl=url, Entries=[good, bad])
    assert (reply.error[1], reply.error[3]) == ("InvalidParameterValue", text)
    assert await sqs.counts(url) == (0, 0, 0)


async def test_another_fault_does_not_hide_a_missing_id(sqs: Sqs, url: str) -> None:
    """A batch whose entry has neither group nor a body that could be sent is refused as a whole (contract 6.7)."""
    ids = {"MessageGroupId": "g", "MessageDeduplicationId": "d"}
    for lacking in ids:
        wrong = {"Id": "a", "MessageBody": "\u0001"} | {key: ids[key] for key in ids if key != lacking}
        right = {"Id": "b", "MessageBody": "x"} | ids
        reply = await sqs.ask("SendMessageBatch", QueueUrl=url, Entries=[wrong, right])
        assert reply.error[:2] == (400, "InvalidParameterValue")
    assert await sqs.counts(url) == (0, 0, 0)


async def test_a_batch_may_fail_in_part(sqs: Sqs, url: str) -> None:
    """A bad entry does not stop the later ones of its group; a repeated one gets the original's id (6.7, 6.3)."""
    entries = [
        {"Id": name, "MessageBody": body, "MessageGroupId": "g", "MessageDeduplicationId": deduplication_id}
        for name, body, deduplication_id in (("1", "a", "x"), ("2", "\x01", "y"), ("3", "c", "z"), ("4", "d", "x"))
    ]
    entries[2]["DelaySeconds"] = 0  # type: ignore[assignment]
    reply = await sqs(
        "SendMessageBatch", QueueUrl=url, Entries=[*entries, {**entries[0], "Id": "5", "DelaySeconds": 3}]
    )
    assert [(failed["Id"], failed["Code"]) for failed in reply["Failed"]] == [
        ("2", "InvalidMessageContents"),
        ("5", "InvalidParameterValue"),
    ]
    first, third, again = reply["Successful"]
    assert (first["Id"], third["Id"], again["Id"]) == ("1", "3", "4")
    assert again["MessageId"] == first["MessageId"]
    assert [message["Body"] for message in await sqs.receive(url, MaxNumberOfMessages=10)] == ["a", "c"]


async def test_an_expired_handle(sqs: Sqs, url: str) -> None:
    """Once its timeout ran out a handle neither deletes nor changes anything (contract 2.11, 2.13)."""
    await send(sqs, url, "a")
    [message] = await sqs.receive(url, VisibilityTimeout=5)
    handle = message["ReceiptHandle"]
    await sqs.advance(5)
    text = f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
    reply = await sqs.ask("DeleteMessage", QueueUrl=url, ReceiptHandle=handle)
    assert (reply.error[0], reply.error[1], reply.error[3]) == (400, "InvalidParameterValue", text)
    reply = await sqs.ask("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=5)
    assert reply.error[3] == text
    batch = await sqs("DeleteMessageBatch", QueueUrl=url, Entries=[{"Id": "a", "ReceiptHandle": handle}])
    assert batch["Failed"][0]["Code"] == "InvalidParameterValue"


async def test_receive_attempts(sqs: Sqs, url: str) -> None:
    """A receive repeated under its id gives the same; after a delete it is refused (contract 2.10, 6.5)."""
    await send(sqs, url, "a")
    await send(sqs, url, "b")
    first = await sqs.receive(url, MaxNumberOfMessages=10, ReceiveRequestAttemptId="try")
    assert await sqs.receive(url, MaxNumberOfMessages=10, ReceiveRequestAttemptId="try") == first
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=first[0]["ReceiptHandle"])
    reply = await sqs.ask("ReceiveMessage", QueueUrl=url, ReceiveRequestAttemptId="try")
    text = (
        "Value try for parameter ReceiveRequestAttemptId is invalid. Reason: The receiveRequestAttemptId is not valid "
        "anymore since the receive call is not retryable."
    )
    assert (reply.error[1], reply.error[3]) == ("InvalidParameterValue", text)
    reply = await sqs.ask("ReceiveMessage", QueueUrl=url, ReceiveRequestAttemptId="a b")
    assert reply.error[3].endswith(CHARACTERS)


async def test_a_long_poll_is_woken_by_the_delete(sqs: Sqs, redis_server: RedisServer, url: str) -> None:
    """A poll that waits behind a message in flight is answered when that message is deleted (contract 6.1.3)."""
    await send(sqs, url, "a")
    await send(sqs, url, "b")
    [first] = await sqs.receive(url)
    poll = asyncio.create_task(sqs.receive(url, WaitTimeSeconds=20))
    await registered(redis_server, "quest:{q.fifo}:waiting")
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    [second] = await asyncio.wait_for(poll, 5)
    assert second["Body"] == "b"


async def test_in_flight_limit(redis_server: RedisServer) -> None:
    """With too many in flight a FIFO queue gives nothing, a standard queue an error (contract 5.6)."""
    async with serving(redis_server.url, max_in_flight=1) as sqs:
        fifo, standard = await sqs.create("q.fifo", FifoQueue="true"), await sqs.create("q")
        for group in ("g", "h"):
            await send(sqs, fifo, group, group)
            await sqs("SendMessage", QueueUrl=standard, MessageBody="a")
        assert len(await sqs.receive(fifo)) == len(await sqs.receive(standard)) == 1
        assert await sqs.receive(fifo) == []
        reply = await sqs.ask("ReceiveMessage", QueueUrl=standard)
        assert reply.error[:2] == (403, "OverLimit")


async def test_dead_letters(sqs: Sqs) -> None:
    """In the dead-letter queue a message keeps group, id and send time; its deduplication id is its MessageId (7.4)."""
    dead = await sqs.create("dead.fifo", FifoQueue="true")
    policy = '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead.fifo","maxReceiveCount":1}'
    url = await sqs.create("q.fifo", FifoQueue="true", RedrivePolicy=policy)
    sent = await send(sqs, url, "a")
    [message] = await sqs.receive(url, VisibilityTimeout=1, AttributeNames=["All"])
    await sqs.advance(10)
    assert await sqs.receive(url) == []
    [letter] = await sqs.receive(dead, AttributeNames=["All"])
    kept = {name: message["Attributes"][name] for name in ("MessageGroupId", "SentTimestamp", "SenderId")}
    expected = {
        **kept,
        "MessageDeduplicationId": sent["MessageId"],
        "ApproximateReceiveCount": "2",
        "DeadLetterQueueSourceArn": "arn:aws:sqs:us-east-1:000000000000:q.fifo",
    }
    assert letter["MessageId"] == sent["MessageId"]
    assert letter["Attributes"].items() >= expected.items()


async def test_ids_may_be_long(sqs: Sqs, url: str) -> None:
    """Ids have up to 128 characters, of all that are printed."""
    characters = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    longest = characters + "x" * (128 - len(characters))
    await send(sqs, url, "a", longest, MessageDeduplicationId=longest)
    [message] = await sqs.receive(url, AttributeNames=["All"], ReceiveRequestAttemptId=longest)
    assert message["Attributes"]["MessageGroupId"] == message["Attributes"]["MessageDeduplicationId"] == longest
    reply = await sqs.ask("ReceiveMessage", QueueUrl=url, ReceiveRequestAttemptId=longest + "x")
    assert reply.error[1] == "InvalidParameterValue"


async def test_retention_begins_anew_in_the_dead_letter_queue(sqs: Sqs) -> None:
    """A FIFO dead letter has the dead-letter queue's whole retention period before it (contract 7.5)."""
    dead = await sqs.create("dead.fifo", FifoQueue="true", MessageRetentionPeriod="60")
    policy = '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead.fifo","maxReceiveCount":1}'
    url = await sqs.create("q.fifo", FifoQueue="true", RedrivePolicy=policy)
    await send(sqs, url, "a")
    assert len(await sqs.receive(url, VisibilityTimeout=50)) == 1
    await sqs.advance(50)
    assert await sqs.receive(url) == []
    await sqs.advance(59)
    assert len(await sqs.receive(dead, VisibilityTimeout=0)) == 1
    await sqs.advance(1)
    assert await sqs.receive(dead) == []


async def test_purge_forgets_what_was_sent(sqs: Sqs, url: str) -> None:
    """After a purge a deduplication id is new (contract 11.14)."""
    await send(sqs, url, "a")
    await sqs("PurgeQueue", QueueUrl=url)
    await send(sqs, url, "a")
    assert await sqs.counts(url) == (1, 0, 0)
