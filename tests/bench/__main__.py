"""How fast questd is, beside the bare aiohttp handler that only parses and answers, and beside its peers: `make bench`.

Ratios of one run count; absolute figures are the machine's. wrk makes the load (one thread, 32 connections) on the same
machine. questd runs with its private server and an append-only file flushed every second. CPU is user and system time of
the processes, from /proc. Peers (elasticmq, fauxqs, fauxqs-default, goaws, ministack) are fetched from their registries
into .bench/.
"""

import argparse
import contextlib
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import aiohttp

from questd.commands import number
from tests.bench import report
from tests.bench.idle import MEASUREMENTS, Size
from tests.bench.loads import SCENARIOS, Figures, Scenario, run, run_bare
from tests.bench.peers import CACHE, PEERS, Kept, Peer, fetch
from tests.bench.results import Results, RoundsUnknown, saved
from tests.bench.servers import Refused, Server, bare, questd
from tests.servers import DEFAULT

KEPT = CACHE / "figures.json"
WARM_UP = 3
QUICK_DEPTH = 400
QUICK = Size(polls=20, sends=20, queues=20, seconds=1, starts=1, messages=2000, settle=0.2)
FAILURES = (Refused, OSError, subprocess.SubprocessError, ValueError)
EXAMPLES = """examples:
  make bench                                          questd and the bare handler
  make bench PEERS="elasticmq fauxqs goaws ministack" and the peers, which takes 40 minutes
  make bench PEERS=goaws README=yes                   and writes what it found into README.md and docs/depth.svg
  python -m tests.bench --scenario cycle --rounds 5   one load
  python -m tests.bench --more --scenario cycle       three more rounds of one of the loads of the last run
  python -m tests.bench --again --readme              writes what the last run found
"""


