"""SQS in memory, written from its contract, for tests that drive questd and this in step.

Messages in the order of their arrival and a clock, nothing kept beside them. Where SQS leaves a choice (which visible
message, which group first) the model makes none: it is told what was given, and asserts that this may be.
Times are in seconds.
"""

from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from typing import Any

FIVE_MINUTES = 300
TWELVE_HOURS = 43_200


class Refused(Exception):
    """A request that is answered with an error: its code, and how its text ends."""


NOT_AVAILABLE = ("InvalidParameterValue", "Message does not exist or is not available for visibility timeout change.")
EXPIRED = ("InvalidParameterValue", "The receipt handle has expired.")
BEYOND_LIMIT = (
    "InvalidParameterValue",
    "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
)
NO_DEDUPLICATION_ID = (
    "InvalidParameterValue",
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
)
NOT_RETRYABLE = (
    "InvalidParameterValue",
    "The receiveRequestAttemptId is not valid anymore since the receive call is not retryable.",
)


@dataclass
class Clock:
    """The time of all queues."""

    now: int


@dataclass(eq=False)
class Message:
    """A message in a queue."""

    id: str
    body: str
    sent: int
    arrived: int
    """When its retention period began."""
    visible: int
    """When it is visible, if nothing else happens."""
    shown: dict[str, str]
    """Its system attributes, but for those that a receive changes."""
    group: str = ""
    earlier: int = 0
    """How often it was received before it came here."""
    deliveries: list["Delivery"] = field(default_factory=list)
    gone: bool = False

    def __repr__(self) -> str:
        return f"<{self.body!r} {self.id[:8]}{' of ' + self.group if self.group else ''}>"


@dataclass(eq=False)
class Delivery:
    """What a receipt handle stands for."""

    queue: "Queue"
    message: Message
    handle: str
    received: int
    touched: bool = False
    """Whether its message was deleted or had its visibility changed by it."""

    @property
    def latest(self) -> bool:
        """Tell whether its message lives, and nobody received it later."""
        return not self.message.gone and self.message.deliveries[-1] is self

    @property
    def running(self) -> bool:
        """Tell whether its visibility timeout still runs."""
        return self.latest and self.message.visible > self.queue.clock.now

    def __repr__(self) -> str:
        number = self.message.deliveries.index(self) + 1
        return f"<receive {number} of {self.message} from {self.queue.name}>"


