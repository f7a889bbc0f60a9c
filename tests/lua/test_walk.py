"""A standard queue against a model of one: random steps, and after each the same answer and the same counts."""

import random
from dataclasses import dataclass, field

import pytest

from tests.lua.quest import START_MS, Message, Quest

SEEDS = (1, 2)
DELAY_MS = 30
OLD_HANDLES = 60
"""A walk tries its latest handles, of which many are no longer the latest of their message."""


@dataclass
class Modelled:
    """What is true of one living message."""

    visible_ms: int
    """When it is visible, if nothing else happens."""
    delayed: bool = False
    """Whether it is its delay that hides it."""
    delivery: tuple[int, int] | None = None
    """Count and time of its latest delivery."""
    first_ms: int = 0


@dataclass
class Model:
    """A standard queue, by the definition: no lists, no promotion, nothing kept beside the messages."""

    now_ms: int = START_MS
    sequence: int = 0
    messages: dict[int, Modelled] = field(default_factory=dict)

    def send(self, number: int, delay_ms: int) -> None:
        """Add messages."""
        for _ in range(number):
            self.sequence += 1
            self.messages[self.sequence] = Modelled(self.now_ms + delay_ms, delayed=delay_ms > 0)

    def visible(self) -> set[int]:
        """Return what a receive may give."""
        return {sequence for sequence, message in self.messages.items() if message.visible_ms <= self.now_ms}

    def given(self, got: Message, visibility_ms: int) -> None:
        """Note a delivery, which must be the next one of its message."""
        message = self.messages[got.sequence]
        count = message.delivery[0] + 1 if message.delivery else 1
        if count == 1:
            message.first_ms = self.now_ms
        assert (got.count, got.first_ms) == (count, message.first_ms)
        message.delivery = (count, self.now_ms)
        message.visible_ms = self.now_ms + visibility_ms
        message.delayed = False

    def is_latest(self, sequence: int, delivery: tuple[int, int]) -> bool:
        """Say whether nobody received the message after this delivery."""
        return sequence in self.messages and self.messages[sequence].delivery == delivery

    def delete(self, sequence: int, delivery: tuple[int, int]) -> None:
        """Forget a message, if the delivery is its latest."""
        if self.is_latest(sequence, delivery):
            del self.messages[sequence]

    def change(self, sequence: int, visibility_ms: int) -> str:
        """Hide or show a message, by any of its deliveries."""
        message = self.messages.get(sequence)
        if not message or not message.delivery:
            return "MessageNotAvailable"
        message.visible_ms = self.now_ms + visibility_ms
        return "OK"

    def give_back(self, sequence: int, delivery: tuple[int, int]) -> int:
        """Undo the latest delivery."""
        if not self.is_latest(sequence, delivery):
            return 0
        message = self.messages[sequence]
        message.delivery = (delivery[0] - 1, delivery[1]) if delivery[0] > 1 else None
        message.visible_ms = self.now_ms
        return 1

    def counts(self) -> tuple[int, int, int]:
        """Return how many are visible, in flight, delayed."""
        visible = len(self.visible())
        delayed = sum(message.delayed for message in self.messages.values() if message.visible_ms > self.now_ms)
        return visible, len(self.messages) - visible - delayed, delayed


