"""The three batch actions: up to ten entries in one request and one call; each entry succeeds or fails alone."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    ValidationError,
    create_model,
)
from pydantic_core import CoreSchema, core_schema

from questd import errors
from questd.action import Action, CallAction, Facts, Integer, Meaning, Questd, QueueAction, between
from questd.identifiers import as_text, new_ids
from questd.message_attributes import is_text
from questd.messages import (
    Body,
    Content,
    Handle,
    Message,
    check,
    head,
    md5_of,
    outcome,
    receipt,
    sent,
    size,
    stamp_of,
    stored,
)
from questd.mistakes import mistake
from questd.request import Request

MOST = 10
"""Entries of a batch (contract 8.1)."""

ENTRY_ID = "^[A-Za-z0-9_-]{1,80}$"

BARE = {"Id", "MessageBody"}
"""All that most messages have."""

Entry = dict[str, Any]
"""An entry that is right in itself, by AWS's names: what was not given is None, or missing."""


class _Entry(BaseModel):
    """One entry, named by its Id within the request."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    Id: str


class SendMessageBatchRequestEntry(_Entry, Message):
    """A message of a batch."""


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
    """Its Id is right all the same."""
    error: errors.SQSError


def _looked_at(model: type[_Entry]) -> AfterValidator:
    """Return what makes entries out of a list of maps. Raises what makes a batch as a whole wrong (contract 8.1)."""
    kind = model.__name__

    def look(number: int, given: dict[str, Any]) -> Entry | Wrong:
        try:
            return vars(model.model_validate(given))
        except ValidationError as error:
            wrong = mistake(error)
            if isinstance(wrong, errors.SerializationException):
                raise wrong from error
            if isinstance(wrong, errors.MissingParameter):
                wrong = errors.MissingParameter(f"{kind}.{number}.{wrong.values[0]}")
            return Wrong(given, wrong)

    def check(given: list[dict[str, Any]]) -> list[Entry | Wrong]:
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
        if not re.fullmatch(ENTRY_ID, name):
            raise errors.InvalidBatchEntryId
        if name in seen:
            raise errors.RepeatedEntryId(name)
        seen.add(name)


Maps = Annotated[list[dict[str, Any]], Field(fail_fast=True)]


@cache
def _one_by_one(model: type[_Entry]) -> type[QueueAction]:
    """Return what reads a batch that is not right as a whole: it looks at each entry alone."""
    return create_model(model.__name__, __base__=QueueAction, Entries=(Annotated[Maps, _looked_at(model)], ...))


def _right(model: type[_Entry], **others: Any) -> GetPydanticSchema:  # noqa: ANN401  # types
    """Return what reads a batch of which nothing is wrong, straight from the JSON: entries as dicts.

    For ten messages it takes 53 000 instructions. To make instances of the model, with a look at each body and each Id
    in Python, took 142 000; which entry is wrong, and why, only the model says. `others`: members read otherwise.
    """

    def schema(_: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401  # pydantic's
        members = {name: field.rebuild_annotation() for name, field in model.model_fields.items()} | others
        fields = {
            name: core_schema.typed_dict_field(
                handler.generate_schema(kind), required=model.model_fields[name].is_required()
            )
            for name, kind in members.items()
        }
        fields["Id"] = core_schema.typed_dict_field(core_schema.str_schema(pattern=ENTRY_ID))
        entry = core_schema.typed_dict_schema(fields)
        entries = core_schema.list_schema(entry, min_length=1, max_length=MOST, fail_fast=True)
        return core_schema.no_info_after_validator_function(_check_ids_differ, entries)

    return GetPydanticSchema(schema)


def _check_ids_differ(entries: list[Entry]) -> list[Entry]:
    if len({entry["Id"] for entry in entries}) < len(entries):
        raise ValueError("an Id is there twice: _check_ids says which")
    return entries


def _check_texts(entries: list[Entry]) -> list[Entry]:
    if not is_text(b"".join([entry["MessageBody"] for entry in entries])):
        raise ValueError("a body is no text: the model says which")
    return entries


class BatchAction(CallAction):
    """What the batches have in common: the entries, and the answer that tells which of them failed."""

    entry_model: ClassVar[type[_Entry]]

    Entries: list[Any]
    """Each is an Entry, or Wrong."""

    @classmethod
    def wrong(cls, _error: ValidationError, body: bytes, request: Request) -> Action:
        """Return the batch with its wrong entries told from the others, or raise what is wrong with all of it."""
        try:
            read = _one_by_one(cls.entry_model).model_validate_json(body, context=request.namespace)
        except ValidationError as error:
            raise mistake(error) from error
        return cls.model_construct(**vars(read))

    def right(self) -> list[Entry]:
        """Return the entries that are right in themselves."""
        return [entry for entry in self.Entries if isinstance(entry, dict)]

    def result(self, outcomes: Iterable[dict[str, Any] | errors.SQSError]) -> dict[str, Any]:
        """Return the answer, in the order of the request, out of what became of each entry that is right.

        A list without members is left out.
        """
        successful, failed, of_right = [], [], iter(outcomes)
        for entry in self.Entries:
            name, outcome = (
                (entry["Id"], next(of_right)) if isinstance(entry, dict) else (entry.given["Id"], entry.error)
            )
            if isinstance(outcome, errors.SQSError):
                failed.append(_failure(name, outcome))
            else:
                successful.append({"Id": name, **outcome})
        return {key: value for key, value in (("Successful", successful), ("Failed", failed)) if value}

    def done(self, reply: list[Any], given: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
        """Return the answer out of what Redis says of each handle, `given` with what else its error tells."""
        if reply.count(b"OK") == len(self.Entries):
            return {"Successful": [{"Id": entry["Id"]} for entry in self.right()]}
        return self.result(_outcome(status, *each) for status, each in zip(reply, given, strict=True))


def _failure(name: str, error: errors.SQSError) -> dict[str, Any]:
    return {"Id": name, "SenderFault": error.fault == "Sender", "Code": error.code, "Message": error.message}


class SendMessageBatch(BatchAction):
    """Put up to ten messages into a queue."""

    entry_model = SendMessageBatchRequestEntry

    Entries: Annotated[
        list[Entry | Wrong], _right(SendMessageBatchRequestEntry, MessageBody=Body), AfterValidator(_check_texts)
    ]

    function: ClassVar[str] = "quest_send"

    def asked(self, questd: Questd, request: Request, facts: Facts) -> tuple[Sequence[Any], Meaning]:
        """Store those that are right, in order, in one step."""
        entries, most, stamp = self.right(), questd.settings.max_message_size, stamp_of(request)
        if len(entries) == len(self.Entries) and _are_bare(entries, facts, most):
            return _asked_bare(entries, head({}, stamp), questd.max_messages)
        sizes = [size(entry) for entry in entries]
        self._check_size(most, sum(sizes))
        self._check_groups(facts)
        refused = [_refusal(entry, facts, size) for entry, size in zip(entries, sizes, strict=True)]
        ids = new_ids(len(entries))
        given = zip(entries, ids, refused, strict=True)
        parts = (stored(entry, name, facts, stamp) for entry, name, error in given if not error)

        def meaning(reply: list[Any]) -> dict[str, Any]:
            place = itertools.count()  # of the stored ones in the reply
            return self.result(
                error or receipt(entry, *sent(name, reply, next(place)))
                for entry, name, error in zip(entries, ids, refused, strict=True)
            )

        return [*itertools.chain.from_iterable(parts), *questd.max_messages], meaning

    def _check_size(self, most: int, total: int) -> None:
        """Raise BatchTooLong: wrong entries count too, and the queue's own limit does not (contract 8.3)."""
        for entry in self.Entries:
            if isinstance(entry, Wrong):
                given = {name: value for name, value in entry.given.items() if value is not None}
                total += size(vars(Content.model_validate(given)))
        if total > most:
            raise errors.BatchTooLong(most, total)

    def _check_groups(self, facts: Facts) -> None:
        """Raise what fails a whole batch in a FIFO queue, whatever else is wrong with an entry (contract 6.7)."""
        if not facts.FifoQueue:
            return
        for entry in self.Entries:
            given = entry if isinstance(entry, dict) else entry.given
            if given.get("MessageGroupId") is None:
                raise errors.BatchedWithoutGroup
            if given.get("MessageDeduplicationId") is None and not facts.ContentBasedDeduplication:
                raise errors.NoDeduplicationId