@dataclass(eq=False)
class Queue:
    """A standard queue."""

    clock: Clock
    name: str
    arn: str
    visibility: int = 30
    delay: int = 0
    retention: int = 345_600
    tries: int | None = None
    """maxReceiveCount, when there is a dead-letter queue."""
    dead: "Queue | None" = None
    messages: list[Message] = field(default_factory=list)

    def expire(self) -> bool:
        """Forget what is past its retention period (5.5), and tell whether there was any."""
        expired = [message for message in self.messages if message.arrived + self.retention <= self.clock.now]
        self._forget(expired)
        return bool(expired)

    def _forget(self, messages: list[Message]) -> None:
        for message in messages:
            message.gone = True
        self.messages = [message for message in self.messages if not message.gone]

    def counts(self) -> tuple[int, int, int]:
        """Return how many are visible, in flight, delayed (5.7)."""
        hidden = sum(message.visible > self.clock.now for message in self.messages)
        delayed = sum(self._is_delayed(message) for message in self.messages)
        return len(self.messages) - hidden, hidden - delayed, delayed

    def _is_delayed(self, message: Message) -> bool:
        return message.visible > self.clock.now and not message.deliveries

    def send(self, entry: dict[str, Any], receipt: dict[str, str]) -> None:
        """Take a message, as it was sent and as its receipt has it (5.3: its own delay comes before the queue's)."""
        shown = {name: entry[name] for name in ("MessageGroupId",) if name in entry}
        self._add(entry, receipt, entry.get("DelaySeconds", self.delay), shown)

    def _add(self, entry: dict[str, Any], receipt: dict[str, str], delay: int, shown: dict[str, str]) -> None:
        now = self.clock.now
        group = entry.get("MessageGroupId", "")
        self.messages.append(
            Message(receipt["MessageId"], entry["MessageBody"], now, now, now + delay, shown, group=group)
        )

    def within_reach(self) -> list[Message]:
        """Return what a receive may look at now: everything visible, in no order."""
        return [message for message in self.messages if message.visible <= self.clock.now]

    def exhausted(self, message: Message) -> bool:
        """Tell whether a receive moves a message instead of handing it out (7.3)."""
        return self.tries is not None and len(message.deliveries) >= self.tries

    def received(self, given: list[dict[str, Any]], most: int, visibility: int | None) -> list[Delivery]:
        """Check what a receive gave, and note it. A receive gives what there is, each message once."""
        deliverable = [message for message in self.within_reach() if not self.exhausted(message)]
        by_id = {message.id: message for message in deliverable}
        ids = [got["MessageId"] for got in given]
        assert set(ids) <= set(by_id), f"not to be given: {set(ids) - set(by_id)}, but of {deliverable}"
        assert len(ids) == len(set(ids)) == min(most, len(deliverable)), f"{len(ids)} of {deliverable}"
        chosen = [by_id[message_id] for message_id in ids]
        self._check_order(chosen, deliverable, most)
        return [self._deliver(message, got, visibility) for message, got in zip(chosen, given, strict=True)]

    def _check_order(self, chosen: list[Message], deliverable: list[Message], most: int) -> None:
        """Assert nothing: the order is best effort (5.1)."""

    def _deliver(self, message: Message, got: dict[str, Any], visibility: int | None) -> Delivery:
        now = self.clock.now
        delivery = Delivery(self, message, got["ReceiptHandle"], now)
        message.deliveries.append(delivery)
        message.visible = now + (self.visibility if visibility is None else visibility)
        self.check_shown(message, got)
        return delivery

    def check_shown(self, message: Message, got: dict[str, Any]) -> None:
        """Assert that a message is shown as it is (4.6)."""
        unproven = {"SenderId"} | ({"ApproximateFirstReceiveTimestamp", "SequenceNumber"} if message.earlier else set())
        expected = message.shown | {
            "SentTimestamp": str(message.sent * 1000),
            "ApproximateReceiveCount": str(message.earlier + len(message.deliveries)),
            "ApproximateFirstReceiveTimestamp": str(message.deliveries[0].received * 1000),
        }
        wanted, shown = (
            {name: value for name, value in attributes.items() if name not in unproven}
            for attributes in (expected, got["Attributes"])
        )
        assert (got["Body"], shown) == (message.body, wanted)

    def leaving(self) -> list[Message]:
        """Return what a receive moves to the dead-letter queue when it looks at everything it may."""
        return [message for message in self.within_reach() if self.exhausted(message)]

    def passed(self, leaving: list[Message], deliveries: list[Delivery]) -> list[Message]:  # noqa: ARG002
        """Return what of `leaving` a receive must have moved to get at what it gave."""
        return []

    def move(self, messages: list[Message]) -> None:
        """Move messages to the dead-letter queue (7.4)."""
        self._forget(messages)
        for message in messages:
            assert self.dead
            self.dead.arrive(message, self.arn)

    def arrive(self, message: Message, source: str) -> None:
        """Take an exhausted message over: id, send time and receive count stay, and the retention goes on (7.5)."""
        shown = message.shown | {"DeadLetterQueueSourceArn": source}
        earlier = message.earlier + len(message.deliveries)
        self.messages.append(
            Message(
                message.id, message.body, message.sent, message.arrived, self.clock.now, shown, message.group, earlier
            )
        )

    def delete(self, delivery: Delivery) -> None:
        """Delete by a handle: the latest one deletes, timed out or not; an older one does nothing (2.11)."""
        if delivery.latest:
            delivery.touched = True
            self._forget([delivery.message])

    def change(self, delivery: Delivery, timeout: int) -> None:
        """Hide or show a message, by any handle it ever had (2.13)."""
        message = delivery.message
        if message.gone:
            raise Refused(*NOT_AVAILABLE)
        latest = message.deliveries[-1]
        if self.clock.now + timeout > latest.received + TWELVE_HOURS:
            raise Refused(*BEYOND_LIMIT)
        latest.touched = True
        message.visible = self.clock.now + timeout

    def purge(self) -> None:
        """Forget all messages, hidden ones too (2.7)."""
        self._forget(self.messages)


