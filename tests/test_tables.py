"""Tables [queues.NAME] of the TOML file: what is said about one that cannot be. What is made of them: test_declared.py."""

from pathlib import Path
from typing import Any

import pytest

from questd import tables
from questd.settings import BadSetting, Settings


def configured(path: Path, content: str, **settings: Any) -> Settings:
    """Return settings whose file declares queues."""
    file = path / "questd.toml"
    file.write_text(content)
    return Settings.model_validate({"config": file} | settings)


def refused(path: Path, content: str, **settings: Any) -> str:
    """Return what is said about a file, without the file's name."""
    with pytest.raises(BadSetting) as raised:
        tables.read(configured(path, content, **settings))
    return str(raised.value).replace(f"{path}/questd.toml", "FILE")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("queues = 3", "queues in FILE should be a table for each queue: [queues.NAME]"),
        ("[queues]\norders = 3", "FILE, line 2: [queues.orders] should be a table"),
        (
            "[queues.orders]\nVisibilityTimeuot = 3",
            "FILE, line 2: [queues.orders] VisibilityTimeuot is no attribute to set (did you mean VisibilityTimeout?)",
        ),
        (
            "[queues.orders]\n\nworkers = 2",
            "FILE, line 3: [queues.orders] workers is a setting, which has its line above the first table",
        ),
        ("[queues.orders]\nQueueArn = 'a'", "FILE, line 2: [queues.orders] QueueArn is no attribute to set"),
        (
            "[queues.orders]\n\nVisibilityTimeout = 43201",
            "FILE, line 3: [queues.orders] Invalid value for the parameter VisibilityTimeout. It should be a whole number from 0 to 43200.",
        ),
        (
            "[queues.orders]\nVisibilityTimeout = 1.5",
            "FILE, line 2: [queues.orders] VisibilityTimeout: should be a number, true or false, a text or a table",
        ),
        (
            "[queues]\norders.DelaySeconds = true",
            "FILE, line 2: [queues.orders] Invalid value for the parameter DelaySeconds. It should be a whole number from 0 to 900.",
        ),
        (
            "[queues.orders]\nPolicy = { a = 2020-01-01 }",
            "FILE, line 2: [queues.orders] Invalid value for the parameter Policy.",
        ),
        ("[queues.orders]\nFifoQueue = true", "FILE, line 1: [queues.orders] "),
        (
            "[queues.orders.fifo]\nDelaySeconds = 1",
            'FILE, line 1: [queues.orders] has a table "fifo": the name of a FIFO queue needs quotation marks, "orders.fifo"',
        ),
        (
            '[queues."orders.fifo"]\nDeduplicationScope = "group"',
            'FILE, line 2: [queues."orders.fifo"] Invalid value for the parameter DeduplicationScope. It should be queue or messageGroup.',
        ),
        (
            "[queues.orders]\nMaximumMessageSize = 1048577",
            "FILE, line 2: [queues.orders] Invalid value for the parameter MaximumMessageSize. It should be at most 1048576.",
        ),
        (
            "[queues.orders]\nMessageRetentionPeriod = 59",
            "FILE, line 2: [queues.orders] Invalid value for the parameter MessageRetentionPeriod. It should be a whole number, 60 at least.",
        ),
        (
            "[queues.orders]\nSqsManagedSseEnabled = 1",
            "FILE, line 2: [queues.orders] Invalid value for the parameter SqsManagedSseEnabled. It should be true or false.",
        ),
        (
            "[queues.orders]\nmax_receive_count = 1",
            "FILE, line 1: [queues.orders] should have both dead_letter_queue and max_receive_count",
        ),
        (
            '[queues.orders]\ndead_letter_queue = "d"\nmax_receive_count = 1001',
            "FILE, line 1: [queues.orders] Value {",
        ),
        (
            '[queues.orders]\ndead_letter_queue = "d.fifo"\nmax_receive_count = 1',
            "FILE, line 1: [queues.orders] Value {",
        ),
        ("[queues.orders]\ntags = { a = 1 }", "FILE, line 2: [queues.orders] tags.a: Input should be a valid string"),
        ("[queues.orders]\ntags = { 'aws:a' = 'b' }", "FILE, line 1: [queues.orders] "),
        ("[queues.orders]\naccount = '1'", "FILE, line 2: [queues.orders] account: String should match pattern"),
        ("[queues.'or ders']", "FILE, line 1: [queues.or ders] Can only include alphanumeric characters"),
    ],
)
def test_mistakes_name_the_line(tmp_path: Path, content: str, said: str) -> None:
    """A table that cannot be is told with its line, in AWS's words where AWS has some, and before Redis is asked."""
    assert refused(tmp_path, content).startswith(said)


def test_all_mistakes_are_told(tmp_path: Path) -> None:
    """Of several mistakes each is told."""
    said = refused(tmp_path, "[queues.a]\nDelaySeconds = 901\n[queues.b]\nx = 1\n[queues.c]\n")
    assert said.count("FILE, line") == 2


def test_without_a_file() -> None:
    """Without a file, or without queues in it, nothing is declared."""
    assert tables.read(Settings()) == []
