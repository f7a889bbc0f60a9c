"""The supervisor: one bound port, N worker processes that serve it, and the private Redis when there is no other.

It owns processes and signals, and has no event loop and no thread, so that it may fork at any time; it must not know
HTTP or queues. SIGHUP reads the settings again, SIGUSR2 replaces the workers, SIGTERM and SIGINT end questd.
"""

import asyncio
import gc
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

from redis.exceptions import RedisError

from questd import grants, library, promises, worker
from questd.access import BadKeys, keys_of
from questd.embedded import Embedded, Restarts, StartFailed, wait_until_ready
from questd.pipeline import RedisUnavailable
from questd.port import bind, tls
from questd.settings import BadSetting, Settings, hidden
from questd.worker import DRAIN, PATIENCE, STOPPING, Forked

FAILURES = 5
"""So many deaths of a worker in a row, each before it was ready, end a questd that never was ready."""

LONGEST_END = 4.8
"""Seconds from the signal to the end of questd."""

LONGEST_DRAIN = 30.0
"""Seconds that a replaced worker has to answer what it has; a long poll ends at once, so nothing takes that long."""

FIXED = frozenset("config host port redis_url data_dir ephemeral maxmemory anonymous test_mode".split())
"""Settings that only a restart changes: the port and the Redis are there once."""

log = logging.getLogger(__name__)


class Stopped(Exception):
    """SIGTERM or SIGINT has asked questd to end."""


def run(settings: Settings, again: Callable[[], Settings]) -> None:
    """Serve until SIGTERM or SIGINT. Raises StartFailed when that cannot begin or go on.

    `again` reads the settings anew, for SIGHUP; it raises BadSetting.
    """
    check(settings)
    with bind(settings) as sock:
        supervisor = Supervisor(settings, sock, again)
        try:
            supervisor.run()
        except Stopped:
            pass
        finally:
            supervisor.end()


def check(settings: Settings) -> None:
    """Raise StartFailed when the files that settings name cannot be used."""
    try:
        keys_of(settings.keys_file, settings.keys)
    except BadKeys as error:
        raise StartFailed(str(error)) from None
    tls(settings)


def explained(error: Exception, url: str) -> str:
    """Return what to tell a user whose Redis at `url` raised LibraryRefused, GrantsMissing or an error of Redis."""
    if isinstance(error, library.LibraryRefused | grants.GrantsMissing):
        return hidden(f"{url}: {error}")
    return hidden(f"no Redis at {url}: {str(error).removeprefix('Redis cannot be reached: ')}")


@dataclass
class Worker:
    """The place of one worker, filled again when its process dies; `next` is to take it over."""

    process: Forked
    next: Forked | None = None
    stale: bool = False
    """Whether it is to be replaced."""
    restarts: Restarts = field(default_factory=Restarts)
    failures: int = 0


