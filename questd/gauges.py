"""What a process tells of itself once a second, so that no request pays for it: connections, waits, calls, CPU."""

import time
from typing import Protocol

from questd.action import Questd


class Front(Protocol):
    """What serves HTTP in this process."""

    @property
    def connections(self) -> int:
        """How many clients are connected."""


class Gauges:
    """The figures of one process, and what of them was counted already."""

    def __init__(self, questd: Questd, front: Front) -> None:
        self._questd = questd
        self._front = front
        self._cpu_ns = 0

    def note(self) -> None:
        """Write how things are now, and what was done since the last time, into this process's page of the counts."""
        page, together, capacity = self._questd.counts, self._questd.together, self._questd.capacity
        pipelines = [primary.pipeline for primary in self._questd.library.primaries.all]
        page.show("connections", self._front.connections)
        page.show("requests_in_flight", capacity.requests)
        page.show("long_polls_waiting", capacity.waiting)
        page.show("redis_calls_waiting", sum(pipeline.waiting for pipeline in pipelines))
        for pipeline in pipelines:
            page.add("redis_calls", pipeline.calls)
            page.add("redis_writes", pipeline.writes)
            pipeline.calls = pipeline.writes = 0
        page.add("redis_calls_merged", together.merged)
        together.merged = 0
        cpu_ns = time.process_time_ns()
        page.add("cpu_ns", cpu_ns - self._cpu_ns)
        self._cpu_ns = cpu_ns
