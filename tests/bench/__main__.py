"""How fast questd is, beside the bare aiohttp handler that only parses and answers: `make bench`.

Ratios of one run count; absolute figures are the machine's. wrk makes the load (one thread, 32 connections) on the same
machine. CPU is user and system time of the processes, from /proc.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO

from tests.servers import free_port

HERE = Path(__file__).parent
CONNECTIONS = 32
TICKS = os.sysconf("SC_CLK_TCK")
FILL = 10
AHEAD = 8
"""While a queue is filled: messages in one request, requests before the answers are read."""


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
    bare: bool = False
    """Whether the bare handler answers it too."""


SCENARIOS = (
    Scenario("cycle, one worker", "cycle", workers=1, bare=True),
    Scenario("cycle", "cycle"),
    Scenario("send", "send"),
    Scenario("batches of 10", "batch"),
    Scenario("1 KiB and 64 KiB", "cycle", body="1024,65536"),
    Scenario("FIFO, 1 000 groups", "cycle", groups=1000),
    Scenario("drain", "drain", depth=100_000),
    Scenario("cycle, 100 000 deep", "cycle", depth=100_000),
    Scenario("cycle, 1 000 000 deep", "cycle", depth=1_000_000),
)


@dataclass
class Server:
    """Something that answers: where, and the processes whose CPU counts, by what they are."""

    url: str
    pids: dict[str, list[int]]

    def post(self, action: str, members: dict[str, Any]) -> dict[str, Any]:
        """Ask for an action."""
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}"}
        asked = urllib.request.Request(self.url, json.dumps(members).encode(), headers)
        with urllib.request.urlopen(asked) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def cpu(self) -> dict[str, float]:
        """Return the seconds of CPU that each kind of process has used."""
        return {kind: sum(map(_cpu_seconds, pids)) for kind, pids in self.pids.items()}


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def questd(workers: int | None) -> Iterator[Server]:
    """Run a questd with its private server: append-only file, flushed every second."""
    count = [] if workers is None else ["--workers", str(workers)]
    with tempfile.TemporaryDirectory(prefix="questd-bench-") as directory:
        command = [sys.executable, "-m", "questd", "serve", "--port", "0", "--data-dir", directory, *count]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout
            line = process.stdout.readline()
            children = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in _children(process.pid)}
            served = [pid for pid, text in children.items() if "questd.guard" not in text and "-m\0questd\0" in text]
            redis = [child for pid in children if pid not in served for child in (pid, *_children(pid))]
            yield Server(line.split()[3] + "/", {"questd": served, "redis": redis})
        finally:
            process.terminate()
            process.wait()
            if process.stdout:
                process.stdout.close()


@contextlib.contextmanager
def bare() -> Iterator[Server]:
    """Run the bare handler."""
    port = free_port()
    process = subprocess.Popen([sys.executable, str(HERE / "bare.py"), str(port)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        process.stdout.readline()
        yield Server(f"http://127.0.0.1:{port}/", {"aiohttp": [process.pid]})
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def run(scenario: Scenario, server: Server, seconds: int) -> dict[str, Any]:
    """Put one load on a server: wrk's figures, and µs of CPU a request."""
    url = server.url + "000000000000/q"
    if "questd" in server.pids:
        url = _queue(scenario, server)
    told = {"QUEUE_URL": url, "MODE": scenario.mode, "BODY": scenario.body, "GROUPS": str(scenario.groups)}
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(HERE / "sqs.lua"), server.url]
    before = server.cpu()
    done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, check=True)
    used = {kind: spent - before[kind] for kind, spent in server.cpu().items()}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    figures["per_second"] = figures["requests"] / figures["seconds"]
    figures["cpu_us"] = {kind: spent / figures["requests"] * 1e6 for kind, spent in used.items()}
    return figures


