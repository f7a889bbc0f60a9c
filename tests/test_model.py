"""questd over HTTP and a small model of SQS, driven in step by hypothesis: what one answers the other may answer."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.client import Reply, Sqs, serving
from tests.model import Clock, Delivery, FifoQueue, Message, Queue, Refused
from tests.servers import DEFAULT, RedisServer, running

LEAST = 1000
"""How many steps each kind of queue is to be driven, at least."""

START = 1_800_000_000

PROFILE = settings(
    max_examples=25,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Stage:
    """A questd on a Redis with an append-only file and a clock that stands still; both can be restarted."""

    def __init__(self, server: RedisServer, runner: asyncio.Runner) -> None:
        self.server = server
        self.clock = Clock(START)
        self.steps = self.queues = 0
        self._run = runner.run
        self._running = AsyncExitStack()
        self._sqs: Sqs
        self.start()
        with server.client() as client:
            client.fcall("quest_clock", 0, "freeze", START * 1000)

    def start(self) -> None:
        """Start questd; exhausted messages leave on a receive only, as AWS's do."""
        self._sqs = self._run(self._running.enter_async_context(serving(self.server.url, dead_letter_after="never")))

    def stop(self) -> None:
        """End questd as SIGTERM does."""
        self._run(self._running.aclose())

    def restart(self) -> None:
        """Let another questd take over."""
        self.stop()
        self.start()

    def restart_redis(self) -> None:
        """Kill Redis, start it on its file, and wait until questd has it again."""
        self.server.stop()
        self.server.start()
        self._run(self._ready())

    async def _ready(self) -> None:
        while True:
            async with self._sqs.session.get(f"{self._sqs.url}/health/ready") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.01)

    def advance(self, seconds: int) -> None:
        """Let time pass, for questd and the models."""
        self.clock.now += seconds
        self._run(self._sqs.advance(seconds))

    def ask(self, action: str, **members: Any) -> Reply:
        """Ask for an action, whatever comes of it."""
        return self._run(self._sqs.ask(action, **members))

    def do(self, action: str, **members: Any) -> dict[str, Any]:
        """Ask for an action that must succeed, and return the members of its answer."""
        return self._run(self._sqs(action, **members))

    def counts(self, queue: str) -> tuple[int, int, int]:
        """Return how many messages are visible, in flight and delayed."""
        return self._run(self._sqs.counts(queue))


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Give a questd of a test's own; its Redis writes its file before it answers, so that a kill loses nothing."""
    with running(DEFAULT, "--appendonly", "yes", "--appendfsync", "no") as server, asyncio.Runner() as runner:
        stage = Stage(server, runner)
        yield stage
        stage.stop()


class Step:
    """A method of the machine and its arguments."""

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        self.name = name
        self.arguments = arguments

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


def _steps(*chosen: tuple[int, str, dict[str, st.SearchStrategy[Any]]]) -> st.SearchStrategy[Step]:
    """Choose steps by weight, name and arguments; rules of their own would each be left out of half of the examples."""
    by_name = {name: st.builds(Step, st.just(name), st.fixed_dictionaries(arguments)) for _, name, arguments in chosen}
    names = [name for weight, name, _ in chosen for _ in range(weight)]
    return st.sampled_from(names).flatmap(lambda name: by_name[name])


RETENTIONS = st.sampled_from((345_600, 345_600, 120))
TRIES = st.sampled_from((None, 1, 2))
DELAYS = st.sampled_from((0, 0, 5))
WHERE = st.sampled_from(("orders", "orders", "orders", "dead"))
BODIES = st.sampled_from("stuvwxyz")
ENTRIES = st.fixed_dictionaries(
    {"MessageBody": BODIES},
    optional={"DelaySeconds": st.sampled_from((0, 5, 60)), "MessageGroupId": st.sampled_from("ab")},
)
FIFO = {"MessageBody": BODIES, "MessageGroupId": st.sampled_from("abc")}
IDS = {"MessageDeduplicationId": st.sampled_from([str(number) for number in range(30)])}
FIFO_ENTRIES = st.fixed_dictionaries(FIFO | IDS) | st.fixed_dictionaries(FIFO, optional=IDS)
REQUEST = {"MaxNumberOfMessages": st.integers(1, 10), "VisibilityTimeout": st.sampled_from((0, 5, 60))}
WHICH = st.sampled_from((0, 0, 1, 1, 2, 3, 5, 9))
"""Which delivery, from the latest one back."""

