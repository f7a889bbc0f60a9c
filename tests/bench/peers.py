"""The servers to compare with: how each is fetched from its registry into .bench/, started, and stopped.

Each keeps its messages in memory. It is told to log little where it has a switch for that (fauxqs-default is not: there it
makes the difference); what it says all the same goes to /dev/null. It stands still (SIGSTOP) while another server is
measured.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.bench.servers import Refused, Server, family
from tests.servers import free_port

CACHE = Path(__file__).parents[2] / ".bench"
FETCH_SECONDS = 600
START_SECONDS = 30


@dataclass(frozen=True, eq=False)
class Peer:
    """One peer. In commands {port} stands for its port; they run in its own directory of the cache."""

    name: str
    fetch: tuple[tuple[str, ...], ...]
    """The commands that fetch it."""
    command: tuple[str, ...]
    versions: tuple[str, str]
    """Which file has its version in its path, and what stands before it there."""
    files: dict[str, str] = field(default_factory=dict)
    """Files that are written before the commands run: names, texts."""
    environment: dict[str, str] = field(default_factory=dict)
    warm_up: int = 3
    """Seconds of each load that do not count, before the first that does."""
    cold: int = 0
    """As many more after its start. Measured on two busy cores: ElasticMQ's request costs 370 µs of CPU after 10 s of load,
    300 after 40 s, and 78 after some minutes."""
    deepest: int = 100_000
    """The deepest queue it is measured with."""
    remark: str = ""
    """What the report says behind its version."""

    @property
    def directory(self) -> Path:
        """Where it is kept."""
        return CACHE / self.name

    def version(self) -> str:
        """Return which version was fetched, and the remark."""
        pattern, before = self.versions
        found = sorted(self.directory.glob(pattern))
        if not found:
            return ""
        text = found[-1].read_text() if found[-1].suffix == ".txt" else found[-1].name
        number = text.rpartition(before)[2].removesuffix(".jar").removesuffix(".dist-info").split()[0]
        return f"{number} ({self.remark})" if self.remark else number


POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>questd</groupId><artifactId>bench</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.elasticmq</groupId><artifactId>elasticmq-server_2.13</artifactId><version>[1.6,2)</version></dependency>
  </dependencies>
</project>
"""

GOAWS = """Local:
  Host: 127.0.0.1
  Port: {port}
  Region: us-east-1
  AccountId: "000000000000"
  QueueAttributeDefaults:
    VisibilityTimeout: 30
"""

FAUXQS = """import {startFauxqs} from "fauxqs"
await startFauxqs({host: "127.0.0.1", port: Number(process.argv[2]), logger: false})
"""

