"""Entries of batches: what refuses all of them, which are wrong, and that both ways to read them agree."""

from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import to_json

from questd import errors
from questd.actions import ACTIONS
from questd.batch_entries import SendMessageBatchRequestEntry, Wrong, one_by_one
from questd.batches import BatchAction
from questd.namespaces import NOWHERE
from tests.client import Sqs
from tests.test_batches import ACTIONS as NAMES
from tests.test_batches import entries


@pytest.mark.parametrize("action", NAMES)
async def test_what_refuses_a_whole_batch(sqs: Sqs, action: str) -> None:
    """No entry, more than ten, a bad id, an id twice: nothing is done, and AWS's code and words (contract 8.1)."""
    url = await sqs.create()
    prefix = "AWS.SimpleQueueService"
    twice = [*entries(3), entries(3)[2]]
    for given, name, text in [
        ([], "EmptyBatchRequest", f"There should be at least one {action}RequestEntry in the request."),
        (
            entries(20),
            "TooManyEntriesInBatchRequest",
            "Maximum number of entries per request are 10. You have sent 20.",
        ),
        (twice, "BatchEntryIdsNotDistinct", "Id id_2 repeated."),
    ]:
        reply = await sqs.ask(action, QueueUrl=url, Entries=given)
        assert reply.error == (400, f"{prefix}.{name}", name, text)
    for bad in ("", "a b", "ä", "x" * 81, "a\n"):
        reply = await sqs.ask(action, QueueUrl=url, Entries=[*entries(1), entries(2)[1] | {"Id": bad}])
        assert reply.error == (
            400,
            f"{prefix}.InvalidBatchEntryId",
            "InvalidBatchEntryId",
            (
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long."
            ),
        )
    assert await sqs.counts(url) == (0, 0, 0)


@pytest.mark.parametrize("action", NAMES)
async def test_an_entry_without_id_or_a_list_that_is_none(sqs: Sqs, action: str) -> None:
    """An entry must have an Id, Entries must be a list of objects, and must be there."""
    url = await sqs.create()
    reply = await sqs.ask(action, QueueUrl=url, Entries=[*entries(1), {"MessageBody": "x"}])
    assert reply.error[3] == f"The request must contain the parameter {action}RequestEntry.2.Id."
    assert (await sqs.ask(action, QueueUrl=url)).error[1] == "MissingParameter"
    for wrong in ("x", {"Id": "x"}, [1]):
        assert (await sqs.ask(action, QueueUrl=url, Entries=wrong)).error[1] == "MalformedInput"


async def test_an_entry_is_read_alike_beside_a_wrong_one(sqs: Sqs) -> None:
    """Entries of a batch that is right are read at once, others one by one; what is stored of them is the same."""
    url = await sqs.create()
    attributes = {
        "text": {"DataType": "String", "StringValue": "ä"},
        "bytes": {"DataType": "Binary.png", "BinaryValue": "AAE="},
    }
    given = [
        {"Id": "0", "MessageBody": "ä\U0001f600", "DelaySeconds": "0", "MessageAttributes": attributes},
        {"Id": "1", "MessageBody": "x", "DelaySeconds": None, "MessageGroupId": "g", "Unknown": 5},
    ]
    received = []
    for wrong in ([], [{"Id": "2", "MessageBody": ""}]):
        reply = await sqs("SendMessageBatch", QueueUrl=url, Entries=[*given, *wrong])
        assert [entry["Id"] for entry in reply["Successful"]] == ["0", "1"]
        assert len(reply.get("Failed", [])) == len(wrong)
        both = await sqs.receive(
            url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], MessageSystemAttributeNames=["MessageGroupId"]
        )
        received.append([(each["Body"], each.get("MessageAttributes"), each.get("Attributes")) for each in both])
    assert received[0] == received[1]
    assert received[0][0] == ("ä\U0001f600", attributes, None)
    assert received[0][1] == ("x", None, {"MessageGroupId": "g"})