class Supervisor:
    """One run of questd."""

    def __init__(self, settings: Settings, sock: socket.socket, again: Callable[[], Settings]) -> None:
        self._as_read = settings
        self._again = again
        self._settings = settings.model_copy(update={"port": sock.getsockname()[1]})
        self._socket = sock
        self._stopping = self._reloading = self._replacing = False
        self._announced = False
        self._embedded: Embedded | None = None
        self._restarts = Restarts()
        self._loader: Forked | None = None
        self._workers: list[Worker] = []
        self._drained: list[tuple[float, Forked]] = []  # replaced workers, and when they must have ended
        # Nobody writes to the lifeline. Its end, seen by workers and the guard, is the end of this process.
        self._lifeline, self._lifeline_held = os.pipe()
        self._woken, self._wake = os.pipe()
        self._had_terminal = has_terminal()
        os.set_blocking(self._wake, False)

    def run(self) -> NoReturn:
        """Start everything and keep it alive. Raises Stopped, or StartFailed."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken
        for number in STOPPING:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)
        signal.signal(signal.SIGUSR2, self._replace)
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
            if self._reloading:
                self._reload()
            if self._replacing:
                self._replacing = False
                for place in self._workers:
                    place.stale = True
                    self._dismiss_next(place)
            for place in self._workers:
                self._keep(place)
            self._take_turns()
            self._announce()
            self._pause(self._idle_time())

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _hang_up(self, *_: object) -> None:
        # Without its terminal, questd in the foreground ends as other programs do.
        if self._had_terminal and not has_terminal():
            self._stopping = True
        self._reloading = True

    def _replace(self, *_: object) -> None:
        self._replacing = True

    def _pause(self, seconds: float | None) -> None:
        if not self._stopping:
            self._sleep(seconds)
        if self._stopping:
            raise Stopped

    def _sleep(self, seconds: float | None) -> None:
        """Wait for a signal, or for a worker to be ready."""
        processes = [process for place in self._workers for process in (place.process, place.next) if process]
        reports = [process.report for process in processes if process.lives and not process.said]
        readable, _, _ = select.select([self._woken, *reports], [], [], seconds)
        if self._woken in readable:
            os.read(self._woken, 4096)

    def _idle_time(self) -> float | None:
        restarts = [self._restarts, *(place.restarts for place in self._workers)]
        times = [each.due for each in restarts if each.due is not None] + [latest for latest, _ in self._drained]
        return max(0.0, min(times) - time.monotonic()) if times else None

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
            gc.collect()
            gc.freeze()  # what is there now stays, and shared: no worker's collector writes to it
            self._workers = [Worker(self._fork(self._serve)) for _ in range(self._settings.workers)]

    def _keep(self, place: Worker) -> None:
        process = place.process
        if process.lives:
            process.look()
            if not process.lives:
                log.error("worker %d ended with status %d, starting another", process.pid, process.status)
                place.restarts.died()
                place.failures = 0 if process.said else place.failures + 1
        if place.failures == FAILURES and not self._announced:
            raise StartFailed(f"a worker ended {FAILURES} times before it was ready")
        if place.restarts.start():
            place.process = self._fork(self._serve)

    def _take_turns(self) -> None:
        """Replace stale workers one by one: the next one is ready before the old one drains."""
        for latest, process in self._drained:
            process.look()
            if time.monotonic() > latest:
                process.send(signal.SIGKILL)
        self._drained = [(latest, process) for latest, process in self._drained if process.lives]
        place = next((place for place in self._workers if place.stale), None)
        if place is None:
            return
        if place.next is None:
            place.next = self._fork(self._serve)
            return
        place.next.look()
        if place.next.said and place.next.lives:
            self._drain(place.process)
            place.process, place.next, place.stale = place.next, None, False
            self._take_turns()
        elif not place.next.lives:
            log.error("worker %d ended before it was ready: the workers stay as they are", place.next.pid)
            place.next = None
            for other in self._workers:
                other.stale = False

    def _dismiss_next(self, place: Worker) -> None:
        """Let go of a worker that was to take over a place, with settings that are old by now."""
        if place.next:
            place.next.look()
            if place.next.said:
                self._drain(place.next)
            else:  # it has no requests, and does not understand yet what draining is
                place.next.send(signal.SIGKILL)
                self._drained.append((time.monotonic(), place.next))
            place.next = None

    def _drain(self, process: Forked) -> None:
        process.send(DRAIN)
        self._drained.append((time.monotonic() + LONGEST_DRAIN, process))

    def _reload(self) -> None:
        """Read the settings again, and give them to new workers."""
        self._reloading = False
        try:
            read = self._again()
            check(read)
        except (BadSetting, StartFailed) as error:
            log.error("the settings stay as they are: %s", hidden(str(error)))  # noqa: TRY400  # nobody's mistake here
            return
        fixed = sorted(name for name in FIXED if getattr(read, name) != getattr(self._as_read, name))
        if fixed:
            log.warning("a restart is needed for a new %s", ", ".join(fixed))
        self._settings = read.model_copy(update={name: getattr(self._settings, name) for name in FIXED})
        logging.getLogger().setLevel(read.log_level.upper())
        while len(self._workers) > read.workers:
            gone = self._workers.pop()
            self._dismiss_next(gone)
            self._drain(gone.process)
        if self._workers:  # else the loader is not done yet, and they come with these settings
            more = read.workers - len(self._workers)
            self._replacing = True
            self._workers += [Worker(self._fork(self._serve)) for _ in range(more)]
        log.info("the settings were read again")

    def _announce(self) -> None:
        if self._announced or not self._workers or not all(place.process.said for place in self._workers):
            return
        self._announced = True
        host, port = self._socket.getsockname()[:2]
        scheme = "https" if self._settings.tls_cert else "http"
        where = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
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
            for number in (signal.SIGHUP, DRAIN):  # the supervisor's to understand, until the worker serves
                signal.signal(number, signal.SIG_IGN)
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
            self._embedded.mend()
        try:
            asyncio.run(grants.load(url, test_mode=self._settings.test_mode))
            if not self._embedded:
                for doubt in asyncio.run(promises.doubts(url)):
                    log.warning("%s", doubt)
        except (library.LibraryRefused, grants.GrantsMissing, RedisUnavailable, RedisError) as error:
            os.write(report, explained(error, url).encode())
            os._exit(1)

    def _serve(self, report: int) -> None:
        """Serve requests until a signal or the end of the supervisor."""
        worker.run(self._settings, self._socket, self._lifeline, report)

    def end(self) -> None:
        """End every process: workers first, then the private Redis, all within LONGEST_END seconds."""
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)  # a second one changes nothing
        self._socket.close()
        begun = time.monotonic()
        if self._loader:
            self._loader.send(signal.SIGKILL)
        for process in self._processes():
            process.send(signal.SIGTERM)
        while (left := begun + PATIENCE - time.monotonic()) > 0 and self._any_process():
            self._sleep(left)
        for process in self._processes():
            process.send(signal.SIGKILL)
        if self._embedded:
            self._embedded.stop(begun + LONGEST_END - time.monotonic())

    def _processes(self) -> list[Forked]:
        """Return every process that serves, will serve or has served."""
        places = [process for place in self._workers for process in (place.process, place.next) if process]
        return places + [process for _, process in self._drained]

    def _any_process(self) -> bool:
        for process in self._processes():
            process.look()
        return any(process.lives for process in self._processes())


def has_terminal() -> bool:
    """Tell whether this process has a terminal that it could lose."""
    try:
        os.close(os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
