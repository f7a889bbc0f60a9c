"""The batch actions over HTTP: what refuses a whole batch, what fails one entry, and what comes back (contract 8)."""

import json
from typing import Any

from questd import errors
from tests.client import JSON, Sqs, serving
from tests.servers import RedisServer

ACTIONS = ("SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")


def entries(count: int) -> list[dict[str, Any]]:
    """Return entries that are right for every batch action, but for their handles."""
    return [
        {"Id": f"id_{i}", "MessageBody": str(i), "ReceiptHandle": "garbage", "VisibilityTimeout": 0}
        for i in range(count)
    ]


async def test_messages_are_stored_in_order(sqs: Sqs) -> None:
    """A batch of ten is one step: stored in the order of the request, answered in it, with ids and digests."""
    url = await sqs.create()
    reply = await sqs("SendMessageBatch", QueueUrl=url, Entries=entries(10))
    assert reply.keys() == {"Successful"}
    assert [entry["Id"] for entry in reply["Successful"]] == [f"id_{i}" for i in range(10)]
    messages = await sqs.receive(url, MaxNumberOfMessages=10)
    assert [message["Body"] for message in messages] == [str(i) for i in range(10)]
    assert [message["MessageId"] for message in messages] == [entry["MessageId"] for entry in reply["Successful"]]
    assert [message["MD5OfBody"] for message in messages] == [
        entry["MD5OfMessageBody"] for entry in reply["Successful"]
    ]


async def test_an_entry_fails_alone(sqs: Sqs) -> None:
    """A wrong entry is in Failed with its code and words, the others are stored (contract 8.2)."""
    url = await sqs.create(MaximumMessageSize="1024")
    given = entries(5)
    given[0]["MessageBody"] = "\u0001"
    given[1]["DelaySeconds"] = 901
    given[2]["MessageBody"] = "x" * 1025
    del given[3]["MessageBody"]
    reply = await sqs("SendMessageBatch", QueueUrl=url, Entries=given)
    assert [entry["Id"] for entry in reply["Successful"]] == ["id_4"]
    failed = reply["Failed"]
    assert [(entry["Id"], entry["Code"], entry["SenderFault"]) for entry in failed] == [
        ("id_0", "InvalidMessageContents", True),
        ("id_1", "InvalidParameterValue", True),
        ("id_2", "InvalidParameterValue", True),
        ("id_3", "MissingParameter", True),
    ]
    assert failed[2]["Message"] == (
        "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes."
    )
    assert failed[3]["Message"] == (
        "The request must contain the parameter SendMessageBatchRequestEntry.4.MessageBody."
    )
    assert [message["Body"] for message in await sqs.receive(url, MaxNumberOfMessages=10)] == ["4"]


async def test_a_batch_of_failures_only(sqs: Sqs) -> None:
    """When every entry fails the answer is still 200, without Successful; the queue must be there all the same."""
    url = await sqs.create()
    for action in ACTIONS:
        wrong = [entry | {"MessageBody": "\u0001"} for entry in entries(2)]
        assert (await sqs(action, QueueUrl=url, Entries=wrong)).keys() == {"Failed"}
        assert (await sqs.ask(action, QueueUrl="nope", Entries=wrong)).error[2] == "QueueDoesNotExist"


async def test_a_batch_is_1_mib_at_most(sqs: Sqs) -> None:
    """All bodies together may have 1 MiB, whatever the queue's own limit is (contract 8.3)."""
    url = await sqs.create(MaximumMessageSize="1024")
    half = 1048576 // 2
    given = [{"Id": "a", "MessageBody": "x" * half}, {"Id": "b", "MessageBody": "x" * (half + 1)}]
    reply = await sqs.ask("SendMessageBatch", QueueUrl=url, Entries=given)
    assert reply.error == (
        400,
        "AWS.SimpleQueueService.BatchRequestTooLong",
        "BatchRequestTooLong",
        "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.",
    )
    small = [{"Id": str(i), "MessageBody": "x" * 1024} for i in range(10)]
    assert len((await sqs("SendMessageBatch", QueueUrl=url, Entries=small))["Successful"]) == 10


async def test_attributes_that_cannot_be_read_fail_the_whole_batch(sqs: Sqs) -> None:
    """An entry with too many attributes fails alone, but with one that is none among them nothing is stored."""
    url = await sqs.create()
    given = entries(2)
    given[0]["MessageAttributes"] = {f"a{i}": {"DataType": "String", "StringValue": "x"} for i in range(11)}
    reply = await sqs("SendMessageBatch", QueueUrl=url, Entries=given)
    assert [entry["Id"] for entry in reply["Failed"]] == ["id_0"]
    for none in (5, {"DataType": 5}, {"DataType": "Binary", "BinaryValue": "%"}):
        given[0]["MessageAttributes"]["a7"] = none
        wrong = await sqs.ask("SendMessageBatch", QueueUrl=url, Entries=given)
        assert wrong.error[:2] == (400, "MalformedInput")
    assert await sqs.attributes(url, "ApproximateNumberOfMessages") == {"ApproximateNumberOfMessages": "1"}


async def test_entries_have_their_own_delay_and_attributes(sqs: Sqs) -> None:
    """DelaySeconds and attributes are an entry's own."""
    url = await sqs.create()
    given = entries(2)
    given[0]["DelaySeconds"] = 10
    given[1]["MessageAttributes"] = {"color": {"DataType": "String", "StringValue": "blue"}}
    reply = await sqs("SendMessageBatch", QueueUrl=url, Entries=given)
    assert reply["Successful"][1]["MD5OfMessageAttributes"] == "da1b33cc3cbfe8b1630921e78e6b9880"
    assert await sqs.counts(url) == (1, 0, 1)


