"""Entries of batches: as they are in a right batch, and which are wrong in another, and why (contract 8.1).

What is done with them is in batches.py.
"""

import re
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetPydanticSchema, ValidationError, create_model
from pydantic_core.core_schema import (
    CoreSchema,
    list_schema,
    no_info_after_validator_function,
    typed_dict_field,
    typed_dict_schema,
)

from questd import errors
from questd.action import QueueAction
from questd.members import Integer, between
from questd.message_attributes import is_text
from questd.messages import Handle, Message
from questd.mistakes import mistake

MOST = 10
"""Entries of a batch (contract 8.1)."""

ENTRY_ID = "^[A-Za-z0-9_-]{1,80}$"
EntryId = Annotated[str, Field(pattern=ENTRY_ID)]

ID, BODY = itemgetter("Id"), itemgetter("MessageBody")

Entry = dict[str, Any]
"""An entry that is right in itself, by AWS's names: what was not given is None, or missing."""


class BatchEntry(BaseModel):
    """One entry, named by its Id within the request."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    Id: str


class SendMessageBatchRequestEntry(BatchEntry, Message):
    """A message of a batch."""


class DeleteMessageBatchRequestEntry(BatchEntry):
    """A handle of a message to delete."""

    ReceiptHandle: Handle


class ChangeMessageVisibilityBatchRequestEntry(BatchEntry):
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


def _looked_at(model: type[BatchEntry]) -> AfterValidator:
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
def one_by_one(model: type[BatchEntry]) -> type[QueueAction]:
    """Return what reads a batch that is not right as a whole: it looks at each entry alone."""
    return create_model(model.__name__, __base__=QueueAction, Entries=(Annotated[Maps, _looked_at(model)], ...))


def right(model: type[BatchEntry], **others: Any) -> GetPydanticSchema:  # noqa: ANN401  # types
    """Return what reads entries of which none is wrong, straight from the JSON, as dicts.

    Ten messages take 76 000 instructions: as instances of the model, each with a look in Python at its body and its Id,
    they took 141 000. What is wrong only the model says. `others`: types of members that are not the model's.
    """
    read = {name: field.rebuild_annotation() for name, field in model.model_fields.items()} | {"Id": EntryId} | others

    def schema(_: Any, handler: Any) -> CoreSchema:  # noqa: ANN401  # pydantic's
        fields = {
            name: typed_dict_field(handler.generate_schema(kind), required=model.model_fields[name].is_required())
            for name, kind in read.items()
        }
        entries = list_schema(typed_dict_schema(fields), min_length=1, max_length=MOST, fail_fast=True)
        return no_info_after_validator_function(_check_ids_differ, entries)

    return GetPydanticSchema(schema)


def _check_ids_differ(entries: list[Entry]) -> list[Entry]:
    if len(set(map(ID, entries))) < len(entries):
        raise ValueError("an Id is there twice: _check_ids says which")
    return entries


def check_texts(entries: list[Entry]) -> list[Entry]:
    """Raise unless every body is a text."""
    if not is_text(b"".join(map(BODY, entries))):
        raise ValueError("a body is no text: the model says which")
    return entries
