"""SendMessage, ReceiveMessage, DeleteMessage, ChangeMessageVisibility: one message, or one receive.

What a stored message is made of is written here and in lua/quest.lua.
"""

import hashlib
import struct
from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Any

import msgpack
from pydantic import AfterValidator, BaseModel, ConfigDict

from questd import errors, message_attributes
from questd.action import Facts, Integer, Questd, QueueAction, Request, Strings, between, missing
from questd.identifiers import as_text, new_id
from questd.library import key_of
from questd.longpoll import FIRST, MORE, SERVER_TIME

RECORD = struct.Struct(">6s16sI")
"""How a record begins: sent ms, MessageId, length of the head. Head (a msgpack map) and body follow."""

PATIENCE_MS = 5000
"""A receive that reaches Redis later than this after it was asked for hands nothing out: its client has its 503."""

ID_LENGTH = 128

FIRST_SEQUENCE_NUMBER = 18_800_000_000_000_000_000

Entry = tuple[bytes, str | int, bytes, bytes, str, bytes]
"""A message as quest_send takes it."""

RECEIVE_ATTRIBUTES = frozenset(
    "All SenderId SentTimestamp ApproximateReceiveCount ApproximateFirstReceiveTimestamp SequenceNumber "
    "MessageDeduplicationId MessageGroupId AWSTraceHeader DeadLetterQueueSourceArn".split()
)
"""The system attributes of a received message (contract 4.6)."""

SHOWN_AS_STORED = ("AWSTraceHeader", "MessageGroupId", "MessageDeduplicationId")

QUEUE_ATTRIBUTES = frozenset(
    "Policy VisibilityTimeout MaximumMessageSize MessageRetentionPeriod ApproximateNumberOfMessages "
    "ApproximateNumberOfMessagesNotVisible CreatedTimestamp LastModifiedTimestamp QueueArn "
    "ApproximateNumberOfMessagesDelayed DelaySeconds ReceiveMessageWaitTimeSeconds RedrivePolicy FifoQueue "
    "ContentBasedDeduplication KmsMasterKeyId KmsDataKeyReusePeriodSeconds DeduplicationScope FifoThroughputLimit "
    "RedriveAllowPolicy SqsManagedSseEnabled".split()
)
"""Names of queue attributes: AttributeNames of ReceiveMessage allows them, without effect."""


def _id_of_128(value: str, name: str) -> str:
    if not (0 < len(value) <= ID_LENGTH and value.isascii() and value.isprintable() and " " not in value):
        raise errors.InvalidParameter(
            value, name, f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        )
    return value


def _body(value: str) -> str:
    if not value:
        raise missing("MessageBody")
    return message_attributes.check_characters(value)


def _receipt_handle(value: str) -> str:
    if not value:
        raise missing("ReceiptHandle")
    return value


def _known_attributes(names: list[str]) -> list[str]:
    for name in names:
        if name not in RECEIVE_ATTRIBUTES and name not in QUEUE_ATTRIBUTES:
            raise errors.UnknownAttribute(name)
    return names


Handle = Annotated[str, AfterValidator(_receipt_handle)]
GroupId = Annotated[str, AfterValidator(lambda value: _id_of_128(value, "MessageGroupId"))]
DeduplicationId = Annotated[str, AfterValidator(lambda value: _id_of_128(value, "MessageDeduplicationId"))]
AttemptId = Annotated[str, AfterValidator(lambda value: _id_of_128(value, "ReceiveRequestAttemptId"))]
KnownNames = Annotated[Strings, AfterValidator(_known_attributes)]


