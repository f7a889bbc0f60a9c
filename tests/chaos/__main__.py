"""Injects faults while many clients work, and checks that nothing is lost, doubled or left: `make chaos`.

Prints a table and ends with 1 when a promise was broken. A trial takes its seconds, and about as long again to start
questd, to empty the queues and to let the last timeouts pass.
"""

import argparse
import asyncio
import signal
import sys
import time

from tests.chaos import report
from tests.chaos.faults import FAULTS
from tests.chaos.trial import Trial, all_trials, attempt


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6, help="how long each fault is made again and again (6)")
    parser.add_argument("--seed", type=int, default=1, help="of what clients and faults choose by chance (1)")
    names = [fault.name for fault in FAULTS]
    parser.add_argument(
        "--only", action="append", choices=names, metavar="FAULT", help=f"only this: {'; '.join(names)}"
    )
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    return parser.parse_args(arguments)


def say(text: str) -> None:
    """Show how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def tried(options: argparse.Namespace) -> list[Trial]:
    """Make the trials that the command line says."""
    trials = []
    wanted = all_trials(options.only)
    for number, (fault, durability) in enumerate(wanted, 1):
        say(f"{number}/{len(wanted)} {fault.name}, Redis: {durability}")
        trial = asyncio.run(attempt(fault, durability, options.seconds, options.seed))
        trials.append(trial)
        say(f"  {trial.operations} operations, broken promises: {len(trial.broken)}")
    return trials


def main() -> int:
    """Try, report and judge."""
    options = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    trials = tried(options)
    print(report.figures(trials))
    if broken := report.broken(trials):
        print(broken, file=sys.stderr)
        return 1
    if options.readme:
        report.into_readme(trials)
    return 0


if __name__ == "__main__":
    sys.exit(main())
