"""What trials found, as a Markdown table: as it is printed, and as the README has it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.report import ROOT, number, put, table
from tests.chaos.history import Outcome
from tests.chaos.trial import Trial

BEGIN, END = "<!-- chaos: `make chaos README=yes` writes this table -->", "<!-- end of chaos -->"

COLUMNS: dict[str, Callable[[Trial], int]] = {
    "times": lambda trial: trial.strokes,
    "operations": lambda trial: trial.operations,
    "acknowledged": lambda trial: trial.history.requests[Outcome.ACKNOWLEDGED],
    "refused": lambda trial: trial.history.requests[Outcome.REFUSED],
    "unknown": lambda trial: trial.history.requests[Outcome.UNKNOWN],
    "undone": lambda trial: len(trial.verdict.undone),
    "lost": lambda trial: len(trial.verdict.lost),
    "twice": lambda trial: len(trial.verdict.twice),
    "out of order": lambda trial: len(trial.verdict.disordered),
    "by an old handle": lambda trial: len(trial.verdict.by_old_handle),
    "left over": lambda trial: len(trial.left_over),
    "other": lambda trial: len(trial.verdict.unsent) + len(trial.history.mistakes),
}


def figures(trials: Sequence[Trial]) -> str:
    """Return a row for each trial."""
    rows = [["fault", "Redis", *COLUMNS, "back in s"]]
    for trial in trials:
        counts = [number(count(trial)) for count in COLUMNS.values()]
        rows.append([trial.fault, trial.durability, *counts, number(trial.back_seconds, 1)])
    return table(rows)


def broken(trials: Sequence[Trial], most: int = 5) -> str:
    """Say what broke in each trial, some lines of each."""
    return "\n".join(f"{trial.fault}, {trial.durability}: {line}" for trial in trials for line in trial.broken[:most])


def into_readme(trials: Sequence[Trial], root: Path = ROOT) -> None:
    """Write the table into the README."""
    put(root / "README.md", BEGIN, END, "\n\n".join([BEGIN, figures(trials), END]))
