"""The three batch actions: up to ten entries in one request and one call; each entry succeeds or fails alone."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from questd import errors
from questd.action import Facts, Integer, Questd, QueueAction, Request, between, mistake
from questd.identifiers import new_id
from questd.messages import Handle, Message, outcome, sent

ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)


class _Entry(BaseModel):
    """One entry, named by its Id within the request."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    Id: str


class SendMessageBatchRequestEntry(_Entry, Message):
    """A message of a batch."""

    def refused(self, facts: Facts, size: int) -> errors.SQSError | None:
        """Return why this queue does not take it. Raises what fails the whole batch (contract 6.7)."""
        try:
            self.check(facts)
        except errors.MissingParameter:
            raise errors.BatchedWithoutGroup from None
        except errors.InvalidParameter as error:
            return error
        return errors.BatchedMessageTooLong(facts.MaximumMessageSize) if size > facts.MaximumMessageSize else None


class DeleteMessageBatchRequestEntry(_Entry):
    """A handle of a message to delete."""

    ReceiptHandle: Handle


class ChangeMessageVisibilityBatchRequestEntry(_Entry):
    """A handle of a message to hide for another time."""

    ReceiptHandle: Handle
    VisibilityTimeout: Annotated[
        Integer, between(0, 43200, "VisibilityTimeout must be an integer between 0 and 43200.")
    ]


Entry = TypeVar("Entry", bound=_Entry)


class BatchAction(QueueAction):
    """What the batches have in common: the entries, and the answer that tells which of them failed."""

    entry_model: ClassVar[type[_Entry]]

    Entries: list[dict[str, Any]]

    def model_post_init(self, _context: object, /) -> None:
        """Check what makes a batch as a whole wrong (contract 8.1)."""
        kind = self.entry_model.__name__
        if not self.Entries:
            raise errors.NoEntries(kind)
        if len(self.Entries) > 10:  # noqa: PLR2004  # contract 8.1
            raise errors.TooManyEntries(len(self.Entries))
        seen = set()
        for number, entry in enumerate(self.Entries, 1):
            if entry.get("Id") is None:
                raise errors.MissingParameter(f"{kind}.{number}.Id")
            if not isinstance(entry["Id"], str) or not ENTRY_ID.fullmatch(entry["Id"]):
                raise errors.InvalidBatchEntryId
            if entry["Id"] in seen:
                raise errors.RepeatedEntryId(entry["Id"])
            seen.add(entry["Id"])

    def valid(self, model: type[Entry], failed: dict[str, errors.SQSError]) -> Iterator[Entry]:
        """Yield the entries that are right in themselves, and add the others to `failed`."""
        for number, entry in enumerate(self.Entries, 1):
            try:
                yield model.model_validate(entry)
            except ValidationError as error:
                wrong = mistake(error)
                if isinstance(wrong, errors.SerializationException):
                    raise wrong from error
                failed[entry["Id"]] = self._numbered(wrong, number)
            except errors.SQSError as error:
                failed[entry["Id"]] = self._numbered(error, number)

    def _numbered(self, error: errors.SQSError, number: int) -> errors.SQSError:
        """Return a missing parameter's error with its place in the batch."""
        if isinstance(error, errors.MissingParameter):
            return errors.MissingParameter(f"{self.entry_model.__name__}.{number}.{error.values[0]}")
        return error

    def result(self, done: dict[str, dict[str, Any]], failed: dict[str, errors.SQSError]) -> dict[str, Any]:
        """Return the answer, in the order of the request; a list without members is left out."""
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
        failed: dict[str, errors.SQSError] = {}
        entries = list(self.valid(SendMessageBatchRequestEntry, failed))
        sizes = [entry.size() for entry in entries]
        most = questd.settings.max_message_size  # whatever the queue's own limit (contract 8.3)
        if sum(sizes) > most:
            raise errors.BatchTooLong(most, sum(sizes))
        ids: dict[str, bytes] = {}
        refused: dict[str, errors.SQSError] = {}

        def arguments(facts: Facts) -> Iterator[bytes | str | int]:
            ids.clear()
            refused.clear()
            for entry, size in zip(entries, sizes, strict=True):
                error = entry.refused(facts, size)
                if error:
                    refused[entry.Id] = error
                else:
                    ids[entry.Id] = new_id()
                    yield from entry.stored(ids[entry.Id], facts, request)

        reply = await questd.ask("quest_send", self.QueueUrl, arguments)
        kept = [entry for entry in entries if entry.Id in ids]
        done = {entry.Id: entry.receipt(*sent(ids[entry.Id], reply, i)) for i, entry in enumerate(kept)}
        return self.result(done, failed | refused)


class DeleteMessageBatch(BatchAction):
    """Forget up to ten messages."""

    entry_model = DeleteMessageBatchRequestEntry

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Delete them in one step."""
        failed: dict[str, errors.SQSError] = {}
        entries = list(self.valid(DeleteMessageBatchRequestEntry, failed))
        handles = [entry.ReceiptHandle for entry in entries]
        reply = await questd.ask("quest_delete", self.QueueUrl, lambda _: handles, repeat=True)
        return self.result(_outcomes(entries, reply, failed), failed)


class ChangeMessageVisibilityBatch(BatchAction):
    """Hide up to ten messages for another time."""

    entry_model = ChangeMessageVisibilityBatchRequestEntry

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Change them in one step."""
        failed: dict[str, errors.SQSError] = {}
        entries = list(self.valid(ChangeMessageVisibilityBatchRequestEntry, failed))
        arguments = [part for entry in entries for part in (entry.ReceiptHandle, entry.VisibilityTimeout * 1000)]
        reply = await questd.ask("quest_change_visibility", self.QueueUrl, lambda _: arguments, repeat=True)
        return self.result(_outcomes(entries, reply, failed), failed)


def _outcomes(
    entries: Sequence[DeleteMessageBatchRequestEntry | ChangeMessageVisibilityBatchRequestEntry],
    reply: list[bytes],
    failed: dict[str, errors.SQSError],
) -> dict[str, dict[str, Any]]:
    """Sort what became of each handle into done and `failed`."""
    done: dict[str, dict[str, Any]] = {}
    for entry, status in zip(entries, reply, strict=True):
        try:
            outcome(status, entry.ReceiptHandle, getattr(entry, "VisibilityTimeout", None))
        except errors.SQSError as error:
            failed[entry.Id] = error
        else:
            done[entry.Id] = {}
    return done
