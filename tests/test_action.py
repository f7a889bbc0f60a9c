"""What actions have in common: facts of queues, and pydantic's findings in AWS's words."""

import json

import pytest

from questd import errors
from questd.action import QueueAction, validated
from questd.request import Request
from tests.client import serving
from tests.servers import RedisServer


@pytest.mark.parametrize(
    "url", ["q", "/q", "http://x/q", "https://sqs.us-east-1.amazonaws.com/000000000000/q", "http://[::1]:1/1/q"]
)
def test_what_names_a_queue(url: str) -> None:
    """The last segment of a QueueUrl is the queue's name, whatever is before it (contract 1.4)."""
    assert QueueAction.model_validate({"QueueUrl": url}).QueueUrl == "q"


@pytest.mark.parametrize(
    "url", ["", "/", "a b", "q}", "{q", "q\n", "q\0", "x" * 81, "http://x/q?y", "ä", "q/", f"{'x' * 1024}/q"]
)
def test_what_names_none(url: str) -> None:
    """What cannot be a name is a queue that does not exist, and never gets near a key."""
    with pytest.raises(errors.QueueDoesNotExist):
        validated(QueueAction, json.dumps({"QueueUrl": url}).encode(), Request("POST", "/", {}, b""))


async def test_facts_are_learnt_again_when_they_changed(redis_server: RedisServer) -> None:
    """What one process changes the other one knows with its next request, which is still one."""
    async with serving(redis_server.url) as one, serving(redis_server.url) as two:
        url = await one.create(MaximumMessageSize="1024")
        assert (await two.ask("SendMessage", QueueUrl=url, MessageBody="x" * 2000)).status == 400
        await one("SetQueueAttributes", QueueUrl=url, Attributes={"MaximumMessageSize": "2048"})
        await two("SendMessage", QueueUrl=url, MessageBody="x" * 2000)
        await one("DeleteQueue", QueueUrl=url)
        await one.create(MaximumMessageSize="1024")
        assert (await two.ask("SendMessage", QueueUrl=url, MessageBody="x" * 2000)).status == 400