QUIET = Peer(
    "fauxqs",
    (
        ("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "fauxqs"),
        ("sh", "-c", "npm ls fauxqs > version.txt"),
    ),
    ("node", "run.mjs", "{port}"),
    ("version.txt", "fauxqs@"),
    {"package.json": "{}", "run.mjs": FAUXQS},
    remark="told not to log",
)

PEERS = (
    Peer(
        "elasticmq",
        (("mvn", "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=jars"),),
        (
            *("java", "-Drest-sqs.bind-hostname=127.0.0.1", "-Drest-sqs.bind-port={port}"),
            *("-Dnode-address.port={port}", "-cp", "jars/*", "org.elasticmq.server.Main"),
        ),
        ("jars/elasticmq-server_*.jar", "-"),
        {"pom.xml": POM},
        warm_up=10,
        cold=120,
    ),
    QUIET,
    replace(
        QUIET,
        name="fauxqs-default",
        command=("node", "node_modules/.bin/fauxqs"),
        files={"package.json": "{}"},
        environment={"FAUXQS_HOST": "127.0.0.1", "FAUXQS_PORT": "{port}"},
        deepest=0,
        remark="as it comes, logging each request",
    ),
    Peer(
        "goaws",
        (
            # The newest version that the Go proxy has keeps its main package there; the binary is called cmd.
            ("go", "install", "github.com/Admiral-Piett/goaws/app/cmd@latest"),
            ("sh", "-c", "go version -m cmd | grep -w mod > version.txt"),
        ),
        ("./cmd", "-config", "goaws.yaml"),
        ("version.txt", "goaws"),
        {"goaws.yaml": GOAWS},
        {"GOBIN": "{directory}"},
        deepest=150_000,
    ),
    Peer(
        "ministack",
        (
            (sys.executable, "-m", "venv", "venv"),
            ("venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "ministack"),
        ),
        ("venv/bin/ministack",),
        ("venv/lib/python*/site-packages/ministack-*.dist-info", "ministack-"),
        environment={"GATEWAY_PORT": "{port}", "LOG_LEVEL": "WARNING"},
        deepest=10_000,
    ),
)


def fetch(peer: Peer) -> None:
    """Fetch a peer, unless it is there already. Raises Refused."""
    fetched = peer.directory / "fetched"
    if fetched.exists():
        return
    sys.stderr.write(f"fetching {peer.name} …\n")
    shutil.rmtree(peer.directory, ignore_errors=True)
    _write_files(peer, 0)
    for command in peer.fetch:
        try:
            subprocess.run(
                command,
                cwd=peer.directory,
                env=_environment(peer, 0),
                check=True,
                timeout=FETCH_SECONDS,
                capture_output=True,
            )
        except FileNotFoundError as error:
            raise Refused(f"{command[0]} is missing") from error
        except subprocess.TimeoutExpired as error:
            raise Refused(f"it took longer than {FETCH_SECONDS} s to fetch") from error
        except subprocess.CalledProcessError as error:
            said = (error.stderr.strip() or error.stdout.strip() or b"nothing").decode(errors="replace").splitlines()
            raise Refused(f"{' '.join(command[:3])} … failed: {said[-1]}") from error
    fetched.touch()


def _write_files(peer: Peer, port: int) -> None:
    peer.directory.mkdir(parents=True, exist_ok=True)
    for name, text in peer.files.items():
        (peer.directory / name).write_text(text.replace("{port}", str(port)))


def _filled(text: str, peer: Peer, port: int) -> str:
    return text.replace("{port}", str(port)).replace("{directory}", str(peer.directory))


def _environment(peer: Peer, port: int) -> dict[str, str]:
    return os.environ | {name: _filled(value, peer, port) for name, value in peer.environment.items()}


@contextlib.contextmanager
def running(peer: Peer) -> Iterator[Server]:
    """Run a peer on a free port. Raises Refused when it does not start."""
    port = free_port()
    _write_files(peer, port)
    command = [_filled(part, peer, port) for part in peer.command]
    with (peer.directory / "errors.log").open("w") as errors:
        process = subprocess.Popen(
            command, cwd=peer.directory, env=_environment(peer, port), stdout=subprocess.DEVNULL, stderr=errors
        )
    try:
        server = Server(f"http://127.0.0.1:{port}/", {peer.name: [process.pid]})
        _wait_until_it_answers(server, process)
        server.pids[peer.name] = family(process.pid)
        yield server
    finally:
        # It has nothing to save, and a stopped process would not see SIGTERM.
        for pid in reversed(family(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def _wait_until_it_answers(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Find out whether a new server speaks AWS JSON, or the Query protocol alone."""
    deadline = time.monotonic() + START_SECONDS
    said: Exception | None = None
    while time.monotonic() < deadline and process.poll() is None:
        for server.protocol in ("json", "query"):
            try:
                if server.ask("CreateQueue", {"QueueName": "hello"}, timeout=5).get("QueueUrl"):
                    return
            except OSError as error:  # it does not listen yet, and may by the next try: what it speaks is not known
                said = error
                break
            except (Refused, ValueError) as error:
                said = error
        time.sleep(0.1)
    raise Refused(f"it ended with {process.poll()}" if process.poll() is not None else f"it did not start: {said}")


class Kept:
    """A peer that runs from one load to the next, still between them, and is started anew after one that went wrong."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._stack = contextlib.ExitStack()
        self._server: Server | None = None

    @contextlib.contextmanager
    def awake(self) -> Iterator[Server]:
        """Let it run for the length of the block. Raises Refused when it does not start."""
        if self._server is None:
            self._server = self._stack.enter_context(running(self.peer))
        _signal(self._server, signal.SIGCONT)
        try:
            yield self._server
        except BaseException:
            self.stop()
            raise
        _signal(self._server, signal.SIGSTOP)

    def stop(self) -> None:
        """End it."""
        self._server = None
        self._stack.close()


def _signal(server: Server, number: int) -> None:
    for pids in server.pids.values():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