@dataclass(eq=False)
class FifoQueue(Queue):
    """A FIFO queue."""

    content_based: bool = False
    per_group: bool = False
    """Whether its DeduplicationScope is messageGroup."""
    sends: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """Scope and deduplication id → when it was sent, and the MessageId (6.3)."""
    attempts: dict[str, tuple[int, list[Delivery]]] = field(default_factory=dict)
    """ReceiveRequestAttemptId → when it was used, and what it gave (6.5)."""

    def check(self, entries: list[dict[str, Any]]) -> None:
        """Raise why messages are refused, if they are (2.8, 6.7)."""
        if not self.content_based and not all("MessageDeduplicationId" in entry for entry in entries):
            raise Refused(*NO_DEDUPLICATION_ID)

    def can_have(self, delay: int) -> bool:
        """Tell whether it is known what another DelaySeconds does: not whether it delays again what was visible."""
        return delay <= self.delay or all(self._is_delayed(message) for message in self.messages)

    def set_delay(self, delay: int) -> None:
        """Change DelaySeconds, for what is in the queue too (5.3)."""
        for message in self.messages:
            if self._is_delayed(message):
                message.visible = message.arrived + delay
        self.delay = delay

    def send(self, entry: dict[str, Any], receipt: dict[str, str]) -> None:
        """Take a message, unless its id was sent within five minutes: then the receipt is the first one's (6.3)."""
        deduplication_id = entry.get("MessageDeduplicationId") or sha256(entry["MessageBody"].encode()).hexdigest()
        key = (entry["MessageGroupId"] if self.per_group else "", deduplication_id)
        sent, message_id = self.sends.get(key, (-FIVE_MINUTES, ""))
        if sent + FIVE_MINUTES > self.clock.now:
            assert receipt["MessageId"] == message_id, f"a duplicate of {message_id}"
            return
        self.sends[key] = (self.clock.now, receipt["MessageId"])
        shown = {
            "MessageGroupId": entry["MessageGroupId"],
            "MessageDeduplicationId": deduplication_id,
            "SequenceNumber": receipt["SequenceNumber"],
        }
        self._add(entry, receipt, self.delay, shown)

    def within_reach(self) -> list[Message]:
        """Return what a receive may look at now: of each group what stands before its first hidden message (6.1)."""
        reach, blocked = [], set()
        for message in self.messages:
            if message.visible > self.clock.now:
                blocked.add(message.group)
            elif message.group not in blocked:
                reach.append(message)
        return reach

    def _check_order(self, chosen: list[Message], deliverable: list[Message], most: int) -> None:
        """Assert that groups are given in order and one after the other, each as far as it goes (6.1 rule 1)."""
        seen: list[str] = []
        for group, messages in groupby(chosen, key=lambda message: message.group):
            assert group not in seen, f"{group} comes twice in {chosen}"
            seen.append(group)
            mine = list(messages)
            all_of_it = [message for message in deliverable if message.group == group]
            cut = mine[-1] is chosen[-1] and len(chosen) == most
            assert mine == (all_of_it[: len(mine)] if cut else all_of_it), f"{mine} of {all_of_it}"

    def passed(self, leaving: list[Message], deliveries: list[Delivery]) -> list[Message]:
        """Return what of `leaving` stood before something that was given."""
        last = {delivery.message.group: self.messages.index(delivery.message) for delivery in deliveries}
        return [message for message in leaving if self.messages.index(message) < last.get(message.group, 0)]

    def arrive(self, message: Message, source: str) -> None:
        """Take an exhausted message over: its retention begins anew (7.5), its id is for no duplicate (7.4)."""
        super().arrive(message, source)
        self.messages[-1].arrived = self.clock.now
        self.messages[-1].shown["MessageDeduplicationId"] = message.id

    def delete(self, delivery: Delivery) -> None:
        """Delete by a handle whose timeout still runs; what is gone is gone (2.11)."""
        if not delivery.message.gone and not delivery.running:
            raise Refused(*EXPIRED)
        super().delete(delivery)

    def change(self, delivery: Delivery, timeout: int) -> None:
        """Hide or show a message by a handle whose timeout still runs (2.13, 6.2)."""
        if not delivery.message.gone and not delivery.running:
            raise Refused(*EXPIRED)
        super().change(delivery, timeout)

    def purge(self) -> None:
        """Forget all messages, and what was sent and received (2.7)."""
        super().purge()
        self.sends.clear()
        self.attempts.clear()

    def outcomes(self, attempt: str) -> set[str]:
        """Return what a receive under this ReceiveRequestAttemptId may come to: 'again', 'anew', 'refused' (6.5).

        Again: as long as all it gave is still hidden. Refused: when any of it was deleted or changed. Anew: without an
        earlier one, or when a visibility timeout is over. When both, or when messages went elsewhere, AWS does not say.
        """
        used, given = self.attempts.get(attempt, (-FIVE_MINUTES, []))
        if not given or used + FIVE_MINUTES <= self.clock.now:
            return {"anew"}
        if not all(delivery.latest or (delivery.touched and delivery.message.gone) for delivery in given):
            return {"anew", "refused"}
        if any(delivery.touched for delivery in given):
            return {"refused"}
        return {"again"} if all(delivery.running for delivery in given) else {"anew"}

    def attempted(self, attempt: str, deliveries: list[Delivery]) -> None:
        """Note what a receive under a ReceiveRequestAttemptId gave anew."""
        self.attempts[attempt] = (self.clock.now, deliveries)

    def refuse_attempt(self) -> None:
        """Raise what a repeated receive is refused with."""
        raise Refused(*NOT_RETRYABLE)

    def repeated(self, attempt: str, given: list[dict[str, Any]], visibility: int | None) -> None:
        """Check that a receive gave the same again, with the same handles, and hide it anew."""
        deliveries = self.attempts[attempt][1]
        assert [got["ReceiptHandle"] for got in given] == [delivery.handle for delivery in deliveries]
        for delivery, got in zip(deliveries, given, strict=True):
            self.check_shown(delivery.message, got)
            delivery.message.visible = self.clock.now + (self.visibility if visibility is None else visibility)
