"""Processes that are brought back and replaced: small shell programs in the place of questd's own."""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from questd import crew
from questd.crew import Crew, Forked
from tests.test_workers import alive
from tests.waiting import until

WORKS = "trap 'exit 0' USR2; echo ready >&3; while :; do read -t 60 _ <&4; done"
"""Is ready at once, and ends when it is to drain."""

STUBBORN = "trap '' USR2; echo ready >&3; while :; do read -t 60 _ <&4; done"
FAILS = "exit 3"


class Shell:
    """Starts programs for bash, and ends what is left of them."""

    def __init__(self) -> None:
        self.program = WORKS
        self.started: list[Forked] = []
        self._silent, self._speaks = os.pipe()

    def __call__(self) -> Forked:
        """Start the program as a process that reports on descriptor 3."""
        report, write = os.pipe()
        os.set_blocking(report, False)
        actions = [(os.POSIX_SPAWN_DUP2, write, 3), (os.POSIX_SPAWN_DUP2, self._silent, 4)]
        pid = os.posix_spawn("/bin/bash", ["bash", "-c", self.program], os.environ, file_actions=actions)
        os.close(write)
        self.started.append(Forked(pid, report))
        return self.started[-1]

    def end(self) -> None:
        """End every process."""
        for process in self.started:
            process.send(signal.SIGKILL)
            while process.lives:
                process.look()
        os.close(self._silent)
        os.close(self._speaks)


@pytest.fixture
def shell() -> Iterator[Shell]:
    """Give what forks, and end it."""
    shell = Shell()
    yield shell
    shell.end()


def keep(workers: Crew, condition: Callable[[], object]) -> None:
    """Keep a crew until the condition holds."""

    def kept() -> object:
        workers.keep()
        return condition()

    until(kept)


def ready(shell: Shell, count: int) -> Crew:
    """Return a crew of that size that is at work."""
    workers = Crew("worker", shell)
    assert not workers.begun
    workers.resize(count)
    keep(workers, lambda: workers.ready)
    return workers


def pids(workers: Crew) -> list[int]:
    """Return the process ids of a crew."""
    return [process.pid for process in workers.processes]


def test_a_dead_process_comes_back(shell: Shell, caplog: pytest.LogCaptureFixture) -> None:
    """When a process dies another takes its place, a moment later; the rest stay, and the log tells."""
    workers = ready(shell, 2)
    first, second = pids(workers)
    os.kill(first, signal.SIGKILL)
    keep(workers, lambda: not shell.started[0].lives)
    assert len(workers.due) == 1
    keep(workers, lambda: len(shell.started) == 3 and workers.ready)
    assert workers.due == []
    assert pids(workers)[1] == second
    assert f"worker {first} ended with status -9, starting another" in caplog.text


def test_deaths_before_readiness_are_counted(shell: Shell) -> None:
    """A process that ends before it was ready is a failure; one that was ready is none."""
    workers = ready(shell, 1)
    shell.program = FAILS
    os.kill(pids(workers)[0], signal.SIGKILL)
    keep(workers, lambda: len(shell.started) == 2)
    assert workers.failures == 0
    keep(workers, lambda: workers.failures == 2)


def test_replacement_without_a_gap(shell: Shell, caplog: pytest.LogCaptureFixture) -> None:
    """Each process is replaced when the next one is ready, one after the other, and the log tells which."""
    caplog.set_level("INFO")
    workers = ready(shell, 2)
    old = shell.started[:]
    workers.replace()
    fewest = 2

    def step() -> bool:
        nonlocal fewest
        workers.keep()
        fewest = min(fewest, sum(alive(process.pid) and bool(process.said) for process in workers.processes))
        return not any(process in workers.processes for process in old)

    until(step)
    assert fewest == 2
    assert len(shell.started) == 4
    assert [process.status for process in old] == [0, 0]
    told = [
        f"worker {before.pid} gives way to {after.pid}" for before, after in zip(old, shell.started[2:], strict=True)
    ]
    assert caplog.messages == told


