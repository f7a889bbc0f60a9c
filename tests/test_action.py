"""What actions have in common: facts of queues, and pydantic's findings in AWS's words."""

import json
from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from questd import errors
from questd.action import TELLABLE, Integer, QueueAction, Request, between, mistake, validated
from questd.actions import ACTIONS
from questd.messages import SendMessage
from questd.queues import SetQueueAttributes
from tests.client import serving
from tests.servers import RedisServer


class Example(BaseModel):
    """A model with a member of each kind."""

    Text: str = ""
    Number: Annotated[Integer, between(0, 10, "Because.")] = 0
    Names: list[str] = []


def refused(body: str) -> errors.SQSError:
    """Return the error for a body that is wrong."""
    try:
        Example.model_validate_json(body)
    except ValidationError as error:
        return mistake(error)
    raise AssertionError(body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"Text":1.5}', "NUMBER_VALUE can not be converted to a String"),
        ('{"Text":false}', "FALSE_VALUE can not be converted to a String"),
        ('{"Number":"x"}', "STRING_VALUE can not be converted to an Integer"),
        ('{"Number":true}', "TRUE_VALUE can not be converted to an Integer"),
        ('{"Names":"x"}', "Unrecognized collection type class java.lang.String"),
        ('{"Names":[1]}', "NUMBER_VALUE can not be converted to a String"),
        ('{"Names":{}}', "Start of structure or map found where not expected."),
    ],
)
def test_wrong_types(body: str, text: str) -> None:
    """A value of the wrong type gets the text of AWS's framework (contract 1.2.5)."""
    assert refused(body).message == text


def test_a_range_is_told_with_the_value() -> None:
    """A number out of range is told with value, name and reason."""
    error = refused('{"Number":"11"}')
    assert isinstance(error, errors.InvalidParameterValueException)
    assert error.message == "Value 11 for parameter Number is invalid. Reason: Because."


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


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"DelaySeconds": 901, "MessageBody": 5, "MessageGroupId": ""}, "MalformedInput"),
        ({"DelaySeconds": 901, "MessageBody": ""}, "AWS.SimpleQueueService.NonExistentQueue"),
        ({"QueueUrl": "a/b!", "DelaySeconds": 901}, "AWS.SimpleQueueService.NonExistentQueue"),
        ({"QueueUrl": "q", "DelaySeconds": 901}, "MissingParameter"),
        ({"QueueUrl": "q", "DelaySeconds": 901, "MessageBody": ""}, "MissingParameter"),
        ({"QueueUrl": "q", "DelaySeconds": 901, "MessageBody": "x"}, "InvalidParameterValue"),
        ({"QueueUrl": "q", "DelaySeconds": True, "MessageBody": ""}, "MalformedInput"),
    ],
)
def test_of_several_mistakes_the_first_to_be_met_is_answered(members: dict[str, object], expected: str) -> None:
    """A request is read, then its queue is looked for, then what it needs, then what it says, in any order of members."""
    request = Request("POST", "/", {}, b"")
    for given in (members, dict(reversed(members.items()))):
        with pytest.raises(errors.SQSError) as caught:
            validated(SendMessage, json.dumps(given).encode(), request)
        assert caught.value.code == expected


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_million_mistakes_are_not_looked_at(action: str) -> None:
    """The first wrong element of a list ends the look at it, whichever member it is of."""
    for name in ACTIONS[action].model_fields:
        with pytest.raises(ValidationError) as caught:
            ACTIONS[action].model_validate({name: [5] * 100})
        assert sum(detail["loc"][0] == name for detail in caught.value.errors()) == 1


def test_of_very_many_mistakes_none_is_told() -> None:
    """A map of more wrong values than can be looked at is told as a body that cannot be read."""
    many = {"QueueUrl": "q", "Attributes": dict.fromkeys(map(str, range(TELLABLE + 1)), 5)}
    with pytest.raises(errors.SerializationException) as caught:
        validated(SetQueueAttributes, json.dumps(many).encode(), Request("POST", "/", {}, b""))
    assert type(caught.value) is errors.SerializationException
