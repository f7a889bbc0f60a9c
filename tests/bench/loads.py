"""The loads that wrk puts on a server, each on a queue of its own: one thread, 32 connections, the same bodies for all.

It owns what a scenario is and how it is measured; it must not know which servers there are or what is printed.
"""

import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tests.bench.servers import Refused, Server, written

HERE = Path(__file__).parent
CONNECTIONS = 32
FILL = 10
AHEAD = 8
"""While a queue is filled: messages in one request; requests to questd before the answers are read."""

FILL_SECONDS = 60
"""A server that takes longer to be filled is measured as deep as it got."""

SETTLED = 200_000
"""Messages for which a deep queue is used a second longer before it is measured. Valkey doubles the table of a hash at
917 504 fields and moves a third of it while it is used: the next 50 000 requests take it 1.3 times the CPU. That is the
price of growing, not of being deep."""

CURVE = (0, 10_000, 100_000, 150_000, 1_000_000)
"""The depths of the picture. A peer is measured up to what it can be filled with in reasonable time."""


@dataclass(frozen=True)
class Scenario:
    """One load: how wrk is told to make it, how deep the queue is before, and what answers it."""

    name: str
    mode: str
    depth: int = 0
    body: str = "100"
    groups: int = 0
    workers: int | None = None
    """Of questd; None: one for every core."""
    protocol: str = "json"
    """What questd is asked in; a peer is asked in what it speaks."""
    bare: bool = False
    """Whether the bare handler answers it too."""
    peers: bool = True
    """Whether the peers are measured with it."""


SCENARIOS = (
    Scenario("cycle, one worker", "cycle", workers=1, bare=True, peers=False),
    Scenario("cycle", "cycle"),
    *(Scenario(f"cycle, {f'{depth:,}'.replace(',', ' ')} deep", "cycle", depth=depth) for depth in CURVE[1:]),
    Scenario("cycle, Query protocol", "cycle", protocol="query", peers=False),
    Scenario("send", "send"),
    Scenario("drain, 100 000 deep", "drain", depth=100_000),
    Scenario("batches of 10", "batch"),
    Scenario("1 KiB and 64 KiB", "cycle", body="1024,65536"),
    Scenario("FIFO, 1 000 groups", "cycle", groups=1000),
)


