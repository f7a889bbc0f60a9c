"""How much is tried where nobody can try everything: the same few seconds' worth in `make test`, more in `make fuzz`."""

import os
from random import Random

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
"""How many times as much as in `make test`."""

SEED = os.environ.get("FUZZ_SEED", "")
"""What the chance of this run follows from; the same each time in `make test`."""


def chance(name: str) -> Random:
    """Return a source of chance that is a test's own."""
    return Random(f"{SEED} {name}")


def examples(count: int) -> settings:
    """Return the settings of a property that is tried with so many examples in `make test`."""
    return settings(
        max_examples=count * TIMES,
        derandomize=not SEED,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
