"""The load under which faults are injected: producers and consumers over HTTP, who record all they do in a history.

Nobody repeats a send. Consumers delete, hide for longer, show at once, let messages time out and delete too late.
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp

from tests.chaos.history import Change, Deletion, Delivery, History, Outcome, Send
from tests.client import Reply, Sqs

PATIENCE = aiohttp.ClientTimeout(total=20)
"""Seconds that a client waits: longer than questd waits for a Redis that does not answer."""

FULL = "command not allowed when used memory"
UNTOUCHED = (FULL, "NOREPLICAS")
"""How a 503 begins that says that Redis has done nothing."""

ATTRIBUTES = ["ApproximateReceiveCount"]
STATES = ("", "NotVisible", "Delayed")
GROUPS = 3
"""Groups of each producer to a FIFO queue."""

PRODUCERS, CONSUMERS, LATE = 4, 6, 2
"""Of each queue."""

HIDDEN_SECONDS = (2, 3)
MANY = 4
"""Receives after which a message is not let time out any more."""

STANDARD, FIFO = "standard", "ordered.fifo"


@dataclass(frozen=True)
class Asked:
    """A request that was made: from when to when, what came of it, and the answer if there was one."""

    begun: float
    ended: float
    outcome: Outcome
    reply: Reply | None

    @property
    def members(self) -> dict[str, Any]:
        """The members of an acknowledgement, none of anything else."""
        return self.reply.json if self.reply and self.outcome is Outcome.ACKNOWLEDGED else {}

    def outcomes(self, count: int) -> list[Outcome]:
        """Return what came of each of so many entries of a batch, in their order."""
        if self.outcome is not Outcome.ACKNOWLEDGED:
            return [self.outcome] * count
        failed = {entry["Id"] for entry in self.members.get("Failed", [])}
        return [Outcome.REFUSED if str(i) in failed else Outcome.ACKNOWLEDGED for i in range(count)]


def outcome_of(reply: Reply) -> Outcome:
    """Return what an answer says about the operation."""
    if reply.status == HTTPStatus.OK:
        return Outcome.ACKNOWLEDGED
    untouched = reply.json.get("message", "").startswith(UNTOUCHED)
    return Outcome.REFUSED if reply.status < HTTPStatus.INTERNAL_SERVER_ERROR or untouched else Outcome.UNKNOWN


@dataclass
class Load:
    """Clients of the questd at `url`, and what they have recorded."""

    sqs: Sqs
    history: History
    random: random.Random
    numbers: Iterable[int] = field(default_factory=itertools.count)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, action: str, **members: Any) -> Asked:
        """Ask once, and record what came of it."""
        begun = time.monotonic()
        try:
            reply = await self.sqs.ask(action, **members)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.history.reasons[type(error).__name__] += 1
            self.history.requests[Outcome.UNKNOWN] += 1
            return Asked(begun, time.monotonic(), Outcome.UNKNOWN, None)
        outcome = outcome_of(reply)
        self.history.requests[outcome] += 1
        if outcome is not Outcome.ACKNOWLEDGED:
            await self._note_failure(reply, members)
        return Asked(begun, time.monotonic(), outcome, reply)

    async def _note_failure(self, reply: Reply, members: dict[str, Any]) -> None:
        kind, text = reply.json.get("__type", "").partition("#")[2], reply.json.get("message", "")
        self.history.reasons[
            f"{reply.status} {text[:60] if reply.status == HTTPStatus.SERVICE_UNAVAILABLE else kind}"
        ] += 1
        if reply.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            self.history.mistakes.append(f"{reply.status} {reply.body!r}")
        if kind == "QueueDoesNotExist" and not self.stopping.is_set():
            await self.create(members["QueueUrl"])

    async def create(self, queue: str) -> bool:
        """Make a queue; tell whether it is there."""
        attributes = {"VisibilityTimeout": "2"} | ({"FifoQueue": "true"} if queue.endswith(".fifo") else {})
        members = {"QueueName": queue, "Attributes": attributes}
        return (await self.ask("CreateQueue", **members)).outcome is Outcome.ACKNOWLEDGED

    async def produce(self, queue: str, name: str) -> None:
        """Send messages, one or some at a time, until the load is to stop; each producer has groups of its own."""
        groups = [f"{name}-{i}" for i in range(GROUPS)] if queue == FIFO else [""]
        for number in self.numbers:
            if self.stopping.is_set():
                return
            group = self.random.choice(groups)
            count = self.random.choice((1, 1, 1, 4))
            await self._send(queue, group, [f"{name}-{number}-{i}" for i in range(count)])
            await asyncio.sleep(self.random.random() * 0.02)

    async def _send(self, queue: str, group: str, bodies: list[str]) -> None:
        messages = [{"MessageBody": body} for body in bodies]
        if group:
            for message in messages:
                message |= {"MessageGroupId": group, "MessageDeduplicationId": message["MessageBody"]}
        if len(messages) == 1:
            asked = await self.ask("SendMessage", QueueUrl=queue, **messages[0])
        else:
            asked = await self.ask("SendMessageBatch", QueueUrl=queue, Entries=_numbered(messages))
        for body, outcome in zip(bodies, asked.outcomes(len(bodies)), strict=True):
            self.history.sends.append(Send(queue, body, group, asked.begun, asked.ended, outcome))

    async def consume(self, queue: str) -> None:
        """Receive, now and then with a long poll, and do something with the messages, until the load is to stop."""
        while not self.stopping.is_set():
            wait = self.random.choice((0, 0, 1))
            received = await self.receive(queue, wait, self.random.choice(HIDDEN_SECONDS))
            await self._use(queue, received)
            if not received:
                await asyncio.sleep(0.01)

    async def receive(self, queue: str, wait_seconds: int, hidden_seconds: int) -> list[Delivery]:
        """Receive up to ten messages."""
        members = {"WaitTimeSeconds": wait_seconds, "VisibilityTimeout": hidden_seconds}
        asked = await self.ask(
            "ReceiveMessage", QueueUrl=queue, MaxNumberOfMessages=10, MessageSystemAttributeNames=ATTRIBUTES, **members
        )
        number = next(iter(self.numbers))
        deliveries = [
            Delivery(
                message["Body"],
                message["ReceiptHandle"],
                int(message["Attributes"]["ApproximateReceiveCount"]),
                *(asked.begun, asked.ended, hidden_seconds, number, place),
            )
            for place, message in enumerate(asked.members.get("Messages", []))
        ]
        self.history.deliveries += deliveries
        return deliveries

    async def _use(self, queue: str, received: list[Delivery]) -> None:
        dice = self.random.random()
        again = received and 1 < received[0].count < MANY
        if not received or dice < (0.5 if again else 0.04):  # they time out; it shows when an older handle deleted them
            return
        if dice < 0.08:
            await self._change(queue, received[-1], self.random.choice((0, 1, 3)))
        if self.random.random() < 0.4:
            for delivery in received:
                await self.delete(queue, [delivery])
        else:
            await self.delete(queue, received)

    async def consume_late(self, queue: str) -> None:
        """Receive, and delete when the messages have timed out and others may have them."""
        while not self.stopping.is_set():
            received = await self.receive(queue, 1, HIDDEN_SECONDS[0])
            if received:
                await asyncio.sleep(HIDDEN_SECONDS[0] + 0.2 * self.random.random())
                await self.delete(queue, received)

    async def delete(self, queue: str, deliveries: list[Delivery]) -> None:
        """Delete messages by the handles of these deliveries."""
        handles = [{"ReceiptHandle": delivery.handle} for delivery in deliveries]
        if len(handles) == 1:
            asked = await self.ask("DeleteMessage", QueueUrl=queue, **handles[0])
        else:
            asked = await self.ask("DeleteMessageBatch", QueueUrl=queue, Entries=_numbered(handles))
        for delivery, outcome in zip(deliveries, asked.outcomes(len(handles)), strict=True):
            self.history.deletions.append(Deletion(delivery.handle, asked.begun, asked.ended, outcome))

    async def _change(self, queue: str, delivery: Delivery, seconds: int) -> None:
        members = {"QueueUrl": queue, "ReceiptHandle": delivery.handle, "VisibilityTimeout": seconds}
        asked = await self.ask("ChangeMessageVisibility", **members)
        self.history.changes.append(Change(delivery.handle, seconds, asked.begun, asked.ended, asked.outcome))

    async def count(self, queue: str) -> int | None:
        """Return how many messages a queue has, in whatever state; None when nobody says."""
        names = [f"ApproximateNumberOfMessages{state}" for state in STATES]
        asked = await self.ask("GetQueueAttributes", QueueUrl=queue, AttributeNames=names)
        attributes = asked.members.get("Attributes")
        return None if attributes is None else sum(map(int, attributes.values()))

    async def drain(self, queue: str, seconds: float) -> int:
        """Delete everything; return how many messages are left after so many seconds at most."""
        deadline = time.monotonic() + seconds
        left: int | None = None
        while left != 0 and time.monotonic() < deadline:
            while received := await self.receive(queue, 0, HIDDEN_SECONDS[0]):
                await self.delete(queue, received)
            left = await self.count(queue)
            if left:
                await asyncio.sleep(0.05)
        return -1 if left is None else left


def _numbered(members: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"Id": str(i)} | each for i, each in enumerate(members)]


@asynccontextmanager
async def loading(url: str, history: History, seed: int) -> AsyncIterator[Load]:
    """Give what asks the questd at `url`, with its queues made."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=PATIENCE, connector=connector) as session:
        load = Load(Sqs(url, session), history, random.Random(seed))
        for queue in (STANDARD, FIFO):
            await load.create(queue)
        yield load


@asynccontextmanager
async def working(load: Load) -> AsyncIterator[None]:
    """Run producers and consumers on each queue for the length of the block; at its end they finish."""
    async with asyncio.TaskGroup() as group:
        for queue in (STANDARD, FIFO):
            for i in range(PRODUCERS):
                group.create_task(load.produce(queue, f"{queue[0]}{i}"))
            for _ in range(CONSUMERS):
                group.create_task(load.consume(queue))
            for _ in range(LATE):
                group.create_task(load.consume_late(queue))
        try:
            yield
        finally:
            load.stopping.set()
