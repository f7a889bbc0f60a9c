"""One message over HTTP: sent, received, hidden, deleted, with AWS's ranges, defaults, texts and digests."""

import hashlib
import json
from typing import Any

import msgpack
import pytest

from questd import errors
from questd.messages import LARGE, RECORD, SHORT, md5_of
from tests.client import Sqs, serving
from tests.servers import RedisServer

IPV = (400, "InvalidParameterValue", "InvalidParameterValueException")
MISSING = (400, "MissingParameter", "MissingRequiredParameterException")
HANDLE = (404, "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid")

CHARACTERS = "can only include alphanumeric and punctuation characters. 1 to 128 in length."


async def test_send_answers_with_id_and_digest(sqs: Sqs) -> None:
    """SendMessage answers with the MessageId and the MD5 of the body, and nothing more (contract 2.8)."""
    url = await sqs.create()
    sent = await sqs("SendMessage", QueueUrl=url, MessageBody="test")
    assert sent.keys() == {"MD5OfMessageBody", "MessageId"}
    assert sent["MD5OfMessageBody"] == "098f6bcd4621d373cade4e832627b4f6"
    [message] = await sqs.receive(url)
    assert message.keys() == {"MessageId", "ReceiptHandle", "MD5OfBody", "Body"}
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], "test")


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({}, (*MISSING, "The request must contain the parameter MessageBody.")),
        ({"MessageBody": ""}, (*MISSING, "The request must contain the parameter MessageBody.")),
        ({"MessageBody": None}, (*MISSING, "The request must contain the parameter MessageBody.")),
        (
            {"MessageBody": "x", "DelaySeconds": 901},
            (*IPV, "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."),
        ),
        (
            {"MessageBody": "x", "DelaySeconds": -1},
            (*IPV, "Value -1 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."),
        ),
        (
            {"MessageBody": "x", "MessageGroupId": ""},
            (*IPV, f"Value  for parameter MessageGroupId is invalid. Reason: MessageGroupId {CHARACTERS}"),
        ),
        (
            {"MessageBody": "x", "MessageGroupId": "g" * 129},
            (*IPV, f"Value {'g' * 129} for parameter MessageGroupId is invalid. Reason: MessageGroupId {CHARACTERS}"),
        ),
        (
            {"MessageBody": "x", "MessageGroupId": "a b"},
            (*IPV, f"Value a b for parameter MessageGroupId is invalid. Reason: MessageGroupId {CHARACTERS}"),
        ),
        (
            {"MessageBody": "x", "MessageDeduplicationId": "d"},
            (
                *IPV,
                (
                    "Value d for parameter MessageDeduplicationId is invalid. "
                    "Reason: The request includes a parameter that is not valid for this queue type."
                ),
            ),
        ),
    ],
)
async def test_send_refuses(sqs: Sqs, members: dict[str, Any], error: tuple[int, str, str, str]) -> None:
    """SendMessage refuses a wrong member with AWS's words (contract 2.8), and stores nothing."""
    url = await sqs.create()
    reply = await sqs.ask("SendMessage", QueueUrl=url, **members)
    assert reply.error == error
    assert await sqs.counts(url) == (0, 0, 0)


@pytest.mark.parametrize("body", ["\u0000", "a\u0008", "\u0013", "\uffff"])
async def test_send_refuses_forbidden_characters(sqs: Sqs, body: str) -> None:
    """A body with a character outside XML's is InvalidMessageContents (contract 4.4)."""
    url = await sqs.create()
    reply = await sqs.ask("SendMessage", QueueUrl=url, MessageBody=body)
    assert reply.error[:3] == (400, "InvalidMessageContents", "InvalidMessageContents")


@pytest.mark.parametrize("body", ["\t\n\r x", "ж" * 100, "🍕" * 10, '"' * 50, "{}\\ud800", "<&>"])
async def test_a_body_survives_byte_for_byte(sqs: Sqs, body: str) -> None:
    """What was sent is what is received."""
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody=body)
    assert (await sqs.receive(url))[0]["Body"] == body


