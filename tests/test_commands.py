"""The commands that ask a server: what their help teaches, their exit status, and what they do not load."""

import asyncio
import os
import subprocess
import sys

import pytest

from questd.__main__ import main
from questd.commands import COMMANDS, Command
from tests.people import ROOT, People


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_teaches(capsys: pytest.CaptureFixture[str], command: Command) -> None:
    """The help of a command has an example, explains each flag, and says where the server is and what the status means."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main([command.name, "--help"])
    shown = capsys.readouterr().out
    assert f"\n  questd {command.name}" in shown or f"| questd {command.name}" in shown
    words = " ".join(shown.split())
    for names, how in command.flags:
        assert names[-1] in words or how["metavar"] in words
        assert how["help"] in words
    for text in ("--endpoint", "QUESTD_ENDPOINT", "AWS_ACCESS_KEY_ID", "NO_COLOR", "Exit status: 0 done, 1 not done"):
        assert text in words
    assert max(map(len, command.text.splitlines())) <= 120


def test_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command each is listed with a word on what it is for."""
    assert main([]) == 2
    shown = capsys.readouterr().err
    for command in COMMANDS:
        assert f"    {command.name} " in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["peek"], "required: QUEUE (see questd peek --help)"),
        (["peek", "q", "--state", "hidden"], "invalid choice: 'hidden'"),
        (["peek", "q", "-n", "0"], "should be 1 or more, not '0'"),
        (["send", "q", "x", "--attribute", "size"], "should be NAME=VALUE or NAME:Type=VALUE, not 'size'"),
        (["receive", "q", "--wait", "x"], "invalid int value: 'x'"),
        (["queues", "--pretty"], "unrecognized arguments: --pretty"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    """Wrong usage is one line and status 2."""
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments)
    line = capsys.readouterr().err
    assert says in line
    assert line.count("\n") == 1


def test_a_wrong_endpoint(capsys: pytest.CaptureFixture[str]) -> None:
    """So is a server that is no URL."""
    assert main(["queues", "--endpoint", "localhost"]) == 2
    line = "questd: localhost is no endpoint: it should be like http://127.0.0.1:9324 (see questd queues --help)\n"
    assert capsys.readouterr().err == line


async def test_who_reads_has_seen_enough(people: People) -> None:
    """When the reader of a pipe goes, the command ends without a word."""
    await people.sqs.fill(await people.sqs.create("orders"), ["x" * 1000] * 1000)
    command = f"{sys.executable} -m questd peek orders -n 1000 | head -n 1; exit ${{PIPESTATUS[0]}}"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("bash", "-c", command, cwd=ROOT, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    assert (process.returncode, out.count(b"\n"), err) == (141, 1, b"")


def test_a_server_needs_none_of_it() -> None:
    """What only the command line needs is not loaded by a server; its variable is no mistake in one's environment."""
    program = (
        "import sys; from questd.__main__ import main; main(['load', '--print']); "
        "sys.exit(str(sys.modules.keys() & {'rich', 'boto3', 'botocore'} or ''))"
    )
    environment = os.environ | {"QUESTD_ENDPOINT": "http://127.0.0.1:1"}
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert told.stderr.strip() == ""


async def test_settings_of_a_server_do_not_matter(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that asks a server reads no settings of one, not even wrong ones."""
    monkeypatch.setenv("QUESTD_WORKERS", "none")
    monkeypatch.setenv("QUESTD_PROT", "1")
    assert await people("queues") == []