@pytest.mark.parametrize(
    ("action", "member", "wrong"),
    [
        ("SendMessageBatch", "DelaySeconds", True),
        ("SendMessageBatch", "MessageBody", 5),
        ("SendMessageBatch", "Id", 5),
        ("SendMessageBatch", "MessageAttributes", {"a": {"DataType": "Binary", "BinaryValue": "not base64"}}),
        ("DeleteMessageBatch", "ReceiptHandle", ["x"]),
        ("ChangeMessageVisibilityBatch", "VisibilityTimeout", "abc"),
    ],
)
async def test_an_entry_that_cannot_be_read_refuses_the_batch(
    sqs: Sqs, action: str, member: str, wrong: object
) -> None:
    """A value of the wrong type is no entry's failure: the request as a whole cannot be read, whatever else is wrong."""
    url = await sqs.create()
    given = entries(3)
    given[0]["Id"] = "not an id"
    given[2][member] = wrong
    reply = await sqs.ask(action, QueueUrl=url, Entries=given)
    assert reply.error[:3] == (400, "MalformedInput", "SerializationException")
    assert await sqs.counts(url) == (0, 0, 0)


async def test_a_member_that_is_null_is_absent(sqs: Sqs) -> None:
    """An entry whose body is null has none, and fails alone."""
    url = await sqs.create()
    given = entries(2)
    given[0] |= {"MessageBody": None, "MessageAttributes": None}
    reply = await sqs("SendMessageBatch", QueueUrl=url, Entries=given)
    assert [entry["Id"] for entry in reply["Successful"]] == ["id_1"]
    assert [(entry["Id"], entry["Code"]) for entry in reply["Failed"]] == [("id_0", "MissingParameter")]


VALUES: dict[str, list[object]] = {
    "Id": ["a", "Z9-_", "x" * 80, "x" * 81, "", "a b", "a\n", "\na", "ä", "٣", None, 5],
    "MessageBody": [
        "x",
        "ä\U0001f600",
        "\t\r\n",
        "",
        "\x00",
        "a\x1f",
        "\x7f",
        "\ufffe",
        "\uffff",
        "\ufffd",
        None,
        5,
        ["x"],
    ],
    "ReceiptHandle": ["x", "", None, 5],
    "VisibilityTimeout": [0, 43200, "7", -1, 43201, "x", True, 1.5, None],
    "DelaySeconds": [0, 900, "7", -1, 901, "x", True, 1.5, None],
    "MessageGroupId": ["g", "", "x" * 129, "a b", None],
    "MessageDeduplicationId": ["d", "", "x" * 129, None],
    "MessageAttributes": [
        {"a": {"DataType": "String", "StringValue": "x"}},
        {"a": {"DataType": "String"}},
        {},
        None,
        5,
    ],
    "Unknown": [5, None],
}


def _read(model: Any, given: list[dict[str, Any]]) -> list[Any] | None:
    try:
        found: list[Any] = model.model_validate_json(
            to_json({"QueueUrl": "q", "Entries": given}), context=NOWHERE
        ).Entries
    except ValidationError:
        return None
    return found


@pytest.mark.parametrize("name", NAMES)
def test_both_ways_to_read_a_batch_agree(name: str) -> None:
    """What reads a right batch at once takes just those of which none is wrong to who looks one by one, as the same."""
    action = ACTIONS[name]
    assert issubclass(action, BatchAction)
    seen = set()
    for member, values in VALUES.items():
        for value in values:
            given = entries(2)
            given[1][member] = value
            slowly = _read(one_by_one(action.entry_model), given)
            right = slowly is not None and not any(isinstance(entry, Wrong) for entry in slowly)
            at_once = _read(action, given)
            assert (at_once is not None) == right, (member, value)
            if slowly and at_once:
                told = [
                    {key: value for key, value in entry.items() if value is not None} for entry in (*slowly, *at_once)
                ]
                assert told[:2] == told[2:], (member, value)
            seen.add(right)
    assert seen == {True, False}


def test_what_was_not_given_is_not_there() -> None:
    """An entry of a right batch has what came and is known, and nothing else: a bare body is told by that."""
    read = _read(ACTIONS["SendMessageBatch"], [{"Id": "a", "MessageBody": "ä", "Unknown": 1}])
    assert read == [{"Id": "a", "MessageBody": "ä".encode()}]


def test_each_wrong_one_has_its_reason() -> None:
    """Of wrong entries each is told why, by its number where that is part of it; what came with it stays."""
    given = [{"Id": "a", "MessageBody": ""}, {"Id": "b", "MessageBody": "\x01"}, {"Id": "c", "MessageBody": "x"}]
    first, second, third = _read(one_by_one(SendMessageBatchRequestEntry), given) or [None] * 3
    assert first.error.message == errors.MissingParameter("SendMessageBatchRequestEntry.1.MessageBody").message
    assert isinstance(second.error, errors.InvalidMessageContents)
    assert second.given == given[1]
    assert third["MessageBody"] == b"x"
