"""What the processes of questd count: plain integers in memory that they share, a page of it for each process.

A page outlives its process: the next one counts on in it, so that no count ever goes down while questd runs. Nothing
here knows Prometheus, which reads the counts (metrics.py), or what a request is.
"""

import logging
import mmap
from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass

from questd import errors

BOUNDS_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000)
"""Upper bounds of the classes that the times of requests are counted in; a last class has none."""

GAUGES = ("connections", "requests_in_flight", "long_polls_waiting", "redis_calls_waiting")
"""What goes up and down. A process writes it once a second, and nothing of it is left when it ends."""

SUMS = ("redis_calls", "redis_writes", "redis_calls_merged", "long_poll_ns", "cpu_ns")
"""What a process adds up, beside its requests."""

UNKNOWN = ""
"""The action of a request that asked for none that there is."""

BASES = (errors.ModelledError, errors.FrameworkError)
ERRORS = tuple(sorted(error.name for base in BASES for error in base.__subclasses__()))
"""AWS's names of all errors."""

NEVER, NOW, BEFORE = 0, 1, 2
"""Whether a page has a process: the first slot of it."""

WORD = 8
FIRST_GAUGE = 1
FIRST_SUM = FIRST_GAUGE + len(GAUGES)
FIRST_ACTION = FIRST_SUM + len(SUMS)
BOUNDS_NS = tuple(int(bound * 1e6) for bound in BOUNDS_MS)
TIME = len(BOUNDS_NS) + 1
FIRST_ERROR = TIME + 1
WIDTH = FIRST_ERROR + len(ERRORS)
"""Slots of an action: the classes of times, the time of all, the errors."""

ERROR_AT = {name: FIRST_ERROR + i for i, name in enumerate(ERRORS)}

log = logging.getLogger(__name__)


@dataclass
class Requests:
    """What was counted of the requests for one action."""

    classes: list[int]
    """How many took how long: one more than BOUNDS_MS."""
    ns: int
    """How long all of them took."""
    errors: list[int]
    """How many failed, in the order of ERRORS."""

    def __add__(self, other: "Requests") -> "Requests":
        return Requests(_added(self.classes, other.classes), self.ns + other.ns, _added(self.errors, other.errors))


def _added(one: list[int], other: list[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]


class Page:
    """Where one process counts."""

    def __init__(self, book: "Counts", number: int, slots: memoryview) -> None:
        self.book = book
        self.number = number
        self._slots = slots
        self._actions = {name: FIRST_ACTION + i * WIDTH for i, name in enumerate(book.actions)}

    def answered(self, action: str, error: str, ns: int) -> None:
        """Count a request that took so long: UNKNOWN is no action, '' no error.

        It takes 2 800 instructions, with the clock read twice (callgrind).
        """
        slots, first = self._slots, self._actions[action]
        slots[first + bisect_left(BOUNDS_NS, ns)] += 1
        slots[first + TIME] += ns
        if error:
            slots[first + ERROR_AT[error]] += 1

    def add(self, name: str, count: int) -> None:
        """Add to one of SUMS."""
        self._slots[FIRST_SUM + SUMS.index(name)] += count

    def show(self, name: str, value: int) -> None:
        """Set one of GAUGES."""
        self._slots[FIRST_GAUGE + GAUGES.index(name)] = value

    @property
    def state(self) -> int:
        """NEVER, NOW or BEFORE: whether it has a process."""
        return self._slots[0]

    def begin(self) -> None:
        """Note that it has a process."""
        self._slots[0] = NOW

    def end(self) -> None:
        """Note that its process has ended."""
        self._slots[0] = BEFORE
        for name in GAUGES:
            self.show(name, 0)

    @property
    def gauges(self) -> dict[str, int]:
        """What is now."""
        return dict(zip(GAUGES, self._slots[FIRST_GAUGE:FIRST_SUM], strict=True))

    @property
    def sums(self) -> dict[str, int]:
        """What was added up."""
        return dict(zip(SUMS, self._slots[FIRST_SUM:FIRST_ACTION], strict=True))

    @property
    def requests(self) -> dict[str, Requests]:
        """What was counted of requests, by action."""
        return {name: self._requests(first) for name, first in self._actions.items()}

    def _requests(self, first: int) -> Requests:
        found = self._slots[first : first + WIDTH].tolist()
        return Requests(found[:TIME], found[TIME], found[FIRST_ERROR:])


class Counts:
    """The pages of all processes: made before they are forked, so that all have the same memory."""

    def __init__(self, actions: Collection[str], pages: int = 1) -> None:
        self.actions = (UNKNOWN, *actions)
        width = FIRST_ACTION + WIDTH * len(self.actions)
        slots = memoryview(mmap.mmap(-1, pages * width * WORD)).cast("Q")
        self._pages = [Page(self, i, slots[i * width : (i + 1) * width]) for i in range(pages)]

    def take(self) -> Page:
        """Return a page for a new process, until `Page.end`."""
        page = next((page for page in self._pages if page.state != NOW), None)
        if page is None:
            log.warning("too many processes at once: one is not counted")
            return Counts(self.actions[1:]).take()
        page.begin()
        return page

    @property
    def used(self) -> list[Page]:
        """Every page that has, or had, a process."""
        return [page for page in self._pages if page.state != NEVER]
