"""The three batch actions: up to ten entries in one request and one call; each entry succeeds or fails alone."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from questd import errors
from questd.action import Facts, Integer, Questd, QueueAction, Request, between
from questd.identifiers import new_id
from questd.messages import Content, Handle, Message, outcome, sent
from questd.mistakes import mistake

ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)


class _Entry(BaseModel):
    """One entry, named by its Id within the request."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    Id: str


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
        if len(given) > 10:  # noqa: PLR2004  # contract 8.1
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


class BatchAction(QueueAction):
    """What the batches have in common: the entries, and the answer that tells which of them failed."""

    entry_model: ClassVar[type[_Entry]]

    Entries: Maps
    """Once looked at, each is of `entry_model`, or Wrong."""

    def right(self) -> list[Any]:
        """Return the entries that are right in themselves."""
        return [entry for entry in self.Entries if not isinstance(entry, Wrong)]

    def result(self, done: dict[str, dict[str, Any]], refused: dict[str, errors.SQSError]) -> dict[str, Any]:
        """Return the answer, in the order of the request; a list without members is left out."""
        entries: list[Any] = self.Entries
        successful = [{"Id": entry.Id} | done[entry.Id] for entry in entries if entry.Id in done]
        failed = [
            _failure(entry.Id, entry.error if isinstance(entry, Wrong) else refused[entry.Id])
            for entry in entries
            if entry.Id not in done
        ]
        return {key: value for key, value in (("Successful", successful), ("Failed", failed)) if value}


def _failure(name: str, error: errors.SQSError) -> dict[str, Any]:
    return {"Id": name, "SenderFault": error.fault == "Sender", "Code": error.code, "Message": error.message}


class SendMessageBatch(BatchAction):
    """Put up to ten messages into a queue."""

    entry_model = SendMessageBatchRequestEntry

    Entries: Annotated[Maps, _looked_at(SendMessageBatchRequestEntry)]

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any]:
        """Store those that are right, in order, in one step."""
        entries: list[SendMessageBatchRequestEntry] = self.right()
        sizes = [entry.size() for entry in entries]
        self._check_size(questd.settings.max_message_size, sum(sizes))
        ids: dict[str, bytes] = {}
        refused: dict[str, errors.SQSError] = {}

        def arguments(facts: Facts) -> Iterator[bytes | str | int]:
            ids.clear()
            refused.clear()
            self._check_groups(facts)
            for entry, size in zip(entries, sizes, strict=True):
                error = entry.refused(facts, size)
                if error:
                    refused[entry.Id] = error
                else:
                    ids[entry.Id] = new_id()
                    yield from entry.stored(ids[entry.Id], facts, request)
            yield from questd.max_messages

        reply = await questd.ask("quest_send", self.QueueUrl, arguments)
        kept = [entry for entry in entries if entry.Id in ids]
        done = {entry.Id: entry.receipt(*sent(ids[entry.Id], reply, i)) for i, entry in enumerate(kept)}
        return self.result(done, refused)

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

    Entries: Annotated[Maps, _looked_at(DeleteMessageBatchRequestEntry)]

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Delete them in one step."""
        entries: list[DeleteMessageBatchRequestEntry] = self.right()
        handles = [entry.ReceiptHandle for entry in entries]
        reply = await questd.ask("quest_delete", self.QueueUrl, lambda _: handles, repeat=True)
        return self.result(*_outcomes(entries, reply, [None] * len(entries)))


class ChangeMessageVisibilityBatch(BatchAction):
    """Hide up to ten messages for another time."""

    entry_model = ChangeMessageVisibilityBatchRequestEntry

    Entries: Annotated[Maps, _looked_at(ChangeMessageVisibilityBatchRequestEntry)]

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Change them in one step."""
        entries: list[ChangeMessageVisibilityBatchRequestEntry] = self.right()
        timeouts = [entry.VisibilityTimeout for entry in entries]
        arguments = [part for entry in entries for part in (entry.ReceiptHandle, entry.VisibilityTimeout * 1000)]
        reply = await questd.ask("quest_change_visibility", self.QueueUrl, lambda _: arguments, repeat=True)
        return self.result(*_outcomes(entries, reply, timeouts))


def _outcomes(
    entries: Sequence[DeleteMessageBatchRequestEntry | ChangeMessageVisibilityBatchRequestEntry],
    reply: list[bytes],
    timeouts: Sequence[int | None],
) -> tuple[dict[str, dict[str, Any]], dict[str, errors.SQSError]]:
    """Sort what became of each handle into done and refused."""
    done: dict[str, dict[str, Any]] = {}
    refused: dict[str, errors.SQSError] = {}
    for entry, status, timeout in zip(entries, reply, timeouts, strict=True):
        try:
            outcome(status, entry.ReceiptHandle, timeout)
        except errors.SQSError as error:
            refused[entry.Id] = error
        else:
            done[entry.Id] = {}
    return done, refused