class Content(BaseModel):
    """What of a message counts towards its size, whatever else is wrong with it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    MessageBody: str = ""
    MessageAttributes: message_attributes.Values | None = None

    def size(self) -> int:
        """Return the bytes that count: body and user attributes (contract 4.4)."""
        size = len(self.MessageBody.encode())
        return size + message_attributes.size(self.MessageAttributes) if self.MessageAttributes else size


class Message(Content):
    """What SendMessage and an entry of SendMessageBatch have in common."""

    MessageBody: Annotated[str, AfterValidator(_body)]
    DelaySeconds: Annotated[Integer, between(0, 900, "DelaySeconds must be >= 0 and <= 900.")] | None = None
    MessageAttributes: message_attributes.UserAttributes | None = None
    MessageSystemAttributes: message_attributes.SystemAttributes | None = None
    MessageDeduplicationId: DeduplicationId | None = None
    MessageGroupId: GroupId | None = None

    def check(self, facts: Facts) -> None:
        """Raise what is wrong with it in this queue, or in a queue of this type (contract 2.8)."""
        if not facts.FifoQueue:
            if self.MessageDeduplicationId is not None:
                raise errors.InvalidParameter(
                    self.MessageDeduplicationId,
                    "MessageDeduplicationId",
                    "The request includes a parameter that is not valid for this queue type.",
                )
            return
        if self.DelaySeconds:
            raise errors.InvalidParameter(
                self.DelaySeconds,
                "DelaySeconds",
                "The request include parameter that is not valid for this queue type.",
            )
        if self.MessageGroupId is None:
            raise missing("MessageGroupId")
        if self.MessageDeduplicationId is None and not facts.ContentBasedDeduplication:
            raise errors.NoDeduplicationId

    def stored(self, message_id: bytes, facts: Facts, request: Request) -> Entry:
        """Return what quest_send gets for this message."""
        body = self.MessageBody.encode()
        group = self.MessageGroupId or ""
        if not facts.FifoQueue:
            delay_ms = "" if self.DelaySeconds is None else self.DelaySeconds * 1000
            return message_id, delay_ms, self._head(request, None), body, group, b""
        deduplication_id = self.MessageDeduplicationId or hashlib.sha256(body).hexdigest()
        scope = group if facts.scope == "messageGroup" else ""
        digest = hashlib.sha1(f"{scope} {deduplication_id}".encode(), usedforsecurity=False).digest()
        return message_id, "", self._head(request, deduplication_id), body, group, digest

    def _head(self, request: Request, deduplication_id: str | None) -> bytes:
        head: dict[str, Any] = {}
        if self.MessageAttributes:
            head["MessageAttributes"] = message_attributes.pack(self.MessageAttributes)
        trace = (self.MessageSystemAttributes or {}).get("AWSTraceHeader")
        trace_header = trace.StringValue if trace else request.headers.get("x-amzn-trace-id")
        if trace_header:  # an HTTP header may hold bytes that are no text
            head["AWSTraceHeader"] = trace_header.encode(errors="replace").decode()
        if self.MessageGroupId:
            head["MessageGroupId"] = self.MessageGroupId
        if deduplication_id:
            head["MessageDeduplicationId"] = deduplication_id
        if request.sender:
            head["SenderId"] = request.sender
        return msgpack.packb(head, use_bin_type=False) if head else b""

    def receipt(self, message_id: bytes, sequence: int | None) -> dict[str, Any]:
        """Return what the sender gets to know of the stored message; `sequence` in a FIFO queue only."""
        result = {"MD5OfMessageBody": _md5(self.MessageBody.encode()), "MessageId": as_text(message_id)}
        if self.MessageAttributes:
            result["MD5OfMessageAttributes"] = message_attributes.md5(self.MessageAttributes)
        if self.MessageSystemAttributes:
            result["MD5OfMessageSystemAttributes"] = message_attributes.md5(self.MessageSystemAttributes)
        if sequence is not None:
            result["SequenceNumber"] = _sequence_number(sequence)
        return result


def _sequence_number(sequence: int) -> str:
    """Return a sequence as AWS shows it: 20 digits, never fewer."""
    return str(FIRST_SEQUENCE_NUMBER + sequence)


def sent(message_id: bytes, reply: list[Any], place: int = 0) -> tuple[bytes, int | None]:
    """Return MessageId and sequence of a message: quest_send's reply says both in a FIFO queue only."""
    fifo = len(reply) > 1
    return (reply[2 * place + 1], reply[2 * place]) if fifo else (message_id, None)


