"""Pages of the documentation as somebody reads them: what is in their blocks, and doing what they say, top to bottom.

A comment before a block says what it is: `file: NAME`, what to save; `prints`, what the block before printed (… is
anything); `elsewhere: WHY`, what no test can run. A block of sh is run; a server in its last line goes on.
"""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple, Self

from tests.servers import free_port

ROOT = Path(__file__).parent.parent

HERE = Path(sys.executable).parent
"""Where questd and python are."""

BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^>]+?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)

LAST = re.compile(r"(.*?)((?:[^\n]*\\\n)*[^\n]+)\n?", re.DOTALL)
"""The last command of a block, which may go over several lines, and what is before it."""

SERVER = re.compile(r"^(exec )?questd (serve|check)\b.*$", re.MULTILINE)

QUEUES, CONSOLE, REDIS, APPLICATION = ports = ("9324", "9325", "6379", "8000")
PORTS = {**{port: port for port in ports}, "4566": QUEUES, "9090": REDIS}
"""The ports that pages name; those of other servers that questd takes the place of are questd's."""

GOES_ON = {
    "questd serve": "questd ready on",
    "redis-server": "Ready to accept connections",
    "python consumer.py": "",
    "celery": "",
    "uvicorn": "running on",
}
"""How the line of a program begins that does not end, and what it says when it is ready."""

SECONDS = 60


class Block(NamedTuple):
    """A block of a page."""

    mark: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page."""
    return [Block(found["mark"] or "", found["language"], found["text"]) for found in BLOCK.finditer(page.read_text())]


def story(page: Path, name: str) -> str:
    """Return the text of the block that a page marks with this name."""
    [found] = [block.text for block in blocks(page) if block.mark == f"story: {name}"]
    return found


class Program:
    """A program that goes on, and what it has said."""

    def __init__(self, command: list[str], directory: Path, environment: dict[str, str]) -> None:
        self.said = ""
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout:
            for line in self.process.stdout:
                with self._news:
                    self.said += line
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for(self, *words: str) -> str:
        """Wait until it has said all of them, and return all that it has said."""
        with self._news:
            done = self._news.wait_for(
                lambda: all(each in self.said for each in words) or not self._reader.is_alive(), SECONDS
            )
            assert done, self.said
            assert all(each in self.said for each in words), self.said
        return self.said

    def end(self) -> int:
        """End it as Ctrl-C or a system would; its exit status."""
        self.process.terminate()
        try:
            return self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()


class Reader:
    """Somebody who does what pages say, in a directory and with ports of his own; `with` ends what he has started."""

    def __init__(self, directory: Path, programs: Path = HERE) -> None:
        self.directory = directory
        free = {port: str(free_port()) for port in ports}
        self.ports = {printed: free[port] for printed, port in PORTS.items()}
        self.programs: dict[str, Program] = {}
        self.printed = ""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("QUESTD_", "AWS_", "MAKE"))}
        self.environment = own | {
            "PATH": f"{programs}:{HERE}:{os.environ['PATH']}",
            "HOME": str(directory),
            "XDG_DATA_HOME": str(directory / "data"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "QUESTD_ENDPOINT": f"http://127.0.0.1:{self.ports[QUEUES]}",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for program in reversed(self.programs.values()):
            program.end()

    @property
    def url(self) -> str:
        """Return where his questd is."""
        return f"http://127.0.0.1:{self.ports[QUEUES]}"

    @property
    def console(self) -> str:
        """Return where its console is."""
        return f"http://127.0.0.1:{self.ports[CONSOLE]}"

    def read(self, page: Path) -> None:
        """Do what a page says, and see what it says that comes of it."""
        for block in blocks(page):
            kind, _, what = block.mark.partition(": ")
            if kind == "file":
                self.save(what, block.text)
            elif kind == "prints":
                self.saw(block.text)
            elif kind != "elsewhere" and block.language == "sh":
                self.run(block.text)

    def save(self, name: str, text: str) -> None:
        """Save a file, with his ports."""
        file = self.directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self._own(text))

    def run(self, text: str) -> None:
        """Run the lines of a block; if the last one is a server it is ready then, in place of the one before."""
        found = LAST.fullmatch(text)
        assert found, text
        before, last = found.groups()
        program = next((name for name in GOES_ON if last.startswith(name)), "")
        if program and before:
            self._finish(before)
        if program:
            self._go_on(program, f"exec {last}")
        else:
            self._finish(text)

    def _go_on(self, program: str, script: str) -> None:
        if program in self.programs:
            assert self.programs.pop(program).end() == 0
        self.programs[program] = Program(self._command(script), self.directory, self.environment)
        self.programs[program].wait_for(GOES_ON[program])

    def _finish(self, script: str) -> None:
        command = self._command(f"{script}\nexport -p > .exported\n")
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, script + done.stdout + done.stderr
        self.printed = done.stdout

    def _command(self, script: str) -> list[str]:
        kept = "[ ! -e .exported ] || . ./.exported\n"
        return ["bash", "-e", "-o", "pipefail", "-c", kept + self._own(SERVER.sub(self._with_ports, script))]

    def _with_ports(self, found: re.Match[str]) -> str:
        """Return the words that start questd, or ask whether it would start, with the ports that they do not name."""
        ports = (("--port", QUEUES), ("--console-port", CONSOLE))
        line = found[0]
        return " ".join([line, *(f"{flag} {port}" for flag, port in ports if f"{flag} " not in line)])

    def saw(self, text: str) -> None:
        """Compare what was printed last with what a page says of it."""
        wanted = ".*".join(map(re.escape, self._own(text).strip().split("…")))
        assert re.fullmatch(wanted, self.printed.strip(), re.DOTALL), self.printed

    def _own(self, text: str) -> str:
        return re.sub(rf"\b({'|'.join(self.ports)})\b", lambda found: self.ports[found[0]], text)