COMMON = (
    (6, "delete", {"which": WHICH}),
    (6, "change_visibility", {"which": WHICH, "timeout": st.sampled_from((0, 3, 60, 43_200))}),
    (8, "advance", {"seconds": st.sampled_from((1, 1, 4, 4, 5, 5, 30, 30, 61, 299, 300, 43_200))}),
    (1, "purge", {"where": WHERE}),
    (1, "restart", {"redis": st.booleans()}),
)
STANDARD_STEPS = _steps(
    (10, "send", {"where": WHERE, "entries": st.lists(ENTRIES, min_size=1, max_size=4)}),
    (16, "receive", {"where": WHERE, "request": st.fixed_dictionaries({}, optional=REQUEST)}),
    *COMMON,
)
ATTEMPT = {"ReceiveRequestAttemptId": st.just("A")}
FIFO_STEPS = _steps(
    (12, "send", {"where": WHERE, "entries": st.lists(FIFO_ENTRIES, min_size=1, max_size=4)}),
    (16, "receive", {"where": WHERE, "request": st.fixed_dictionaries({}, optional=REQUEST | ATTEMPT)}),
    (1, "set_delay", {"where": WHERE, "delay": st.sampled_from((0, 5, 40))}),
    *COMMON,
)


class Machine(RuleBasedStateMachine):
    """Steps on a queue with a dead-letter queue, and on the model of the two."""

    suffix = ""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.queues: dict[str, Queue] = {}
        self.deliveries: list[Delivery] = []
        self.handles: set[str] = set()
        self.restarted = False

    def make(self, kind: type[Queue], attributes: dict[str, str], dead: Queue | None, **modelled: Any) -> Queue:
        """Make a queue and its model."""
        self.stage.queues += 1
        name = f"queue-{self.stage.queues}{self.suffix}"
        self.stage.do("CreateQueue", QueueName=name, Attributes=attributes)
        arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
        return kind(self.stage.clock, name, arn, dead=dead, **modelled)

    def make_both(
        self, kind: type[Queue], attributes: dict[str, str], retention: int, tries: int | None, delay: int, **more: Any
    ) -> None:
        """Make the queue, and the dead-letter queue that it has when `tries` are given."""
        attributes = {**attributes, "MessageRetentionPeriod": str(retention)}
        dead = self.queues["dead"] = self.make(kind, attributes, None, retention=retention, **more)
        attributes["DelaySeconds"] = str(delay)
        if tries:
            attributes["RedrivePolicy"] = f'{{"deadLetterTargetArn":"{dead.arn}","maxReceiveCount":{tries}}}'
        self.queues["orders"] = self.make(
            kind, attributes, dead if tries else None, retention=retention, tries=tries, delay=delay, **more
        )

    def same(self, act: Callable[[], None], reply: Reply) -> None:
        """Assert that the model answers as questd did."""
        try:
            act()
        except Refused as refused:
            code, text = refused.args
            assert reply.status == 400, f"status {reply.status}, but the model refuses: {text}"
            answered = reply.error
            assert (answered[1], answered[3][-len(text) :]) == (code, text)
        else:
            assert reply.status == 200, reply.body

    def send(self, where: str, entries: list[dict[str, Any]]) -> None:
        """Send one message alone, several in a batch."""
        queue = self.queues[where]
        if len(entries) == 1:
            queue.send(entries[0], self.stage.do("SendMessage", QueueUrl=queue.name, **entries[0]))
            return
        batch = [{"Id": str(number), **entry} for number, entry in enumerate(entries)]
        sent = self.stage.do("SendMessageBatch", QueueUrl=queue.name, Entries=batch)["Successful"]
        for entry, receipt in zip(entries, sent, strict=True):
            queue.send(entry, receipt)

    def receive(self, where: str, request: dict[str, Any]) -> None:
        """Receive messages."""
        self.take(self.queues[where], request)

    def take(self, queue: Queue, request: dict[str, Any]) -> int:
        """Receive; how many there were."""
        given = self.stage.do("ReceiveMessage", **self.asked(queue, request)).get("Messages", [])
        self.note(queue, given, request)
        return len(given)

    def asked(self, queue: Queue, request: dict[str, Any]) -> dict[str, Any]:
        """Return the members of a receive."""
        return {"QueueUrl": queue.name, "MessageSystemAttributeNames": ["All"], **request}

    def note(self, queue: Queue, given: list[dict[str, Any]], request: dict[str, Any]) -> list[Delivery]:
        """Hold what a receive gave against the model, and note it."""
        most = request.get("MaxNumberOfMessages", 1)
        leaving = queue.leaving()
        deliveries = queue.received(given, most, request.get("VisibilityTimeout"))
        self.deliveries += deliveries
        handles = {delivery.handle for delivery in deliveries}
        assert len(handles) == len(deliveries), "not a handle each"
        assert not handles & self.handles, "a handle twice"
        self.handles |= handles
        if leaving:
            self.note_moved(queue, leaving, deliveries, full=len(given) == most)
        return deliveries

    def note_moved(self, queue: Queue, leaving: list[Message], deliveries: list[Delivery], *, full: bool) -> None:
        """See which exhausted messages have moved. A full receive need not have come to all: receive until it is clear."""
        assert queue.dead
        arrived = sum(self.stage.counts(queue.dead.name)) - len(queue.dead.messages)
        passed = queue.passed(leaving, deliveries)
        if full and arrived == len(passed):
            queue.move(passed)
        elif arrived == len(leaving):
            queue.move(leaving)
        else:
            assert full, f"{arrived} moved, of {leaving}"
            assert len(passed) <= arrived < len(leaving), f"{arrived} moved, of {leaving}, {passed} among them"
            self.take(queue, {"MaxNumberOfMessages": 10})

    def delete(self, which: int) -> None:
        """Delete by a handle, new or old."""
        if self.deliveries:
            delivery = self.deliveries[-1 - which % len(self.deliveries)]
            queue = delivery.queue
            reply = self.stage.ask("DeleteMessage", QueueUrl=queue.name, ReceiptHandle=delivery.handle)
            self.same(lambda: queue.delete(delivery), reply)

    def change_visibility(self, which: int, timeout: int) -> None:
        """Hide or show by a handle, new or old."""
        if self.deliveries:
            delivery = self.deliveries[-1 - which % len(self.deliveries)]
            queue = delivery.queue
            members = {"QueueUrl": queue.name, "ReceiptHandle": delivery.handle, "VisibilityTimeout": timeout}
            reply = self.stage.ask("ChangeMessageVisibility", **members)
            self.same(lambda: queue.change(delivery, timeout), reply)

    def advance(self, seconds: int) -> None:
        """Let time pass. What is past its retention period counts until the background task has gone over it."""
        self.stage.advance(seconds)
        expired = [queue.expire() for queue in self.queues.values()]
        if any(expired):
            deadline = time.monotonic() + 2
            while not self.agree() and time.monotonic() < deadline:
                pass

    def agree(self) -> bool:
        """Tell whether questd and the model count the same messages."""
        return all(self.stage.counts(queue.name) == queue.counts() for queue in self.queues.values())

    def purge(self, where: str) -> None:
        """Forget all messages."""
        self.stage.do("PurgeQueue", QueueUrl=self.queues[where].name)
        self.queues[where].purge()

    def restart(self, redis: bool) -> None:  # noqa: FBT001
        """Restart questd or Redis, which forget nothing; once is enough."""
        if not self.restarted:
            (self.stage.restart_redis if redis else self.stage.restart)()
            self.restarted = True

    @invariant()
    def counts(self) -> None:
        """Both count the same messages, whatever was done."""
        for queue in self.queues.values():
            assert self.stage.counts(queue.name) == queue.counts(), f"{queue.name}: {queue.messages}"

    def teardown(self) -> None:
        """Receive what is left, all of it; then delete the queues."""
        self.advance(43_200)
        for queue in self.queues.values():
            while self.take(queue, {"MaxNumberOfMessages": 10, "VisibilityTimeout": 43_200}):
                pass
            assert not queue.within_reach()
        for queue in self.queues.values():
            self.stage.do("DeleteQueue", QueueUrl=queue.name)