def _are_bare(entries: list[Entry], facts: Facts, most: int) -> bool:
    """Say whether these are bodies and nothing else, for a standard queue, and none is too long."""
    if facts.FifoQueue or any([len(entry) > len(BARE) for entry in entries]):
        return False
    sizes = [len(entry["MessageBody"]) for entry in entries]
    return sum(sizes) <= most and max(sizes) <= facts.MaximumMessageSize


def _asked_bare(entries: list[Entry], beginning: bytes, end: tuple[int, ...]) -> tuple[Sequence[Any], Meaning]:
    """Return what SendMessageBatch.asked does, for all at once: each message takes NNN instructions less."""
    given = [
        (entry["Id"], entry["MessageBody"], raw) for entry, raw in zip(entries, new_ids(len(entries)), strict=True)
    ]

    def meaning(_: list[Any]) -> dict[str, Any]:
        return {
            "Successful": [
                {"Id": name, "MD5OfMessageBody": md5_of(body), "MessageId": as_text(raw)} for name, body, raw in given
            ]
        }

    return [part for _, body, raw in given for part in (raw, "", beginning, body, "", b"")] + [*end], meaning


def _refusal(entry: Entry, facts: Facts, size: int) -> errors.SQSError | None:
    """Return why this queue does not take a message."""
    try:
        check(entry, facts)
    except errors.SQSError as error:
        return error
    most = facts.MaximumMessageSize
    return errors.BatchedMessageTooLong(most) if size > most else None


