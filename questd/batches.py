"""The three batch actions: up to ten entries in one request and one call; each entry succeeds or fails alone."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ValidationError

from questd import errors, messages
from questd.action import Action, CallAction, Meaning, Questd
from questd.batch_entries import (
    BODY,
    ID,
    BatchEntry,
    ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry,
    Entry,
    SendMessageBatchRequestEntry,
    Wrong,
    check_texts,
    one_by_one,
    right,
)
from questd.facts import Facts
from questd.identifiers import as_texts, new_ids
from questd.mistakes import mistake
from questd.request import Request

BARE = {"Id", "MessageBody"}
"""All that most messages have."""


class BatchAction(CallAction):
    """What the batches have in common: the entries, and the answer that tells which of them failed."""

    entry_model: ClassVar[type[BatchEntry]]

    Entries: list[Any]
    """Each is an Entry, or Wrong."""

    @classmethod
    def wrong(cls, _error: ValidationError, body: bytes, request: Request) -> Action:
        """Return the batch with its wrong entries told from the others, or raise what is wrong with all of it."""
        try:
            read = one_by_one(cls.entry_model).model_validate_json(body, context=request.namespace)
        except ValidationError as error:
            raise mistake(error) from error
        return cls.model_construct(**vars(read))

    def right(self) -> list[Entry]:
        """Return the entries that are right in themselves."""
        entries = self.Entries
        return entries if Wrong not in map(type, entries) else [entry for entry in entries if type(entry) is not Wrong]

    def result(self, outcomes: Iterable[dict[str, Any] | errors.SQSError]) -> dict[str, Any]:
        """Return the answer, in the order of the request, out of what became of each entry that is right.

        A list without members is left out.
        """
        successful, failed, of_right = [], [], iter(outcomes)
        for entry in self.Entries:
            is_wrong = isinstance(entry, Wrong)
            outcome, members = (entry.error, entry.given) if is_wrong else (next(of_right), entry)
            if isinstance(outcome, errors.SQSError):
                failed.append(_failure(members["Id"], outcome))
            else:
                successful.append({"Id": members["Id"], **outcome})
        return {key: value for key, value in (("Successful", successful), ("Failed", failed)) if value}

    def done(self, reply: list[Any], given: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
        """Return the answer out of what Redis says of each handle, `given` with what else its error tells."""
        if reply.count(b"OK") == len(self.Entries):
            return {"Successful": [{"Id": name} for name in map(ID, self.Entries)]}
        return self.result(_outcome(status, *each) for status, each in zip(reply, given, strict=True))


def _failure(name: str, error: errors.SQSError) -> dict[str, Any]:
    return {"Id": name, "SenderFault": error.fault == "Sender", "Code": error.code, "Message": error.message}


class SendMessageBatch(BatchAction):
    """Put up to ten messages into a queue."""

    entry_model = SendMessageBatchRequestEntry

    Entries: Annotated[
        list[Any], right(SendMessageBatchRequestEntry, MessageBody=messages.Body), AfterValidator(check_texts)
    ]

    function: ClassVar[str] = "quest_send"

    def asked(self, questd: Questd, request: Request, facts: Facts) -> tuple[Sequence[Any], Meaning]:
        """Store those that are right, in order, in one step."""
        entries, most, stamp = self.right(), questd.settings.max_message_size, messages.stamp_of(request)
        if len(entries) == len(self.Entries) and _are_bare(entries, facts, most):
            return _asked_bare(entries, messages.head({}, stamp), questd.max_messages)
        sizes = [messages.size(entry) for entry in entries]
        self._check_size(most, sum(sizes))
        self._check_groups(facts)
        refused = [_refusal(entry, facts, length) for entry, length in zip(entries, sizes, strict=True)]
        ids, digests = new_ids(len(entries)), [messages.md5_of(entry["MessageBody"]) for entry in entries]
        given = list(zip(entries, ids, digests, refused, strict=True))
        parts = (messages.stored(entry, name, facts, stamp, md5) for entry, name, md5, error in given if not error)

        def meaning(reply: list[Any]) -> dict[str, Any]:
            place = itertools.count()  # of the stored ones in the reply
            return self.result(
                error or messages.receipt(entry, md5, *messages.sent(name, reply, next(place)))
                for entry, name, md5, error in given
            )

        return [*itertools.chain.from_iterable(parts), *questd.max_messages], meaning

    def _check_size(self, most: int, total: int) -> None:
        """Raise BatchTooLong: wrong entries count too, and the queue's own limit does not (contract 8.3)."""
        for entry in self.Entries:
            if isinstance(entry, Wrong):
                total += messages.size(vars(_content(entry)))
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


def _content(entry: Wrong) -> messages.Content:
    """Return what of a wrong entry has a size. Raises what is wrong with the whole request if that cannot be read.

    Of an entry with too many attributes nobody has looked at each so far.
    """
    given = {name: value for name, value in entry.given.items() if value is not None}
    try:
        return messages.Content.model_validate(given)
    except ValidationError as error:
        raise mistake(error) from error


def _are_bare(entries: list[Entry], facts: Facts, most: int) -> bool:
    """Say whether these are bodies and nothing else, for a standard queue, and none is large or too long."""
    if facts.FifoQueue or sum(map(len, entries)) > len(BARE) * len(entries):
        return False
    sizes = list(map(len, map(BODY, entries)))
    return sum(sizes) <= most and max(sizes) < min(messages.LARGE, facts.MaximumMessageSize + 1)


def _asked_bare(entries: list[Entry], beginning: bytes, end: tuple[int, ...]) -> tuple[Sequence[Any], Meaning]:
    """Return what SendMessageBatch.asked does, for all at once: for each message in half of its instructions."""
    ids, bodies = new_ids(len(entries)), list(map(BODY, entries))
    given: list[Any] = ["", "", beginning, b"", "", b""] * len(entries)
    given[0::6], given[3::6] = ids, bodies

    def meaning(_: list[Any]) -> dict[str, Any]:
        return {
            "Successful": [
                {"Id": name, "MD5OfMessageBody": messages.md5_of(body), "MessageId": text}
                for name, body, text in zip(map(ID, entries), bodies, as_texts(ids), strict=True)
            ]
        }

    return [*given, *end], meaning


def _refusal(entry: Entry, facts: Facts, length: int) -> errors.SQSError | None:
    """Return why this queue does not take a message."""
    try:
        messages.check(entry, facts)
    except errors.SQSError as error:
        return error
    most = facts.MaximumMessageSize
    return errors.BatchedMessageTooLong(most) if length > most else None


class DeleteMessageBatch(BatchAction):
    """Forget up to ten messages."""

    entry_model = DeleteMessageBatchRequestEntry

    Entries: Annotated[list[Any], right(DeleteMessageBatchRequestEntry)]

    function: ClassVar[str] = "quest_delete"
    repeat: ClassVar[bool] = True

    def asked(self, _questd: Questd, _request: Request, _facts: Facts) -> tuple[Sequence[Any], Meaning]:
        """Delete them in one step."""
        handles = [entry["ReceiptHandle"] for entry in self.right()]
        return handles, lambda reply: self.done(reply, zip(handles))


class ChangeMessageVisibilityBatch(BatchAction):
    """Hide up to ten messages for another time."""

    entry_model = ChangeMessageVisibilityBatchRequestEntry

    Entries: Annotated[list[Any], right(ChangeMessageVisibilityBatchRequestEntry)]

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
        messages.outcome(status, handle, timeout)
    except errors.SQSError as error:
        return error
    return {}
