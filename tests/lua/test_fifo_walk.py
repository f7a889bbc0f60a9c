"""A FIFO queue against a model of one: random steps, and after each the same answer and the same counts."""

import random
from dataclasses import dataclass, field

import pytest

from tests.lua.quest import FIFO, START_MS, Message, Quest, failing

SEEDS = (1, 2)
DELAY_MS = 30
WINDOW_MS = 300_000
TRIES = 4
OLD_HANDLES = 40


@dataclass(eq=False)
class Modelled:
    """What is true of one living message."""

    body: str
    group: str
    delayed_until_ms: int
    hidden_until_ms: int = 0
    count: int = 0
    received_ms: int = 0
    first_ms: int = 0
    changed: bool = False

    def hidden(self, now_ms: int) -> bool:
        """Say whether it is in flight or delayed."""
        return max(self.delayed_until_ms, self.hidden_until_ms) > now_ms


@dataclass
class Given:
    """A delivery: the message, its count and time."""

    message: Modelled
    count: int
    received_ms: int


@dataclass
class Model:
    """A FIFO queue, by the definition: messages in the order of their sends, nothing kept beside them."""

    now_ms: int = START_MS
    living: list[Modelled] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    attempts: dict[str, tuple[int, list[Given]]] = field(default_factory=dict)

    def send(self, group: str, body: str, deduplication_id: str, delay_ms: int) -> None:
        """Add a message, unless its id was sent within five minutes."""
        if self.sent.get(deduplication_id, 0) <= self.now_ms:
            self.sent[deduplication_id] = self.now_ms + WINDOW_MS
            self.living.append(Modelled(body, group, self.now_ms + delay_ms))

    def prefix(self, group: str) -> list[Modelled]:
        """Return what a receive may look at of a group, in order."""
        mine = [message for message in self.living if message.group == group]
        hidden = [message.hidden(self.now_ms) for message in mine]
        return mine[: hidden.index(True)] if True in hidden else mine

    def due(self, group: str) -> list[Modelled]:
        """Return what a receive may take of a group, in order."""
        return [message for message in self.prefix(group) if message.count < TRIES]

    def exhausted(self) -> list[Modelled]:
        """Return what a receive may dead-letter."""
        return [message for group in self.groups() for message in self.prefix(group) if message.count >= TRIES]

    def groups(self) -> set[str]:
        """Return the groups that there are."""
        return {message.group for message in self.living}

    def give(self, message: Modelled, visibility_ms: int) -> Given:
        """Deliver a message."""
        message.count += 1
        message.received_ms = self.now_ms
        message.first_ms = message.first_ms or self.now_ms
        message.hidden_until_ms = self.now_ms + visibility_ms
        message.changed = False
        return Given(message, message.count, self.now_ms)

    def runs(self, given: Given) -> bool:
        """Say whether a delivery's handle is good."""
        message = given.message
        latest = (message.count, message.received_ms) == (given.count, given.received_ms)
        return message in self.living and latest and message.hidden(self.now_ms)

    def counts(self) -> tuple[int, int, int]:
        """Return how many are visible, in flight, delayed."""
        delayed = sum(message.delayed_until_ms > self.now_ms for message in self.living)
        flying = sum(message.hidden_until_ms > self.now_ms for message in self.living)
        return len(self.living) - delayed - flying, flying, delayed