class DeleteMessageBatch(BatchAction):
    """Forget up to ten messages."""

    entry_model = DeleteMessageBatchRequestEntry

    Entries: Annotated[list[Any], _right(DeleteMessageBatchRequestEntry)]

    function: ClassVar[str] = "quest_delete"
    repeat: ClassVar[bool] = True

    def asked(self, _questd: Questd, _request: Request, _facts: Facts) -> tuple[Sequence[Any], Meaning]:
        """Delete them in one step."""
        handles = [entry["ReceiptHandle"] for entry in self.right()]
        return handles, lambda reply: self.done(reply, zip(handles))


class ChangeMessageVisibilityBatch(BatchAction):
    """Hide up to ten messages for another time."""

    entry_model = ChangeMessageVisibilityBatchRequestEntry

    Entries: Annotated[list[Any], _right(ChangeMessageVisibilityBatchRequestEntry)]

    function: ClassVar[str] = "quest_change_visibility"
    repeat: ClassVar[bool] = True

    def asked(self, _questd: Questd, _request: Request, _facts: Facts) -> tuple[Sequence[Any], Meaning]:
        """Change them in one step."""
        given = [(entry["ReceiptHandle"], entry["VisibilityTimeout"]) for entry in self.right()]
        parts = [part for handle, timeout in given for part in (handle, timeout * 1000)]
        return parts, lambda reply: self.done(reply, given)


def _outcome(status: bytes, handle: str, timeout: int | None = None) -> dict[str, Any] | errors.SQSError:
    """Return what became of a handle."""
    try:
        outcome(status, handle, timeout)
    except errors.SQSError as error:
        return error
    return {}
