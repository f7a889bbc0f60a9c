"""The library as tests call it: each function by FCALL, in ms; nothing of questd's Python in between but its source."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha1
from typing import Any

import msgpack
import pytest
import redis

from questd import source

START_MS = 1_800_000_000_000
"""Where the clock stands when a test begins."""

VT = 20
"""The visibility timeout of a receive that does not say another, ms."""

FIFO = "orders.fifo"
"""The FIFO queue of the tests that need one."""

RECORD = struct.Struct(">6s16sI")


@dataclass(frozen=True)
class Message:
    """A message as quest_receive hands it out."""

    handle: str
    record: bytes
    count: int
    first_ms: int

    @property
    def sent_ms(self) -> int:
        """When it was sent."""
        return int.from_bytes(RECORD.unpack_from(self.record)[0])

    @property
    def id(self) -> bytes:
        """Its MessageId."""
        return bytes(RECORD.unpack_from(self.record)[1])

    @property
    def head(self) -> dict[str, Any]:
        """What is stored beside the body."""
        length = RECORD.unpack_from(self.record)[2]
        return dict(msgpack.unpackb(self.record[RECORD.size : RECORD.size + length])) if length else {}

    @property
    def body(self) -> str:
        """Its body."""
        return self.record[RECORD.size + RECORD.unpack_from(self.record)[2] :].decode()

    @property
    def sequence(self) -> int:
        """Its number in the queue, which only its handle shows."""
        return int(self.handle.split("-")[1])


class Ear:
    """What is published on some channels while it listens."""

    def __init__(self, client: Any, channels: tuple[str, ...]) -> None:
        self._client = client
        self._subscription = client.pubsub()
        self._subscription.subscribe(*channels, "end")
        for _ in range(len(channels) + 1):
            self._subscription.get_message(timeout=5)

    def heard(self) -> list[tuple[str, str]]:
        """Return channel and text of all that was published since the last look."""
        self._client.publish("end", "")
        messages: list[tuple[str, str]] = []
        while True:
            message = self._subscription.get_message(timeout=5)
            assert message
            if message["channel"] == b"end":
                return messages
            messages.append((message["channel"].decode(), message["data"].decode()))

    def close(self) -> None:
        """Stop listening."""
        self._subscription.close()


def key_of(queue: str) -> str:
    """Return the key that the functions of a queue get."""
    return f"quest:{{{queue}}}"


def failing(text: str) -> pytest.RaisesExc[redis.RedisError]:
    """Expect Redis to answer the error `text`, all of it."""
    return pytest.raises(redis.ResponseError, check=lambda error: str(error) == text)


class Quest:
    """One Redis with the library in it, loaded with a clock that stands still. Times are ms."""

    def __init__(self, client: Any, *, clustered: bool = False) -> None:
        self.redis = client
        self.clustered = clustered
        self._queues_made = 0
        self.load()

    def load(self) -> None:
        """Load the library, which forgets what it knew."""
        self.redis.function_load(source.text(test_mode=True), replace=True)

    def reset(self) -> None:
        """Empty this Redis and set its clock."""
        self.redis.flushall()
        self.clock("freeze", START_MS)

    def clock(self, *arguments: str | int) -> int:
        """Move the clock or read it."""
        return int(self.redis.fcall("quest_clock", 0, *arguments))

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self.clock("advance", ms)

    def call(self, function: str, queue: str, *arguments: str | bytes | float) -> Any:
        """Call a function on a queue."""
        return self.redis.fcall(function, 1, key_of(queue), *arguments)

    def read(self, function: str, queue: str, *arguments: str | float) -> Any:
        """Call a function that promises to write nothing."""
        return self.redis.fcall_ro(function, 1, key_of(queue), *arguments)

    def create(self, queue: str = "orders", *, wait_ms: int = 0, **fields: str | int) -> int:
        """Make a queue with a secret of its own."""
        self._queues_made += 1
        secret = sha1(str(self._queues_made).encode(), usedforsecurity=False).hexdigest()
        flat = [part for pair in fields.items() for part in pair]
        return int(self.call("quest_create", queue, secret, wait_ms, 2**20, 345_600, *flat))

    def field(self, queue: str, name: str) -> str | None:
        """Return a field of a queue's hash."""
        value = self.redis.hget(key_of(queue), name)
        return None if value is None else value.decode()

    def alarm(self, queue: str = "orders") -> int | None:
        """Return when the queue wants its next tick, ms after START_MS."""
        alarm = self.field(queue, "alarm")
        return int(alarm) - START_MS if alarm else None

    def ask(self, function: str, queue: str, *arguments: str | bytes | float) -> Any:
        """Call a function that wants to know the queue's version."""
        return self.call(function, queue, self.field(queue, "version") or "", *arguments)

    def send_fifo(self, group: str, *messages: str, queue: str = FIFO) -> list[tuple[int, str]]:
        """Send messages of a group; each is its body, which is also its deduplication id, or "id:body".

        Sequence and the beginning of the MessageId of each.
        """
        entries: list[bytes | str] = []
        for message in messages:
            deduplication_id, _, body = message.rpartition(":")
            digest = sha1((deduplication_id or body).encode(), usedforsecurity=False).digest()
            head = {"MessageGroupId": group, "MessageDeduplicationId": deduplication_id or body}
            entries += [_id(body), "", msgpack.packb(head), body, group, digest]
        reply = self.ask("quest_send", queue, *entries)
        return [(reply[i], reply[i + 1].decode().rstrip(".")) for i in range(0, len(reply), 2)]

    def send(self, *bodies: str, queue: str = "orders", delay_ms: int | str = "", head: bytes = b"") -> int:
        """Send messages whose ids begin with their bodies; the sequence of the last one."""
        entries = [part for body in bodies for part in (_id(body), delay_ms, head, body, "", "")]
        return int(self.ask("quest_send", queue, *entries)[0])

    def poll(
        self,
        most: int = 1,
        visibility_ms: int | str = VT,
        *,
        queue: str = "orders",
        process: str = "",
        wait_ms: int = 0,
        attempt: str = "",
    ) -> Any:
        """Receive, waiting as `process` when there is nothing; the reply as it is."""
        return self.ask("quest_receive", queue, most, visibility_ms, "", 120_000, attempt, process, wait_ms, 0, 1)

    def receive(
        self, most: int = 10, visibility_ms: int | str = VT, *, queue: str = "orders", attempt: str = ""
    ) -> list[Message]:
        """Receive, and ask again while there is more to look at."""
        reply = self.poll(most, visibility_ms, queue=queue, attempt=attempt)
        while len(reply) == 2 and reply[1]:
            reply = self.poll(most, visibility_ms, queue=queue, attempt=attempt)
        return [Message(reply[i].decode(), *reply[i + 1 : i + 4]) for i in range(2, len(reply), 4)]

    def received(self, *bodies: str, **fields: str | int) -> list[Message]:
        """Make the queue, with these fields, send to it, and receive that once."""
        self.create("orders", wait_ms=0, **fields)
        self.send(*bodies)
        return self.receive()

    def receive_together(
        self, receives: int, most: int, visibility_ms: int | str = VT, *, queue: str = "orders", limit: int = 120_000
    ) -> tuple[int, list[list[str]]]:
        """Do several receives by one call in a queue with groups; `more`, and the bodies that each got."""
        arguments = (receives * most, visibility_ms, "", limit, "", "", 0, 0, receives)
        _, more, *parts = self.ask("quest_receive", queue, *arguments)
        shares, messages = parts[:receives], parts[receives:]
        bodies = iter(Message(messages[i].decode(), *messages[i + 1 : i + 4]).body for i in range(0, len(messages), 4))
        return more, [[next(bodies) for _ in range(share)] for share in shares]

    def bodies(self, most: int = 10, visibility_ms: int | str = VT, *, queue: str = "orders") -> list[str]:
        """Receive; the bodies."""
        return [message.body for message in self.receive(most, visibility_ms, queue=queue)]

    def receive_fifo(self, most: int = 10, visibility_ms: int | str = VT, *, attempt: str = "") -> list[Message]:
        """Receive from the FIFO queue."""
        return self.receive(most, visibility_ms, queue=FIFO, attempt=attempt)

    def bodies_fifo(self, most: int = 10, visibility_ms: int | str = VT) -> list[str]:
        """Receive from the FIFO queue; the bodies."""
        return self.bodies(most, visibility_ms, queue=FIFO)

    def delete(self, *messages: Message | str, queue: str = "orders") -> list[str]:
        """Delete by handles; what became of each."""
        return _words(self.ask("quest_delete", queue, *map(_handle, messages)))

    def change(self, message: Message | str, visibility_ms: int, *, queue: str = "orders") -> str:
        """Change a message's visibility; what became of it."""
        return _words(self.ask("quest_change_visibility", queue, _handle(message), visibility_ms))[0]

    def give_back(self, *messages: Message | str, queue: str = "orders") -> int:
        """Undo a receive."""
        return int(self.call("quest_give_back", queue, *map(_handle, messages)))

    def tick(self, queue: str = "orders", dead_letter_after: int | str = 2000) -> list[int]:
        """Do what is due: ms to the next tick, and how many messages wait to leave."""
        return list(self.call("quest_tick", queue, dead_letter_after))

    def purge(self, queue: str = "orders", wait_ms: int = 0) -> int:
        """Empty a queue."""
        return int(self.call("quest_purge", queue, wait_ms))

    def counts(self, queue: str = "orders") -> tuple[int, int, int]:
        """Return how many are visible, in flight, delayed."""
        visible, inflight, delayed, _ = self.read("quest_attributes", queue)
        return visible, inflight, delayed

    def entries(self, queue: str = "orders") -> int:
        """Return the length of the list of visible messages, dead entries included."""
        return int(self.redis.llen(f"{key_of(queue)}:visible"))

    def keys(self) -> set[str]:
        """Return every key there is, but for the clock's."""
        return {key.decode() for key in self.redis.keys("*")} - {"quest:clock"}

    @contextmanager
    def listening(self, *channels: str) -> Iterator[Ear]:
        """Listen to channels for the length of the block."""
        ear = Ear(self.redis, channels)
        try:
            yield ear
        finally:
            ear.close()


def _id(body: str) -> bytes:
    return body.encode()[:16].ljust(16, b".")


def _handle(message: Message | str) -> str:
    return message if isinstance(message, str) else message.handle


def _words(reply: list[bytes]) -> list[str]:
    return [word.decode() for word in reply]
