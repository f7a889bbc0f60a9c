"""The three batch actions: up to ten entries in one request and one call; each entry succeeds or fails alone."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from questd import errors
from questd.action import Facts, Integer, Questd, QueueAction, Request, between, mistake
from questd.identifiers import new_id
from questd.messages import Content, Handle, Message, outcome, sent

ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)


class _Entry(BaseModel):
    """One entry, named by its Id within the request."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    Id: str


class SendMessageBatchRequestEntry(_Entry, Message):
    """A message of a batch."""

    def refused(self, facts: Facts) -> errors.SQSError | None:
        """Return why this queue does not take it."""
        try:
            self.check(facts)
        except errors.SQSError as error:
            return error
        most = facts.MaximumMessageSize
        return errors.BatchedMessageTooLong(most) if self.size > most else None


class DeleteMessageBatchRequestEntry(_Entry):
    """A handle of a message to delete."""

    ReceiptHandle: Handle


class ChangeMessageVisibilityBatchRequestEntry(_Entry):
    """A handle of a message to hide for another time."""

    ReceiptHandle: Handle
    VisibilityTimeout: Annotated[
        Integer, between(0, 43200, "VisibilityTimeout must be an integer between 0 and 43200.")
    ]


class BatchAction(QueueAction):
    """What the batches have in common: the entries, and the answer that tells which of them failed."""

    entry_model: ClassVar[type[_Entry]]

    Entries: Annotated[list[dict[str, Any]], Field(fail_fast=True)]

    _right: list[Any] = PrivateAttr(default_factory=list)
    """Those that are right in themselves, as `entry_model`."""
    _failed: dict[str, errors.SQSError] = PrivateAttr(default_factory=dict)
    """What is wrong with the others, by their Ids."""

    def model_post_init(self, _context: object, /) -> None:
        """Look at the entries, and raise what makes a batch as a whole wrong (contract 8.1)."""
        if not self.Entries:
            raise errors.NoEntries(self.entry_model.__name__)
        if len(self.Entries) > 10:  # noqa: PLR2004  # contract 8.1
            raise errors.TooManyEntries(len(self.Entries))
        looked = [self._looked_at(number, entry) for number, entry in enumerate(self.Entries, 1)]
        self._check_ids()
        for given, entry in zip(self.Entries, looked, strict=True):
            if isinstance(entry, errors.SQSError):
                self._failed[given["Id"]] = entry
            else:
                self._right.append(entry)

    def _looked_at(self, number: int, entry: dict[str, Any]) -> _Entry | errors.SQSError:
        """Return an entry, or what is wrong with it. Raises what makes the request unreadable."""
        try:
            return self.entry_model.model_validate(entry)
        except ValidationError as error:
            wrong = mistake(error)
            if isinstance(wrong, errors.SerializationException):
                raise wrong from error
            return self._numbered(wrong, number)

    def _check_ids(self) -> None:
        seen = set()
        for number, entry in enumerate(self.Entries, 1):
            name = entry.get("Id")
            if name is None:
                raise self._numbered(errors.MissingParameter("Id"), number)
            if not ENTRY_ID.fullmatch(name):
                raise errors.InvalidBatchEntryId
            if name in seen:
                raise errors.RepeatedEntryId(name)
            seen.add(name)

    def _numbered(self, error: errors.SQSError, number: int) -> errors.SQSError:
        """Return a missing parameter's error with its place in the batch."""
        if isinstance(error, errors.MissingParameter):
            return errors.MissingParameter(f"{self.entry_model.__name__}.{number}.{error.values[0]}")
        return error

    def result(self, done: dict[str, dict[str, Any]], refused: dict[str, errors.SQSError]) -> dict[str, Any]:
        """Return the answer, in the order of the request; a list without members is left out."""
        failed = self._failed | refused
        order = [entry["Id"] for entry in self.Entries]
        successful = [{"Id": name} | done[name] for name in order if name in done]
        failures = [
            {
                "Id": name,
                "SenderFault": failed[name].fault == "Sender",
                "Code": failed[name].code,
                "Message": failed[name].message,
            }
            for name in order
            if name in failed
        ]
        return {key: value for key, value in (("Successful", successful), ("Failed", failures)) if value}


