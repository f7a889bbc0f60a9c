"""Tags over HTTP (contract 2.17 to 2.19, 9.2)."""

import asyncio
from typing import Any

import pytest

from tests.client import Sqs, serving
from tests.servers import RedisServer


async def tags(sqs: Sqs, url: str) -> dict[str, str]:
    """Return a queue's tags."""
    found: dict[str, str] = (await sqs("ListQueueTags", QueueUrl=url)).get("Tags", {})
    return found


async def test_tagging(sqs: Sqs) -> None:
    """Tags are added and overwritten, case counts, an empty value is one; taking off what is not there is as good."""
    url = await sqs.create()
    assert await sqs("ListQueueTags", QueueUrl=url) == {}
    await sqs("TagQueue", QueueUrl=url, Tags={"a": "1", "A": "2", "empty": ""})
    await sqs("TagQueue", QueueUrl=url, Tags={"a": "3", "b": "ä ö"})
    assert await tags(sqs, url) == {"a": "3", "A": "2", "empty": "", "b": "ä ö"}
    await sqs("UntagQueue", QueueUrl=url, TagKeys=["a", "nothing"])
    assert await tags(sqs, url) == {"A": "2", "empty": "", "b": "ä ö"}
    await sqs("UntagQueue", QueueUrl=url, TagKeys=["A", "b", "empty"])
    assert await sqs("ListQueueTags", QueueUrl=url) == {}


async def test_tags_at_creation(sqs: Sqs) -> None:
    """A queue can be made with tags; making it again changes none."""
    url = (await sqs("CreateQueue", QueueName="q", tags={"a": "1"}))["QueueUrl"]
    await sqs("CreateQueue", QueueName="q", tags={"b": "2"})
    assert await tags(sqs, url) == {"a": "1"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"": "x"}, "Tag keys must be between 1 and 128 characters in length."),
        ({"x" * 129: "x"}, "Tag keys must be between 1 and 128 characters in length."),
        ({"x": "x" * 257}, "Tag values must be between 0 and 256 characters in length."),
        (
            {"a*": "x"},
            "Tag keys may only contain unicode letters, digits, whitespace, or one of these symbols: _ . : / = + - @",
        ),
        (
            {"a\u001f": "x"},
            "Tag keys may only contain unicode letters, digits, whitespace, or one of these symbols: _ . : / = + - @",
        ),
        (
            {"a": "x\u000b"},
            "Tag values may only contain unicode letters, digits, whitespace, or one of these symbols: _ . : / = + - @",
        ),
        (
            {"a": "x\u0000"},
            "Tag values may only contain unicode letters, digits, whitespace, or one of these symbols: _ . : / = + - @",
        ),
        ({"AWS:x": "x"}, "Tag keys must not begin with aws: which is reserved for AWS."),
        ({f"k{i}": "x" for i in range(50)}, "Too many tags added for queue q."),
    ],
)
async def test_tags_that_are_none(sqs: Sqs, given: dict[str, str], text: str) -> None:
    """Keys, values and the number of tags have limits, over all calls; a refused call changes nothing."""
    reply = await sqs.ask("CreateQueue", QueueName="other", tags={**given, "there": "1"})
    assert reply.error[3] == text.replace("queue q", "queue other")
    url = await sqs.create()
    await sqs("TagQueue", QueueUrl=url, Tags={"there": "1"})
    reply = await sqs.ask("TagQueue", QueueUrl=url, Tags=given)
    assert reply.error == (400, "InvalidParameterValue", "InvalidParameterValueException", text)
    assert await tags(sqs, url) == {"there": "1"}


REFUSED = (400, "InvalidParameterValue", "InvalidParameterValueException")
MISSING = (400, "MissingParameter", "MissingRequiredParameterException")
KEY_TEXT = "Tag keys must be between 1 and 128 characters in length."


@pytest.mark.parametrize(
    ("action", "members", "error"),
    [
        ("TagQueue", {}, (*MISSING, "The request must contain the parameter Tags.")),
        ("TagQueue", {"Tags": {}}, (*MISSING, "The request must contain the parameter Tags.")),
        ("UntagQueue", {}, (*MISSING, "The request must contain the parameter TagKeys.")),
        ("UntagQueue", {"TagKeys": []}, (*REFUSED, KEY_TEXT)),
        ("UntagQueue", {"TagKeys": ["a", ""]}, (*REFUSED, KEY_TEXT)),
        ("UntagQueue", {"TagKeys": ["x" * 129]}, (*REFUSED, KEY_TEXT)),
    ],
)
async def test_requests_without_tags(sqs: Sqs, action: str, members: dict[str, Any], error: tuple[object, ...]) -> None:
    """Tags and TagKeys must be given."""
    assert (await sqs.ask(action, QueueUrl=await sqs.create(), **members)).error == error


async def test_fifty_tags(sqs: Sqs) -> None:
    """A queue has fifty tags, however they came; another value of one is no more."""
    url = await sqs.create()
    for start in (0, 25):
        await sqs("TagQueue", QueueUrl=url, Tags={f"k{i}": "x" for i in range(start, start + 25)})
    reply = await sqs.ask("TagQueue", QueueUrl=url, Tags={"k50": "x"})
    assert reply.error == (*REFUSED, "Too many tags added for queue q.")
    await sqs("TagQueue", QueueUrl=url, Tags={"k49": "y"})
    assert len(await tags(sqs, url)) == 50


async def test_no_tag_is_lost(sqs: Sqs, redis_server: RedisServer) -> None:
    """Two questds that tag one queue at the same time do not undo each other."""
    url = await sqs.create()
    async with serving(redis_server.url) as other:
        calls = [server("TagQueue", QueueUrl=url, Tags={f"k{i}": "x"}) for i in range(20) for server in (sqs, other)]
        await asyncio.gather(*calls)
    assert set(await tags(sqs, url)) == {f"k{i}" for i in range(20)}
