"""Counts in shared memory: real forks count, another process reads."""

import os
import signal
from collections.abc import Callable

import pytest

from questd.actions import ACTIONS
from questd.counts import BOUNDS_MS, ERRORS, GAUGES, SUMS, UNKNOWN, Counts

MS = 1_000_000


def in_child(work: Callable[[], None], ends: Callable[[], None] = lambda: os._exit(0)) -> int:
    """Do something in a forked process, and return its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            ends()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_a_process_counts_can_be_read_by_another() -> None:
    """A request is counted by its action, its time and its error."""
    book = Counts(ACTIONS)
    page = book.take()

    def work() -> None:
        page.answered("SendMessage", "", 2 * MS)
        page.answered("SendMessage", "QueueDoesNotExist", 3 * MS)
        page.answered(UNKNOWN, "UnknownOperationException", 30_000 * MS)

    assert in_child(work) == 0
    [read] = book.used
    sent, unknown = read.requests["SendMessage"], read.requests[UNKNOWN]
    assert sent.classes == [0, 1, 1] + [0] * (len(BOUNDS_MS) - 2)
    assert sent.ns == 5 * MS
    assert [name for name, count in zip(ERRORS, sent.errors, strict=True) if count] == ["QueueDoesNotExist"]
    assert (sum(unknown.classes), unknown.classes[-1], sum(unknown.errors)) == (1, 1, 1)
    assert sum(sum(requests.classes) for requests in read.requests.values()) == 3


@pytest.mark.parametrize(("at", "bound_ms"), list(enumerate(BOUNDS_MS)))
def test_bounds_are_upper_ones(at: int, bound_ms: float) -> None:
    """A time that is a bound belongs below it, one that is longer does not."""
    page = Counts(["A"]).take()
    page.answered("A", "", int(bound_ms * MS))
    page.answered("A", "", int(bound_ms * MS) + 1)
    classes = page.requests["A"].classes
    assert classes[at : at + 2] == [1, 1]


def test_counts_go_on_when_a_process_was_killed() -> None:
    """The next process counts on in the page of one that was killed; of what was at the time, nothing is left."""
    book = Counts(["A"], 2)
    page = book.take()

    def work() -> None:
        page.answered("A", "", MS)
        page.add("redis_calls", 7)
        page.show("connections", 3)

    assert in_child(work, lambda: os.kill(os.getpid(), signal.SIGKILL)) == -signal.SIGKILL
    assert page.gauges["connections"] == 3
    page.end()
    assert page.gauges == dict.fromkeys(GAUGES, 0)
    assert page.sums == dict.fromkeys(SUMS, 0) | {"redis_calls": 7}
    again = book.take()
    assert again is page
    assert in_child(work) == 0
    assert (sum(again.requests["A"].classes), again.sums["redis_calls"]) == (2, 14)


def test_each_process_has_a_page_of_its_own() -> None:
    """Nobody writes into another's page, and an unused page is not read."""
    book = Counts(["A"], 3)
    one, two = book.take(), book.take()
    one.answered("A", "", MS)
    two.add("cpu_ns", 5)
    assert (sum(two.requests["A"].classes), one.sums["cpu_ns"]) == (0, 0)
    assert book.used == [one, two]


def test_too_many_processes(caplog: pytest.LogCaptureFixture) -> None:
    """One process more than there are pages is not counted, which the log tells, and works all the same."""
    book = Counts(["A"])
    book.take()
    book.take().answered("A", "", MS)
    assert "one is not counted" in caplog.text
    assert sum(book.used[0].requests["A"].classes) == 0
