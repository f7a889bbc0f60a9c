"""boto3 against a process of questd: what the SDK checks and parses by itself is right."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.boto import client_of
from tests.sdk.programs import ID, SECRET


@pytest.fixture
def client(questd_url: str) -> Iterator[Any]:
    """Give a boto3 client of a questd process."""
    made = client_of(questd_url, ID, SECRET)
    yield made
    made.close()


def test_the_life_of_a_message(client: Any) -> None:
    """Create, send, receive, hide, delete: boto3 parses every answer, and its MD5 checks pass."""
    url = client.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "60"}, tags={"team": "a"})["QueueUrl"]
    attributes = {
        "color": {"DataType": "String", "StringValue": "blue"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        "count": {"DataType": "Number.int", "StringValue": "3"},
    }
    body = 'a "body" <&> with ж and 🍕\r\n'
    sent = client.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=attributes)
    reply = client.receive_message(
        QueueUrl=url, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"], WaitTimeSeconds=1
    )
    [message] = reply["Messages"]
    assert (message["Body"], message["MessageId"]) == (body, sent["MessageId"])
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    client.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    [message] = client.receive_message(QueueUrl=url)["Messages"]
    client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert "Messages" not in client.receive_message(QueueUrl=url)
    client.purge_queue(QueueUrl=url)
    assert client.list_queues()["QueueUrls"] == [url]
    client.delete_queue(QueueUrl=url)


def test_batches(client: Any) -> None:
    """The three batches, each with an entry that fails."""
    url = client.create_queue(QueueName="q")["QueueUrl"]
    entries = [{"Id": str(i), "MessageBody": f"message {i}"} for i in range(9)]
    reply = client.send_message_batch(QueueUrl=url, Entries=[*entries, {"Id": "bad", "MessageBody": "\x01"}])
    assert len(reply["Successful"]) == 9
    assert reply["Failed"][0]["Code"] == "InvalidMessageContents"
    messages = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    handles = [{"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]} for i, message in enumerate(messages)]
    bad = {"Id": "bad", "ReceiptHandle": "garbage"}
    changes = [entry | {"VisibilityTimeout": 60} for entry in [*handles, bad]]
    reply = client.change_message_visibility_batch(QueueUrl=url, Entries=changes)
    assert (len(reply["Successful"]), reply["Failed"][0]["Code"]) == (9, "ReceiptHandleIsInvalid")
    reply = client.delete_message_batch(QueueUrl=url, Entries=[*handles, bad])
    assert (len(reply["Successful"]), reply["Failed"][0]["Code"]) == (9, "ReceiptHandleIsInvalid")


def test_errors_are_what_programs_catch(client: Any) -> None:
    """Both the modelled exception and the older code that programs compare with."""
    with pytest.raises(client.exceptions.QueueDoesNotExist) as caught:
        client.get_queue_url(QueueName="nope")
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert caught.value.response["Error"]["QueryErrorCode"] == "QueueDoesNotExist"
    url = client.create_queue(QueueName="q")["QueueUrl"]
    with pytest.raises(client.exceptions.ReceiptHandleIsInvalid):
        client.delete_message(QueueUrl=url, ReceiptHandle="garbage")
    with pytest.raises(ClientError) as other:
        client.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=901)
    assert other.value.response["Error"]["Code"] == "InvalidParameterValue"
    with pytest.raises(client.exceptions.QueueNameExists):
        client.create_queue(QueueName="q", Attributes={"DelaySeconds": "1"})


def test_a_dead_letter_queue(client: Any) -> None:
    """After maxReceiveCount the message is in the dead-letter queue, without another receive."""
    dead = client.create_queue(QueueName="dead")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    url = client.create_queue(QueueName="q", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody="x")
    client.receive_message(QueueUrl=url, VisibilityTimeout=1)
    [letter] = client.receive_message(QueueUrl=dead, WaitTimeSeconds=10)["Messages"]
    assert letter["Body"] == "x"


def test_pages(client: Any) -> None:
    """boto3's paginator walks through all the queues."""
    for i in range(5):
        client.create_queue(QueueName=f"q{i}")
    pages = client.get_paginator("list_queues").paginate(PaginationConfig={"PageSize": 2})
    assert [len(page["QueueUrls"]) for page in pages] == [2, 2, 1]
