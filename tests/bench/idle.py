"""What questd costs when little happens: long polls that wait, queues that nobody uses, its start, its memory.

Each measurement starts a questd of its own and returns facts: names and figures. It must not know how they are printed.
"""

import http.client
import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from tests.bench.loads import Scenario, fill, new_queue, run
from tests.bench.servers import Refused, Server, questd, started, written
from tests.servers import DEFAULT, running

HERE = Path(__file__).parent
WINDOW = 320
"""Seconds after which a FIFO queue has forgotten deduplication ids: 300, and at most 10 until the next look at them."""


@dataclass(frozen=True)
class Size:
    """How much is measured; the numbers of a test are small."""

    polls: int = 1000
    sends: int = 200
    queues: int = 10_000
    seconds: float = 20
    """A long poll's whole wait, so that each asks again once."""
    starts: int = 5
    messages: int = 100_000
    settle: float = 1.5
    """Seconds to wait before memory is read or idleness is measured: Redis writes what it has buffered for its file."""


Facts = dict[str, float]


def long_polls(size: Size) -> Facts:
    """Measure polls that wait on one queue, and how fast a message reaches one of them. Raises Refused when it is not one."""
    with questd(None) as server:
        run(Scenario("warm", "cycle"), server, 1)
        url = new_queue(server)
        before = sum(server.resident("questd"))
        host, port = server.address
        command = [sys.executable, str(HERE / "pollers.py"), host, str(port), url, str(size.polls)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as pollers:
            assert pollers.stdout
            pollers.stdout.readline()
            time.sleep(size.settle)
            grown = sum(server.resident("questd")) - before
            facts = _cpu_percent(server, size.seconds)
            sent = _send_one_by_one(server, url, size.sends)
            told = pollers.communicate("", timeout=10)[0]
    waits = _waits_ms(sent, told)
    return {
        "% CPU of questd, long polls idle": facts["questd"],
        "% CPU of Redis, long polls idle": facts["redis"],
        "KiB per long poll": grown / size.polls / 1024,
        "ms to wake, p50": median(waits),
        "ms to wake, p99": quantiles(waits, n=100, method="inclusive")[98],
    }


def _cpu_percent(server: Server, seconds: float) -> dict[str, float]:
    before = server.cpu()
    time.sleep(seconds)
    return {kind: (spent - before[kind]) / seconds * 100 for kind, spent in server.cpu().items()}


def _send_one_by_one(server: Server, url: str, count: int) -> dict[str, int]:
    """Send messages whose bodies are numbers; return when each send began."""
    begun = {}
    connection = http.client.HTTPConnection(*server.address)
    for number in map(str, range(count)):
        headers, body = written("json", "SendMessage", {"QueueUrl": url, "MessageBody": number})
        begun[number] = time.monotonic_ns()
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise Refused(f"a send was answered with {answer.status}")
        time.sleep(0.01)
    connection.close()
    time.sleep(0.2)
    return begun


def _waits_ms(sent: dict[str, int], told: str) -> list[float]:
    """Return how long each message took to reach a poll. Raises Refused unless each reached one, and no other poll ended."""
    *received, (_, early) = (line.split() for line in told.splitlines())
    if Counter(number for number, _ in received) != Counter(sent.keys()) or early != "0":
        raise Refused(f"{len(sent)} messages were received {len(received)} times, {early} other polls ended")
    return [(int(at) - sent[number]) / 1e6 for number, at in received]


def idle_queues(size: Size) -> Facts:
    """Measure many queues with a message each that nobody asks for."""
    with questd(None) as server:
        connection = http.client.HTTPConnection(*server.address)
        for number in range(size.queues):
            for action, members in (
                ("CreateQueue", {"QueueName": f"idle{number}"}),
                ("SendMessage", {"QueueUrl": f"idle{number}", "MessageBody": "x"}),
            ):
                headers, body = written("json", action, members)
                connection.request("POST", "/", body, headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status != http.HTTPStatus.OK:
                    raise Refused(f"{action} was answered with {answer.status}")
        connection.close()
        time.sleep(size.settle)
        used = _cpu_percent(server, size.seconds)
    return {"% CPU of questd, queues idle": used["questd"], "% CPU of Redis, queues idle": used["redis"]}


def starting(size: Size) -> Facts:
    """Measure from the start of the process to the line that says ready: own server and empty directory; Redis there."""
    own, there = [], []
    for _ in range(size.starts):
        with started() as found:
            own.append(found.seconds)
        with running(DEFAULT, "--appendonly", "yes") as redis, started(redis_url=redis.url) as found:
            there.append(found.seconds)
    return {"s to start, with its own server": median(own), "s to start, Redis running": median(there)}


def memory(size: Size) -> Facts:
    """Measure what a waiting message of 100 bytes takes in Redis, and a FIFO one within its window and after it."""
    facts: Facts = {}
    with questd(1, "--test-mode") as server:
        facts["bytes per message"], _ = _growth(server, size, groups=0)
    with questd(1, "--test-mode") as server:
        inside, base = _growth(server, size, groups=1000)
        facts["bytes per FIFO message, within the window"] = inside
        moved = urllib.request.Request(server.url + "_questd/clock", json.dumps({"advance": WINDOW}).encode())
        urllib.request.urlopen(moved).close()
        facts["bytes per FIFO message, after the window"] = (_settled(server, size) - base) / size.messages
    return facts


def _growth(server: Server, size: Size, groups: int) -> tuple[float, int]:
    """Fill a new queue; return the bytes each message takes, and how many there were before."""
    url = new_queue(server, fifo=bool(groups))
    base = _settled(server, size)
    filled = fill(server, url, size.messages, groups=groups)
    return (_settled(server, size) - base) / filled, base


def _settled(server: Server, size: Size) -> int:
    """Return the memory in use when it no longer changes."""
    now = 0
    while True:
        last = now
        time.sleep(size.settle)
        now = server.used_memory()
        if abs(now - last) < last * 0.001:
            return now


MEASUREMENTS = {
    "long polls": long_polls,
    "idle queues": idle_queues,
    "start": starting,
    "memory": memory,
}
