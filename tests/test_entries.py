"""Entries of batches: made of messages and lines, fit for their queue, and few enough for a batch."""

from typing import Any

import pytest
from pydantic_core import to_json

from questd import entries
from questd.entries import NotAMessage

ATTRIBUTES = {"a": {"DataType": "Binary", "BinaryValue": "AAE="}}
RECEIVED = {
    "MessageId": "m",
    "ReceiptHandle": "h",
    "Body": "x",
    "Attributes": {
        "SentTimestamp": "1",
        "MessageGroupId": "g",
        "MessageDeduplicationId": "d",
        "AWSTraceHeader": "Root=1",
    },
    "MessageAttributes": ATTRIBUTES,
}
ENTRY = {
    "MessageId": "m",
    "MessageBody": "x",
    "MessageAttributes": ATTRIBUTES,
    "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}},
    "MessageGroupId": "g",
    "MessageDeduplicationId": "d",
}


def test_of_a_message() -> None:
    """All that a message was sent with is in its entry."""
    assert entries.of_message(RECEIVED) == ENTRY
    assert entries.of_message({"Body": "x"}) == {"MessageBody": "x"}


def test_of_json() -> None:
    """A line is an entry or a received message; what is neither's is left out."""
    assert entries.of_json(to_json(RECEIVED)) == ENTRY
    assert entries.of_json(to_json(ENTRY | {"SentTimestamp": 1})) == ENTRY
    assert entries.of_json(b'{"MessageBody": "x", "DelaySeconds": 3}') == {"MessageBody": "x", "DelaySeconds": 3}


@pytest.mark.parametrize(
    ("line", "says"),
    [(b"x", "no JSON"), (b"[1]", "no JSON object"), (b'{"MesageBody": "x"}', "no MessageBody"), (b"\xff", "no JSON")],
)
def test_lines_that_are_no_message(line: bytes, says: str) -> None:
    """What is wrong with a line is told."""
    with pytest.raises(NotAMessage, match=says):
        entries.of_json(line)


def test_for_queues() -> None:
    """A standard queue gets no deduplication id, a FIFO queue one in any case; a group is for those without one."""
    bare: dict[str, Any] = {"MessageBody": "x", "MessageId": "m"}
    assert entries.for_queue(ENTRY, "q", None).keys() == ENTRY.keys() - {"MessageId", "MessageDeduplicationId"}
    assert entries.for_queue(ENTRY, "q.fifo", "other") == {name: ENTRY[name] for name in ENTRY if name != "MessageId"}
    assert entries.for_queue(bare, "q", None) == {"MessageBody": "x"}
    filled = {"MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "m"}
    assert entries.for_queue(bare, "q.fifo", "g") == filled


def test_batches() -> None:
    """A batch has ten entries at most, and no more bytes than every server takes unless one message has them alone."""
    small = [(number, {"MessageBody": "x"}) for number in range(12)]
    assert [[entry["Id"] for entry in batch] for batch in entries.batches(small)] == [
        [str(number) for number in range(10)],
        ["10", "11"],
    ]
    sizes = [100_000, 100_000, 100_000, 300_000, 1]
    large = [(number, {"MessageBody": "é" * (size // 2)}) for number, size in enumerate(sizes)]
    assert [len(batch) for batch in entries.batches(large)] == [2, 1, 1, 1]
    attribute = {"a": {"DataType": "Binary", "BinaryValue": b"x" * 200_000}}
    heavy = [(number, {"MessageBody": "x", "MessageAttributes": attribute}) for number in range(2)]
    assert [len(batch) for batch in entries.batches(heavy)] == [1, 1]
    assert list(entries.batches([])) == []


def test_failures() -> None:
    """Of the entries that failed the first is told."""
    assert entries.failure({"Successful": [{"Id": "1"}]}) is None
    failed = [{"Id": "10", "Code": "B"}, {"Id": "9", "Code": "A", "Message": "why"}]
    assert entries.failure({"Failed": failed}) == (9, "A: why")
