"""The guard ends what it runs, however questd goes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from questd import guard
from tests.test_workers import alive
from tests.waiting import until

NOWHERE = "/nowhere/at/all"
TELL = "import os, signal, sys, time; print(os.getpid(), flush=True);"


@contextmanager
def guarded(program: str, directory: Path | str = NOWHERE) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a Python program under a guard, with a pipe as its standard input; gives the guard and the program's pid."""
    command = [sys.executable, "-I", guard.__file__, str(directory), sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdin
        pid = int(process.stdout.readline())
        try:
            yield process, pid
        finally:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
            process.kill()


def test_end_of_input_ends_it() -> None:
    """When the pipe ends, as after SIGKILL of its holder, the program gets SIGTERM and the guard waits for it."""
    # It waits with the signal blocked: one that comes just before a sleep would be heard only after it.
    blocked = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); print('set', flush=True);"
    with guarded(TELL + blocked + "signal.sigwait([signal.SIGTERM]); sys.exit(3)") as (process, pid):
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "set\n"
        process.stdin.close()
        assert process.wait(5) == 3
        assert not alive(pid)


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux has it")
def test_it_interrupts_nobody() -> None:
    """The server waits until who has called it has nothing else to do."""
    with guarded(TELL + "time.sleep(60)") as (_, pid):
        assert os.sched_getscheduler(pid) == os.SCHED_BATCH


@pytest.mark.parametrize("told", [True, False])
def test_the_directory_goes_with_the_last_run(tmp_path: Path, *, told: bool) -> None:
    """The directory is removed when the guard is told to end; a server that died is started again and needs it."""
    directory = tmp_path / "private"
    directory.mkdir()
    (directory / "redis.sock").touch()
    with guarded(TELL + "time.sleep(60)", directory) as (process, pid):
        if told:
            process.terminate()
        else:
            os.kill(pid, signal.SIGKILL)
        process.wait(5)
        assert directory.exists() is not told


def test_sigterm_ends_it() -> None:
    """SIGTERM to the guard is SIGTERM to the program; the status tells, as a shell would."""
    with guarded(TELL + "time.sleep(60)") as (process, pid):
        process.terminate()
        assert process.wait(5) == 128 + signal.SIGTERM
        assert not alive(pid)


def test_own_end_is_passed_on() -> None:
    """When the program ends by itself, the guard ends with its status."""
    with guarded(TELL + "sys.exit(7)") as (process, _):
        assert process.wait(5) == 7


def test_death_is_passed_on() -> None:
    """When the program is killed, the guard ends."""
    with guarded(TELL + "time.sleep(60)") as (process, pid):
        os.kill(pid, signal.SIGKILL)
        assert process.wait(5) == 128 + signal.SIGKILL


def test_a_program_that_does_not_listen_is_killed() -> None:
    """A program that ignores SIGTERM is killed when its time is over."""
    program = TELL + "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('set', flush=True); time.sleep(60)"
    with guarded(program) as (process, pid):
        assert process.stdout
        assert process.stdout.readline() == "set\n"
        begun = time.monotonic()
        process.terminate()
        assert process.wait(guard.PATIENCE + 2) == 128 + signal.SIGKILL
        assert time.monotonic() - begun >= guard.PATIENCE
        until(lambda: not alive(pid))


def test_needs_only_the_standard_library() -> None:
    """The guard runs without site-packages, so nothing that is installed can break it."""
    command = [sys.executable, "-I", "-S", guard.__file__, NOWHERE, sys.executable, "-c", "pass"]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode in {0, 128 + signal.SIGTERM}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_changes_nothing(number: signal.Signals) -> None:
    """Two signals end the program once and leave nothing."""
    with guarded(TELL + "time.sleep(60)") as (process, pid):
        process.send_signal(number)
        process.send_signal(number)
        process.wait(5)
        assert not alive(pid)
