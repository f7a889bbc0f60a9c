"""What a load did: every operation with its times and its outcome, and what became of the data meanwhile.

It has SQS's words and knows nothing of HTTP or of faults; checker.py judges it. Times are seconds of the monotonic clock.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What a client knows of an operation that it asked for."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """It did nothing."""
    UNKNOWN = "unknown"
    """Nobody said whether it was done."""


@dataclass(frozen=True, slots=True)
class Send:
    """A message sent; its body is like no other's. `group` is '' in a standard queue."""

    queue: str
    body: str
    group: str
    begun: float
    ended: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message in the answer to a receive: which receive, at which place, and for how long it was hidden."""

    body: str
    handle: str
    count: int
    begun: float
    ended: float
    hidden_seconds: float
    receive: int
    place: int


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion by a receipt handle."""

    handle: str
    begun: float
    ended: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Change:
    """A change of visibility by a receipt handle."""

    handle: str
    seconds: float
    begun: float
    ended: float
    outcome: Outcome


@dataclass
class History:
    """What happened in one run."""

    sends: list[Send] = field(default_factory=list)
    """In the order in which they were begun."""
    deliveries: list[Delivery] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    requests: Counter[Outcome] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Why requests were not acknowledged."""
    mistakes: list[str] = field(default_factory=list)
    """What never may happen, whatever the fault: an InternalFailure, a message taken for a client that had gone."""
    cuts: list[tuple[float, float]] = field(default_factory=list)
    """From when to when what Redis acknowledged may have been undone, as it had not to be on disk yet."""
    wipes: list[tuple[float, float]] = field(default_factory=list)
    """When the operator threw everything away."""

    def may_be_undone(self, operation: Send | Delivery | Deletion | Change) -> bool:
        """Tell whether what was acknowledged may have been done in a cut; the client may have heard of it later."""
        return any(since <= operation.ended and operation.begun <= until for since, until in self.cuts)

    def is_wiped(self, send: Send) -> bool:
        """Tell whether a message may have been thrown away."""
        return any(send.begun < until for _, until in self.wipes)

    def proves(self, operation: Send | Deletion | Change) -> bool:
        """Tell whether an operation was done for good."""
        return operation.outcome is Outcome.ACKNOWLEDGED and not self.may_be_undone(operation)
