"""The bytes of AWS JSON 1.0 (contract 1.2.2, 1.2.3)."""

import time

import pytest

from questd import aws_json, errors
from questd.action import Action
from questd.aws_json import error_parts, result_parts
from questd.request import Request
from tests.client import JSON, Sqs

REQUEST = Request("POST", "/", {}, b"")


def test_results_are_compact() -> None:
    """No spaces, no newline; nothing at all for an action without output; text as it is, not escaped."""
    for result, body in (({"a": "é", "b": [1, True]}, '{"a":"é","b":[1,true]}'.encode()), ({}, b"{}"), (None, b"")):
        assert result_parts(Action(), result, REQUEST, "id") == ("application/x-amz-json-1.0", body)


def test_errors_have_a_type_and_the_older_code() -> None:
    """`__type` is the full name, the header has the code that SDKs translate it to."""
    _, body, headers = error_parts(errors.QueueDoesNotExist(), REQUEST, "id")
    assert headers == {"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"}
    assert body == b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}'
    _, body, headers = error_parts(errors.MissingParameter("MessageBody"), REQUEST, "id")
    assert headers == {"x-amzn-query-error": "MissingParameter;Sender"}
    assert body.startswith(b'{"__type":"com.amazon.coral.service#MissingRequiredParameterException"')


async def test_a_queue_url_that_is_null_is_the_paths(sqs: Sqs) -> None:
    """On a queue's path a null QueueUrl is an absent one; another QueueUrl beats the path (contract 1.3.1)."""
    url = await sqs.create()
    path = url.removeprefix(sqs.url)
    headers = {**JSON, "X-Amz-Target": "AmazonSQS.SendMessage"}
    assert (await sqs.post(b'{"QueueUrl":null,"MessageBody":"x"}', headers, path)).status == 200
    assert (await sqs.post(b'{"QueueUrl":"other","MessageBody":"x"}', headers, path)).status == 400
    assert await sqs.counts(url) == (1, 0, 0)


async def test_extensions_on_any_path(sqs: Sqs) -> None:
    """Extensions are the same at the path where a ReceiveMessage only looks; others of SQS's are none there."""
    await sqs.create()
    for target, status in (
        ("Questd.PeekMessages", 200),
        ("AmazonSQS.ReceiveMessage", 200),
        ("AmazonSQS.ListQueues", 400),
    ):
        headers = {**JSON, "X-Amz-Target": target}
        assert (await sqs.post(b'{"QueueUrl":"q"}', headers, "/_aws/sqs/messages")).status == status, target


@pytest.mark.parametrize(
    ("body", "crowded"),
    [
        (b'{"MessageBody":"' + b",[{" * 100_000 + b'"}', False),
        (b'{"MessageBody":"' + b'\\"' * 100_000 + b'"}', False),
        (b'{"MessageBody":"' + b'\\"' * 4_000_000, False),
        (b"[" + b"1," * 100_000 + b"1]", True),
        (b'["' + b'","' * 100_000 + b'"]', True),
        (b'{"a":{},' * 100_000, True),
    ],
)  # fmt: skip
def test_crowded_bodies(body: bytes, *, crowded: bool) -> None:
    """A body of very many values is not looked at, however it ends; what is in texts does not count."""
    begun = time.process_time()
    assert aws_json._is_crowded(body) == crowded
    assert time.process_time() - begun < 0.5