def _readable(body: bytes) -> tuple[bytes, str]:
    """Return a body and its text. What a Redis client sent may be no text of SQS; the digest must fit what is shown."""
    text = body.decode(errors="replace")
    if not text.isprintable():
        text = message_attributes.FORBIDDEN.sub("\ufffd", text)
    return (text.encode(), text) if "\ufffd" in text else (body, text)


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


class SendMessage(Message, QueueAction):
    """Put a message into a queue."""

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any]:
        """Store it; the answer has its MessageId and digests."""
        message_id = new_id()

        def arguments(facts: Facts) -> Entry:
            self.check(facts)
            if self.size() > facts.MaximumMessageSize:
                raise errors.MessageTooLong(facts.MaximumMessageSize)
            return self.stored(message_id, facts, request)

        reply = await questd.ask("quest_send", self.QueueUrl, arguments)
        return self.receipt(*sent(message_id, reply))


class _WaitChanged(Exception):
    """The queue's ReceiveMessageWaitTimeSeconds is another one by now."""


class ReceiveMessage(QueueAction):
    """Take up to ten visible messages and hide them for a while."""

    MaxNumberOfMessages: Annotated[Integer, between(1, 10, "Must be between 1 and 10, if provided.")] | None = None
    VisibilityTimeout: Annotated[Integer, between(0, 43200, "Must be >= 0 and <= 43200, if provided.")] | None = None
    WaitTimeSeconds: Annotated[Integer, between(0, 20, "Must be >= 0 and <= 20, if provided.")] | None = None
    AttributeNames: KnownNames | None = None
    MessageSystemAttributeNames: KnownNames | None = None
    MessageAttributeNames: Strings | None = None
    ReceiveRequestAttemptId: AttemptId | None = None

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The user attributes asked for, each once."""
        return frozenset(self.MessageAttributeNames or ())

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any]:
        """Ask once, or wait for messages; what nobody can be given goes back."""
        reply = await self._received(questd)
        if len(reply) <= FIRST:
            return {}
        request.undo = lambda: self._give_back(questd, reply)
        return {"Messages": [self._message(questd, *reply[i : i + 4]) for i in range(FIRST, len(reply), 4)]}

    async def _received(self, questd: Questd) -> list[Any]:
        """Return the reply of quest_receive, waited for as long as the request says, else as the queue says by now."""
        while True:
            wait_seconds = self.WaitTimeSeconds
            if wait_seconds is None:
                wait_seconds = (await questd.facts_of(self.QueueUrl)).ReceiveMessageWaitTimeSeconds
            try:
                if wait_seconds:
                    return await self._poll(questd, wait_seconds)
                reply = await self._ask(questd, 0, 0, 0)
                while len(reply) == FIRST and reply[MORE]:
                    reply = await self._ask(questd, 0, 0, 0)
            except _WaitChanged:
                continue
            return reply

    async def _poll(self, questd: Questd, wait_seconds: int) -> list[Any]:
        async def ask(wait_ms: int, others_ms: int) -> list[Any]:
            return await self._ask(questd, wait_seconds, wait_ms, others_ms)

        try:
            return await questd.polls.receive(key_of(self.QueueUrl), wait_seconds, ask)
        except errors.TooManyInFlight:  # a long poll is told nothing of it (contract 2.10)
            return []

    async def _ask(self, questd: Questd, wait_seconds: int, wait_ms: int, others_ms: int) -> list[Any]:
        visibility_ms = "" if self.VisibilityTimeout is None else self.VisibilityTimeout * 1000
        process = questd.polls.name(key_of(self.QueueUrl))
        now_ms = questd.now_ms(process)
        not_after = "" if now_ms is None else round(now_ms + PATIENCE_MS)
        limits = (not_after, questd.settings.max_in_flight, self.ReceiveRequestAttemptId or "")
        max_number = self.MaxNumberOfMessages or 1

        def arguments(facts: Facts) -> tuple[int | str, ...]:
            if self.WaitTimeSeconds is None and facts.ReceiveMessageWaitTimeSeconds != wait_seconds:
                raise _WaitChanged
            return max_number, visibility_ms, *limits, process, wait_ms, others_ms, 1

        reply = await questd.ask(
            "quest_receive", self.QueueUrl, arguments, abandoned=lambda reply: self._give_back(questd, reply)
        )
        questd.note_time(process, reply[SERVER_TIME])
        return reply

    def _give_back(self, questd: Questd, reply: list[Any]) -> None:
        """Undo a receive whose client has gone."""
        if len(reply) > FIRST and reply[0] != b"facts":
            questd.library.send("quest_give_back", key_of(self.QueueUrl), *reply[FIRST::4])

    def _message(self, questd: Questd, handle: bytes, record: bytes, count: int, first_ms: int) -> dict[str, Any]:
        sent_ms, message_id, length = RECORD.unpack_from(record)
        head = msgpack.unpackb(record[RECORD.size : RECORD.size + length]) if length else {}
        body, text = _readable(record[RECORD.size + length :])
        message: dict[str, Any] = {
            "MessageId": as_text(message_id),
            "ReceiptHandle": handle.decode(),
            "MD5OfBody": _md5(body),
            "Body": text,
        }
        names = {*(self.AttributeNames or ()), *(self.MessageSystemAttributeNames or ())}
        if names:
            attributes = _system_attributes(questd, head, int.from_bytes(sent_ms), count, first_ms)
            if "MessageDeduplicationId" in head:
                attributes["SequenceNumber"] = _sequence_number(int(handle.split(b"-")[1]))
            shown = {name: value for name, value in attributes.items() if "All" in names or name in names}
            if shown:
                message["Attributes"] = shown
        if "MessageAttributes" in head:
            message |= _user_attributes(head["MessageAttributes"], self.wanted)
        return message


def _system_attributes(questd: Questd, head: dict[str, Any], sent_ms: int, count: int, first_ms: int) -> dict[str, str]:
    """Return all that apply, as decimal text and AWS's names (contract 4.6)."""
    attributes = {
        "SenderId": head.get("SenderId", questd.settings.account),
        "SentTimestamp": str(head.get("SentTimestamp", sent_ms)),
        "ApproximateReceiveCount": str(count + head.get("ReceiveCount", 0)),
        "ApproximateFirstReceiveTimestamp": str(head.get("FirstReceive_ms", first_ms)),
    }
    attributes |= {name: head[name] for name in SHOWN_AS_STORED if name in head}
    if "DeadLetterQueueSource" in head:
        attributes["DeadLetterQueueSourceArn"] = questd.arn(head["DeadLetterQueueSource"])
    return attributes


