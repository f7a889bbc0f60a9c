"""ReceiveMessage: ask once, or wait; what was received as AWS shows it."""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar

import msgpack
from pydantic import AfterValidator

from questd import errors, message_attributes
from questd.action import CallAction, Meaning, Questd, TakesMore
from questd.facts import Facts
from questd.identifiers import as_text, as_texts
from questd.library import key_of
from questd.longpoll import FIRST, MORE, SERVER_TIME
from questd.members import Integer, Strings, between
from questd.messages import LARGE, MESSAGE_ID, RECORD, id_of_128, md5_of, sequence_number
from questd.queue_attributes import READABLE
from questd.request import Request

TOO_MANY = 2
"""What quest_receive says in the place of MORE to those that got nothing because too many messages are in flight."""

RECEIVE_ATTRIBUTES = frozenset(
    "All SenderId SentTimestamp ApproximateReceiveCount ApproximateFirstReceiveTimestamp SequenceNumber "
    "MessageDeduplicationId MessageGroupId AWSTraceHeader DeadLetterQueueSourceArn".split()
)
"""The system attributes of a received message (contract 4.6)."""

SHOWN_AS_STORED = ("AWSTraceHeader", "MessageGroupId", "MessageDeduplicationId")


def _known_attributes(names: list[str]) -> list[str]:
    """Return names that AWS takes: those of queue attributes too, without effect."""
    for name in names:
        if name not in RECEIVE_ATTRIBUTES and name not in READABLE:
            raise errors.UnknownAttribute(name)
    return names


AttemptId = Annotated[str, AfterValidator(lambda value: id_of_128(value, "ReceiveRequestAttemptId"))]
KnownNames = Annotated[Strings, AfterValidator(_known_attributes)]


class _WaitChanged(Exception):
    """The queue's ReceiveMessageWaitTimeSeconds is another one by now."""


class ReceiveMessage(CallAction):
    """Take up to ten visible messages and hide them for a while."""

    function: ClassVar[str] = "quest_receive"

    MaxNumberOfMessages: Annotated[Integer, between(1, 10, "Must be between 1 and 10, if provided.")] | None = None
    VisibilityTimeout: Annotated[Integer, between(0, 43200, "Must be >= 0 and <= 43200, if provided.")] | None = None
    WaitTimeSeconds: Annotated[Integer, between(0, 20, "Must be >= 0 and <= 20, if provided.")] | None = None
    AttributeNames: KnownNames | None = None
    MessageSystemAttributeNames: KnownNames | None = None
    MessageAttributeNames: Strings | None = None
    ReceiveRequestAttemptId: AttemptId | None = None

    @cached_property
    def names(self) -> frozenset[str]:
        """The system attributes asked for, each once."""
        return frozenset((*(self.AttributeNames or ()), *(self.MessageSystemAttributeNames or ())))

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The user attributes asked for, each once."""
        return frozenset(self.MessageAttributeNames or ())

    def asked(self, questd: Questd, request: Request, facts: Facts) -> tuple[Sequence[Any], Meaning]:
        """Ask once, if that is all."""
        wait_seconds = self.WaitTimeSeconds
        if facts.ReceiveMessageWaitTimeSeconds if wait_seconds is None else wait_seconds:
            raise TakesMore
        process = questd.polls.name(facts.key)

        def meaning(reply: list[Any]) -> dict[str, Any]:
            questd.note_time(process, reply[SERVER_TIME])
            if len(reply) == FIRST and reply[MORE]:
                raise TakesMore
            return self._given(questd, request, reply)

        return self._limits(questd, process, 0, 0), meaning

    def take_back(self, questd: Questd, reply: list[Any]) -> None:
        """Give back what was received for a client that has gone, or shall not rely on it."""
        if len(reply) > FIRST and reply[0] != b"facts":
            questd.library.send("quest_give_back", key_of(self.QueueUrl), *reply[FIRST::4])

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any]:
        """Ask once, or wait for messages; what nobody can be given goes back."""
        return self._given(questd, request, await self._received(questd, request))

    def _given(self, questd: Questd, request: Request, reply: list[Any]) -> dict[str, Any]:
        if len(reply) <= FIRST:
            return {}
        request.undo = lambda: self.take_back(questd, reply)
        if self.AttributeNames or self.MessageSystemAttributeNames or self.MessageAttributeNames:
            return {"Messages": [self.shown(questd, *reply[i : i + 4]) for i in range(FIRST, len(reply), 4)]}
        handles, records = reply[FIRST::4], reply[FIRST + 1 :: 4]
        if len(records) == 1:
            return {"Messages": [_content(as_text(records[0][MESSAGE_ID]), handles[0], records[0])]}
        ids = as_texts([record[MESSAGE_ID] for record in records])
        return {"Messages": list(map(_content, ids, handles, records))}

    def _limits(self, questd: Questd, process: str, wait_ms: int, others_ms: int) -> tuple[int | str, ...]:
        """Return what quest_receive gets after the version."""
        return (
            self.MaxNumberOfMessages or 1,
            "" if self.VisibilityTimeout is None else self.VisibilityTimeout * 1000,
            # A frozen Redis that thaws gives nothing to who has his 503.
            questd.not_after_ms(key_of(self.QueueUrl), process),
            questd.max_in_flight,
            self.ReceiveRequestAttemptId or "",
            process,
            wait_ms,
            others_ms,
            1,
        )

    async def _received(self, questd: Questd, request: Request) -> list[Any]:
        """Return the reply of quest_receive, waited for as long as the request says, else as the queue says by now."""
        while True:
            wait_seconds = self.WaitTimeSeconds
            if wait_seconds is None:
                wait_seconds = (await questd.facts_of(self.QueueUrl)).ReceiveMessageWaitTimeSeconds
            try:
                if wait_seconds:
                    return await self._poll(questd, request, wait_seconds)
                reply = await self._ask(questd, 0, 0, 0)
                while len(reply) == FIRST and reply[MORE]:
                    if reply[MORE] == TOO_MANY:
                        raise errors.TooManyInFlight
                    reply = await self._ask(questd, 0, 0, 0)
            except _WaitChanged:
                continue
            return reply

    async def _poll(self, questd: Questd, request: Request, wait_seconds: int) -> list[Any]:
        def slept(ns: int) -> None:
            request.waited_ns += ns
            questd.counts.add("long_poll_ns", ns)

        async def ask(wait_ms: int, others_ms: int) -> list[Any]:
            return await self._ask(questd, wait_seconds, wait_ms, others_ms)

        try:
            return await questd.polls.receive(key_of(self.QueueUrl), wait_seconds, ask, slept)
        except errors.TooManyInFlight:  # a long poll is told nothing of it (contract 2.10)
            return []

    async def _ask(self, questd: Questd, wait_seconds: int, wait_ms: int, others_ms: int) -> list[Any]:
        process = questd.polls.name(key_of(self.QueueUrl))
        limits = self._limits(questd, process, wait_ms, others_ms)

        def arguments(facts: Facts) -> tuple[int | str, ...]:
            if self.WaitTimeSeconds is None and facts.ReceiveMessageWaitTimeSeconds != wait_seconds:
                raise _WaitChanged
            return limits

        reply = await questd.ask(
            "quest_receive", self.QueueUrl, arguments, abandoned=lambda reply: self.take_back(questd, reply)
        )
        questd.note_time(process, reply[SERVER_TIME])
        return reply

    def shown(self, questd: Questd, handle: bytes, record: bytes, count: int, first_ms: int) -> dict[str, Any]:
        """Return a message as AWS shows it, with the attributes asked for; its sequence is the handle's second part."""
        message = _content(as_text(record[MESSAGE_ID]), handle, record)
        sent_ms, _, length = RECORD.unpack_from(record)
        head = _head(record, length)
        names = self.names
        if names:
            attributes = _system_attributes(questd, head, int.from_bytes(sent_ms), count, first_ms)
            if "MessageDeduplicationId" in head:
                attributes["SequenceNumber"] = sequence_number(int(handle.split(b"-")[1]))
            if "All" not in names:
                attributes = {name: value for name, value in attributes.items() if name in names}
            if attributes:
                message["Attributes"] = attributes
        if "MessageAttributes" in head:
            message |= _user_attributes(head["MessageAttributes"], self.wanted)
        return message