class Walk:
    """Random steps on a queue and its model."""

    STEPS = ("send", "receive", "attempt", "delete", "change", "advance", "give_back", "tick", "purge", "age")
    WEIGHTS = (30, 30, 8, 25, 14, 18, 3, 4, 0.1, 0.1)

    def __init__(self, quest: Quest, seed: int, *, delay_ms: int = 0) -> None:
        self.quest = quest
        self.model = Model()
        self.chance = random.Random(seed)
        self.given: list[tuple[Message, Given]] = []
        self.delay_ms = delay_ms
        self.bodies = 0
        quest.create("dead.fifo", FifoQueue="true")
        quest.create(
            FIFO,
            FifoQueue="true",
            DelaySeconds=str(delay_ms / 1000),
            deadLetterTarget="dead.fifo",
            maxReceiveCount=TRIES,
        )

    def step(self) -> None:
        """Do one thing to both; then their counts are the same."""
        [name] = self.chance.choices(self.STEPS, self.WEIGHTS)
        if self.given or name not in {"delete", "change", "give_back"}:
            getattr(self, name)()
        assert self.quest.counts(FIFO) == self.model.counts(), name

    def send(self) -> None:
        """Send a few to a group, some of them again."""
        group = f"g{self.chance.randint(1, 6)}"
        messages = []
        for _ in range(self.chance.randint(1, 3)):
            self.bodies += 1
            deduplication_id = f"id{self.bodies - self.chance.choice((0, 0, 0, 0, 3))}"
            messages.append(f"{deduplication_id}:m{self.bodies}")
            self.model.send(group, f"m{self.bodies}", deduplication_id, self.delay_ms)
        self.quest.send_fifo(group, *messages)

    def receive(self, attempt: str = "") -> None:
        """Receive: whole prefixes of free groups in order, the last one cut, and as many as there are."""
        most, visibility_ms = self.chance.randint(1, 6), self.chance.choice((0, 5, 20, 20, 20))
        free = {group for group in self.model.groups() if self.model.due(group)}
        got = self.quest.receive(most, visibility_ms, queue=FIFO, attempt=attempt)
        exhausted = {message.body: message for message in self.model.exhausted()}
        given = []
        for group in dict.fromkeys(message.head["MessageGroupId"] for message in got):
            mine = [message for message in got if message.head["MessageGroupId"] == group]
            due = self.model.due(group)
            whole = mine[-1] is not got[-1] or len(got) < most
            assert [message.body for message in mine] == [
                message.body for message in due[: None if whole else len(mine)]
            ]
            for message, modelled in zip(mine, due, strict=False):
                delivery = self.model.give(modelled, visibility_ms)
                assert (message.count, message.first_ms) == (delivery.count, modelled.first_ms)
                given.append((message, delivery))
        if len(got) < most:
            assert {delivery.message.group for _, delivery in given} == free
        self.given += given
        for dead in self.quest.receive(100, queue="dead.fifo"):
            self.model.living.remove(exhausted.pop(dead.body))
            self.quest.delete(dead, queue="dead.fifo")
        assert len(got) == most or not exhausted
        if attempt and given:
            self.model.attempts[attempt] = (self.model.now_ms + WINDOW_MS, [delivery for _, delivery in given])

    def attempt(self) -> None:
        """Receive under one of few attempt ids."""
        attempt = f"a{self.chance.randint(1, 3)}"
        until_ms, before = self.model.attempts.get(attempt, (0, []))
        if until_ms <= self.model.now_ms:
            self.receive(attempt)
        elif any(
            delivery.message not in self.model.living
            or (delivery.message.changed and delivery.received_ms == delivery.message.received_ms)
            for delivery in before
        ):
            with failing(f"AttemptNotRetryable {attempt}"):
                self.quest.receive(1, queue=FIFO, attempt=attempt)
        elif not all(self.model.runs(delivery) for delivery in before):
            del self.model.attempts[attempt]
            self.receive(attempt)
        else:
            again = self.quest.receive(1, 20, queue=FIFO, attempt=attempt)
            assert [message.body for message in again] == [delivery.message.body for delivery in before]
            for delivery in before:
                delivery.message.hidden_until_ms = self.model.now_ms + 20

    def _some(self) -> tuple[Message, Given]:
        return self.chance.choice(self.given[-OLD_HANDLES:])

    def delete(self) -> None:
        """Delete by a handle, new or old."""
        message, given = self._some()
        expected = "OK" if given.message not in self.model.living or self.model.runs(given) else "ReceiptHandleExpired"
        if self.model.runs(given):
            self.model.living.remove(given.message)
        assert self.quest.delete(message, queue=FIFO) == [expected]

    def change(self) -> None:
        """Hide or show by a handle, new or old."""
        message, given = self._some()
        visibility_ms = self.chance.choice((0, 7, 30))
        expected = "MessageNotAvailable"
        if self.model.runs(given):
            expected = "OK"
            given.message.hidden_until_ms = self.model.now_ms + visibility_ms
            given.message.changed = True
        elif given.message in self.model.living:
            expected = "ReceiptHandleExpired"
        assert self.quest.change(message, visibility_ms, queue=FIFO) == expected

    def give_back(self) -> None:
        """Give back the newest delivery, as its client has gone before it was answered."""
        message, given = self.given.pop()
        if self.model.runs(given):
            given.message.count -= 1
            given.message.hidden_until_ms = 0
            if not given.message.count:
                given.message.first_ms = given.message.received_ms = 0
            self.quest.give_back(message, queue=FIFO)

    def advance(self) -> None:
        """Let time pass."""
        self._pass(self.chance.choice((1, 3, 10, 40)))

    def age(self) -> None:
        """Let so much time pass that nothing sent or received is remembered."""
        self._pass(WINDOW_MS)

    def _pass(self, ms: int) -> None:
        self.model.now_ms += ms
        self.quest.advance(ms)

    def tick(self) -> None:
        """Do what the background task does, which changes nothing that a model knows."""
        self.quest.tick(FIFO, "never")

    def purge(self) -> None:
        """Forget all messages, and what was sent and received."""
        self.model.living.clear()
        self.model.sent.clear()
        self.model.attempts.clear()
        self.quest.purge(FIFO)


def _walk(quest: Quest, seed: int, steps: int, delay_ms: int, sequence: int = 0) -> Walk:
    walk = Walk(quest, seed, delay_ms=delay_ms)
    quest.redis.hset(f"quest:{{{FIFO}}}", "sequence", sequence)
    for number in range(steps):
        try:
            walk.step()
        except Exception as error:
            error.add_note(f"seed {seed}, step {number}")
            raise
    return walk


@pytest.mark.parametrize("seed", SEEDS)
def test_long_walk(default: Quest, seed: int) -> None:
    """A FIFO queue and its model do not differ in ten thousand steps, and what is left at the end is there in order."""
    walk = _walk(default, seed, 10_000, delay_ms=0)
    default.advance(1000)
    walk.model.now_ms += 1000
    while walk.model.living:
        walk.receive()
        walk.advance()
    assert not default.redis.keys("quest:{orders.fifo}:group:*")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("delay_ms", [0, DELAY_MS])
def test_walk(one_redis: Quest, seed: int, delay_ms: int) -> None:
    """A FIFO queue, with a delay or without, does not differ from its model in a thousand steps on any server."""
    _walk(one_redis, seed + 100, 1000, delay_ms)


@pytest.mark.parametrize("seed", SEEDS)
def test_walk_with_long_groups(one_redis: Quest, seed: int) -> None:
    """Nor does one whose sequences are so long that a group of four messages has a list."""
    _walk(one_redis, seed + 200, 1000, 0, sequence=2 * 10**14)
