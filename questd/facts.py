"""Facts of a queue: what a process keeps of it, to check a request before it asks Redis. action.py keeps them."""

from dataclasses import dataclass
from typing import Self

from questd.library import key_of


@dataclass(frozen=True, slots=True)
class Facts:
    """What a queue is: good as long as `version` is."""

    version: bytes
    MaximumMessageSize: int
    ReceiveMessageWaitTimeSeconds: int
    FifoQueue: bool
    ContentBasedDeduplication: bool
    DeduplicationScope: str
    FifoThroughputLimit: str
    scope: str
    """Of deduplication in a FIFO queue: "queue" or "messageGroup", as it was created."""
    Policy: str
    tags: str
    key: str
    """What its functions get."""
    grouped: bool
    """Whether its messages have groups, whose order or share a receive has to mind."""

    @classmethod
    def of(cls, queue: str, pairs: list[bytes]) -> Self:
        """Return the facts of a queue, out of all the fields of its hash: names and values in turn."""
        fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
        fifo = fields.get(b"FifoQueue") == b"true"
        return cls(
            fields[b"version"],
            int(fields[b"MaximumMessageSize"]),
            int(fields[b"ReceiveMessageWaitTimeSeconds"]),
            FifoQueue=fifo,
            ContentBasedDeduplication=fields.get(b"ContentBasedDeduplication") == b"true",
            DeduplicationScope=fields.get(b"DeduplicationScope", b"").decode(),
            FifoThroughputLimit=fields.get(b"FifoThroughputLimit", b"").decode(),
            scope=fields.get(b"scope", b"").decode(),
            Policy=fields.get(b"Policy", b"").decode(),
            tags=fields.get(b"tags", b"").decode(),
            key=key_of(queue),
            grouped=fifo or b"fair" in fields,
        )
