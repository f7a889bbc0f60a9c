"""What a run found, and how it is kept in .bench/figures.json so that it can be reported again.

It owns medians and ratios; it must not know how they look.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from tests.bench.loads import Figures

Number = Callable[[Figures], float]


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

    def add(self, scenario: str, server: str, figures: Figures | None) -> None:
        """Note the figures of a round."""
        self.loads.setdefault(scenario, {}).setdefault(server, []).append(figures)

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
        """Return how many times as many requests one (scenario, server) answers as another: the median of the rounds."""
        rounds = zip(*(self.loads.get(scenario, {}).get(server, []) for scenario, server in (of, to)), strict=False)
        found = [one.per_second / other.per_second for one, other in rounds if one and other]
        return median(found) if found else None

    def all_of(self, server: str) -> list[Figures]:
        """Return all figures of a server."""
        return [each for servers in self.loads.values() for each in servers.get(server, []) if each]

    def save(self, path: Path) -> None:
        """Keep the results in a file."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self)))


def saved(path: Path) -> Results:
    """Read what `save` has kept."""
    found = Results(**json.loads(path.read_text()))
    for servers in found.loads.values():
        for name, rounds in servers.items():
            servers[name] = [Figures(**each) if each else None for each in rounds]  # type: ignore[arg-type]
    return found
