"""The supervisor: two bound ports, the workers and the console that serve them, the private Redis if there is no other.

It owns the sockets, and has no event loop and no thread, so that it may fork at any time; it must not know HTTP or
queues. SIGHUP reads the settings again, SIGUSR2 replaces the workers, SIGTERM and SIGINT end questd.
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

from questd import descriptors, loader, logs, port, promises, tables, worker
from questd.access import keys_of
from questd.actions import NAMES
from questd.counts import Counts, Page
from questd.crew import Crew, Forked
from questd.embedded import Embedded, StartFailed, wait_until_ready
from questd.pipeline import RedisUnavailable
from questd.port import address_of, bind, place, tls
from questd.restarts import Restarts
from questd.settings import BadSetting, Settings, hidden
from questd.signals import Signals, Stopped
from questd.worker import PATIENCE

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

NEVER = Forked(0, -1, status=1)
"""A process that could not be forked: it has ended."""

log = logging.getLogger(__name__)


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
    """Raise BadSetting or StartFailed when settings do not fit together, or what they name cannot be used."""
    port.check(settings)
    promises.check(settings)
    tables.read(settings)
    keys_of(settings.keys_file, settings.keys)
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
        self._announced = self._declaring = False
        self._embedded: Embedded | None = None
        self._restarts = Restarts()
        self._loader: Forked | None = None
        self._workers = Crew("worker", lambda: self._fork(self._serve))
        self._console = Crew("console", lambda: self._fork(self._observe))
        self._crews = (self._workers, self._console)
        # Nobody writes to the lifeline. Its end, seen by workers and the guard, is the end of this process.
        self._lifeline, self._lifeline_held = os.pipe()
        self._signals = Signals()

    def run(self) -> NoReturn:
        """Start everything and keep it alive. Raises Stopped, or StartFailed."""
        self._signals.listen()
        if self._settings.redis_url is None:
            self._embedded = Embedded(self._settings, self._lifeline, self._pause)
            self._settings = self._settings.model_copy(update={"redis_url": self._embedded.url})
            self._start_server(self._embedded)
        self._loader = self._fork(self._load)
        while True:
            if self._embedded:
                self._keep_server(self._embedded)
            if self._loader:
                self._follow_loader(self._loader)
            if self._signals.reload and not self._loader:
                self._reload()
            if self._declaring and not self._loader:
                self._declaring = False
                self._loader = self._fork(self._declare)
            if self._signals.replace:
                self._signals.replace = False
                for crew in self._crews:
                    crew.replace()
            self._keep_crews()
            self._announce()
            self._pause(self._idle_time())

    def _pause(self, seconds: float | None) -> None:
        """Wait for a signal, or for a process to be ready. Raises Stopped."""
        self._signals.pause(seconds, self._reports())

    def _reports(self) -> list[int]:
        return [process.report for process in self._processes() if process.lives and not process.said]

    def _idle_time(self) -> float | None:
        times = [due for crew in self._crews for due in crew.due]
        if self._restarts.due is not None:
            times.append(self._restarts.due)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _keep_server(self, embedded: Embedded) -> None:
        if embedded.ended():
            self._server_failed(f"{embedded.server} ended: {embedded.last_words()}")
        if self._restarts.start():
            self._start_server(embedded)
            self._loader = self._loader or self._fork(self._load)

    def _start_server(self, embedded: Embedded) -> None:
        try:
            embedded.start()
        except OSError as error:  # a full disk, no process to spare: that may pass
            self._server_failed(f"{embedded.server} cannot be started: {error}")

    def _server_failed(self, problem: str) -> None:
        if not self._announced:
            raise StartFailed(problem)
        log.error("%s", problem)
        self._restarts.died()

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
        self._signals.reload = False
        try:
            wanted = self._read_again()
        except (BadSetting, StartFailed) as error:
            log.error("the settings stay as they are: %s", hidden(str(error)))  # noqa: TRY400  # nobody's mistake here
            return
        if all(getattr(wanted, name) == getattr(self._settings, name) for name in PROMISED):
            self._adopt(wanted)
        else:
            self._next = wanted
            self._loader = self._fork(self._load)

    def _read_again(self) -> Settings:
        """Return the settings as they are to be now. Raises BadSetting or StartFailed when they cannot be used."""
        read = self._again()
        check(read)
        fixed = FIXED | PROMISED if self._embedded else FIXED
        changed = sorted(name for name in fixed if getattr(read, name) != getattr(self._as_read, name))
        if changed:
            log.warning("a restart is needed for a new %s", ", ".join(changed))
        kept = {name: getattr(self._settings, name) for name in fixed}
        wanted = descriptors.fitted(read).model_copy(update=kept)
        place(wanted, wanted.port)  # without its keys, everybody could come in there
        return wanted

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
        try:
            os.write(sys.stdout.fileno(), f"{' · '.join(parts)}\n".encode())
        except OSError as error:  # who started it does not read that, which is no reason to end
            log.warning("standard output cannot be written: %s", error.strerror)

    def _fork(self, work: Callable[[int, Page], None]) -> Forked:
        page = self._counts.take()
        pipe: tuple[int, ...] = ()
        try:
            pipe = report, write = os.pipe()
            os.set_blocking(report, False)
            with self._signals.held():
                pid = os.fork()
                if pid == 0:
                    self._become(partial(work, write, page))
        except OSError as error:  # what runs already goes on
            log.error("no process can be started: %s", error.strerror)  # noqa: TRY400  # nobody's mistake here
            for descriptor in pipe:
                os.close(descriptor)
            page.end()
            return NEVER
        os.close(write)
        log.debug("process %d started: %s", pid, work.__name__.strip("_"))
        return Forked(pid, report, page.end)

    def _become(self, work: Callable[[], None]) -> NoReturn:
        """Do `work` in a process that has just been forked, and end it."""
        status = 1
        try:
            self._signals.leave()
            os.close(self._lifeline_held)
            if self._embedded and self._embedded.lock is not None:
                os.close(self._embedded.lock)
            work()
            status = 0
        except (RedisUnavailable, BadSetting, StartFailed) as error:  # it is tried again: nobody's mistake
            log.error("process %d cannot begin: %s", os.getpid(), hidden(str(error)))  # noqa: TRY400
        except BaseException:
            log.exception("process %d failed", os.getpid())
        finally:
            os._exit(status)

    def _load(self, report: int, _: Page) -> None:
        """Load the library into Redis, as soon as that answers."""
        if self._embedded:
            wait_until_ready(self._embedded.socket_path, self._rest)
            self._embedded.mend()
        settings = self._next or self._settings
        loader.run(settings, report, private=self._embedded is not None)
        loader.declare(settings, report)

    def _rest(self, seconds: float) -> None:
        """Wait in the process that loads; without its supervisor there is nothing to wait for."""
        if select.select([self._lifeline], [], [], seconds)[0]:
            os._exit(1)

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
        self._signals.ignore()
        self._socket.close()
        if self._console_socket:
            self._console_socket.close()
        begun = time.monotonic()
        if self._loader:
            self._loader.send(signal.SIGKILL)
        for process in self._processes():
            process.send(signal.SIGTERM)
        while (left := begun + PATIENCE - time.monotonic()) > 0 and self._any_process():
            self._signals.sleep(left, self._reports())
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
