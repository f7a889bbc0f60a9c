"""What is wrong with a request, in AWS's words, and what of it is answered."""

import json
from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from questd import errors
from questd.action import validated
from questd.actions import ACTIONS
from questd.members import Integer, between
from questd.messages import SendMessage
from questd.mistakes import TELLABLE, mistake
from questd.queues import SetQueueAttributes
from questd.request import Request


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