def say(line: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@dataclass(frozen=True)
class Contender:
    """One server under one load: how it is had, how the load is put on it, and how long its first warm-up is."""

    name: str
    server: AbstractContextManager[Server]
    put: Callable[[Scenario, Server, int, int], Figures]
    warm_up: int
    cold: int = 0
    """How much longer after its start."""


def contenders(scenario: Scenario, peers: list[Kept]) -> Iterator[Contender]:
    """Give the servers that a scenario is for, in turn."""
    yield Contender("questd", questd(scenario.workers), run, WARM_UP)
    if scenario.bare:
        yield Contender("aiohttp", bare(), run_bare, WARM_UP)
    for kept in peers:
        if scenario.peers and scenario.depth <= kept.peer.deepest:
            yield Contender(kept.peer.name, kept.awake(), run, kept.peer.warm_up, kept.peer.cold)


def measure(
    results: Results, scenarios: list[Scenario], peers: list[Kept], *, warm: bool = True, path: Path | None = None
) -> None:
    """Put the loads on the servers, round by round, and note the figures; keep them in a file after every round."""
    for this in range(1, results.rounds + 1):
        turn = results.next_turn()
        for scenario in scenarios:
            for contender in contenders(scenario, peers):
                say(f"round {this} of {results.rounds}: {scenario.name}, {contender.name}")
                figures = None
                try:
                    with contender.server as server:
                        figures = _measured(scenario, contender, server, results.seconds, warm=warm)
                except FAILURES as error:
                    results.note(f"{scenario.name}, {contender.name}: {error}")
                    say(f"  {error}")
                results.add(scenario.name, contender.name, turn, figures)
        if path:
            results.save(path)


def _measured(scenario: Scenario, contender: Contender, server: Server, seconds: int, *, warm: bool) -> Figures:
    if contender.name == "questd":
        server.protocol = scenario.protocol
    # A JVM compiles what a load uses while it is used; the next time it is there.
    warm_up = WARM_UP if scenario.name in server.warmed else contender.warm_up
    if not server.warmed:
        warm_up += contender.cold
    server.warmed.add(scenario.name)
    return contender.put(scenario, server, seconds, warm_up if warm else 0)


def start(peers: list[Peer], results: Results, stack: contextlib.ExitStack) -> list[Kept]:
    """Fetch and start peers; one that cannot be had is left out and noted."""
    found = []
    for peer in peers:
        kept = Kept(peer)
        stack.callback(kept.stop)
        try:
            fetch(peer)
            with kept.awake():
                results.programs[peer.name] = peer.version()
            found.append(kept)
        except FAILURES as error:
            results.note(f"{peer.name}: {error}")
            say(f"{peer.name} is left out: {error}")
    return found


def machine() -> str:
    """Say what this runs on."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    model = " ".join((found[1] if found else platform.processor()).split())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{len(os.sched_getaffinity(0))} cores of {model}, {memory:.0f} GiB, Linux {platform.release().partition('-')[0]}"


def programs() -> dict[str, str]:
    """Return the versions of what is measured."""
    said = subprocess.run([DEFAULT, "--version"], capture_output=True, text=True, check=True).stdout
    name, found = said.split()[0], re.search(r"v=(\S+)", said)
    server = {name: found[1] if found else ""}
    return (
        {"questd": version("questd"), "Python": platform.python_version()} | server | {"aiohttp": aiohttp.__version__}
    )


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m tests.bench",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = [peer.name for peer in PEERS]
    names = [*(each.name for each in SCENARIOS), *MEASUREMENTS]
    parser.add_argument(
        "--peers", nargs="*", default=[], choices=known, metavar="PEER", help=f"also: {', '.join(known)}"
    )
    parser.add_argument(
        "--rounds", type=number, default=3, help="how often each load is made; the tables have medians (3)"
    )
    parser.add_argument("--seconds", type=number, default=5, help="how long each load is (5)")
    parser.add_argument(
        "--scenario", action="append", choices=names, metavar="NAME", help=f"only this: {'; '.join(names)}"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="see that all of it works, and keep nothing: one round, a second each, small queues",
    )
    parser.add_argument("--readme", action="store_true", help="write what was found into README.md and docs/depth.svg")
    parser.add_argument("--more", action="store_true", help="add rounds to those of the last run, of as many seconds")
    parser.add_argument(
        "--again", action="store_true", help=f"measure nothing: report what {KEPT.name} has of the last run"
    )
    options = parser.parse_args(arguments)
    if options.quick and (options.more or options.readme):
        parser.error("what --quick finds is nothing for --more or --readme: its queues are small")
    return options


def benchmark(options: argparse.Namespace) -> Results:
    """Measure what the command line says, and keep it for the next time, unless it was quick."""
    path = None if options.quick else KEPT
    rounds, seconds = (1, 1) if options.quick else (options.rounds, options.seconds)
    results = Results(machine(), programs(), rounds, seconds)
    if options.more:
        results = replace(saved(KEPT), rounds=rounds)
    chosen = [each for each in SCENARIOS if not options.scenario or each.name in options.scenario]
    if options.quick:
        chosen = [replace(each, depth=min(each.depth, QUICK_DEPTH)) for each in chosen]
    with contextlib.ExitStack() as stack:
        peers = start([peer for peer in PEERS if peer.name in options.peers], results, stack)
        measure(results, chosen, peers, warm=not options.quick, path=path)
    for name, measurement in MEASUREMENTS.items():
        if not options.scenario or name in options.scenario:
            say(name)
            try:
                results.facts |= measurement(QUICK if options.quick else Size())
            except FAILURES as error:
                results.note(f"{name}: {error}")
                say(f"  {error}")
    if path:
        results.save(path)
    return results


def main() -> int:
    """Measure and report as the command line says."""
    options = parsed()
    if (options.again or options.more) and not KEPT.exists():
        say("there is no run yet")
        return 1
    if not options.again and not shutil.which("wrk"):
        say("wrk makes the load, and it is missing: apt-get install wrk")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a thousand long polls are a thousand connections
    try:
        results = saved(KEPT) if options.again else benchmark(options)
    except RoundsUnknown as error:
        say(str(error))
        return 1
    sys.stdout.write(report.whole(results))
    if options.readme:
        report.into_readme(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
