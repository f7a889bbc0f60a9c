"""Permissions over HTTP (contract 2.15, 2.16, 9.1)."""

import asyncio
import json
from typing import Any

import pytest

from tests.client import Sqs, serving
from tests.servers import RedisServer

ARN = "arn:aws:sqs:us-east-1:000000000000:q"
ONE = {"AWSAccountIds": ["444455556666"], "Actions": ["ReceiveMessage"]}


async def policy(sqs: Sqs, url: str) -> dict[str, Any]:
    """Return the policy of a queue; {} for none."""
    reply = await sqs("GetQueueAttributes", QueueUrl=url, AttributeNames=["Policy"])
    found: dict[str, Any] = json.loads(reply["Attributes"]["Policy"]) if reply else {}
    return found


def statement(label: str, principal: Any, action: Any) -> dict[str, Any]:
    """Return the statement that AddPermission makes."""
    return {"Sid": label, "Effect": "Allow", "Principal": {"AWS": principal}, "Action": action, "Resource": ARN}


async def test_the_document(sqs: Sqs) -> None:
    """AddPermission makes AWS's document and appends to it; removing the last statement removes it (contract 9.1)."""
    url = await sqs.create()
    root = "arn:aws:iam::444455556666:root"
    other = "arn:aws:iam::111122223333:root"
    await sqs("AddPermission", QueueUrl=url, Label="L1", **ONE)
    expected = {
        "Version": "2008-10-17",
        "Id": f"{ARN}/SQSDefaultPolicy",
        "Statement": [statement("L1", root, "SQS:ReceiveMessage")],
    }
    assert await policy(sqs, url) == expected
    both = {"AWSAccountIds": ["444455556666", "111122223333"], "Actions": ["SendMessage", "*"]}
    await sqs("AddPermission", QueueUrl=url, Label="L2", **both)
    expected["Statement"] += [statement("L2", [root, other], ["SQS:SendMessage", "SQS:*"])]  # type: ignore[operator]
    assert await policy(sqs, url) == expected
    await sqs("RemovePermission", QueueUrl=url, Label="L1")
    assert [one["Sid"] for one in (await policy(sqs, url))["Statement"]] == ["L2"]
    await sqs("RemovePermission", QueueUrl=url, Label="L2")
    assert await policy(sqs, url) == {}


async def test_adding_to_a_policy_that_was_set(sqs: Sqs) -> None:
    """A statement joins a policy that was set, whose version stays; its single statement becomes a list."""
    url = await sqs.create()
    own = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Principal": "*", "Action": "sqs:*"}}
    await sqs("SetQueueAttributes", QueueUrl=url, Attributes={"Policy": json.dumps(own)})
    await sqs("AddPermission", QueueUrl=url, Label="L", **ONE)
    found = await policy(sqs, url)
    assert found["Version"] == "2012-10-17"
    assert found["Statement"][0] == own["Statement"]
    assert found["Statement"][1]["Sid"] == "L"