class StandardMachine(Machine):
    """A standard queue."""

    @initialize(retention=RETENTIONS, tries=TRIES, delay=DELAYS)
    def create(self, retention: int, tries: int | None, delay: int) -> None:
        """Make the queues."""
        self.make_both(Queue, {}, retention, tries, delay)

    @rule(step=STANDARD_STEPS)
    def do(self, step: Step) -> None:
        """Do one thing to both."""
        getattr(self, step.name)(**step.arguments)
        self.stage.steps += 1


class FifoMachine(Machine):
    """A FIFO queue."""

    suffix = ".fifo"
    queues: dict[str, FifoQueue]  # type: ignore[assignment]

    @initialize(
        retention=RETENTIONS,
        tries=TRIES,
        delay=DELAYS,
        content_based=st.sampled_from((True, True, False)),
        per_group=st.booleans(),
    )
    def create(self, retention: int, tries: int | None, delay: int, content_based: bool, per_group: bool) -> None:  # noqa: FBT001
        """Make the queues."""
        attributes = {
            "FifoQueue": "true",
            "ContentBasedDeduplication": str(content_based).lower(),
            "DeduplicationScope": "messageGroup" if per_group else "queue",
        }
        self.make_both(FifoQueue, attributes, retention, tries, delay, content_based=content_based, per_group=per_group)

    @rule(step=FIFO_STEPS)
    def do(self, step: Step) -> None:
        """Do one thing to both."""
        getattr(self, step.name)(**step.arguments)
        self.stage.steps += 1

    def send(self, where: str, entries: list[dict[str, Any]]) -> None:
        """Send messages, some of them again; one without a deduplication id may be wrong for all."""
        queue = self.queues[where]
        try:
            queue.check(entries)
        except Refused:
            batch = [{"Id": str(number), **entry} for number, entry in enumerate(entries)]
            reply = self.stage.ask("SendMessageBatch", QueueUrl=queue.name, Entries=batch)
            self.same(lambda: queue.check(entries), reply)
        else:
            super().send(where, entries)

    def receive(self, where: str, request: dict[str, Any]) -> None:
        """Receive messages, some of them again."""
        queue, attempt = self.queues[where], request.get("ReceiveRequestAttemptId")
        if attempt:
            reply = self.stage.ask("ReceiveMessage", **self.asked(queue, request))
            self.note_attempt(queue, attempt, reply, request)
        else:
            super().receive(where, request)

    def note_attempt(self, queue: FifoQueue, attempt: str, reply: Reply, request: dict[str, Any]) -> None:
        """Hold what a receive with a ReceiveRequestAttemptId came to against the model, and note it."""
        outcomes = queue.outcomes(attempt)
        given = reply.json.get("Messages", [])
        if reply.status != 200:
            assert "refused" in outcomes, f"refused, but may come {outcomes}"
            self.same(queue.refuse_attempt, reply)
        elif "again" in outcomes:
            queue.repeated(attempt, given, request.get("VisibilityTimeout"))
        else:
            assert "anew" in outcomes, "given, but must be refused"
            queue.attempted(attempt, self.note(queue, given, request))

    def set_delay(self, where: str, delay: int) -> None:
        """Change DelaySeconds, which counts for what is delayed already."""
        queue = self.queues[where]
        if queue.can_have(delay):
            self.stage.do("SetQueueAttributes", QueueUrl=queue.name, Attributes={"DelaySeconds": str(delay)})
            queue.set_delay(delay)


@pytest.mark.parametrize("machine", [StandardMachine, FifoMachine])
def test_model(stage: Stage, machine: type[Machine]) -> None:
    """A queue and its model do not differ in a thousand steps: sends, receives, deletes, time, restarts, dead letters."""
    run_state_machine_as_test(lambda: machine(stage), settings=PROFILE)  # type: ignore[arg-type]
    assert stage.steps >= LEAST
