"""People at a command line: commands run in this process, in one of their own, or at a terminal, against a questd of a test's."""

import asyncio
import contextlib
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import test_utils, web

from questd.__main__ import main
from tests.client import Sqs

ROOT = Path(__file__).parent.parent


class Told(NamedTuple):
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The objects that it wrote, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class People:
    """Somebody who uses the command line with the questd of `sqs`."""

    def __init__(self, sqs: Sqs, capsys: pytest.CaptureFixture[str]) -> None:
        self.sqs = sqs
        self.capsys = capsys

    async def run(self, *arguments: str) -> Told:
        """Run a command in this process."""
        self.capsys.readouterr()
        status = await asyncio.to_thread(main, arguments)
        return Told(status, *self.capsys.readouterr())

    async def __call__(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command that must succeed, and return the objects that it wrote."""
        told = await self.run(*arguments)
        assert told.status == 0, told.err
        return told.lines

    async def refused(self, *arguments: str, status: int = 1) -> str:
        """Run a command that must fail, and return the one line that says why."""
        told = await self.run(*arguments)
        assert (told.status, told.out, told.err.count("\n")) == (status, "", 1), told
        assert told.err.startswith("questd: ")
        return told.err

    async def piped(self, *arguments: str, given: bytes = b"") -> Told:
        """Run a command in a process of its own, with bytes on its standard input."""
        process = await self.start(*arguments)
        out, err = await asyncio.wait_for(process.communicate(given), 20)
        return Told(process.returncode or 0, out.decode(), err.decode())

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start a command in a process of its own."""
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "questd", *arguments)
        return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)

    async def at_terminal(self, *arguments: str, typed: str = "", until: str = "", width: int = 150) -> Told:
        """Run a command at a terminal where somebody types, and who presses Ctrl-C when a text has been shown."""
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "questd", *arguments),
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": str(width)},
        )
        os.close(theirs)
        os.write(ours, typed.encode())
        shown = await asyncio.wait_for(asyncio.to_thread(_read, ours, until, process.pid), 20)
        os.close(ours)
        return Told(await process.wait(), shown, "")


def _read(descriptor: int, until: str, process: int) -> str:
    """Return all that a terminal shows until its program has ended."""
    shown = b""
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # Linux, at the end
            piece = b""
        if not piece:
            return shown.decode().replace("\r\n", "\n")
        shown += piece
        if until and until.encode() in shown:
            os.kill(process, signal.SIGINT)
            until = ""


@contextlib.asynccontextmanager
async def no_questd(sqs: Sqs) -> AsyncIterator[str]:
    """Give the URL of an SQS server that has AWS's actions only."""

    async def answer(http: web.Request) -> web.Response:
        if not http.headers["X-Amz-Target"].startswith("AmazonSQS."):
            unknown = {"__type": "com.amazon.coral.service#UnknownOperationException"}
            return web.json_response(unknown, status=400, content_type="application/x-amz-json-1.0")
        given = await sqs.post(await http.read(), dict(http.headers))
        return web.Response(status=given.status, body=given.body)

    app = web.Application()
    app.router.add_post("/", answer)
    async with test_utils.TestServer(app, access_log=None) as server:
        yield str(server.make_url("")).rstrip("/")