class Walk:
    """Random steps on a queue and its model."""

    def __init__(self, quest: Quest, seed: int) -> None:
        self.quest = quest
        self.model = Model()
        self.chance = random.Random(seed)
        self.handles: list[tuple[Message, tuple[int, int]]] = []
        quest.create()

    STEPS = ("send", "receive", "delete", "change", "advance", "give_back", "tick", "purge")
    WEIGHTS = (20, 30, 18, 20, 15, 2, 4, 0.1)

    def step(self) -> None:
        """Do one thing to both; then their counts are the same."""
        [name] = self.chance.choices(self.STEPS, self.WEIGHTS)
        if self.handles or name not in {"delete", "change", "give_back"}:
            getattr(self, name)()
        assert self.quest.counts() == self.model.counts(), name

    def send(self) -> None:
        """Send a few, at once or later."""
        number, delay_ms = self.chance.randint(1, 3), self.chance.choice((0, 0, 0, DELAY_MS))
        self.model.send(number, delay_ms)
        assert self.quest.send(*["body"] * number, delay_ms=delay_ms) == self.model.sequence

    def receive(self) -> None:
        """Receive: each message at most once, visible ones only, and as many as there are."""
        most, visibility_ms = self.chance.randint(1, 5), self.chance.choice((0, 5, 20, 20))
        visible = self.model.visible()
        got = self.quest.receive(most, visibility_ms)
        sequences = {message.sequence for message in got}
        assert len(sequences) == len(got) == min(most, len(visible))
        assert sequences <= visible
        for message in got:
            self.model.given(message, visibility_ms)
            self.handles.append((message, (message.count, self.model.now_ms)))

    def _handle(self) -> tuple[Message, tuple[int, int]]:
        return self.chance.choice(self.handles[-OLD_HANDLES:])

    def delete(self) -> None:
        """Delete by a handle, new or old."""
        message, delivery = self._handle()
        self.model.delete(message.sequence, delivery)
        assert self.quest.delete(message) == ["OK"]

    def change(self) -> None:
        """Hide or show by a handle, new or old."""
        message, _ = self._handle()
        visibility_ms = self.chance.choice((0, 7, 30))
        assert self.quest.change(message, visibility_ms) == self.model.change(message.sequence, visibility_ms)

    def give_back(self) -> None:
        """Give back a delivery, new or old."""
        message, delivery = self._handle()
        assert self.quest.give_back(message) == self.model.give_back(message.sequence, delivery)

    def advance(self) -> None:
        """Let time pass."""
        ms = self.chance.choice((1, 3, 10, 40))
        self.model.now_ms += ms
        self.quest.advance(ms)

    def tick(self) -> None:
        """Do what the background task does, which changes nothing that a model knows."""
        self.quest.tick()

    def purge(self) -> None:
        """Forget all messages."""
        self.model.messages.clear()
        self.quest.purge()


def _walk(quest: Quest, seed: int, steps: int) -> Walk:
    walk = Walk(quest, seed)
    for number in range(steps):
        try:
            walk.step()
        except (AssertionError, KeyError) as error:
            error.add_note(f"seed {seed}, step {number}")
            raise
    return walk


@pytest.mark.parametrize("seed", SEEDS)
def test_long_walk(default: Quest, seed: int) -> None:
    """A queue and its model do not differ in ten thousand steps, and what is left at the end can be emptied."""
    walk = _walk(default, seed, 10_000)
    default.advance(1000)
    left = {message.sequence for message in default.receive(500)}
    assert left == set(walk.model.messages)
    assert default.entries() == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_walk(quest: Quest, seed: int) -> None:
    """A queue and its model do not differ in a thousand steps on any server, in a cluster neither."""
    _walk(quest, seed + 100, 1000)


@pytest.mark.parametrize("seed", SEEDS)
def test_exhausted_walk(one_redis: Quest, seed: int) -> None:
    """With a queue that is its own dead-letter queue no message is lost or doubled, whatever happens to it."""
    chance = random.Random(seed)
    one_redis.create(deadLetterTarget="orders", maxReceiveCount=2)
    living, sent, handles = set[str](), 0, list[Message]()
    for _ in range(1000):
        kind = chance.choice(("send", "receive", "receive", "receive", "delete", "change", "advance", "tick"))
        if kind == "send":
            sent += 1
            living.add(f"m{sent}")
            one_redis.send(f"m{sent}", delay_ms=chance.choice((0, 10)))
        elif kind == "receive":
            got = one_redis.receive(chance.randint(1, 4), chance.choice((0, 5, 20)))
            handles = (handles + got)[-20:]
            assert len({message.body for message in got}) == len(got)
        elif kind == "advance":
            one_redis.advance(chance.choice((1, 5, 20)))
        elif kind == "tick":
            one_redis.tick(dead_letter_after=chance.choice((0, 10)))
        elif handles and kind == "change":
            one_redis.change(chance.choice(handles), chance.choice((0, 10)))
        elif handles and kind == "delete":
            before = sum(one_redis.counts())
            message = chance.choice(handles)
            one_redis.delete(message)
            if sum(one_redis.counts()) < before:
                living.remove(message.body)
        assert sum(one_redis.counts()) == len(living)
    one_redis.advance(1000)
    assert sorted(message.body for message in one_redis.receive(500)) == sorted(living)
