"""What actions have in common: facts of queues, and pydantic's findings in AWS's words."""

from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from questd import errors
from questd.action import Integer, QueueAction, between, mistake
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
    except errors.SQSError as error:
        return error
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
    with pytest.raises(errors.InvalidParameterValueException) as caught:
        Example.model_validate_json('{"Number":"11"}')
    assert caught.value.message == "Value 11 for parameter Number is invalid. Reason: Because."


@pytest.mark.parametrize(
    "url", ["q", "/q", "http://x/q", "https://sqs.us-east-1.amazonaws.com/000000000000/q", "http://[::1]:1/1/q"]
)
def test_what_names_a_queue(url: str) -> None:
    """The last segment of a QueueUrl is the queue's name, whatever is before it (contract 1.4)."""
    assert QueueAction.model_validate({"QueueUrl": url}).QueueUrl == "q"


@pytest.mark.parametrize("url", ["", "/", "a b", "q}", "{q", "q\n", "q\0", "x" * 81, "http://x/q?y", "ä", "q/"])
def test_what_names_none(url: str) -> None:
    """What cannot be a name is a queue that does not exist, and never gets near a key."""
    with pytest.raises(errors.QueueDoesNotExist):
        QueueAction.model_validate({"QueueUrl": url})


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
