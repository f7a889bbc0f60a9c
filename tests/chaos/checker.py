"""Judges a history: which promises were broken. A pure function; it complains only of what no order of events explains.

An operation took effect some time between its begin and its end, one of unknown outcome at any time after its begin.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.history import Change, Deletion, Delivery, History, Outcome, Send

CLOCK_SECONDS = 0.02
"""How far Redis's clock may be from ours: it counts whole milliseconds, and is slewed."""


@dataclass
class Verdict:
    """What was found, a line for each; all but `undone` must be empty."""

    lost: list[str] = field(default_factory=list)
    """Acknowledged, never deleted, and gone."""
    twice: list[str] = field(default_factory=list)
    """With two holders at a time, or delivered after it was deleted."""
    disordered: list[str] = field(default_factory=list)
    """Delivered while an earlier message of its group was still there."""
    by_old_handle: list[str] = field(default_factory=list)
    """Gone by a handle that was not the latest any more."""
    unsent: list[str] = field(default_factory=list)
    """Delivered although nobody sent it, or its sender was refused."""
    undone: list[str] = field(default_factory=list)
    """Acknowledged and undone, when what Redis had acknowledged had not to be on disk yet."""

    @property
    def broken(self) -> list[str]:
        """Every broken promise."""
        return self.lost + self.twice + self.disordered + self.by_old_handle + self.unsent


@dataclass
class Message:
    """All that happened to one message; its deliveries in the order of their receive counts."""

    send: Send
    deliveries: list[Delivery] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @property
    def deleted(self) -> float:
        """When it may have been deleted at the earliest."""
        return min((each.begun for each in self.deletions if each.outcome is not Outcome.REFUSED), default=math.inf)

    def delivery(self, handle: str) -> Delivery:
        """Return the delivery that gave a handle."""
        return next(each for each in self.deliveries if each.handle == handle)


def check(history: History) -> Verdict:
    """Judge a history whose queues were empty in the end."""
    verdict = Verdict()
    messages = _messages(history, verdict)
    for message in messages.values():
        _check_end(history, message, verdict)
        verdict.twice += _held_by_two(history, message)
        _check_deleted(history, message, verdict)
    for group in _groups(messages.values()):
        verdict.disordered += _out_of_order(history, group)
    return verdict


def _messages(history: History, verdict: Verdict) -> dict[str, Message]:
    """Gather what happened to each message."""
    messages = {send.body: Message(send) for send in history.sends}
    by_handle = {}
    for delivery in sorted(history.deliveries, key=lambda each: (each.count, each.ended)):
        message = messages.get(delivery.body)
        if message is None or message.send.outcome is Outcome.REFUSED:
            verdict.unsent.append(f"{delivery.body} was delivered, but never sent")
        if message is not None:
            message.deliveries.append(delivery)
            by_handle[delivery.handle] = message
    for deletion in history.deletions:
        if deletion.handle in by_handle:
            by_handle[deletion.handle].deletions.append(deletion)
    for change in history.changes:
        if change.handle in by_handle:
            by_handle[change.handle].changes.append(change)
    return messages


def _check_end(history: History, message: Message, verdict: Verdict) -> None:
    """See that a message which is gone was deleted, by a handle that may have been its latest."""
    send = message.send
    if send.outcome is not Outcome.ACKNOWLEDGED or history.is_wiped(send):
        return
    tried = [each for each in message.deletions if each.outcome is not Outcome.REFUSED]
    if any(not _is_stale(history, message, each) for each in tried):
        return
    if tried:
        verdict.by_old_handle.append(f"{send.body} was deleted by a handle that was not its latest any more")
    elif history.proves(send):
        verdict.lost.append(f"{send.body} was acknowledged and is lost")
    else:
        verdict.undone.append(f"{send.body} was acknowledged and is lost with what was not on disk")


def _is_stale(history: History, message: Message, deletion: Deletion) -> bool:
    """Tell whether a message had certainly been received again before a deletion began."""
    count = message.delivery(deletion.handle).count
    return any(
        other.count > count and other.ended < deletion.begun and not history.may_be_undone(other)
        for other in message.deliveries
    )


def _received(message: Message, delivery: Delivery) -> float:
    """Return when a message was received at the earliest: a long poll begins long before."""
    return max(delivery.begun, message.send.begun)


def _held_until(history: History, message: Message, delivery: Delivery, until: float) -> float:
    """Return to when at least nobody else may have a message, looked at until then."""
    received = _received(message, delivery)
    held, uncertain = received + delivery.hidden_seconds, math.inf
    for change in sorted(message.changes, key=lambda each: each.begun):
        if change.outcome is Outcome.REFUSED or change.begun > until:
            continue
        ends = change.begun + change.seconds
        certain = history.proves(change)
        if certain and change.ended < received:
            continue
        if certain and change.begun > delivery.ended and change.ended < until:
            held = ends
        else:
            uncertain = min(uncertain, ends)
    return min(held, uncertain) - CLOCK_SECONDS


def _held_by_two(history: History, message: Message) -> Iterator[str]:
    for first, second in pairwise(message.deliveries):
        early = second.ended < _held_until(history, message, first, second.ended)
        if early and not history.may_be_undone(first):
            yield f"{message.send.body} was delivered {second.ended - first.ended:.3f} s after another had it"


def _check_deleted(history: History, message: Message, verdict: Verdict) -> None:
    """See that a message was not delivered after a deletion in its visibility timeout, which nobody can have outrun."""
    for deletion in message.deletions:
        delivery = message.delivery(deletion.handle)
        held = _held_until(history, message, delivery, deletion.ended)
        if deletion.outcome is not Outcome.ACKNOWLEDGED or deletion.ended > held or history.may_be_undone(delivery):
            continue
        if any(other.begun > deletion.ended for other in message.deliveries):
            if history.may_be_undone(deletion):
                verdict.undone.append(f"{message.send.body} came back with what was not on disk")
            else:
                verdict.twice.append(f"{message.send.body} was delivered after it had been deleted")


def _groups(messages: Iterable[Message]) -> list[list[Message]]:
    """Return the messages of each group of a FIFO queue, in the order in which they were sent."""
    groups = defaultdict(list)
    for message in messages:
        if message.send.group:
            groups[message.send.queue, message.send.group].append(message)
    return list(groups.values())


def _out_of_order(history: History, group: list[Message]) -> Iterator[str]:
    """Find deliveries of messages before which another, certainly stored, was not deleted nor in the same receive."""
    before: list[Message] = []
    last_deleted = -math.inf
    for message in group:
        for delivery in message.deliveries:
            if last_deleted >= delivery.ended:
                late = [each for each in before if each.deleted >= delivery.ended and not _precedes(each, delivery)]
                yield from (f"{message.send.body} was delivered before {each.send.body}" for each in late)
        if history.proves(message.send) and not history.is_wiped(message.send):
            before.append(message)
            last_deleted = max(last_deleted, message.deleted)


def _precedes(message: Message, delivery: Delivery) -> bool:
    return any(each.receive == delivery.receive and each.place < delivery.place for each in message.deliveries)