def _user_attributes(packed: str, wanted: frozenset[str]) -> dict[str, Any]:
    """Return the attributes asked for, and the digest over just these (contract 4.2)."""
    chosen = message_attributes.selected(message_attributes.unpack(packed), wanted)
    if not chosen:
        return {}
    return {
        "MessageAttributes": message_attributes.shown(chosen),
        "MD5OfMessageAttributes": message_attributes.md5(chosen),
    }


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


class DeleteMessage(QueueAction):
    """Forget a message its consumer has finished with."""

    ReceiptHandle: Handle

    async def __call__(self, questd: Questd, _request: Request) -> None:
        """Delete it; gone already is as good."""
        reply = await questd.ask("quest_delete", self.QueueUrl, lambda _: (self.ReceiptHandle,), repeat=True)
        outcome(reply[0], self.ReceiptHandle)


class ChangeMessageVisibility(QueueAction):
    """Hide a received message for another time from now on; 0 shows it at once."""

    ReceiptHandle: Handle
    VisibilityTimeout: Annotated[Integer, between(0, 43200, "Must be between 0 and 43200.")]

    async def __call__(self, questd: Questd, _request: Request) -> None:
        """Change it."""
        arguments = (self.ReceiptHandle, self.VisibilityTimeout * 1000)
        reply = await questd.ask("quest_change_visibility", self.QueueUrl, lambda _: arguments, repeat=True)
        outcome(reply[0], self.ReceiptHandle, self.VisibilityTimeout)
