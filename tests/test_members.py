"""Members of requests: how a QueueUrl names a queue."""

import json

import pytest

from questd import errors
from questd.action import QueueAction, validated
from questd.request import Request


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