@pytest.mark.parametrize(("character", "size"), [("x", 1), ('"', 1), ("ж", 2), ("🍕", 4)])
async def test_a_message_of_1_mib_passes_and_one_byte_more_does_not(sqs: Sqs, character: str, size: int) -> None:
    """The limit counts the bytes of the decoded body, however long its JSON is, and is inclusive (contract 4.4)."""
    url = await sqs.create()
    body = character * (1048576 // size)
    await sqs("SendMessage", QueueUrl=url, MessageBody=body)
    [message] = await sqs.receive(url)
    assert message["Body"] == body
    reply = await sqs.ask("SendMessage", QueueUrl=url, MessageBody=body + "x")
    assert reply.error == (
        *IPV, "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."
    )  # fmt: skip


async def test_the_limit_is_the_queues_and_counts_attributes(sqs: Sqs) -> None:
    """MaximumMessageSize is the queue's own, at once after a change, and name, type and value of attributes count."""
    url = await sqs.create(MaximumMessageSize="1024")
    attribute = {"name": {"DataType": "String", "StringValue": "value"}}
    body = "x" * (1024 - len("nameStringvalue"))
    await sqs("SendMessage", QueueUrl=url, MessageBody=body, MessageAttributes=attribute)
    reply = await sqs.ask("SendMessage", QueueUrl=url, MessageBody=body + "x", MessageAttributes=attribute)
    assert reply.error[3] == "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"MaximumMessageSize": "2048"})
    await sqs("SendMessage", QueueUrl=url, MessageBody=body + "x", MessageAttributes=attribute)


async def test_binary_attributes_survive(sqs: Sqs) -> None:
    """A Binary attribute comes back as the base64 that was sent; its custom type too."""
    url = await sqs.create()
    attributes = {"blob": {"DataType": "Binary.gif", "BinaryValue": "AQID/w=="}}
    await sqs("SendMessage", QueueUrl=url, MessageBody="x", MessageAttributes=attributes)
    [message] = await sqs.receive(url, MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == attributes


async def test_system_attributes(sqs: Sqs) -> None:
    """`All` gives every system attribute that applies; the trace header comes from either place (contract 4.6)."""
    url = await sqs.create()
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988"}}
    sent = await sqs("SendMessage", QueueUrl=url, MessageBody="x", MessageSystemAttributes=trace, MessageGroupId="g")
    assert "MD5OfMessageSystemAttributes" in sent
    assert "MD5OfMessageAttributes" not in sent
    [message] = await sqs.receive(url, MessageSystemAttributeNames=["All"], VisibilityTimeout=0)
    given = message["Attributes"]
    assert given.pop("SentTimestamp").isdigit()
    assert int(given.pop("ApproximateFirstReceiveTimestamp")) > 0
    assert given == {
        "SenderId": "000000000000",
        "ApproximateReceiveCount": "1",
        "AWSTraceHeader": "Root=1-5759e988",
        "MessageGroupId": "g",
    }
    [message] = await sqs.receive(url, AttributeNames=["ApproximateReceiveCount", "SequenceNumber"])
    assert message["Attributes"] == {"ApproximateReceiveCount": "2"}


async def test_the_trace_header_of_http_is_kept(sqs: Sqs) -> None:
    """X-Amzn-Trace-Id of the request becomes the message's AWSTraceHeader (contract 1.2.1)."""
    url = await sqs.create()
    body = json.dumps({"QueueUrl": url, "MessageBody": "x"}).encode()
    headers = {"X-Amz-Target": "AmazonSQS.SendMessage", "X-Amzn-Trace-Id": "Root=1-2"}
    assert (await sqs.post(body, headers)).status == 200
    [message] = await sqs.receive(url, AttributeNames=["AWSTraceHeader"])
    assert message["Attributes"] == {"AWSTraceHeader": "Root=1-2"}


async def test_delays(sqs: Sqs) -> None:
    """A message is delayed by its own DelaySeconds, else by its queue's; 0 overrides the queue's (contract 5.3)."""
    url = await sqs.create(DelaySeconds="60")
    await sqs("SendMessage", QueueUrl=url, MessageBody="queue's")
    await sqs("SendMessage", QueueUrl=url, MessageBody="own", DelaySeconds=30)
    await sqs("SendMessage", QueueUrl=url, MessageBody="none", DelaySeconds=0)
    assert await sqs.counts(url) == (1, 0, 2)
    bodies = []
    for seconds in (0, 30, 30):
        await sqs.advance(seconds)
        bodies += [message["Body"] for message in await sqs.receive(url, MaxNumberOfMessages=10, VisibilityTimeout=900)]
    assert bodies == ["none", "own", "queue's"]


async def test_retention(sqs: Sqs) -> None:
    """A message is gone after the retention period, also in flight; deleting it then is a success (contract 5.5)."""
    url = await sqs.create(MessageRetentionPeriod="60")
    await sqs("SendMessage", QueueUrl=url, MessageBody="in flight")
    [message] = await sqs.receive(url, VisibilityTimeout=900)
    await sqs("SendMessage", QueueUrl=url, MessageBody="visible")
    await sqs.advance(60)
    assert await sqs.receive(url) == []
    await sqs.advance(900)
    assert await sqs.receive(url) == []
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


async def test_delete_forgets_a_message(sqs: Sqs) -> None:
    """DeleteMessage answers 200 with an empty body, however often (contract 2.11)."""
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    [message] = await sqs.receive(url)
    for _ in range(2):
        reply = await sqs.ask("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers["Content-Type"] == "application/x-amz-json-1.0"
    assert await sqs.counts(url) == (0, 0, 0)


async def test_an_expired_handle_deletes_and_an_older_one_does_not(sqs: Sqs) -> None:
    """The latest handle deletes also after its timeout; one of an earlier receive answers 200 and does nothing."""
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    [old] = await sqs.receive(url, VisibilityTimeout=10)
    await sqs.advance(10)
    [new] = await sqs.receive(url, VisibilityTimeout=10)
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=old["ReceiptHandle"])
    assert await sqs.counts(url) == (0, 1, 0)
    await sqs.advance(10)
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=new["ReceiptHandle"])
    assert await sqs.counts(url) == (0, 0, 0)


@pytest.mark.parametrize("action", ["DeleteMessage", "ChangeMessageVisibility"])
async def test_handles_that_are_none(sqs: Sqs, action: str) -> None:
    """Garbage is a 404, another queue's handle has its own text, a missing one is a missing parameter (2.11, 2.13)."""
    url, other = await sqs.create(), await sqs.create("other")
    await sqs("SendMessage", QueueUrl=other, MessageBody="x")
    foreign = (await sqs.receive(other))[0]["ReceiptHandle"]
    forged = foreign[:-1] + ("0" if foreign[-1] != "0" else "1")
    for queue, handle, text in [
        (url, "garbage", 'The input receipt handle "garbage" is not a valid receipt handle.'),
        (other, forged, f'The input receipt handle "{forged}" is not a valid receipt handle.'),
        (url, foreign, f'The receipt handle "{foreign}" is not valid for this queue.'),
    ]:
        reply = await sqs.ask(action, QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=0)
        assert reply.error == (*HANDLE, text)
    for members in ({}, {"ReceiptHandle": ""}):
        reply = await sqs.ask(action, QueueUrl=url, VisibilityTimeout=0, **members)
        assert reply.error == (*MISSING, "The request must contain the parameter ReceiptHandle.")


async def test_change_visibility_extends_and_ends(sqs: Sqs) -> None:
    """A new timeout counts from now; 0 shows the message at once; the next receive has the queue's default again."""
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    [message] = await sqs.receive(url, VisibilityTimeout=10)
    handle = message["ReceiptHandle"]
    reply = await sqs.ask("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=100)
    assert (reply.status, reply.body) == (200, b"")
    await sqs.advance(99)
    assert await sqs.counts(url) == (0, 1, 0)
    await sqs("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    assert await sqs.counts(url) == (1, 0, 0)
    await sqs("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=10)
    assert await sqs.receive(url) == []
    assert await sqs.counts(url) == (0, 1, 0)


async def test_change_visibility_refuses(sqs: Sqs) -> None:
    """Out of range, missing, beyond 12 hours in all, or of a deleted message: AWS's words (contract 2.13)."""
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    handle = (await sqs.receive(url))[0]["ReceiptHandle"]

    async def change(**members: object) -> tuple[int, str, str, str]:
        return (await sqs.ask("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=handle, **members)).error

    assert await change() == (*MISSING, "The request must contain the parameter VisibilityTimeout.")
    assert await change(VisibilityTimeout=43201) == (
        *IPV, "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200."
    )  # fmt: skip
    await sqs.advance(1)
    assert await change(VisibilityTimeout=43200) == (
        *IPV,
        (
            "Value 43200 for parameter VisibilityTimeout is invalid. "
            "Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
        ),
    )
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=handle)
    assert await change(VisibilityTimeout=1) == (
        *IPV,
        (
            f"Value {handle} for parameter ReceiptHandle is invalid. "
            "Reason: Message does not exist or is not available for visibility timeout change."
        ),
    )


async def test_dead_letters_keep_what_they_were(sqs: Sqs) -> None:
    """After maxReceiveCount receives the next one moves the message: same id and sent time, the count goes on (7.4)."""
    dead = await sqs.create("dead")
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 1}
    url = await sqs.create(RedrivePolicy=json.dumps(policy))
    attributes = {"color": {"DataType": "String", "StringValue": "blue"}}
    sent = await sqs("SendMessage", QueueUrl=url, MessageBody="x", MessageAttributes=attributes)
    [before] = await sqs.receive(url, VisibilityTimeout=0, AttributeNames=["All"])
    assert await sqs.receive(url) == []
    [after] = await sqs.receive(dead, AttributeNames=["All"], MessageAttributeNames=["All"])
    assert (after["MessageId"], after["Body"]) == (sent["MessageId"], "x")
    assert after["MessageAttributes"] == attributes
    assert after["Attributes"]["DeadLetterQueueSourceArn"] == "arn:aws:sqs:us-east-1:000000000000:q"
    assert after["Attributes"]["ApproximateReceiveCount"] == "2"
    for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp"):
        assert after["Attributes"][name] == before["Attributes"][name]


@pytest.mark.parametrize("length", [LARGE - 1, LARGE, 65_536])
@pytest.mark.parametrize("batch", [False, True])
async def test_the_digest_of_a_large_body_is_kept(
    sqs: Sqs, redis_server: RedisServer, length: int, *, batch: bool
) -> None:
    """It is made once, when the message is sent, and goes with the message, to a dead-letter queue too."""
    body = "ä" + "x" * (length - 2)
    digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    dead = await sqs.create("dead")
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 1}
    url = await sqs.create(RedrivePolicy=json.dumps(policy))
    if batch:
        [sent] = (await sqs("SendMessageBatch", QueueUrl=url, Entries=[{"Id": "a", "MessageBody": body}]))["Successful"]
    else:
        sent = await sqs("SendMessage", QueueUrl=url, MessageBody=body)
    assert sent["MD5OfMessageBody"] == digest
    with redis_server.client() as client:
        [record] = client.hgetall("quest:{q}:messages").values()
    head = record[RECORD.size : RECORD.size + RECORD.unpack_from(record)[2]]
    assert (msgpack.unpackb(head) if head else {}) == ({"MD5OfBody": digest} if length >= LARGE else {})
    [received] = await sqs.receive(url, VisibilityTimeout=0, AttributeNames=["All"])
    assert await sqs.receive(url) == []
    for message in (received, *await sqs.receive(dead)):
        assert (message["MD5OfBody"], message["Body"]) == (digest, body)


async def test_a_queue_may_be_full(redis_server: RedisServer) -> None:
    """With max_messages a send into a queue that has as many is refused, also while they are in flight or delayed."""
    full = (403, "OverLimit", "OverLimit", errors.QueueFull(3).message)
    async with serving(redis_server.url, max_messages=3) as sqs:
        url = await sqs.create()
        await sqs("SendMessage", QueueUrl=url, MessageBody="delayed", DelaySeconds=900)
        for body in ("a", "b"):
            await sqs("SendMessage", QueueUrl=url, MessageBody=body)
        [message] = await sqs.receive(url)
        assert (await sqs.ask("SendMessage", QueueUrl=url, MessageBody="c")).error == full
        assert await sqs.counts(url) == (1, 1, 1)
        await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        await sqs("SendMessage", QueueUrl=url, MessageBody="c")
        assert (await sqs.ask("SendMessage", QueueUrl=url, MessageBody="d")).error == full


@pytest.mark.parametrize("length", [1, 55, 64, SHORT, SHORT + 1, 4096])
def test_the_digest_of_any_length_is_md5(length: int) -> None:
    """Short bodies and long ones have the same digest, whoever makes it."""
    body = bytes(range(256)) * 16
    assert md5_of(body[:length]) == hashlib.md5(body[:length], usedforsecurity=False).hexdigest()
