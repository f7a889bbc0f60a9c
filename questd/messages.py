"""SendMessage, DeleteMessage, ChangeMessageVisibility: one message at a time. ReceiveMessage is in receive.py.

What a stored message is made of is written here and in lua/quest.lua.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

import msgpack
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from questd import errors, message_attributes
from questd.action import CallAction, Meaning, Questd
from questd.facts import Facts
from questd.identifiers import as_text, new_id
from questd.members import Integer, between
from questd.mistakes import missing
from questd.request import Request

try:
    from _md5 import md5 as md5_of_short  # type: ignore[import-not-found]
except ImportError:  # a Python built without it
    md5_of_short = partial(hashlib.md5, usedforsecurity=False)

SHORT = 512
"""Bytes of a body of which Python's own MD5 has the digest sooner than OpenSSL's, which is slow to begin and fast then:
of 100 bytes in 2,900 instructions, not 5,100; but of 1 KiB in 2.6 µs, not 2.3."""

LARGE = 4096
"""Bytes of a body from which on its digest is stored with it: to look at 64 KiB again takes each receive 120 µs."""

RECORD = struct.Struct(">6s16sI")
"""How a record begins: sent ms, MessageId, length of the head. Head (a msgpack map) and body follow."""

MESSAGE_ID = slice(6, 22)
"""Where a record has its MessageId."""

ID_LENGTH = 128

FIRST_SEQUENCE_NUMBER = 18_800_000_000_000_000_000

Entry = tuple[bytes, str | int, bytes, bytes, str, bytes]
"""A message as quest_send takes it."""


def id_of_128(value: str, name: str) -> str:
    """Return an id that is 1 to 128 printed characters; raises what AWS answers to another."""
    if not (0 < len(value) <= ID_LENGTH and value.isascii() and value.isprintable() and " " not in value):
        raise errors.InvalidParameter(
            value, name, f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        )
    return value


def _text(value: bytes) -> bytes:
    if not message_attributes.is_text(value):
        raise errors.InvalidMessageContents
    return value


Body = Annotated[bytes, Field(min_length=1)]
"""The UTF-8 of a text, whatever characters it has."""
Handle = Annotated[str, Field(min_length=1)]
GroupId = Annotated[str, AfterValidator(lambda value: id_of_128(value, "MessageGroupId"))]
DeduplicationId = Annotated[str, AfterValidator(lambda value: id_of_128(value, "MessageDeduplicationId"))]


Stamp = dict[str, str]
"""What a request says of each message that it sends, as it is stored."""


def stamp_of(request: Request) -> Stamp:
    """Return what a request says of its messages: its trace, and whom they are from."""
    stamp = {}
    trace_header = request.headers.get("x-amzn-trace-id")
    if trace_header:  # an HTTP header may hold bytes that are no text
        stamp["AWSTraceHeader"] = trace_header.encode(errors="replace").decode()
    if request.sender:
        stamp["SenderId"] = request.sender
    return stamp


Members = Mapping[str, Any]
"""Of a message, by AWS's names: what was not given may be None, or missing."""


class Content(BaseModel):
    """What of a message counts towards its size, whatever else is wrong with it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    MessageBody: bytes = b""
    MessageAttributes: message_attributes.Values | None = None


class Message(Content):
    """What SendMessage and an entry of SendMessageBatch have in common."""

    MessageBody: Annotated[Body, AfterValidator(_text)]
    DelaySeconds: Annotated[Integer, between(0, 900, "DelaySeconds must be >= 0 and <= 900.")] | None = None
    MessageAttributes: message_attributes.UserAttributes | None = None
    MessageSystemAttributes: message_attributes.SystemAttributes | None = None
    MessageDeduplicationId: DeduplicationId | None = None
    MessageGroupId: GroupId | None = None


def size(message: Members) -> int:
    """Return the bytes that count: body and user attributes (contract 4.4)."""
    attributes = message.get("MessageAttributes")
    return len(message["MessageBody"]) + (message_attributes.size(attributes) if attributes else 0)


def check(message: Members, facts: Facts) -> None:
    """Raise what is wrong with a message in this queue, or in a queue of this type (contract 2.8)."""
    deduplication_id = message.get("MessageDeduplicationId")
    if not facts.FifoQueue:
        if deduplication_id is not None:
            raise errors.InvalidParameter(
                deduplication_id,
                "MessageDeduplicationId",
                "The request includes a parameter that is not valid for this queue type.",
            )
        return
    if message.get("DelaySeconds"):
        raise errors.InvalidParameter(
            message["DelaySeconds"],
            "DelaySeconds",
            "The request include parameter that is not valid for this queue type.",
        )
    if message.get("MessageGroupId") is None:
        raise missing("MessageGroupId")
    if deduplication_id is None and not facts.ContentBasedDeduplication:
        raise errors.NoDeduplicationId


def stored(message: Members, message_id: bytes, facts: Facts, stamp: Stamp, md5: str) -> Entry:
    """Return what quest_send gets for a message; `md5` is its body's digest."""
    body = message["MessageBody"]
    group = message.get("MessageGroupId") or ""
    if len(body) >= LARGE:
        stamp = {**stamp, "MD5OfBody": md5}
    if not facts.FifoQueue:
        delay = message.get("DelaySeconds")
        return message_id, "" if delay is None else delay * 1000, head(message, stamp), body, group, b""
    deduplication_id = message.get("MessageDeduplicationId") or hashlib.sha256(body).hexdigest()
    scope = group if facts.scope == "messageGroup" else ""
    digest = hashlib.sha1(f"{scope} {deduplication_id}".encode(), usedforsecurity=False).digest()
    return message_id, "", head(message, stamp, deduplication_id), body, group, digest


