"""What a run found, and how it is kept in .bench/figures.json so that it can be reported again.

It owns medians and ratios; it must not know how they look.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.loads import Figures

Number = Callable[[Figures], float]


class RoundsUnknown(Exception):
    """It cannot be told which figures of a file are of the same round; the text says what to do."""


@dataclass
class Results:
    """The figures of every round by scenario and server (None: it could not be measured), and what else was found."""

    machine: str
    programs: dict[str, str]
    """The version of each server and tool."""
    rounds: int
    """How many are to be measured now."""
    seconds: int
    loads: dict[str, dict[str, list[Figures | None]]] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What could not be measured, a line each."""

    def servers(self) -> list[str]:
        """Return the names of all servers in the order in which they were first measured."""
        return list(dict.fromkeys(name for servers in self.loads.values() for name in servers))

    def done(self) -> str:
        """Return how many rounds there were so far: a number, or the least and the most."""
        counts = {len(rounds) for servers in self.loads.values() for rounds in servers.values()} or {0}
        return f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(max(counts))

    def next_turn(self) -> int:
        """Return the number of the next round: of all that the file has, not of one run."""
        return 1 + max((each.turn for server in self.servers() for each in self.all_of(server)), default=0)

    def add(self, scenario: str, server: str, turn: int, figures: Figures | None) -> None:
        """Note the figures of a round."""
        noted = replace(figures, turn=turn) if figures else None
        self.loads.setdefault(scenario, {}).setdefault(server, []).append(noted)

    def note(self, line: str) -> None:
        """Note, once, what could not be measured."""
        if line not in self.notes:
            self.notes.append(line)

    def of(self, scenario: str, server: str, number: Number) -> float | None:
        """Return the median of a number over the rounds."""
        found = [number(each) for each in self.loads.get(scenario, {}).get(server, []) if each]
        return median(found) if found else None

    def speed(self, scenario: str, server: str = "questd") -> float | None:
        """Return requests a second."""
        return self.of(scenario, server, lambda each: each.per_second)

    def ratio(self, of: tuple[str, str], to: tuple[str, str]) -> float | None:
        """Return how many times as many requests one (scenario, server) answers as another.

        It is the median of the rounds in which both were measured: what else the machine does is another in each.
        """
        one, other = (self._by_turn(*each) for each in (of, to))
        found = [one[turn].per_second / other[turn].per_second for turn in one.keys() & other.keys()]
        return median(found) if found else None

    def _by_turn(self, scenario: str, server: str) -> dict[int, Figures]:
        return {each.turn: each for each in self.loads.get(scenario, {}).get(server, []) if each}

    def all_of(self, server: str) -> list[Figures]:
        """Return all figures of a server."""
        return [each for servers in self.loads.values() for each in servers.get(server, []) if each]

    def save(self, path: Path) -> None:
        """Keep the results in a file."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self)))


def saved(path: Path) -> Results:
    """Read what `save` has kept. Raises RoundsUnknown."""
    found = Results(**json.loads(path.read_text()))
    for scenario, servers in found.loads.items():
        _number(path, scenario, servers)
        for name, rounds in servers.items():
            servers[name] = [Figures(**each) if each else None for each in rounds]  # type: ignore[arg-type]
    return found


def _number(path: Path, scenario: str, servers: dict[str, list[Any]]) -> None:
    """Give the rounds of a file their numbers, if it has none: a server with as many as all others was in every one."""
    if all("turn" in each for rounds in servers.values() for each in rounds if each):
        return
    if len({len(rounds) for rounds in servers.values()}) > 1:
        raise RoundsUnknown(
            f"{path} was written by an earlier version, which did not note which of the rounds of {scenario!r} "
            "had which servers: move it away and measure anew"
        )
    for rounds in servers.values():
        for turn, each in enumerate(rounds, 1):
            if each:
                each["turn"] = turn
