"""The supervisor: one bound port, N worker processes that serve it, and the private Redis when there is no other.

It owns processes and signals, and has no event loop and no thread, so that it may fork at any time; it must not know
HTTP or queues.
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import uvloop
from redis.exceptions import RedisError

from questd import library, server
from questd.embedded import Embedded, Restarts, StartFailed, wait_until_ready
from questd.settings import Settings, hidden

BACKLOG = 1024
FAILURES = 5
"""So many deaths of a worker in a row, each before it was ready, end a questd that never was ready."""

PATIENCE = 4.0
"""Seconds that workers have to finish their requests."""

LONGEST_END = 4.8
"""Seconds from the signal to the end of questd."""

STOPPING = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


class Stopped(Exception):
    """SIGTERM or SIGINT has asked questd to end."""


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises StartFailed when that cannot begin or go on."""
    with bind(settings) as sock:
        supervisor = Supervisor(settings, sock)
        try:
            supervisor.run()
        except Stopped:
            pass
        finally:
            supervisor.end()


def bind(settings: Settings) -> socket.socket:
    """Return a socket that listens where `settings` say. Raises StartFailed."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise StartFailed(f"cannot listen on {settings.host}: {error.strerror}") from None
    # "localhost" is 127.0.0.1 here, also where it has an IPv6 address that this machine does not.
    family, kind, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    if not (settings.anonymous or ipaddress.ip_address(address[0]).is_loopback):
        raise StartFailed(
            f"on {settings.host} anyone who reaches this machine could use every queue: "
            "listen on 127.0.0.1, or allow it with --anonymous"
        )
    sock = socket.socket(family, kind)
    # Not SO_REUSEPORT: with it a second questd would silently take a share of the requests.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(BACKLOG)  # on Linux, only listening claims a port that was bound with SO_REUSEADDR
    except OSError as error:
        sock.close()
        text = f"cannot listen on {settings.host}, port {settings.port}: {error.strerror}"
        raise StartFailed(f"{text}. Choose another --port, or stop what uses this one") from None
    sock.setblocking(False)  # noqa: FBT003  # socket's own
    return sock


def explained(error: Exception, url: str) -> str:
    """Return what to tell a user whose Redis at `url` raised LibraryRefused or a RedisError."""
    return hidden(f"{url}: {error}" if isinstance(error, library.LibraryRefused) else f"no Redis at {url}: {error}")


@dataclass
class Forked:
    """A forked process and the pipe on which it reports."""

    pid: int
    report: int
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

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.status is None:
            os.kill(self.pid, number)


@dataclass
class Worker:
    """The place of one worker, filled again when its process dies."""

    process: Forked
    restarts: Restarts = field(default_factory=Restarts)
    failures: int = 0


class Supervisor:
    """One run of questd."""

    def __init__(self, settings: Settings, sock: socket.socket) -> None:
        self._settings = settings.model_copy(update={"port": sock.getsockname()[1]})
        self._socket = sock
        self._stopping = False
        self._announced = False
        self._embedded: Embedded | None = None
        self._restarts = Restarts()
        self._loader: Forked | None = None
        self._workers: list[Worker] = []
        # Nobody writes to the lifeline. Its end, seen by workers and the guard, is the end of this process.
        self._lifeline, self._lifeline_held = os.pipe()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)

    def run(self) -> NoReturn:
        """Start everything and keep it alive. Raises Stopped, or StartFailed."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken
        for number in STOPPING:
            signal.signal(number, self._stop)
        if self._settings.redis_url is None:
            self._embedded = Embedded(self._settings, self._lifeline, self._pause)
            self._settings = self._settings.model_copy(update={"redis_url": self._embedded.url})
            self._embedded.start()
        self._loader = self._fork(self._load)
        while True:
            if self._embedded:
                self._keep_server(self._embedded)
            if self._loader:
                self._follow_loader(self._loader)
            for worker in self._workers:
                self._keep(worker)
            self._announce()
            self._pause(self._idle_time())

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _pause(self, seconds: float | None) -> None:
        if not self._stopping:
            self._sleep(seconds)
        if self._stopping:
            raise Stopped

    def _sleep(self, seconds: float | None) -> None:
        """Wait for a signal, or for a worker to be ready."""
        new = [worker.process for worker in self._workers if not worker.process.said]
        reports = [process.report for process in new if process.status is None]
        readable, _, _ = select.select([self._woken, *reports], [], [], seconds)
        if self._woken in readable:
            os.read(self._woken, 4096)

    def _idle_time(self) -> float | None:
        restarts = [self._restarts, *(worker.restarts for worker in self._workers)]
        now = time.monotonic()
        return min((max(0.0, each.due - now) for each in restarts if each.due is not None), default=None)

    def _keep_server(self, embedded: Embedded) -> None:
        if embedded.ended():
            problem = f"{embedded.server} ended: {embedded.last_words()}"
            if not self._announced:
                raise StartFailed(problem)
            log.error("%s", problem)
            self._restarts.died()
        if self._restarts.start():
            embedded.start()
            self._loader = self._loader or self._fork(self._load)

    def _follow_loader(self, loader: Forked) -> None:
        loader.look()
        if loader.status is None:
            return
        self._loader = None
        if loader.status:
            problem = loader.said.decode() or "the library could not be loaded"
            if not self._workers:
                raise StartFailed(problem)
            log.error("%s", problem)
        elif not self._workers:
            self._workers = [Worker(self._fork(self._serve)) for _ in range(self._settings.workers)]

    def _keep(self, worker: Worker) -> None:
        process = worker.process
        if process.status is None:
            process.look()
            if process.status is not None:
                log.error("worker %d ended with status %d, starting another", process.pid, process.status)
                worker.restarts.died()
                worker.failures = 0 if process.said else worker.failures + 1
        if worker.failures == FAILURES and not self._announced:
            raise StartFailed(f"a worker ended {FAILURES} times before it was ready")
        if worker.restarts.start():
            worker.process = self._fork(self._serve)

    def _announce(self) -> None:
        if self._announced or not self._workers or not all(worker.process.said for worker in self._workers):
            return
        self._announced = True
        host, port = self._socket.getsockname()[:2]
        where = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        redis = self._embedded or f"Redis at {hidden(str(self._settings.redis_url))}"
        sys.stdout.write(f"questd ready on {where} · {redis}\n")
        sys.stdout.flush()

    def _fork(self, work: Callable[[int], None]) -> Forked:
        report, write = os.pipe()
        os.set_blocking(report, False)
        # A signal that comes before the child has put our signal handlers away would be lost on it.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        pid = os.fork()
        if pid == 0:
            self._become(work, write)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        os.close(write)
        log.debug("process %d started: %s", pid, work.__name__.strip("_"))
        return Forked(pid, report)

    def _become(self, work: Callable[[int], None], write: int) -> NoReturn:
        """Do `work` in a process that has just been forked, and end it."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*STOPPING, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            for descriptor in (self._lifeline_held, self._woken, self._wake):
                os.close(descriptor)
            if self._embedded and self._embedded.lock is not None:
                os.close(self._embedded.lock)
            work(write)
            status = 0
        except BaseException:
            log.exception("process %d failed", os.getpid())
        finally:
            os._exit(status)

    def _load(self, report: int) -> None:
        """Load the library into Redis, as soon as that answers."""
        url = str(self._settings.redis_url)
        if self._embedded:
            wait_until_ready(self._embedded.socket_path)
        try:
            asyncio.run(library.load(url, test_mode=self._settings.test_mode))
        except (library.LibraryRefused, RedisError) as error:
            os.write(report, explained(error, url).encode())
            os._exit(1)

    def _serve(self, report: int) -> None:
        """Serve requests until a signal or the end of the supervisor."""
        with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C, when the loop has put its handler away
            uvloop.run(_serving(self._settings, self._socket, self._lifeline, report))

    def end(self) -> None:
        """End every process: workers first, then the private Redis, all within LONGEST_END seconds."""
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)  # a second one changes nothing
        self._socket.close()
        begun = time.monotonic()
        if self._loader:
            self._loader.send(signal.SIGKILL)
        for worker in self._workers:
            worker.process.send(signal.SIGTERM)
        while (left := begun + PATIENCE - time.monotonic()) > 0 and self._any_worker():
            self._sleep(left)
        for worker in self._workers:
            worker.process.send(signal.SIGKILL)
        if self._embedded:
            self._embedded.stop(begun + LONGEST_END - time.monotonic())

    def _any_worker(self) -> bool:
        for worker in self._workers:
            worker.process.look()
        return any(worker.process.status is None for worker in self._workers)


async def _serving(settings: Settings, sock: socket.socket, lifeline: int, report: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def abandoned() -> None:
        loop.remove_reader(lifeline)
        signal.alarm(int(PATIENCE))  # nobody is left to kill a worker that does not end
        stop.set()

    def ready() -> None:
        # Not before: a worker that waits for Redis has no requests to finish, and the signal ends it at once.
        for number in STOPPING:
            loop.add_signal_handler(number, stop.set)
        os.write(report, b"ready")

    loop.add_reader(lifeline, abandoned)
    await server.serve(settings, sock, ready, stop)
