"""A crew: forked processes that do the same work, brought back when they die, replaced one by one without a gap.

It owns what happens to them, seen from their parent; it must not know what they do or how they are forked.
"""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from questd.restarts import Restarts
from questd.signals import DRAIN

LONGEST_DRAIN = 30.0
"""Seconds that a replaced process has to answer what it has: long polls end at once, and few uploads take that long."""

log = logging.getLogger(__name__)


@dataclass
class Forked:
    """A forked process, as its parent sees it, and the pipe on which it reports."""

    pid: int
    report: int
    ended: Callable[[], None] = lambda: None
    """Called when it is seen to have ended."""
    said: bytes = b""
    status: int | None = None

    def look(self) -> None:
        """Take in what it has reported, and its exit status once it has ended."""
        if self.status is not None:
            return
        ended, status = os.waitpid(self.pid, os.WNOHANG)
        with contextlib.suppress(BlockingIOError):
            self.said += os.read(self.report, 65536)
        if ended:
            self.status = os.waitstatus_to_exitcode(status)
            os.close(self.report)
            self.ended()

    @property
    def lives(self) -> bool:
        """Whether it had not ended when it was looked at."""
        return self.status is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.lives:
            os.kill(self.pid, number)


@dataclass
class Place:
    """The place of one process, filled again when it dies; `next` is to take it over."""

    process: Forked
    next: Forked | None = None
    stale: bool = False
    """Whether it is to be replaced."""
    restarts: Restarts = field(default_factory=Restarts)
    failures: int = 0
    """So many of its processes in a row ended before they were ready."""


class Crew:
    """Processes of one kind: `name` says which in the log, `fork` starts one, which reports when it is ready."""

    def __init__(self, name: str, fork: Callable[[], Forked]) -> None:
        self._name = name
        self._fork = fork
        self._places: list[Place] = []
        self._leaving: list[tuple[float, Forked]] = []  # those that drain once they are ready, and when at the latest
        self._drained: list[tuple[float, Forked]] = []  # replaced processes, and when they must have ended

    @property
    def begun(self) -> bool:
        """Whether there are places."""
        return bool(self._places)

    @property
    def ready(self) -> bool:
        """Whether every process has reported."""
        return self.begun and all(place.process.said for place in self._places)

    @property
    def failures(self) -> int:
        """How often in a row a process ended before it was ready, in the worst of the places."""
        return max((place.failures for place in self._places), default=0)

    @property
    def processes(self) -> list[Forked]:
        """Every process that does its work, will do it or has done it."""
        placed = [process for place in self._places for process in (place.process, place.next) if process]
        return placed + [process for _, process in self._leaving + self._drained]

    @property
    def due(self) -> list[float]:
        """When `keep` has to be called even if nothing happens (monotonic time)."""
        restarts = [place.restarts.due for place in self._places if place.restarts.due is not None]
        return restarts + [latest for latest, _ in self._leaving + self._drained]

    def resize(self, count: int) -> None:
        """Have so many places."""
        while len(self._places) > count:
            gone = self._places.pop()
            self._dismiss_next(gone)
            self._dismiss(gone.process)
        self._places += [Place(self._fork()) for _ in range(count - len(self._places))]

    def replace(self) -> None:
        """Have every process replaced; `keep` does it, one by one."""
        for place in self._places:
            place.stale = True
            self._dismiss_next(place)

    def keep(self) -> None:
        """Look at every process, fill empty places, and take the next step of a replacement."""
        for place in self._places:
            self._keep(place)
        self._drain_the_leaving()
        for latest, process in self._drained:
            process.look()
            if time.monotonic() > latest:
                process.send(signal.SIGKILL)
        self._drained = [(latest, process) for latest, process in self._drained if process.lives]
        while self._take_turn():
            pass

    def _keep(self, place: Place) -> None:
        place.process.look()
        self._note_end(place)
        if place.restarts.start():
            place.process = self._fork()
            self._note_end(place)  # it may not have been forked at all

    def _note_end(self, place: Place) -> None:
        """If its process has ended, have another started in a while."""
        process = place.process
        if process.lives or place.restarts.due is not None:
            return
        log.error("%s %d ended with status %d, starting another", self._name, process.pid, process.status)
        place.restarts.died()
        place.failures = 0 if process.said else place.failures + 1

    def _take_turn(self) -> bool:
        """Replace a stale process, when the next one is ready; return whether it did."""
        place = next((place for place in self._places if place.stale), None)
        if place is None:
            return False
        if place.next is None:
            place.next = self._fork()
        place.next.look()
        if place.next.said and place.next.lives:
            log.info("%s %d gives way to %d", self._name, place.process.pid, place.next.pid)
            self._dismiss(place.process)
            place.process, place.next, place.stale = place.next, None, False
            place.restarts, place.failures = Restarts(), 0  # if the one before has died, its place is taken
            return True
        if not place.next.lives:
            log.error("%s %d ended before it was ready: no %s is replaced", self._name, place.next.pid, self._name)
            place.next = None
            for other in self._places:
                other.stale = False
        return False

    def _dismiss(self, process: Forked) -> None:
        """Let go of a process that has had a place."""
        self._leaving.append((time.monotonic() + LONGEST_DRAIN, process))
        self._drain_the_leaving()

    def _dismiss_next(self, place: Place) -> None:
        """Let go of a process that was to take over a place, with settings that are old by now."""
        if place.next:
            place.next.look()
            if place.next.said:
                self._drain(place.next)
            else:  # it does not understand yet what draining is, and has a client by chance at most
                place.next.send(signal.SIGKILL)
                self._drained.append((time.monotonic(), place.next))
            place.next = None

    def _drain_the_leaving(self) -> None:
        """Drain those that are ready: before, a process does not understand it, but may have a client already."""
        leaving, self._leaving = self._leaving, []
        for latest, process in leaving:
            process.look()
            if process.said or not process.lives or time.monotonic() > latest:
                self._drain(process)
            else:
                self._leaving.append((latest, process))

    def _drain(self, process: Forked) -> None:
        process.send(DRAIN)
        self._drained.append((time.monotonic() + LONGEST_DRAIN, process))
