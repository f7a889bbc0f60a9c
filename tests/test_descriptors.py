"""File descriptors: the soft limit is raised as far as it may be, and what does not fit is told."""

import subprocess
import sys

import pytest

from questd.descriptors import SPARE

PROGRAM = """
import logging, resource, sys
from questd import descriptors
from questd.settings import Settings
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
logging.basicConfig(format="%(message)s")
fitted = descriptors.fitted(Settings(max_connections=wanted))
print(fitted.max_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "expected", "told"),
    [
        (1024, 4096, 100, (100, 1024), False),
        (1024, 4096, 2000, (2000, 2000 + SPARE), False),
        (1024, 4096, 10_000, (4096 - SPARE, 4096), True),
        (256, 256, 10_000, (128, 256), True),
    ],
)
def test_room_for_connections(soft: int, hard: int, wanted: int, expected: tuple[int, int], told: bool) -> None:  # noqa: FBT001
    """As many descriptors as the connections need, and some to spare; when there are not, fewer connections, and why."""
    command = [sys.executable, "-c", PROGRAM, str(soft), str(hard), str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert tuple(map(int, done.stdout.split())) == expected
    assert (f"each worker serves {expected[0]} connections instead of {wanted}" in done.stderr) is told
    assert (f"a process have {hard} open files" in done.stderr) is told
