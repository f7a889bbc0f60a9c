"""Entries: messages as SendMessageBatch takes them, made of received messages or of lines of JSON, in batches.

It knows AWS's names only; who reads, sends and deletes is not known here.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import from_json, to_json

Entry = dict[str, Any]
"""The members of a SendMessage, but for the queue; before it is for one in particular, its MessageId too."""

EVERYTHING: dict[str, Any] = {"AttributeNames": ["All"], "MessageAttributeNames": ["All"]}
"""What makes a receive show all that an entry is made of."""

BATCH = 10
"""Entries of a batch, as many as AWS allows."""

BATCH_SIZE = 256 * 1024
"""Bytes of a batch of several: every server takes so many."""

TRACE = "AWSTraceHeader"

SENT = ("MessageId", "MessageBody", "DelaySeconds", "MessageAttributes", "MessageSystemAttributes")
GROUPED = ("MessageGroupId", "MessageDeduplicationId")


class NotAMessage(Exception):
    """A line of a file is no message; the text says why."""


def of_message(message: Mapping[str, Any]) -> Entry:
    """Return what to send to get a message again that was received or peeked at."""
    attributes = message.get("Attributes", {})
    entry: Entry = {"MessageBody": message["Body"]}
    if "MessageId" in message:
        entry["MessageId"] = message["MessageId"]
    if "MessageAttributes" in message:
        entry["MessageAttributes"] = message["MessageAttributes"]
    if TRACE in attributes:
        entry["MessageSystemAttributes"] = {TRACE: {"DataType": "String", "StringValue": attributes[TRACE]}}
    return entry | {name: attributes[name] for name in GROUPED if name in attributes}


def of_json(line: bytes) -> Entry:
    """Return the entry in a line of JSON: as it was exported, or as a message is received. Raises NotAMessage."""
    try:
        found = from_json(line)
    except ValueError as error:
        raise NotAMessage(f"is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise NotAMessage("is no JSON object")
    if "Body" in found:
        return of_message(found)
    if "MessageBody" not in found:
        raise NotAMessage("has no MessageBody")
    return {name: found[name] for name in (*SENT, *GROUPED) if name in found}


def for_queue(entry: Entry, queue: str, group: str | None) -> Entry:
    """Return an entry as a queue takes it; `group` is for those without one.

    Only a FIFO queue has deduplication ids, and there a message that has none is told from others by its MessageId.
    """
    fitting = {"MessageGroupId": group} | entry if group else dict(entry)
    message_id = fitting.pop("MessageId", None)
    if not queue.endswith(".fifo"):
        fitting.pop("MessageDeduplicationId", None)
    elif message_id:
        fitting.setdefault("MessageDeduplicationId", message_id)
    return fitting


def batches(numbered: Iterable[tuple[int, Entry]]) -> Iterator[list[Entry]]:
    """Yield entries in batches, in their order; the Id of each is its number."""
    batch: list[Entry] = []
    size = 0
    for number, entry in numbered:
        length = _size(entry)
        if batch and (len(batch) == BATCH or size + length > BATCH_SIZE):
            yield batch
            batch, size = [], 0
        batch.append({"Id": str(number)} | entry)
        size += length
    if batch:
        yield batch


def _size(entry: Entry) -> int:
    """Return about how many bytes of a batch an entry takes, rather too many than too few."""
    return len(entry["MessageBody"].encode()) + len(to_json(entry.get("MessageAttributes", {}), bytes_mode="base64"))


def failure(reply: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return the number of the first entry of a batch that failed, and why; None when none did."""
    failed = sorted((int(one["Id"]), f"{one['Code']}: {one.get('Message', '')}") for one in reply.get("Failed", []))
    return failed[0] if failed else None