OWNER_ONLY = " for parameter ActionName is invalid. Reason: Only the queue owner is allowed to invoke this action."
WSDL = (
    " for parameter ActionName is invalid. Reason: Please refer to the appropriate WSDL for a list of valid actions. "
)
LABEL = (
    " for parameter Label is invalid. Reason: Can only include alphanumeric characters, hyphens, or underscores. "
    "1 to 80 in length"
)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (
            {"Label": "there"},
            "InvalidParameterValue",
            "Value there for parameter Label is invalid. Reason: Already exists.",
        ),
        ({"Label": "a b"}, "InvalidParameterValue", f"Value a b{LABEL}"),
        ({"Label": ""}, "MissingParameter", "The request must contain the parameter Label."),
        ({"Label": None}, "MissingParameter", "The request must contain the parameter Label."),
        ({"Actions": []}, "MissingParameter", "The request must contain the parameter Actions."),
        ({"Actions": ["RemovePermission"]}, "InvalidParameterValue", f"Value SQS:RemovePermission{OWNER_ONLY}"),
        ({"Actions": ["Fly"]}, "InvalidParameterValue", f"Value SQS:Fly{WSDL}"),
        ({"Actions": ["SendMessage"] * 8}, "OverLimit", "8 Actions were found, maximum allowed is 7."),
        (
            {"AWSAccountIds": []},
            "InvalidParameterValue",
            "Value [] for parameter PrincipalId is invalid. Reason: Unable to verify.",
        ),
        (
            {"AWSAccountIds": None},
            "InvalidParameterValue",
            "Value [] for parameter PrincipalId is invalid. Reason: Unable to verify.",
        ),
        (
            {"AWSAccountIds": ["444455556666"] * 51},
            "OverLimit",
            "51 Principals were found, maximum allowed is 50.",
        ),
        ({"Actions": ["SendMessageBatch"]}, "InvalidParameterValue", f"Value SQS:SendMessageBatch{WSDL}"),
        ({"Actions": ["SendMessage", "TagQueue"]}, "InvalidParameterValue", f"Value SQS:TagQueue{OWNER_ONLY}"),
        ({"Label": "x" * 81}, "InvalidParameterValue", f"Value {'x' * 81}{LABEL}"),
        (
            {"AWSAccountIds": ["me"]},
            "InvalidParameterValue",
            "Value [me] for parameter PrincipalId is invalid. Reason: Unable to verify.",
        ),
    ],
)
async def test_permissions_that_are_none(sqs: Sqs, change: dict[str, Any], code: str, text: str) -> None:
    """What AddPermission refuses, in AWS's words (contract 2.15)."""
    url = await sqs.create()
    await sqs("AddPermission", QueueUrl=url, Label="there", **ONE)
    reply = await sqs.ask("AddPermission", QueueUrl=url, **{"Label": "new", **ONE, **change})
    assert (reply.error[1], reply.error[3]) == (code, text)
    assert len((await policy(sqs, url))["Statement"]) == 1


async def test_twenty_statements(sqs: Sqs) -> None:
    """A policy has at most twenty statements, added or set."""
    url = await sqs.create()
    for number in range(20):
        await sqs("AddPermission", QueueUrl=url, Label=f"L{number}", **ONE)
    reply = await sqs.ask("AddPermission", QueueUrl=url, Label="more", **ONE)
    assert reply.error[:2] == (403, "OverLimit")
    assert reply.error[3] == "21 Statements were found, maximum allowed is 20."
    document = json.dumps({"Statement": [{"Effect": "Allow"}] * 22})
    reply = await sqs.ask("SetQueueAttributes", QueueUrl=url, Attributes={"Policy": document})
    assert reply.error[3] == "22 statements were found in the submitted policy, max allowed is 20"


async def test_removing_what_is_not_there(sqs: Sqs) -> None:
    """An unknown label is an error, with a policy and without (contract 2.16)."""
    url = await sqs.create()
    reply = await sqs.ask("RemovePermission", QueueUrl=url, Label="X")
    assert reply.error[3] == "Value X for parameter Label is invalid. Reason: can't find label."
    await sqs("AddPermission", QueueUrl=url, Label="L", **ONE)
    reply = await sqs.ask("RemovePermission", QueueUrl=url, Label="X")
    assert reply.error[3] == "Value X for parameter Label is invalid. Reason: can't find label on existing policy."


async def test_a_policy_that_is_full(sqs: Sqs) -> None:
    """A permission that makes the policy longer than 8192 bytes is refused, and changes nothing (contract 9.1)."""
    url = await sqs.create()
    many = {"AWSAccountIds": ["444455556666"] * 50, "Actions": ["*"]}
    for number in range(4):
        await sqs("AddPermission", QueueUrl=url, Label=f"L{number}", **many)
    reply = await sqs.ask("AddPermission", QueueUrl=url, Label="L4", **many)
    assert reply.error == (403, "OverLimit", "OverLimit", "Submitted policy is over max allowed size.")
    assert len((await policy(sqs, url))["Statement"]) == 4


async def test_no_permission_is_lost(sqs: Sqs, redis_server: RedisServer) -> None:
    """Of permissions that two questds add at the same time none is lost, and each label is added once."""
    url = await sqs.create()
    async with serving(redis_server.url) as other:
        turns = [(server, f"L{number}") for number in range(10) for server in (sqs, other)]
        asked = [server.ask("AddPermission", QueueUrl=url, Label=label, **ONE) for server, label in turns]
        replies = await asyncio.gather(*asked)
    assert sorted(reply.status for reply in replies) == [200] * 10 + [400] * 10
    assert sorted(one["Sid"] for one in (await policy(sqs, url))["Statement"]) == [f"L{number}" for number in range(10)]
