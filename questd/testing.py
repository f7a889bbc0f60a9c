"""A questd of a test's own: `with Server() as server`, its clock, and accounts that see nothing of each other.

For any test framework (pytest's fixtures of it are in fixtures.py), and so with the standard library only, as far as
nobody asks for a client. It knows questd from the outside: a process, and what it answers.
"""

import contextlib
import importlib
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

REGION = "us-east-1"

SERVE = (
    "serve --host 127.0.0.1 --port 0 --console-port off --workers 1 --ephemeral --test-mode --multi-region"
    f" --region {REGION} --dead-letter-after 0 --log-level warning"
).split()
"""Each setting of the server: those of the user's environment are not for his tests. Nobody waits for a dead letter."""

PATIENCE = 30
"""Seconds that a server may take to start: a busy machine needs longer than the usual one."""

FIRST_ACCOUNT = 100_000_000_001


class ServerFailed(Exception):
    """The server of the tests did not start, or did not do as it was told; the text says why."""


class Clock:
    """The clock of a server: of all visibility timeouts, delays, retention and deduplication in all accounts.

    Long polls wait in real time.
    """

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._moved = False

    def now(self) -> float:
        """Return the time there, in seconds since 1970."""
        return float(self._server.post("/_questd/clock", {})["now_ms"] / 1000)

    def advance(self, seconds: float) -> None:
        """Let time pass: at once, all that falls due by then has."""
        self._moved = True
        self._server.post("/_questd/clock", {"advance": seconds})

    def reset(self) -> None:
        """Put it back to the time of day if it was moved. For queues that hold messages time would run backwards."""
        if self._moved:
            self._server.post("/_questd/clock", {"reset": True})
            self._moved = False


class Account:
    """An AWS account on a server: its queues are nobody else's. Its id is its access key."""

    def __init__(self, server: "Server", account: str) -> None:
        self.id = account
        self._server = server
        self.environment = {
            "AWS_ENDPOINT_URL_SQS": server.url,
            "AWS_ACCESS_KEY_ID": account,
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }
        """Variables with which an AWS SDK is a client of this account, without any change of the code that uses it."""

    def client(self) -> Any:  # noqa: ANN401  # boto3 makes its classes as it runs
        """Return a client of boto3."""
        return self._server.boto3_session.client(
            "sqs",
            endpoint_url=self._server.url,
            region_name=REGION,
            aws_access_key_id=self.id,
            aws_secret_access_key="any",  # noqa: S106  # nobody looks at it
        )

    def create_queue(self, name: str = "queue", /, **attributes: str) -> str:
        """Return the URL of a new queue; a name that ends in ".fifo" makes it a FIFO queue."""
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        url: str = self._ask("CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def chaos(self, *, seed: int = 0, actions: Sequence[str] | None = None, **rates: float) -> None:
        """Let this account meet what SQS does at its worst; without rates, that ends.

        Each rate is from 0 to 1, and the same requests in the same order meet the same with the same `seed`. `actions`
        are those concerned, all by default.

            duplicates       of deletes in standard queues: the message is delivered once more
            reordering       of receives from standard queues: any of the next ten messages, in any order
            batch_failures   of the entries of batches: they fail, others do not
            throttling       of requests: RequestThrottled
            unavailable      of requests: 503 ServiceUnavailable, and nothing was done
            lost_answers     of requests: 503 ServiceUnavailable, though it was done
            delays           of requests: they take longer, `longest_delay` (0.1 s) at most

        SDKs send again what was answered so, as they are configured: that takes the time that it takes.
        """
        self._server.post("/_questd/chaos", {"account": self.id, "seed": seed, "actions": actions, **rates})

    def end(self) -> None:
        """End its chaos and delete its queues in the default region."""
        self.chaos()
        while urls := self._ask("ListQueues").get("QueueUrls"):
            for url in urls:
                self._ask("DeleteQueue", QueueUrl=url)

    def _ask(self, action: str, **members: object) -> dict[str, Any]:
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{action}",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.id}/20260101/{REGION}/sqs/aws4_request",
        }
        return self._server.post("/", members, headers)


class Server:
    """A questd with a private Redis, both in processes of their own, for the length of a `with` block.

    It listens on a free port of the loopback interface, keeps nothing, and ends with this process, however that ends.
    Raises ServerFailed when it does not start.
    """

    url: str
    """What an SDK takes as its endpoint."""

    def __init__(self) -> None:
        self.clock = Clock(self)
        self._accounts = itertools.count(FIRST_ACCOUNT)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._directory = Path(tempfile.mkdtemp(prefix="questd-"))
        self._process = self._spawned(self._directory)
        said = self._first_line(self._process)
        if "ready on" not in said:
            log = (self._directory / "log").read_text(errors="replace").strip()
            self.stop()
            raise ServerFailed(f"no questd for the tests: {log or f'it was not ready within {PATIENCE} s'}")
        self.url = said.partition("ready on ")[2].split()[0]

    @staticmethod
    def _spawned(directory: Path) -> subprocess.Popen[bytes]:
        guard = str(Path(__file__).with_name("guard.py"))
        with (directory / "log").open("wb") as errors:
            # The guard ends it, and removes the directory, at the end of a pipe that only this process holds open.
            return subprocess.Popen(  # noqa: S603  # our own program
                [sys.executable, "-I", guard, str(directory), sys.executable, "-P", "-m", "questd", *SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={name: value for name, value in os.environ.items() if not name.startswith("QUESTD_")},
                start_new_session=True,  # Ctrl-C ends the tests first
            )

    @staticmethod
    def _first_line(process: subprocess.Popen[bytes]) -> str:
        assert process.stdout  # noqa: S101  # it has one
        readable, _, _ = select.select([process.stdout], [], [], PATIENCE)
        return process.stdout.readline().decode(errors="replace") if readable else ""

    def stop(self) -> None:
        """End it, and return when it has ended."""
        process, self._process = self._process, None
        if process and process.stdin and process.stdout:
            process.stdin.close()
            process.stdout.close()
            process.wait()
            shutil.rmtree(self._directory, ignore_errors=True)  # the guard leaves it when the server ended by itself

    @contextlib.contextmanager
    def account(self) -> Iterator[Account]:
        """Give an account that nobody had before; with the block end its queues, its chaos and moves of the clock."""
        account = Account(self, str(next(self._accounts)))
        try:
            yield account
        finally:
            account.end()
            self.clock.reset()

    @cached_property
    def boto3_session(self) -> Any:  # noqa: ANN401
        """A session of boto3: each reads the models of AWS's services anew, which takes longer than most tests."""
        try:
            return importlib.import_module("boto3").session.Session()
        except ImportError:
            raise ServerFailed("a client needs boto3: pip install 'questd[testing]'") from None

    def post(self, path: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return what it answers to a request. Raises ServerFailed when that is an error."""
        connection = HTTPConnection(self.url.partition("//")[2], timeout=PATIENCE)  # it asks no proxy
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(body), dict(headers or {}))
            response = connection.getresponse()
            text = response.read().decode()
        if response.status != 200:  # noqa: PLR2004
            raise ServerFailed(f"{response.status}: {text.strip()}")
        answer: dict[str, Any] = json.loads(text or "{}")
        return answer
