"""The supervisor: two bound ports, the workers and the console that serve them, the private Redis if there is no other.

It owns the sockets and the signals, and has no event loop and no thread, so that it may fork at any time; it must not
know HTTP or queues. SIGHUP reads the settings again, SIGUSR2 replaces the workers, SIGTERM and SIGINT end questd.
"""

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from questd import declared, descriptors, loader, logs, promises, worker
from questd.access import BadKeys, keys_of
from questd.actions import NAMES
from questd.counts import Counts, Page
from questd.crew import DRAIN, Crew, Forked
from questd.embedded import Embedded, StartFailed, wait_until_ready
from questd.pipeline import RedisUnavailable
from questd.port import address_of, bind, tls
from questd.restarts import Restarts
from questd.settings import BadSetting, Settings, hidden
from questd.worker import PATIENCE, STOPPING

FAILURES = 5
"""So many deaths of a worker in a row, each before it was ready, end a questd that never was ready."""

PAGES, MORE_PAGES = 4, 32
"""Of the counts: for each worker, and beside them. A replacement takes two each; SIGHUP may ask for more workers."""

LONGEST_END = 4.8
"""Seconds from the signal to the end of questd."""

FIXED = frozenset("config host port console_port redis_url data_dir ephemeral maxmemory anonymous test_mode".split())
"""Settings that only a restart changes: the ports and the Redis are there once."""

PROMISED = frozenset({"durability", "replicas"})
"""Settings that a Redis must be able to keep: a restart changes them when it is questd's own, started with them."""

log = logging.getLogger(__name__)


class Stopped(Exception):
    """SIGTERM or SIGINT has asked questd to end."""


def run(settings: Settings, again: Callable[[], Settings]) -> None:
    """Serve until SIGTERM or SIGINT. Raises StartFailed when that cannot begin or go on.

    `again` reads the settings anew, for SIGHUP; it raises BadSetting.
    """
    check(settings)
    with contextlib.ExitStack() as sockets:
        sock = sockets.enter_context(bind(settings))
        console = None if settings.console_port == "off" else sockets.enter_context(bind(settings, "console_port"))
        supervisor = Supervisor(settings, sock, console, again)
        try:
            supervisor.run()
        except Stopped:
            pass
        finally:
            supervisor.end()


def check(settings: Settings) -> None:
    """Raise BadSetting when settings do not fit together, StartFailed when the files that they name cannot be used."""
    promises.check(settings)
    declared.read(settings)
    try:
        keys_of(settings.keys_file, settings.keys)
    except BadKeys as error:
        raise StartFailed(str(error)) from None
    tls(settings)


