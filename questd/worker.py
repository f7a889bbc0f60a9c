"""One worker, from the inside: the event loop of a forked process, and what its signals mean.

SIGTERM ends it within PATIENCE seconds; SIGUSR2 makes it drain: it takes no new connections, answers those it has, and
ends when they have.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket

import uvloop

from questd import server
from questd.counts import Page
from questd.settings import Settings
from questd.signals import DRAIN, STOPPING

PATIENCE = 4.0
"""Seconds that workers have to finish their requests."""

GARBAGE = 10_000
"""Objects more than before that make Python look for cycles. By its own 700 it looks at batches that are still being
done, for 3 % of their instructions."""


def run(settings: Settings, sock: socket.socket, lifeline: int, report: int, counts: Page) -> None:
    """Serve requests on a bound socket until a signal, or until `lifeline` ends; say on `report` when ready."""
    gc.set_threshold(GARBAGE)
    with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C, when the loop has put its handler away
        uvloop.run(_serving(settings, sock, lifeline, report, counts))


async def _serving(settings: Settings, sock: socket.socket, lifeline: int, report: int, counts: Page) -> None:
    stop, drain = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def abandoned() -> None:
        loop.remove_reader(lifeline)
        signal.alarm(int(PATIENCE))  # nobody is left to kill a worker that does not end
        stop.set()

    def ready() -> None:
        # Not before: a worker that waits for Redis has no requests to finish, and the signal ends it at once.
        for number in STOPPING:
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(DRAIN, drain.set)
        os.write(report, b"ready")

    loop.add_reader(lifeline, abandoned)
    await server.serve(settings, sock, ready, stop, drain, counts=counts)