def _queue(scenario: Scenario, server: Server) -> str:
    """Make the scenario's queue, filled to its depth, and return its URL."""
    fifo = {"FifoQueue": "true"} if scenario.groups else {}
    name = "q.fifo" if fifo else "q"
    url: str = server.post("CreateQueue", {"QueueName": name, "Attributes": fifo})["QueueUrl"]
    if scenario.depth:
        _fill(server, url, scenario.depth)
    return url


def _fill(server: Server, url: str, count: int) -> None:
    """Put `count` messages into a queue, FILL a request, AHEAD requests at a time."""
    sys.stderr.write(f"  filling the queue with {count} messages …\n")
    entries = [{"Id": str(i), "MessageBody": "m" * 100} for i in range(FILL)]
    body = json.dumps({"QueueUrl": url, "Entries": entries}).encode()
    head = b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.SendMessageBatch\r\n"
    request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    host, _, port = server.url.removeprefix("http://").strip("/").partition(":")
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as answers:
        for _ in range(count // FILL // AHEAD):
            connection.sendall(request * AHEAD)
            for _ in range(AHEAD):
                _skip_answer(answers)


def _skip_answer(answers: BinaryIO) -> None:
    length = 0
    if b" 200 " not in answers.readline():
        raise RuntimeError("a batch was refused")
    while (line := answers.readline()) != b"\r\n":
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    answers.read(length)


def measure(scenarios: Iterable[Scenario], rounds: int, seconds: int) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the figures of every round, by scenario and server."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for number in range(1, rounds + 1):
        for scenario in scenarios:
            servers = {"questd": questd(scenario.workers)} | ({"aiohttp": bare()} if scenario.bare else {})
            for name, starting in servers.items():
                sys.stderr.write(f"round {number} of {rounds}: {scenario.name}, {name}\n")
                with starting as server:
                    found.setdefault(scenario.name, {}).setdefault(name, []).append(run(scenario, server, seconds))
    return found


COLUMNS = ("", "requests/s", "p50 ms", "p99 ms", "µs of questd", "µs of Redis", "to bare aiohttp")


def table(found: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """Return the medians of the rounds as a Markdown table."""
    rows = [COLUMNS, tuple("---" if i == 0 else "---:" for i in range(len(COLUMNS)))]
    for scenario, servers in found.items():
        for name, figures in servers.items():
            cpu = {kind: median(each["cpu_us"][kind] for each in figures) for kind in figures[0]["cpu_us"]}
            own = cpu.get("questd", cpu.get("aiohttp", 0.0))
            beside = servers.get("aiohttp")
            ratio = f"{_median(figures, 'per_second') / _median(beside, 'per_second'):.2f}" if beside else ""
            rows.append(
                (
                    scenario if name == "questd" else f"{scenario}: bare aiohttp handler",
                    f"{_median(figures, 'per_second'):.0f}",
                    f"{_median(figures, 'p50_ms'):.1f}",
                    f"{_median(figures, 'p99_ms'):.1f}",
                    f"{own:.0f}",
                    f"{cpu['redis']:.0f}" if "redis" in cpu else "",
                    ratio,
                )
            )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _median(figures: list[dict[str, Any]], name: str) -> float:
    return median(each[name] for each in figures)


def main() -> int:
    """Measure what the command line says, and write the table."""
    parser = argparse.ArgumentParser("python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each load is made; the table has medians")
    parser.add_argument("--seconds", type=int, default=5, help="how long each load is")
    parser.add_argument("--scenario", action="append", choices=[each.name for each in SCENARIOS], help="only these")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.stderr.write("wrk makes the load, and it is missing: apt-get install wrk\n")
        return 1
    chosen = [each for each in SCENARIOS if not options.scenario or each.name in options.scenario]
    found = measure(chosen, options.rounds, options.seconds)
    refused = sum(
        each["refused"] + each["lost"] for servers in found.values() for all_ in servers.values() for each in all_
    )
    sys.stdout.write(f"{table(found)}\n\n{refused} requests were refused or lost.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