def _content(message_id: str, handle: bytes, record: bytes) -> dict[str, Any]:
    """Return a message without its attributes."""
    _, _, length = RECORD.unpack_from(record)
    body = record[RECORD.size + length :]
    known = _head(record, length).get("MD5OfBody") if len(body) >= LARGE else None
    md5, text = _readable(body, known)
    return {"MessageId": message_id, "ReceiptHandle": handle.decode(), "MD5OfBody": md5, "Body": text}


def _head(record: bytes, length: int) -> dict[str, Any]:
    """Return the head in a record. A Redis client may send anything as one: what is no map is none (lua/quest.lua)."""
    if not length:
        return {}
    try:
        head = msgpack.unpackb(record[RECORD.size : RECORD.size + length])
    except ValueError:
        return {}
    return head if isinstance(head, dict) else {}


def _system_attributes(questd: Questd, head: dict[str, Any], sent_ms: int, count: int, first_ms: int) -> dict[str, str]:
    """Return all that apply, as decimal text and AWS's names (contract 4.6)."""
    attributes = {
        "SenderId": head.get("SenderId", questd.settings.account),
        "SentTimestamp": str(head.get("SentTimestamp", sent_ms)),
        "ApproximateReceiveCount": str(count + head.get("ReceiveCount", 0)),
        "ApproximateFirstReceiveTimestamp": str(head.get("FirstReceive_ms", first_ms)),
    }
    if not head:
        return attributes
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


def _readable(body: bytes, known: str | None) -> tuple[str, str]:
    """Return the digest of a body and its text; `known` is the digest that was stored with it.

    What a Redis client sent may be no text of SQS; the digest must fit what is shown.
    """
    try:
        text = body.decode()
        if known or message_attributes.is_text(body):
            return known or md5_of(body), text
    except UnicodeDecodeError:
        text = body.decode(errors="replace")
    text = message_attributes.FORBIDDEN.sub("\ufffd", text)
    return md5_of(text.encode()), text
