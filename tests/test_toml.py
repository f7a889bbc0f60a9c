"""Where in a TOML file something is said."""

import time

import pytest

from questd.toml import line_of


def test_lines() -> None:
    """Each key is found at the line at which it ends, in every form that TOML has for it."""
    content = '[queues]\na = { x = 1 }\nb.y = """\n[queues.c]\n"""\n["queues".\'d.fifo\']\nz = [\n1,\n2\n]\n\nlast = 1'
    for path, line in {
        (): 1,
        ("a",): 2,
        ("a", "x"): 2,
        ("b", "y"): 5,
        ("c",): None,
        ("d.fifo",): 6,
        ("d.fifo", "z"): 10,
        ("d.fifo", "last"): 12,
    }.items():
        assert line_of(content, "queues", *path) == line, path


@pytest.mark.parametrize("content", ["", "a = ", "queues = 3", '[queues]\na = """'])
def test_what_is_not_there(content: str) -> None:
    """What a file does not say, or says in no TOML, has no line."""
    assert line_of(content, "queues", "a") is None


def test_a_long_file() -> None:
    """A thousand queues are looked through in a moment: a few readings, not one for each line."""
    content = "".join(f"[queues.q{number}]\nVisibilityTimeout = 1\n" for number in range(1000))
    begun = time.process_time()
    assert line_of(content, "queues", "q900", "VisibilityTimeout") == 1802
    assert time.process_time() - begun < 2
