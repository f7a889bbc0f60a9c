"""The three batch actions: up to ten entries in one request and one call; each entry succeeds or fails alone."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

from questd import errors
from questd.action import Action, CallAction, Facts, Integer, Meaning, Questd, QueueAction, between
from questd.identifiers import new_id
from questd.messages import Content, Handle, Message, outcome, sent, stamp_of
from questd.mistakes import mistake
from questd.request import Request

MOST = 10
"""Entries of a batch (contract 8.1)."""

ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)


class _Entry(BaseModel):
    """One entry, named by its Id within the request."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    Id: str


_EntryT = TypeVar("_EntryT", bound=_Entry)


class SendMessageBatchRequestEntry(_Entry, Message):
    """A message of a batch."""

    def refused(self, facts: Facts, size: int) -> errors.SQSError | None:
        """Return why this queue does not take it."""
        try:
            self.check(facts)
        except errors.SQSError as error:
            return error
        most = facts.MaximumMessageSize
        return errors.BatchedMessageTooLong(most) if size > most else None


class DeleteMessageBatchRequestEntry(_Entry):
    """A handle of a message to delete."""

    ReceiptHandle: Handle


class ChangeMessageVisibilityBatchRequestEntry(_Entry):
    """A handle of a message to hide for another time."""

    ReceiptHandle: Handle
    VisibilityTimeout: Annotated[
        Integer, between(0, 43200, "VisibilityTimeout must be an integer between 0 and 43200.")
    ]


@dataclass(frozen=True)
class Wrong:
    """An entry that is wrong in itself: what came, and why it fails."""

    given: dict[str, Any]
    error: errors.SQSError

    @property
    def Id(self) -> str:
        """Its Id, which must be right all the same."""
        name: str = self.given["Id"]
        return name


def _looked_at(model: type[_Entry]) -> AfterValidator:
    """Return what makes entries out of a list of maps. Raises what makes a batch as a whole wrong (contract 8.1)."""
    kind = model.__name__

    def look(number: int, given: dict[str, Any]) -> _Entry | Wrong:
        try:
            return model.model_validate(given)
        except ValidationError as error:
            wrong = mistake(error)
            if isinstance(wrong, errors.SerializationException):
                raise wrong from error
            if isinstance(wrong, errors.MissingParameter):
                wrong = errors.MissingParameter(f"{kind}.{number}.{wrong.values[0]}")
            return Wrong(given, wrong)

    def check(given: list[dict[str, Any]]) -> list[_Entry | Wrong]:
        if not given:
            raise errors.NoEntries(kind)
        if len(given) > MOST:
            raise errors.TooManyEntries(len(given))
        entries = [look(number, entry) for number, entry in enumerate(given, 1)]
        _check_ids(kind, given)
        return entries

    return AfterValidator(check)


def _check_ids(kind: str, given: list[dict[str, Any]]) -> None:
    seen = set()
    for number, entry in enumerate(given, 1):
        name = entry.get("Id")
        if name is None:
            raise errors.MissingParameter(f"{kind}.{number}.Id")
        if not ENTRY_ID.fullmatch(name):
            raise errors.InvalidBatchEntryId
        if name in seen:
            raise errors.RepeatedEntryId(name)
        seen.add(name)


Maps = Annotated[list[dict[str, Any]], Field(fail_fast=True)]


@cache
def _one_by_one(model: type[_Entry]) -> type[QueueAction]:
    """Return what reads a batch that is not right as a whole: it looks at each entry alone."""
    return create_model(model.__name__, __base__=QueueAction, Entries=(Annotated[Maps, _looked_at(model)], ...))


def _check_right(entries: list[_EntryT]) -> list[_EntryT]:
    names = [entry.Id for entry in entries]
    if len(set(names)) < len(names) or not all(map(ENTRY_ID.fullmatch, names)):
        raise ValueError("an Id is wrong: _check_ids says which")
    return entries


Right = Annotated[list[_EntryT], Field(min_length=1, max_length=MOST, fail_fast=True), AfterValidator(_check_right)]
"""Entries of which none is wrong, made straight from the JSON: ten in 11 µs, where to look at each takes 20."""