class SendMessageBatch(BatchAction):
    """Put up to ten messages into a queue."""

    entry_model = SendMessageBatchRequestEntry

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any]:
        """Store those that are right, in order, in one step."""
        entries: list[SendMessageBatchRequestEntry] = self._right
        self._check_size(questd.settings.max_message_size)
        ids: dict[str, bytes] = {}
        refused: dict[str, errors.SQSError] = {}

        def arguments(facts: Facts) -> Iterator[bytes | str | int]:
            ids.clear()
            refused.clear()
            self._check_groups(facts)
            for entry in entries:
                error = entry.refused(facts)
                if error:
                    refused[entry.Id] = error
                else:
                    ids[entry.Id] = new_id()
                    yield from entry.stored(ids[entry.Id], facts, request)

        reply = await questd.ask("quest_send", self.QueueUrl, arguments)
        kept = [entry for entry in entries if entry.Id in ids]
        done = {entry.Id: entry.receipt(*sent(ids[entry.Id], reply, i)) for i, entry in enumerate(kept)}
        return self.result(done, refused)

    def _check_size(self, most: int) -> None:
        """Raise BatchTooLong: all entries count, and the queue's own limit does not (contract 8.3)."""
        size = sum(entry.size for entry in self._right)
        for entry in self.Entries:
            if entry["Id"] in self._failed:
                given = {name: value for name, value in entry.items() if value is not None}
                size += Content.model_validate(given).size
        if size > most:
            raise errors.BatchTooLong(most, size)

    def _check_groups(self, facts: Facts) -> None:
        """Raise what fails a whole batch in a FIFO queue, whatever else is wrong with an entry (contract 6.7)."""
        if not facts.FifoQueue:
            return
        for entry in self.Entries:
            if entry.get("MessageGroupId") is None:
                raise errors.BatchedWithoutGroup
            if entry.get("MessageDeduplicationId") is None and not facts.ContentBasedDeduplication:
                raise errors.NoDeduplicationId


class DeleteMessageBatch(BatchAction):
    """Forget up to ten messages."""

    entry_model = DeleteMessageBatchRequestEntry

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Delete them in one step."""
        entries: list[DeleteMessageBatchRequestEntry] = self._right
        handles = [entry.ReceiptHandle for entry in entries]
        reply = await questd.ask("quest_delete", self.QueueUrl, lambda _: handles, repeat=True)
        return self.result(*_outcomes(entries, reply))


class ChangeMessageVisibilityBatch(BatchAction):
    """Hide up to ten messages for another time."""

    entry_model = ChangeMessageVisibilityBatchRequestEntry

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Change them in one step."""
        entries: list[ChangeMessageVisibilityBatchRequestEntry] = self._right
        arguments = [part for entry in entries for part in (entry.ReceiptHandle, entry.VisibilityTimeout * 1000)]
        reply = await questd.ask("quest_change_visibility", self.QueueUrl, lambda _: arguments, repeat=True)
        return self.result(*_outcomes(entries, reply))


def _outcomes(
    entries: Sequence[DeleteMessageBatchRequestEntry | ChangeMessageVisibilityBatchRequestEntry], reply: list[bytes]
) -> tuple[dict[str, dict[str, Any]], dict[str, errors.SQSError]]:
    """Sort what became of each handle into done and refused."""
    done: dict[str, dict[str, Any]] = {}
    refused: dict[str, errors.SQSError] = {}
    for entry, status in zip(entries, reply, strict=True):
        try:
            outcome(status, entry.ReceiptHandle, getattr(entry, "VisibilityTimeout", None))
        except errors.SQSError as error:
            refused[entry.Id] = error
        else:
            done[entry.Id] = {}
    return done, refused
