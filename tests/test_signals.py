"""Signals of a process of its own: what each asks for, what a forked child has of them, and the loss of a terminal."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.test_workers import ROOT

PROGRAM = """
import os, sys
from questd.signals import Signals, Stopped

terminal = os.open(sys.argv[1], os.O_RDWR) if sys.argv[1:] else None  # it becomes the session's
signals = Signals()
signals.listen()
print("listens", flush=True)
try:
    while True:
        signals.pause(10, [])
        asked = "reload" if signals.reload else "replace" if signals.replace else "nothing"
        signals.reload = signals.replace = False
        print(asked, flush=True)
except Stopped:
    print("stopped", flush=True)
"""

CHILD = """
import os, signal, time
from questd.signals import Signals

signals = Signals()
signals.listen()
with signals.held():
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGTERM)  # one that comes too early
        print("lives", flush=True)
        signals.leave()
        time.sleep(10)
        os._exit(0)
print(-os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextmanager
def running(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program in a session of its own."""
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """Return the next line of a program."""
    assert process.stdout
    return process.stdout.readline().strip()


def test_what_they_ask_for() -> None:
    """Each signal ends the sleep: SIGHUP and SIGUSR2 with what they ask for, SIGTERM and SIGINT with the end."""
    for last in (signal.SIGTERM, signal.SIGINT):
        with running(PROGRAM) as process:
            assert said(process) == "listens"
            for number, asked in ((signal.SIGHUP, "reload"), (signal.SIGUSR2, "replace"), (signal.SIGCHLD, "nothing")):
                process.send_signal(number)
                assert said(process) == asked
            process.send_signal(last)
            assert said(process) == "stopped"


def test_a_forked_child() -> None:
    """A signal that comes before the child has left its parent's behind ends it once it has."""
    with running(CHILD) as process:
        assert said(process) == "lives"
        assert said(process) == str(int(signal.SIGTERM))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere opening a terminal does not make it the session's")
def test_the_loss_of_the_terminal() -> None:
    """Who was started in a terminal that is gone ends; as long as it is there, SIGHUP asks for the settings."""
    master, slave = os.openpty()
    with running(PROGRAM, os.ttyname(slave)) as process:
        os.close(slave)
        assert said(process) == "listens"
        process.send_signal(signal.SIGHUP)
        assert said(process) == "reload"
        os.close(master)
        assert said(process) == "stopped"