class BatchAction(CallAction):
    """What the batches have in common: the entries, and the answer that tells which of them failed."""

    entry_model: ClassVar[type[_Entry]]

    Entries: list[Any]
    """Each is of `entry_model`, or Wrong."""

    @classmethod
    def wrong(cls, _error: ValidationError, body: bytes, request: Request) -> Action:
        """Return the batch with its wrong entries told from the others, or raise what is wrong with all of it."""
        try:
            read = _one_by_one(cls.entry_model).model_validate_json(body, context=request.namespace)
        except ValidationError as error:
            raise mistake(error) from error
        return cls.model_construct(**vars(read))

    def right(self) -> list[Any]:
        """Return the entries that are right in themselves."""
        return [entry for entry in self.Entries if not isinstance(entry, Wrong)]

    def result(self, outcomes: Sequence[dict[str, Any] | errors.SQSError]) -> dict[str, Any]:
        """Return the answer, in the order of the request, out of what became of each entry that is right.

        A list without members is left out.
        """
        successful, failed, of_right = [], [], iter(outcomes)
        for entry in self.Entries:
            outcome = entry.error if isinstance(entry, Wrong) else next(of_right)
            if isinstance(outcome, errors.SQSError):
                failed.append(_failure(entry.Id, outcome))
            else:
                successful.append({"Id": entry.Id, **outcome})
        return {key: value for key, value in (("Successful", successful), ("Failed", failed)) if value}


def _failure(name: str, error: errors.SQSError) -> dict[str, Any]:
    return {"Id": name, "SenderFault": error.fault == "Sender", "Code": error.code, "Message": error.message}


class SendMessageBatch(BatchAction):
    """Put up to ten messages into a queue."""

    entry_model = SendMessageBatchRequestEntry

    Entries: Right[SendMessageBatchRequestEntry]

    function: ClassVar[str] = "quest_send"

    def asked(self, questd: Questd, request: Request, facts: Facts) -> tuple[Sequence[Any], Meaning]:
        """Store those that are right, in order, in one step."""
        entries: list[SendMessageBatchRequestEntry] = self.right()
        sizes = [entry.size() for entry in entries]
        self._check_size(questd.settings.max_message_size, sum(sizes))
        self._check_groups(facts)
        refused = [entry.refused(facts, size) for entry, size in zip(entries, sizes, strict=True)]
        ids, stamp = [new_id() for _ in entries], stamp_of(request)
        stored = zip(entries, ids, refused, strict=True)
        parts = (entry.stored(name, facts, stamp) for entry, name, error in stored if not error)

        def meaning(reply: list[Any]) -> dict[str, Any]:
            place = itertools.count()  # of the stored ones in the reply
            return self.result(
                [
                    error or entry.receipt(*sent(name, reply, next(place)))
                    for entry, name, error in zip(entries, ids, refused, strict=True)
                ]
            )

        return [*itertools.chain.from_iterable(parts), *questd.max_messages], meaning

    def _check_size(self, most: int, size: int) -> None:
        """Raise BatchTooLong: wrong entries count too, and the queue's own limit does not (contract 8.3)."""
        for entry in self.Entries:
            if isinstance(entry, Wrong):
                given = {name: value for name, value in entry.given.items() if value is not None}
                size += Content.model_validate(given).size()
        if size > most:
            raise errors.BatchTooLong(most, size)

    def _check_groups(self, facts: Facts) -> None:
        """Raise what fails a whole batch in a FIFO queue, whatever else is wrong with an entry (contract 6.7)."""
        if not facts.FifoQueue:
            return
        for entry in self.Entries:
            given = entry.given if isinstance(entry, Wrong) else vars(entry)
            if given.get("MessageGroupId") is None:
                raise errors.BatchedWithoutGroup
            if given.get("MessageDeduplicationId") is None and not facts.ContentBasedDeduplication:
                raise errors.NoDeduplicationId


class DeleteMessageBatch(BatchAction):
    """Forget up to ten messages."""

    entry_model = DeleteMessageBatchRequestEntry

    Entries: Right[DeleteMessageBatchRequestEntry]

    function: ClassVar[str] = "quest_delete"
    repeat: ClassVar[bool] = True

    def asked(self, _questd: Questd, _request: Request, _facts: Facts) -> tuple[Sequence[Any], Meaning]:
        """Delete them in one step."""
        handles = [entry.ReceiptHandle for entry in self.right()]
        return handles, lambda reply: self.result([_outcome(*each) for each in zip(reply, handles, strict=True)])


class ChangeMessageVisibilityBatch(BatchAction):
    """Hide up to ten messages for another time."""

    entry_model = ChangeMessageVisibilityBatchRequestEntry

    Entries: Right[ChangeMessageVisibilityBatchRequestEntry]

    function: ClassVar[str] = "quest_change_visibility"
    repeat: ClassVar[bool] = True

    def asked(self, _questd: Questd, _request: Request, _facts: Facts) -> tuple[Sequence[Any], Meaning]:
        """Change them in one step."""
        given = [(entry.ReceiptHandle, entry.VisibilityTimeout) for entry in self.right()]
        return [part for handle, timeout in given for part in (handle, timeout * 1000)], lambda reply: self.result(
            [_outcome(status, *each) for status, each in zip(reply, given, strict=True)]
        )


def _outcome(status: bytes, handle: str, timeout: int | None = None) -> dict[str, Any] | errors.SQSError:
    """Return what became of a handle."""
    try:
        outcome(status, handle, timeout)
    except errors.SQSError as error:
        return error
    return {}