class Supervisor:
    """One run of questd."""

    def __init__(
        self, settings: Settings, sock: socket.socket, console: socket.socket | None, again: Callable[[], Settings]
    ) -> None:
        self._as_read = settings
        self._again = again
        self._settings = descriptors.fitted(settings).model_copy(update={"port": sock.getsockname()[1]})
        self._next: Settings | None = None  # read again, while the loader asks Redis for their durability
        self._counts = Counts(NAMES, PAGES * settings.workers + MORE_PAGES)
        self._socket = sock
        self._console_socket = console
        self._stopping = self._reloading = self._replacing = self._declaring = False
        self._announced = False
        self._embedded: Embedded | None = None
        self._restarts = Restarts()
        self._loader: Forked | None = None
        self._workers = Crew("worker", lambda: self._fork(self._serve))
        self._console = Crew("console", lambda: self._fork(self._observe))
        self._crews = (self._workers, self._console)
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
            if self._reloading and not self._loader:
                self._reload()
            if self._declaring and not self._loader:
                self._declaring = False
                self._loader = self._fork(self._declare)
            if self._replacing:
                self._replacing = False
                for crew in self._crews:
                    crew.replace()
            self._keep_crews()
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
        """Wait for a signal, or for a process to be ready."""
        reports = [process.report for process in self._processes() if process.lives and not process.said]
        readable, _, _ = select.select([self._woken, *reports], [], [], seconds)
        if self._woken in readable:
            os.read(self._woken, 4096)

    def _idle_time(self) -> float | None:
        times = [due for crew in self._crews for due in crew.due]
        if self._restarts.due is not None:
            times.append(self._restarts.due)
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
        wanted, self._next = self._next, None
        if loader.status:
            problem = loader.said.decode() or "the library could not be loaded"
            if wanted:
                problem = f"the settings stay as they are: {problem}"
            if not self._workers.begun:
                raise StartFailed(problem)
            log.error("%s", problem)
        elif not self._workers.begun:
            gc.collect()
            gc.freeze()  # what is there now stays, and shared: no worker's collector writes to it
            self._workers.resize(self._settings.workers)
            self._console.resize(1 if self._console_socket else 0)
        elif wanted:
            self._adopt(wanted)

    def _keep_crews(self) -> None:
        for crew in self._crews:
            crew.keep()
        if self._workers.failures >= FAILURES and not self._announced:
            raise StartFailed(f"a worker ended {FAILURES} times before it was ready")

    def _reload(self) -> None:
        """Read the settings again, and adopt them; another durability only when Redis can give it."""
        self._reloading = False
        try:
            read = self._again()
            check(read)
        except (BadSetting, StartFailed) as error:
            log.error("the settings stay as they are: %s", hidden(str(error)))  # noqa: TRY400  # nobody's mistake here
            return
        fixed = FIXED | PROMISED if self._embedded else FIXED
        changed = sorted(name for name in fixed if getattr(read, name) != getattr(self._as_read, name))
        if changed:
            log.warning("a restart is needed for a new %s", ", ".join(changed))
        kept = {name: getattr(self._settings, name) for name in fixed}
        wanted = descriptors.fitted(read).model_copy(update=kept)
        if all(getattr(wanted, name) == getattr(self._settings, name) for name in PROMISED):
            self._adopt(wanted)
        else:
            self._next = wanted
            self._loader = self._fork(self._load)

    def _adopt(self, settings: Settings) -> None:
        """Give the settings to new workers."""
        self._settings = settings
        logs.configure(settings)
        self._declaring = True
        for crew in self._crews:
            crew.replace()
        self._workers.resize(settings.workers)
        log.info("the settings were read again")

    def _announce(self) -> None:
        if self._announced or not self._workers.ready:
            return
        self._announced = True
        scheme = "https" if self._settings.tls_cert else "http"
        parts = [f"questd ready on {scheme}://{address_of(self._socket)}"]
        if self._console_socket:  # it may come a moment later: who connects meanwhile waits for it
            parts.append(f"console {scheme}://{address_of(self._console_socket)}")
        parts.append(str(self._embedded or f"Redis at {hidden(str(self._settings.redis_url))}"))
        sys.stdout.write(" · ".join(parts) + "\n")
        sys.stdout.flush()

    def _fork(self, work: Callable[[int, Page], None]) -> Forked:
        page = self._counts.take()
        report, write = os.pipe()
        os.set_blocking(report, False)
        # A signal that comes before the child has put our signal handlers away would be lost on it.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        pid = os.fork()
        if pid == 0:
            self._become(partial(work, write, page))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        os.close(write)
        log.debug("process %d started: %s", pid, work.__name__.strip("_"))
        return Forked(pid, report, page.end)

    def _become(self, work: Callable[[], None]) -> NoReturn:
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
            work()
            status = 0
        except RedisUnavailable as error:  # it is tried again: nobody's mistake
            log.error("process %d cannot begin: %s", os.getpid(), error)  # noqa: TRY400
        except BaseException:
            log.exception("process %d failed", os.getpid())
        finally:
            os._exit(status)

    def _load(self, report: int, _: Page) -> None:
        """Load the library into Redis, as soon as that answers."""
        if self._embedded:
            wait_until_ready(self._embedded.socket_path)
            self._embedded.mend()
        settings = self._next or self._settings
        loader.run(settings, report, private=self._embedded is not None)
        loader.declare(settings, report)

    def _declare(self, report: int, _: Page) -> None:
        """Make the queues that are declared in the configuration file."""
        loader.declare(self._settings, report)

    def _serve(self, report: int, page: Page) -> None:
        """Serve requests until a signal or the end of the supervisor."""
        if self._console_socket:
            self._console_socket.close()
        worker.run(self._settings, self._socket, self._lifeline, report, page)

    def _observe(self, report: int, page: Page) -> None:
        """Serve the console in the same way."""
        self._socket.close()
        if self._console_socket:
            settings = self._settings.model_copy(update={"front": "console"})
            worker.run(settings, self._console_socket, self._lifeline, report, page)

    def end(self) -> None:
        """End every process: workers first, then the private Redis, all within LONGEST_END seconds."""
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)  # a second one changes nothing
        self._socket.close()
        if self._console_socket:
            self._console_socket.close()
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
        return [process for crew in self._crews for process in crew.processes]

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