@dataclass
class Figures:
    """What one load came to. Times in ms, CPU in µs a request by kind of process, memory in bytes."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    sent: int
    received: int
    deleted: int
    refused: int
    lost: int
    depth: int = 0
    """How deep the queue was before."""
    cpu_us: dict[str, float] = field(default_factory=dict)
    resident: dict[str, int] = field(default_factory=dict)
    """Of the largest process of each kind."""
    protocol: str = "json"
    turn: int = 0
    """The number of the round, by which figures are compared."""

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def messages_per_second(self) -> float:
        """Messages a second that went the whole way; sent ones where nothing is deleted."""
        return (self.deleted or self.sent) / self.seconds


_numbers = itertools.count(1)


def new_queue(server: Server, *, fifo: bool = False) -> str:
    """Make a queue that was not there, and return its URL."""
    name = f"q{next(_numbers)}" + (".fifo" if fifo else "")
    attributes = {"Attributes": {"FifoQueue": "true"}} if fifo else {}
    url: str = server.ask("CreateQueue", {"QueueName": name} | attributes)["QueueUrl"]
    return url


def run(scenario: Scenario, server: Server, seconds: int, warm_up: int = 0) -> Figures:
    """Put one load on a server, after one that does not count. Raises Refused or OSError when that cannot be done."""
    mode = "cycle" if scenario.mode == "drain" else scenario.mode
    if warm_up:
        warm = new_queue(server, fifo=bool(scenario.groups))
        wrk(scenario, server, warm, warm_up, mode)
        _delete(server, warm)
    url = new_queue(server, fifo=bool(scenario.groups))
    depth = fill(server, url, scenario.depth)
    server.calm_down()
    if warm_up and depth:
        wrk(scenario, server, url, warm_up + depth // SETTLED, mode)
        server.calm_down()
    figures = wrk(scenario, server, url, seconds)
    figures.depth = depth
    _delete(server, url)
    check(scenario, figures)
    return figures


def check(scenario: Scenario, figures: Figures) -> None:
    """Raise Refused when a load was not in equal parts: a receive that finds nothing, for example, costs less."""
    done = (figures.received, figures.deleted)
    parts = {"cycle": (figures.sent, *done), "batch": (figures.sent, *done), "drain": done, "send": (figures.sent,)}
    found = parts[scenario.mode]
    if max(found) - min(found) > 2 * CONNECTIONS * (FILL if scenario.mode == "batch" else 1):
        sent, received, deleted = figures.sent, figures.received, figures.deleted
        raise Refused(f"{sent} messages were sent, {received} received and {deleted} deleted: not in equal parts")


def _delete(server: Server, url: str) -> None:
    # What wrk's last receives took is given back first, to a queue that is there.
    time.sleep(0.2)
    server.ask("DeleteQueue", {"QueueUrl": url})


def run_bare(scenario: Scenario, server: Server, seconds: int, warm_up: int = 0) -> Figures:
    """Put the same load on the handler that has no queue."""
    if warm_up:
        wrk(scenario, server, server.url + "q", warm_up)
    return wrk(scenario, server, server.url + "q", seconds)


def wrk(scenario: Scenario, server: Server, url: str, seconds: int, mode: str | None = None) -> Figures:
    """Let wrk put a load on one queue."""
    told = {
        "QUEUE_URL": url,
        "PROTOCOL": server.protocol,
        "MODE": mode or scenario.mode,
        "BODY": scenario.body,
        "GROUPS": str(scenario.groups),
    }
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(HERE / "sqs.lua")]
    before = server.cpu()
    done = subprocess.run(
        [*command, server.url], env=os.environ | told, capture_output=True, text=True, check=False, timeout=seconds + 60
    )
    used = {kind: spent - before[kind] for kind, spent in server.cpu().items()}
    try:
        figures = Figures(**json.loads(done.stdout.splitlines()[-1]), protocol=server.protocol)
    except (IndexError, ValueError) as error:
        raise Refused(f"wrk said {done.stderr.strip() or done.stdout.strip()!r}") from error
    if not figures.requests:
        raise Refused("no request was answered")
    if figures.refused or figures.lost:  # a refusal is soon made: it must not count as an answer
        raise Refused(f"of {figures.requests} requests {figures.refused} were refused, and {figures.lost} more lost")
    figures.cpu_us = {kind: spent / figures.requests * 1e6 for kind, spent in used.items()}
    figures.resident = {kind: max(server.resident(kind)) for kind in server.pids}
    return figures


def fill(server: Server, url: str, count: int, *, groups: int = 0) -> int:
    """Put messages of 100 bytes into a queue until there are `count` or FILL_SECONDS are over; return how many there are."""
    if not count:
        return 0
    sys.stderr.write(f"  filling the queue with {count} messages …\n")
    ahead = AHEAD if "questd" in server.pids else 1
    deadline = time.monotonic() + FILL_SECONDS
    filled = 0
    requests = _batches(server, url, groups)
    while filled < count and time.monotonic() < deadline:
        # Some servers close a connection after so many requests.
        with socket.create_connection(server.address, timeout=30) as connection, connection.makefile("rb") as answers:
            while filled < count and time.monotonic() < deadline:
                if not _answered(connection, answers, [*itertools.islice(requests, ahead)]):
                    break
                filled += FILL * ahead
    return filled


def _answered(connection: socket.socket, answers: BinaryIO, requests: list[bytes]) -> bool:
    """Make requests; return False when the server has closed the connection instead of answering. Raises Refused."""
    try:
        connection.sendall(b"".join(requests))
        return all(_skip_answer(answers) for _ in requests)
    except ConnectionError:
        return False


def _batches(server: Server, url: str, groups: int) -> Iterator[bytes]:
    """Write requests that send FILL messages each, without end."""
    message = {"MessageBody": "m" * 100}
    for number in itertools.count():
        if groups or not number:
            firsts = range(number * FILL, (number + 1) * FILL)
            more = [
                {"MessageGroupId": f"g{i % groups}", "MessageDeduplicationId": str(i)} if groups else {} for i in firsts
            ]
            entries = [{"Id": f"e{i}"} | message | each for i, each in enumerate(more)]
            headers, body = written(server.protocol, "SendMessageBatch", {"QueueUrl": url, "Entries": entries})
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            request = f"POST / HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        yield request


def _skip_answer(answers: BinaryIO) -> bool:
    """Read one answer, whose body has a length or comes in chunks; return whether there was one. Raises Refused."""
    status = answers.readline()
    if not status:
        return False
    if b" 200 " not in status:
        raise Refused(f"a batch was refused: {status.decode(errors='replace').strip()}")
    length = None
    while (line := answers.readline()) not in {b"\r\n", b""}:
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while length is None and (size := int(answers.readline(), 16)):
        answers.read(size + 2)
    answers.read(2 if length is None else length)
    return True
