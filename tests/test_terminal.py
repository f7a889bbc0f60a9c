"""What people and programs get to see: safe texts, lines of JSON, tables and questions."""

import io
import json
import sys

import pytest

from questd import terminal
from questd.terminal import Misused, Screen
from tests.people import People

STEERING = "a\x1b[31mb\x9b31mc\u202ed"
"""A body that would colour a terminal in two ways, and turn the direction of its text."""


def test_plain() -> None:
    """What steers a terminal is shown as a program would write it; lines and tabs stay."""
    assert terminal.plain(STEERING) == "a\\x1b[31mb\\u009b31mc\\u202ed"
    assert terminal.plain("é\n\t☃") == "é\n\t☃"


def test_a_line_of_json() -> None:
    """A line of JSON means what it should and steers no terminal either."""
    line = terminal.as_line({"Body": STEERING + "é\n"})
    assert json.loads(line) == {"Body": STEERING + "é\n"}
    assert line.isascii() is False
    assert line.count("\n") == 1
    assert not set("\x1b\x9b\u202e") & set(line)


def test_json_that_cannot_be_laid_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A body is shown as it is when it is no object or array, or one that nests too deep."""
    screen = Screen(as_json=False)
    screen.as_json = False
    for body in ("[" * 100_000, "12", "{"):
        screen.message({"MessageId": "m", "Body": body})
        assert capsys.readouterr().out == f"m\n{body}\n\n"


def test_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe nobody can be asked: the flag that answers is named."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(Misused, match="--yes"):
        Screen(as_json=True).agree("Sure?", "--yes")


async def test_a_message_cannot_steer_a_terminal(people: People) -> None:
    """What a body has of a terminal's language is shown, not obeyed, in tables, messages and JSON alike."""
    url = await people.sqs.create("orders")
    await people.sqs("SendMessage", QueueUrl=url, MessageBody="a\x9b31mb[red]\nc")
    table = (await people.at_terminal("peek", "orders")).out
    assert "a\\u009b31mb[red]⏎c" in table
    lines = (await people.at_terminal("peek", "orders", "--json")).out
    assert json.loads(lines)["Body"] == "a\x9b31mb[red]\nc"
    message = (await people.at_terminal("receive", "orders")).out
    assert "\x9b" not in table + lines + message
    assert "a\\u009b31mb[red]\nc\n" in message


async def test_a_narrow_terminal(people: People) -> None:
    """On 80 columns a long body is cut, then an id; all that is short is there in full."""
    url = await people.sqs.create("orders.fifo", FifoQueue="true")
    await people.sqs(
        "SendMessage", QueueUrl=url, MessageBody="b" * 200, MessageGroupId="table-7", MessageDeduplicationId="1"
    )
    [head, line] = (await people.at_terminal("peek", "orders.fifo", width=80)).out.splitlines()
    assert all(title in head for title in ("message id", "state", "age", "receives", "group", "body"))
    assert all(word in line for word in (" visible ", " table-7 ", "b" * 23 + "…"))
    assert len(line) <= 80


async def test_colours(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are colours on a terminal, none in a pipe, and none with NO_COLOR."""
    await people.sqs.fill(await people.sqs.create("orders"), "ab")
    assert "\x1b[1;36m" in (await people.at_terminal("receive", "orders")).out
    monkeypatch.setenv("NO_COLOR", "1")
    shown = (await people.at_terminal("receive", "orders")).out
    assert "36m" not in shown
    assert "received 1 times" in shown
    assert "\x1b" not in (await people.piped("peek", "orders")).out