async def test_deleting_a_batch(sqs: Sqs) -> None:
    """Each handle is deleted or fails alone."""
    url = await sqs.create()
    await sqs("SendMessageBatch", QueueUrl=url, Entries=entries(3))
    handles = [message["ReceiptHandle"] for message in await sqs.receive(url, MaxNumberOfMessages=10)]
    given = [{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate([*handles[:2], "garbage"])]
    reply = await sqs("DeleteMessageBatch", QueueUrl=url, Entries=given)
    assert reply["Successful"] == [{"Id": "0"}, {"Id": "1"}]
    assert reply["Failed"] == [
        {
            "Id": "2",
            "SenderFault": True,
            "Code": "ReceiptHandleIsInvalid",
            "Message": 'The input receipt handle "garbage" is not a valid receipt handle.',
        }
    ]
    assert await sqs.counts(url) == (0, 1, 0)


async def test_changing_a_batch(sqs: Sqs) -> None:
    """Each handle gets its own timeout, or fails alone: out of range, no timeout, a message that is gone."""
    url = await sqs.create()
    await sqs("SendMessageBatch", QueueUrl=url, Entries=entries(3))
    handles = [message["ReceiptHandle"] for message in await sqs.receive(url, MaxNumberOfMessages=10)]
    await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=handles[2])
    timeouts = [0, 60, 0, 43201, None]
    given = [
        {"Id": str(i), "ReceiptHandle": handle, "VisibilityTimeout": timeout}
        for i, (handle, timeout) in enumerate(zip([*handles, handles[0], handles[0]], timeouts, strict=True))
    ]
    reply = await sqs("ChangeMessageVisibilityBatch", QueueUrl=url, Entries=given)
    assert [entry["Id"] for entry in reply["Successful"]] == ["0", "1"]
    assert [(entry["Id"], entry["Code"]) for entry in reply["Failed"]] == [
        ("2", "InvalidParameterValue"),
        ("3", "InvalidParameterValue"),
        ("4", "MissingParameter"),
    ]
    assert await sqs.counts(url) == (1, 1, 0)


async def test_every_entry_counts_towards_the_limit(redis_server: RedisServer) -> None:
    """Entries that would fail count too, and the limit of a batch is the server's, not the queue's (contract 8.3)."""
    async with serving(redis_server.url, max_message_size=2048) as sqs:
        url = await sqs.create(MaximumMessageSize="1024")
        given = entries(3)
        given[0]["MessageBody"] = "\u0001" * 1024
        given[1]["MessageBody"] = "x" * 1023
        assert (await sqs.ask("SendMessageBatch", QueueUrl=url, Entries=given)).status == 200
        given[0]["MessageAttributes"] = {"a": {"DataType": "String"}}
        reply = await sqs.ask("SendMessageBatch", QueueUrl=url, Entries=given)
        assert reply.error[1] == "AWS.SimpleQueueService.BatchRequestTooLong"
        assert reply.error[3] == "Batch requests cannot be longer than 2048 bytes. You have sent 2055 bytes."


async def test_a_batch_needs_room_for_all(redis_server: RedisServer) -> None:
    """With max_messages a batch that has more entries than the queue has room for is refused as a whole."""
    async with serving(redis_server.url, max_messages=10) as sqs:
        url = await sqs.create()
        assert len((await sqs("SendMessageBatch", QueueUrl=url, Entries=entries(8)))["Successful"]) == 8
        reply = await sqs.ask("SendMessageBatch", QueueUrl=url, Entries=entries(3))
        assert reply.error == (403, "OverLimit", "OverLimit", errors.QueueFull(10).message)
        assert (await sqs.counts(url))[0] == 8
        assert len((await sqs("SendMessageBatch", QueueUrl=url, Entries=entries(2)))["Successful"]) == 2


async def test_a_batch_of_bodies_is_as_others_are(sqs: Sqs) -> None:
    """Where nothing but bodies is sent, one that is too long still fails alone, and the trace is kept of each."""
    url = await sqs.create(MaximumMessageSize="1024")
    given = entries(3)
    given[1]["MessageBody"] = "x" * 1025
    bodies = [{"Id": entry["Id"], "MessageBody": entry["MessageBody"]} for entry in given]
    reply = await sqs("SendMessageBatch", QueueUrl=url, Entries=bodies)
    assert [entry["Id"] for entry in reply["Successful"]] == ["id_0", "id_2"]
    assert [entry["Id"] for entry in reply["Failed"]] == ["id_1"]
    trace = "Root=1-63441c4a-abcdef012345678912345678"
    headers = {**JSON, "X-Amz-Target": "AmazonSQS.SendMessageBatch", "X-Amzn-Trace-Id": trace}
    assert (
        await sqs.post(json.dumps({"QueueUrl": url, "Entries": [bodies[0], bodies[2]]}).encode(), headers)
    ).status == 200
    received = await sqs.receive(url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["AWSTraceHeader"])
    assert [message["Body"] for message in received] == ["0", "2", "0", "2"]
    assert [message.get("Attributes") for message in received[2:]] == [{"AWSTraceHeader": trace}] * 2


async def test_a_batch_of_bodies_is_nothing_for_a_fifo_queue(sqs: Sqs) -> None:
    """In a FIFO queue every message of a batch needs a group."""
    url = await sqs.create("plain.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    bodies = [{"Id": "a", "MessageBody": "x"}, {"Id": "b", "MessageBody": "y"}]
    reply = await sqs.ask("SendMessageBatch", QueueUrl=url, Entries=bodies)
    assert reply.error[3] == errors.BatchedWithoutGroup().message
    assert await sqs.counts(url) == (0, 0, 0)
