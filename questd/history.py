"""History: how queues were during the last hour, for the console's charts. Its process looks at them now and then.

It knows figures and time; it must not know pages. What happened before the process began it cannot know.
"""

import asyncio
import contextlib
import time
from collections import deque
from itertools import pairwise
from typing import NamedTuple

from questd import errors, registry
from questd.action import Questd
from questd.figures import figures
from questd.library import key_of

EVERY_SECONDS = 10.0

SPAN_SECONDS = 3600.0

QUEUES = 300
"""Queues that are looked at, in the order of their names: so many cost Redis 6 ms, every 10 s."""

SAMPLES = 400
"""Kept of each at most: an hour's, and some more. A queue that stays as it is has two."""

Points = list[tuple[float, float]]
"""Times, by the monotonic clock, and values: each holds until the next time."""


class Sample(NamedTuple):
    """How a queue was."""

    time: float
    visible: int
    in_flight: int
    delayed: int
    sent: int
    """Messages that were ever sent to it."""

    @property
    def done(self) -> int:
        """How many of them have left it again, in whatever way."""
        return self.sent - self.visible - self.in_flight - self.delayed


class History:
    """What one process remembers."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[Sample]] = {}
        self._total: deque[Sample] = deque(maxlen=SAMPLES)

    async def keep(self, questd: Questd) -> None:
        """Look at the queues every few seconds, for ever."""
        while True:
            with contextlib.suppress(errors.SQSError):  # Redis is away: the history has a gap
                await self.look(questd)
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self, questd: Questd) -> None:
        """Remember how the queues are now."""
        names = (await registry.names(questd.library))[0][:QUEUES]
        looks = await asyncio.gather(*(_sample(questd, name) for name in names), return_exceptions=True)
        found = {name: each for name, each in zip(names, looks, strict=True) if isinstance(each, Sample)}
        self._samples = {name: self._samples.get(name, deque(maxlen=SAMPLES)) for name in found}
        for name, sample in found.items():
            note(self._samples[name], sample)
        now = time.monotonic()
        sums = [sum(column) for column in list(zip(*found.values(), strict=True))[1:]] or [0, 0, 0, 0]
        note(self._total, Sample(now, *sums))

    def samples(self, queue: str | None) -> list[Sample]:
        """Return the last hour of a queue by its name inside, or of all together."""
        kept = self._total if queue is None else self._samples.get(queue, ())
        since = time.monotonic() - SPAN_SECONDS
        return [sample for sample in kept if sample.time >= since]


async def _sample(questd: Questd, queue: str) -> Sample:
    execute = questd.library.execute
    found, sent = await asyncio.gather(figures(questd, queue), execute("HGET", key_of(queue), "sequence"))
    return Sample(time.monotonic(), found.visible, found.in_flight, found.delayed, int(sent or 0))


def note(samples: deque[Sample], sample: Sample) -> None:
    """Add a sample; where nothing changes, the first and the last one say it all."""
    if len(samples) > 1 and samples[-2][1:] == samples[-1][1:] == sample[1:]:
        samples.pop()
    samples.append(sample)


def rates(samples: list[Sample]) -> dict[str, Points]:
    """Return how many messages came and left per second."""
    return {
        "in": [(a.time, _rate(b.sent - a.sent, b.time - a.time)) for a, b in pairwise(samples)],
        "out": [(a.time, _rate(b.done - a.done, b.time - a.time)) for a, b in pairwise(samples)],
    }


def _rate(difference: int, seconds: float) -> float:
    return max(difference, 0) / seconds if seconds > 0 else 0.0  # a queue made anew begins again


def levels(samples: list[Sample]) -> dict[str, Points]:
    """Return how many messages there were, by their state."""
    return {
        "visible": [(sample.time, sample.visible) for sample in samples],
        "in flight": [(sample.time, sample.in_flight) for sample in samples],
        "delayed": [(sample.time, sample.delayed) for sample in samples],
    }
