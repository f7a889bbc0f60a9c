"""Peek: messages shown as a receive would show them, without receiving them; and messages dropped by their sequences.

For the console, the command line and tests of others; it knows no protocol.
"""

from collections.abc import Collection, Iterable
from typing import Any, Literal, NamedTuple
from uuid import UUID

from questd.action import Questd
from questd.library import key_of
from questd.receive import ReceiveMessage

State = Literal["visible", "inflight", "delayed"]

STATES: tuple[State, ...] = ("visible", "inflight", "delayed")

PAGE = 100
"""Messages that one call looks for."""

CALLS = 10
"""Calls at most for one page: each goes through 1,000 sequences or 1 MB, so a search sees up to 10,000 messages."""

SHAPE = 6
"""How many parts of the reply each message has."""

ALL = ReceiveMessage.model_construct(QueueUrl="", AttributeNames=["All"], MessageAttributeNames=["All"])
"""The receive whose way of showing a message this is."""


class Look(NamedTuple):
    """What to look for: messages in some states, with a text in their body, from behind a sequence on."""

    states: Collection[State] = STATES
    contains: str = ""
    after: int = 0
    limit: int = PAGE


EVERYTHING = Look()


class Peeked(NamedTuple):
    """A message that was looked at."""

    sequence: int
    state: State
    until_ms: int | None
    """When its visibility timeout or its delay ends; None for a visible message."""
    message: dict[str, Any]
    """As ReceiveMessage shows it, with everything; its ReceiptHandle is none."""


class Page(NamedTuple):
    """Some of a queue's messages, in the order of their sending."""

    messages: list[Peeked]
    after: int | None
    """The sequence behind which the next page begins; None: that was all."""
    looked_at: int
    """How many messages were looked at for it."""


async def peek(questd: Questd, queue: str, wanted: Look = EVERYTHING) -> Page:
    """Return messages; a page may have fewer than its limit although there are more: a look ends after so much work.

    Raises QueueDoesNotExist.
    """
    found: list[Peeked] = []
    looked_at, after = 0, wanted.after
    for _ in range(CALLS):
        most = min(PAGE, wanted.limit - len(found))
        arguments = (" ".join(wanted.states), after, most, wanted.contains)
        after, looked, *parts = await questd.call("quest_peek", queue, *arguments, repeat=True)
        looked_at += looked
        found += [_peeked(questd, parts[i : i + SHAPE]) for i in range(0, len(parts), SHAPE)]
        if not after or len(found) >= wanted.limit:
            break
    return Page(found, after or None, looked_at)


def _peeked(questd: Questd, parts: list[Any]) -> Peeked:
    sequence, record, count, first_ms, state, until_ms = parts
    message = ALL.shown(questd, b"peek-%d" % sequence, record, count, first_ms)
    return Peeked(sequence, state.decode(), until_ms or None, message)


async def latest(questd: Questd, queue: str) -> int:
    """Return the sequence of the latest message there ever was; later ones have higher sequences. 0: there was none."""
    return int(await questd.library.execute("HGET", key_of(queue), "sequence") or 0)


async def drop(questd: Questd, queue: str, messages: Iterable[tuple[int, str]]) -> int:
    """Forget messages by sequence and MessageId (at most 500), whatever their state; how many there were.

    Raises QueueDoesNotExist.
    """
    flat = [part for sequence, message_id in messages for part in (sequence, UUID(message_id).bytes)]
    dropped: int = await questd.call("quest_drop", queue, *flat, repeat=True)
    return dropped