def head(message: Members, stamp: Stamp, deduplication_id: str | None = None) -> bytes:
    """Return the head of a message's record."""
    parts: dict[str, Any] = {**stamp}
    if attributes := message.get("MessageAttributes"):
        parts["MessageAttributes"] = message_attributes.pack(attributes)
    if attributes := message.get("MessageSystemAttributes"):
        parts["AWSTraceHeader"] = attributes["AWSTraceHeader"].StringValue
    if group := message.get("MessageGroupId"):
        parts["MessageGroupId"] = group
    if deduplication_id:
        parts["MessageDeduplicationId"] = deduplication_id
    return msgpack.packb(parts, use_bin_type=False) if parts else b""


def receipt(message: Members, md5: str, message_id: bytes, sequence: int | None = None) -> dict[str, Any]:
    """Return what the sender gets to know of a stored message; `sequence` in a FIFO queue only."""
    result = {"MD5OfMessageBody": md5, "MessageId": as_text(message_id)}
    if attributes := message.get("MessageAttributes"):
        result["MD5OfMessageAttributes"] = message_attributes.md5(attributes)
    if attributes := message.get("MessageSystemAttributes"):
        result["MD5OfMessageSystemAttributes"] = message_attributes.md5(attributes)
    if sequence is not None:
        result["SequenceNumber"] = sequence_number(sequence)
    return result


def sequence_number(sequence: int) -> str:
    """Return a sequence as AWS shows it: 20 digits, never fewer."""
    return str(FIRST_SEQUENCE_NUMBER + sequence)


def sent(message_id: bytes, reply: list[Any], place: int = 0) -> tuple[bytes, int | None]:
    """Return MessageId and sequence of a message: quest_send's reply says both in a FIFO queue only."""
    fifo = len(reply) > 1
    return (reply[2 * place + 1], reply[2 * place]) if fifo else (message_id, None)


def md5_of(body: bytes) -> str:
    """Return the digest of a body."""
    digest = md5_of_short(body) if len(body) <= SHORT else hashlib.md5(body, usedforsecurity=False)
    return digest.hexdigest()


class SendMessage(Message, CallAction):
    """Put a message into a queue."""

    function: ClassVar[str] = "quest_send"

    def asked(self, questd: Questd, request: Request, facts: Facts) -> tuple[Sequence[Any], Meaning]:
        """Store it; the answer has its MessageId and digests."""
        message, message_id = vars(self), new_id()
        check(message, facts)
        if size(message) > facts.MaximumMessageSize:
            raise errors.MessageTooLong(facts.MaximumMessageSize)
        md5 = md5_of(self.MessageBody)
        entry = stored(message, message_id, facts, stamp_of(request), md5)
        return entry + questd.max_messages, lambda reply: receipt(message, md5, *sent(message_id, reply))


def outcome(status: bytes, handle: str, timeout: int | None = None) -> None:
    """Raise the error that Redis names for a receipt handle."""
    if status != b"OK":
        raise HANDLE_ERRORS[status.decode()](handle, timeout)


HANDLE_ERRORS: dict[str, Callable[[str, int | None], errors.SQSError]] = {
    "ReceiptHandleIsInvalid": lambda handle, _: errors.InvalidReceiptHandle(handle),
    "ReceiptHandleOfAnotherQueue": lambda handle, _: errors.ReceiptHandleOfAnotherQueue(handle),
    "ReceiptHandleExpired": lambda handle, _: errors.ReceiptHandleExpired(handle),
    "MessageNotAvailable": lambda handle, _: errors.MessageNotAvailable(handle),
    "TotalVisibilityTimeoutBeyondLimit": lambda _, timeout: errors.TotalVisibilityTimeoutBeyondLimit(timeout),
}


class DeleteMessage(CallAction):
    """Forget a message its consumer has finished with."""

    function: ClassVar[str] = "quest_delete"
    repeat: ClassVar[bool] = True

    ReceiptHandle: Handle

    def asked(self, _questd: Questd, _request: Request, _facts: Facts) -> tuple[Sequence[Any], Meaning]:
        """Delete it; gone already is as good."""
        return (self.ReceiptHandle,), lambda reply: outcome(reply[0], self.ReceiptHandle)


class ChangeMessageVisibility(CallAction):
    """Hide a received message for another time from now on; 0 shows it at once."""

    function: ClassVar[str] = "quest_change_visibility"
    repeat: ClassVar[bool] = True

    ReceiptHandle: Handle
    VisibilityTimeout: Annotated[Integer, between(0, 43200, "Must be between 0 and 43200.")]

    def asked(self, _questd: Questd, _request: Request, _facts: Facts) -> tuple[Sequence[Any], Meaning]:
        """Change it."""
        handle, timeout = self.ReceiptHandle, self.VisibilityTimeout
        return (handle, timeout * 1000), lambda reply: outcome(reply[0], handle, timeout)