def test_what_does_not_start_replaces_nobody(shell: Shell, caplog: pytest.LogCaptureFixture) -> None:
    """When the next process ends before it is ready, the old ones stay."""
    workers = ready(shell, 2)
    before = pids(workers)
    shell.program = FAILS
    workers.replace()
    keep(workers, lambda: "no worker is replaced" in caplog.text)
    workers.keep()
    assert pids(workers) == before
    assert len(shell.started) == 3


def test_fewer_places(shell: Shell) -> None:
    """A crew that gets smaller lets the last ones drain; one that gets larger starts more."""
    workers = ready(shell, 2)
    first, second = shell.started
    workers.resize(1)
    keep(workers, lambda: len(workers.processes) == 1)
    assert (first.lives, second.status) == (True, 0)
    workers.resize(3)
    assert len(workers.processes) == 3


def test_who_does_not_drain_is_killed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replaced process has its time to drain, and not more."""
    monkeypatch.setattr(crew, "LONGEST_DRAIN", 0.05)
    shell.program = STUBBORN
    workers = ready(shell, 1)
    workers.resize(0)
    assert time.monotonic() < workers.due[0] <= time.monotonic() + 0.05
    keep(workers, lambda: not workers.processes)
    assert shell.started[0].status == -signal.SIGKILL


def test_replaced_while_it_is_replaced(shell: Shell) -> None:
    """The next one of a replacement that is overtaken by another is let go before it was ready."""
    workers = ready(shell, 1)
    shell.program = "sleep 60"
    workers.replace()
    workers.keep()
    shell.program = WORKS
    workers.replace()
    keep(workers, lambda: len(shell.started) == 3)
    keep(workers, lambda: pids(workers) == [shell.started[2].pid])
    assert shell.started[1].status == -signal.SIGKILL


def test_fewer_before_they_are_ready(shell: Shell, tmp_path: Path) -> None:
    """A process that is not wanted any more before it is ready goes as soon as it is: before, it cannot be told."""
    deaf, heard = tmp_path / "deaf", tmp_path / "heard"
    shell.program = f"trap '' USR2; touch {deaf}; until [ -e {heard} ]; do read -t 0.02 _ <&4; done; {WORKS}"
    workers = Crew("worker", shell)
    workers.resize(1)
    until(deaf.exists)
    [pid] = pids(workers)
    workers.resize(0)
    workers.keep()
    assert pids(workers) == [pid]
    heard.touch()
    keep(workers, lambda: pids(workers) == [])  # it may have ended a moment before its crew sees that
    assert not alive(pid)


def test_one_that_dies_while_it_is_replaced(shell: Shell, tmp_path: Path) -> None:
    """Who dies when the next one is nearly ready leaves his place to that one, and nobody else is started for it."""
    workers = ready(shell, 1)
    wanted = tmp_path / "wanted"
    shell.program = f"until [ -e {wanted} ]; do read -t 0.02 _ <&4; done; {WORKS}"
    workers.replace()
    workers.keep()
    wanted.touch()
    until(lambda: select.select([shell.started[1].report], [], [], 0)[0])
    os.kill(shell.started[0].pid, signal.SIGKILL)
    until(lambda: not alive(shell.started[0].pid))
    keep(workers, lambda: workers.due == [])
    assert pids(workers) == [shell.started[1].pid]
    assert len(shell.started) == 2


def test_the_next_one_is_ready_before_the_one_that_came_back(shell: Shell, tmp_path: Path) -> None:
    """Who came back in the middle of a replacement and is overtaken by the next one drains once it understands that."""
    workers = ready(shell, 1)
    ready_now, heard = tmp_path / "ready", tmp_path / "heard"
    shell.program = f"until [ -e {ready_now} ]; do read -t 0.02 _ <&4; done; {WORKS}"
    workers.replace()
    workers.keep()
    shell.program = f"trap '' USR2; touch {ready_now}; until [ -e {heard} ]; do read -t 0.02 _ <&4; done; {WORKS}"
    os.kill(shell.started[0].pid, signal.SIGKILL)
    keep(workers, lambda: len(shell.started) == 3 and workers.ready)
    _, following, back = shell.started
    assert pids(workers) == [following.pid, back.pid]
    heard.touch()
    keep(workers, lambda: not alive(back.pid))
    workers.keep()
    assert (pids(workers), back.status) == ([following.pid], 0)
