"""The terminal: tables, messages, questions and progress for people; one JSON object a line for programs.

It owns which of the two is shown, and that nothing in a message can steer a terminal. It must not know servers.
"""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from questd import texts

if TYPE_CHECKING:
    from rich.table import Table

# rich is imported where it is used: a server, which shares the program, needs none of it.

UNSEEN = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Characters that steer a terminal or turn what stands around them, as JSON writes them."""

UNPRINTABLE = UNSEEN | {code: f"\\x{code:02x}" for code in range(0x20) if chr(code) not in "\n\t"}

Column = Callable[[Mapping[str, Any]], str]
"""What stands in a column of a table, of what is shown in a row."""

NARROW = ((-1, 24), (0, 8))
"""Which columns of a table give way where a terminal has no room for all: the last one first; and what they keep."""


class Misused(Exception):
    """A command was used wrongly; the text says how to use it."""


def plain(text: str) -> str:
    """Return a text that is safe on a terminal."""
    return text.translate(UNPRINTABLE)


def as_line(value: Mapping[str, Any]) -> str:
    """Return the line of JSON for an object."""
    return json.dumps(value, ensure_ascii=False).translate(UNSEEN) + "\n"


class Screen:
    """Where a command shows what it found and did."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json or not sys.stdout.isatty()

    def table(self, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Column], nothing: str) -> None:
        """Show things of a kind; `nothing` is said to people when there are none."""
        if self.as_json:
            for row in rows:
                self.line(row)
            return
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        found = list(rows)
        if not found:
            sys.stdout.write(plain(nothing) + "\n")
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in columns:
            table.add_column(title, justify="right" if title.endswith("#") else "left", no_wrap=True)
        for row in found:
            table.add_row(*(Text(plain(column(row)).replace("\n", "⏎")) for column in columns.values()))
        for column in table.columns:
            column.header = str(column.header).removesuffix("#")
        console = Console()
        _fit(table, console.width)
        console.print(table)

    def message(self, message: Mapping[str, Any]) -> None:
        """Show a message with all that is in it."""
        if self.as_json:
            self.line(message)
            return
        from rich.console import Console  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        text = Text.assemble((plain(_headline(message)), "bold cyan"), "\n")
        for name, attribute in message.get("MessageAttributes", {}).items():
            value = attribute.get("StringValue", attribute.get("BinaryValue", ""))
            text.append(plain(f"{name}: {value}\n"), "dim")
        text.append(plain(texts.pretty(message["Body"]) or message["Body"]) + "\n")
        Console().print(text, soft_wrap=True)

    def line(self, value: Mapping[str, Any]) -> None:
        """Write an object as a line of JSON, at once: somebody may follow."""
        sys.stdout.write(as_line(value))
        sys.stdout.flush()

    def done(self, values: Mapping[str, Any], sentence: str) -> None:
        """Tell what was done: programs get the values, people the sentence."""
        if self.as_json:
            self.line(values)
        else:
            sys.stdout.write(plain(sentence) + "\n")

    def say(self, sentence: str) -> None:
        """Tell people something that is no result; programs are told nothing."""
        if sys.stderr.isatty():
            sys.stderr.write(f"questd: {plain(sentence)}\n")

    def agree(self, question: str, flag: str) -> bool:
        """Ask a question; yes only if somebody says so. Raises Misused when there is nobody to ask."""
        if not sys.stdin.isatty():
            raise Misused(f"there is nobody to ask: say {flag}")
        sys.stderr.write(f"{plain(question)} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    @contextlib.contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Show how far a long work is, on a terminal; call what it gives with numbers of messages done."""
        if not sys.stderr.isatty():
            yield lambda _number: None
            return
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        name = TextColumn("{task.description}", markup=False)
        with Progress(
            name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True)
        ) as bars:
            task = bars.add_task(plain(what), total=total)
            yield lambda number: bars.advance(task, number)


def _fit(table: "Table", room: int) -> None:
    """Narrow a table's last column, then its first: left alone, rich would cut short words like a state as well."""
    from rich.cells import cell_len  # noqa: PLC0415

    widths = [max(cell_len(str(cell)) for cell in (column.header, *column.cells)) for column in table.columns]
    excess = sum(widths) + 2 * (len(widths) - 1) - room  # two spaces between columns
    for number, least in NARROW:
        given = max(min(excess, widths[number] - least), 0)
        table.columns[number].max_width = widths[number] - given
        excess -= given


def _headline(message: Mapping[str, Any]) -> str:
    attributes = message.get("Attributes", {})
    parts = [message["MessageId"]]
    if "State" in message:
        parts.append(state(message))
    if "SentTimestamp" in attributes:
        parts.append(f"sent {age(message)} ago")
    if "ApproximateReceiveCount" in attributes:
        parts.append(f"received {attributes['ApproximateReceiveCount']} times")
    if "MessageGroupId" in attributes:
        parts.append(f"group {attributes['MessageGroupId']}")
    if "DeadLetterQueueSourceArn" in attributes:
        parts.append(f"from {attributes['DeadLetterQueueSourceArn'].rpartition(':')[2]}")
    return " · ".join(parts)


def state(message: Mapping[str, Any]) -> str:
    """Return the state of a message that was peeked at, in words."""
    return "in flight" if message["State"] == "inflight" else str(message["State"])


def age(message: Mapping[str, Any]) -> str:
    """Return how long ago a message was sent."""
    return texts.age(time.time() * 1000 - int(message["Attributes"]["SentTimestamp"]))


def unwritten(error: OSError) -> int:
    """Return the exit status when standard output takes no more, and say why, unless who reads has seen enough."""
    # Python would try to write what is left once more at its end, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return 128 + signal.SIGPIPE
    sys.stderr.write(f"questd: what was found cannot be written: {error.strerror}\n")
    return 1
