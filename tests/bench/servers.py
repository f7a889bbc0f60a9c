"""The servers that are measured: how to ask them, what they use, and how questd and the bare handler are started.

It owns processes and /proc; it must not know loads or tables.
"""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import redis

from tests.servers import free_port

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")


class Refused(Exception):
    """A server did not do what a benchmark needs; the text says what."""


@dataclass
class Server:
    """Something that answers: where, in which protocol (json or query), and the processes that count, by what they are."""

    url: str
    pids: dict[str, list[int]]
    protocol: str = "json"
    redis_socket: str | None = None
    warmed: set[str] = field(default_factory=set)
    """What it has been warmed up for."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").strip("/").partition(":")
        return host, int(port)

    def ask(self, action: str, members: Mapping[str, Any], timeout: float = 30) -> dict[str, Any]:
        """Ask for an action and return its answer; in the Query protocol its plain elements. Raises Refused, OSError."""
        connection = http.client.HTTPConnection(*self.address, timeout=timeout)
        with contextlib.closing(connection):
            headers, body = written(self.protocol, action, members)
            try:
                connection.request("POST", "/", body, headers)
                answer = connection.getresponse()
                text = answer.read().decode()
            except http.client.HTTPException as error:
                raise Refused(f"{action}: {error!r}") from error
            if answer.status != http.HTTPStatus.OK:
                raise Refused(f"{action}: {answer.status} {text[:200]}")
        if self.protocol == "query":
            return dict(re.findall(r"<(\w+)>([^<]*)</", text))
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def cpu(self) -> dict[str, float]:
        """Return the seconds of CPU that each kind of process has used."""
        return {kind: sum(map(_cpu_seconds, pids)) for kind, pids in self.pids.items()}

    def resident(self, kind: str) -> list[int]:
        """Return the resident bytes of each process of a kind."""
        return [_resident(pid) for pid in self.pids[kind]]

    def calm_down(self) -> None:
        """Wait until questd's private Redis does nothing beside: rewrite its append-only file, free memory.

        While a copy of it rewrites, each page that it changes is copied first: a request costs it twice as much.
        """
        if not self.redis_socket:
            return
        with redis.Redis(unix_socket_path=self.redis_socket) as client:
            while _is_busy(client.info("persistence") | client.info("memory")):
                time.sleep(0.05)

    def used_memory(self) -> int:
        """Return the bytes that questd's private Redis has in use."""
        assert self.redis_socket
        with redis.Redis(unix_socket_path=self.redis_socket) as client:
            found: int = client.info("memory")["used_memory"]
            return found


def _is_busy(info: Mapping[str, Any]) -> bool:
    return bool(info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"] or info["lazyfree_pending_objects"])


def written(protocol: str, action: str, members: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body that ask for an action."""
    if protocol == "json":
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}"}
        return headers, json.dumps(members).encode()
    form = {"Action": action, "Version": "2012-11-05"} | dict(_flat(action, members))
    return {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(form).encode()


def _flat(action: str, members: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Write members as the Query protocol does: a map of attributes and the entries of a batch have numbers."""
    for name, value in members.items():
        if name == "Attributes":
            for i, (key, each) in enumerate(value.items(), 1):
                yield from ((f"Attribute.{i}.Name", key), (f"Attribute.{i}.Value", each))
        elif name == "Entries":
            for i, entry in enumerate(value, 1):
                yield from ((f"{action}RequestEntry.{i}.{key}", each) for key, each in entry.items())
        else:
            yield name, str(value)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still are; none of one that has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def family(pid: int) -> list[int]:
    """Return a process and all that came from it."""
    return [pid, *(each for child in children(pid) for each in family(child))]


@dataclass(frozen=True)
class Started:
    """A questd of our own: its server, and how many seconds from its start to its line that it is ready."""

    server: Server
    seconds: float


@contextlib.contextmanager
def started(*options: str, redis_url: str | None = None) -> Iterator[Started]:
    """Run a questd on a free port, with its private server in an empty data directory if no Redis is given."""
    with tempfile.TemporaryDirectory(prefix="questd-bench-") as directory:
        where = ["--redis-url", redis_url] if redis_url else ["--data-dir", directory]
        command = [sys.executable, "-m", "questd", "serve", "--port", "0", "--console-port", "off", *where, *options]
        before = time.monotonic()
        with _talking(command) as (process, line):
            seconds = time.monotonic() - before
            socket = re.search(r"redis-cli -s (\S+)", line)
            server = Server(line.split()[3] + "/", _pids(process.pid), redis_socket=socket[1] if socket else None)
            yield Started(server, seconds)


@contextlib.contextmanager
def questd(workers: int | None, *options: str) -> Iterator[Server]:
    """Run a questd with its private server: append-only file, flushed every second. None: a worker for every core."""
    count = [] if workers is None else ["--workers", str(workers)]
    with started(*count, *options) as found:
        yield found.server


def _pids(supervisor: int) -> dict[str, list[int]]:
    texts = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in children(supervisor)}
    workers = [pid for pid, text in texts.items() if "questd.guard" not in text and "-m\0questd\0" in text]
    return {"questd": workers, "redis": [each for pid in texts if pid not in workers for each in family(pid)]}


@contextlib.contextmanager
def bare() -> Iterator[Server]:
    """Run the bare handler."""
    port = free_port()
    with _talking([sys.executable, str(HERE / "bare.py"), str(port)]) as (process, _):
        yield Server(f"http://127.0.0.1:{port}/", {"aiohttp": [process.pid]})


@contextlib.contextmanager
def _talking(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a process that says one line when it is ready, and give that line."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        line = process.stdout.readline()
        if not line:
            raise Refused(f"{command[2]} ended before it was ready")
        yield process, line
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
