"""Signals: what they mean to the processes of questd, and what they have asked of the supervisor since it looked.

It knows no process and nothing of what is done about a signal; and it has no event loop and no thread (workers.py).
"""

import contextlib
import os
import select
import signal
from collections.abc import Collection, Iterator

STOPPING = (signal.SIGTERM, signal.SIGINT)
"""End a process."""

DRAIN = signal.SIGUSR2
"""Makes a worker take no new connections, answer those it has, and end when they have."""


class Stopped(Exception):
    """SIGTERM or SIGINT has asked questd to end."""


class Signals:
    """The signals of the supervisor, from `listen` on."""

    def __init__(self) -> None:
        self.reload = self.replace = False
        """Whether SIGHUP, or SIGUSR2, has come; who does what it asks for takes that away."""
        self._stopping = False
        self._had_terminal = has_terminal()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)

    def listen(self) -> None:
        """Understand them from now on."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken
        for number in STOPPING:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)
        signal.signal(signal.SIGUSR2, self._replace)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _hang_up(self, *_: object) -> None:
        # Without its terminal, questd in the foreground ends as other programs do.
        if self._had_terminal and not has_terminal():
            self._stopping = True
        self.reload = True

    def _replace(self, *_: object) -> None:
        self.replace = True

    def pause(self, seconds: float | None, reports: Collection[int]) -> None:
        """Sleep, unless questd is to end. Raises Stopped when it is."""
        if not self._stopping:
            self.sleep(seconds, reports)
        if self._stopping:
            raise Stopped

    def sleep(self, seconds: float | None, reports: Collection[int]) -> None:
        """Wait for a signal, or until one of the descriptors `reports` can be read."""
        readable, _, _ = select.select([self._woken, *reports], [], [], seconds)
        if self._woken in readable:
            os.read(self._woken, 4096)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep back those that end a process: while it forks, one would be lost on the child that still has ours."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    def leave(self) -> None:
        """Be the child that was forked just now: end by signals, and leave the others to the supervisor."""
        signal.set_wakeup_fd(-1)
        for number in (*STOPPING, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGHUP, DRAIN):  # the supervisor's to understand, until the worker serves
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        os.close(self._woken)
        os.close(self._wake)

    @staticmethod
    def ignore() -> None:
        """Let another one that ends questd change nothing any more."""
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)


def has_terminal() -> bool:
    """Tell whether this process has a terminal that it could lose."""
    try:
        os.close(os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
