"""The supervisor with real processes: how questd starts, what it brings back to life, that it leaves nothing behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from questd.settings import cores
from tests.servers import DEFAULT, running
from tests.waiting import until

ROOT = Path(__file__).parent.parent


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # ended in between, or no Linux
        return not Path("/proc/self").exists()


@dataclass
class Questd:
    """A `questd serve` of a test's own."""

    process: subprocess.Popen[str]
    errors: Path
    line: str = ""

    @property
    def address(self) -> str:
        """Where it listens."""
        return self.line.split()[3]

    @property
    def console(self) -> str:
        """Where its console listens."""
        return self.line.partition(" · console ")[2].split()[0]

    @property
    def socket_path(self) -> str:
        """The socket of its private Redis."""
        return self.line.partition("redis-cli -s ")[2].split()[0]

    def redis(self) -> redis.Redis:
        """Return a client of its private Redis."""
        return redis.Redis(unix_socket_path=self.socket_path, protocol=2)

    def server_pid(self) -> int:
        """Return the process id of its private Redis."""
        with self.redis() as client:
            return int(client.info("server")["process_id"])

    def pids(self, what: str) -> list[int]:
        """Return the process ids that its log names for `serve`, `observe` (the console), `load` or `guard`, oldest first."""
        return [int(pid) for pid in re.findall(rf"process (\d+) started: {what}", self.errors.read_text())]

    def lives(self, address: str = "") -> bool:
        """Tell whether it answers over HTTP, at one of its addresses."""
        with suppress(OSError), urllib.request.urlopen(f"{address or self.address}/health/live", timeout=2) as answer:
            return bool(answer.status == 200)
        return False


@contextmanager
def starting(
    *flags: str, command: tuple[str, ...] = ("-m", "questd"), workers: tuple[str, ...] = ("--workers", "1")
) -> Iterator[Questd]:
    """Begin a `questd serve` with one worker on a free port; at the end kill it and see that nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="questd-test-") as directory:
        errors = Path(directory) / "errors"
        arguments = [sys.executable, *command, "serve", "--port", "0", "--log-level", "debug", *workers, *flags]
        with errors.open("w") as output:
            process = subprocess.Popen(
                arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=output, text=True, start_new_session=True
            )
        questd = Questd(process, errors)
        try:
            yield questd
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
            until(
                lambda: (
                    not any(alive(pid) for what in ("serve", "observe", "load", "guard") for pid in questd.pids(what))
                )
            )


@contextmanager
def serving(*flags: str, **how: tuple[str, ...]) -> Iterator[Questd]:
    """Run a `questd serve` that is ready."""
    with starting(*flags, **how) as questd:
        assert questd.process.stdout
        questd.line = questd.process.stdout.readline()
        assert questd.line.startswith("questd ready on "), questd.errors.read_text()
        yield questd


def everything(questd: Questd) -> list[int]:
    """Return the process ids of all that a ready questd has started and that lives."""
    pids = [*questd.pids("serve"), *questd.pids("guard"), questd.server_pid()]
    assert all(map(alive, pids))
    return pids


def test_ready_line(tmp_path: Path) -> None:
    """One line tells the address, how to reach Redis and where the data is; both answer, and the library is loaded."""
    with serving("--data-dir", str(tmp_path / "my data")) as questd:
        pattern = rf"questd ready on http://127\.0\.0\.1:\d+ · redis-cli -s \S+ · data in {tmp_path}/my data\n"
        assert re.fullmatch(pattern, questd.line)
        assert questd.lives()
        with questd.redis() as client:
            assert client.execute_command("FCALL", "quest_version", 0)
        questd.process.terminate()
        assert questd.process.stdout
        assert questd.process.stdout.read() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything(number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C, also twice, end questd with status 0 within 5 s; no process and no directory is left."""
    with serving("--ephemeral", "--workers", "2") as questd:
        pids = everything(questd)
        assert len(pids) == 4
        begun = time.monotonic()
        questd.process.send_signal(number)
        questd.process.send_signal(number)
        assert questd.process.wait(6) == 0
        assert time.monotonic() - begun < 5
        assert not any(map(alive, pids))
        assert not Path(questd.socket_path).parent.exists()


def test_ctrl_c_in_a_terminal(tmp_path: Path) -> None:
    """Ctrl-C goes to the whole process group, but not to the private Redis: questd ends that last, by SIGTERM."""
    with serving("--data-dir", str(tmp_path)) as questd:
        pids = everything(questd)
        os.killpg(questd.process.pid, signal.SIGINT)
        assert questd.process.wait(6) == 0
        assert not any(map(alive, pids))
        log = (tmp_path / "server.log").read_text()
        assert "Received SIGTERM" in log
        assert "Received SIGINT" not in log
        assert "You insist" not in log  # what it says to both at once


def test_sigkill_leaves_nothing(tmp_path: Path) -> None:
    """When questd is killed, its workers and its private Redis end by themselves; the data is left, complete."""
    with serving("--data-dir", str(tmp_path), "--workers", "2") as questd:
        pids = everything(questd)
        with questd.redis() as client:
            client.set("kept", 1)
        questd.process.kill()
        until(lambda: not any(map(alive, pids)))
        assert not Path(questd.socket_path).parent.exists()
    with serving("--data-dir", str(tmp_path)) as questd, questd.redis() as client:
        assert client.get("kept") == b"1"


def test_a_worker_that_hangs_is_killed() -> None:
    """A worker that does not end when told to is killed, and questd still ends within 5 s."""
    with serving("--ephemeral") as questd:
        pids = everything(questd)
        os.kill(questd.pids("serve")[0], signal.SIGSTOP)
        begun = time.monotonic()
        questd.process.terminate()
        assert questd.process.wait(6) == 0
        assert time.monotonic() - begun < 5
        assert not any(map(alive, pids))


def test_a_dead_worker_is_replaced() -> None:
    """When a worker dies another takes its place on the same port."""
    with serving("--ephemeral") as questd:
        first = questd.pids("serve")[0]
        os.kill(first, signal.SIGKILL)
        until(lambda: len(questd.pids("serve")) == 2 and questd.lives())
        assert f"worker {first} ended with status -9, starting another" in questd.errors.read_text()


def test_a_worker_waits_for_redis() -> None:
    """A worker that begins while Redis is down is tried again, each time with one line in the log, until it serves."""
    with running(DEFAULT) as server, serving("--redis-url", server.url) as questd:
        server.stop()
        os.kill(questd.pids("serve")[0], signal.SIGKILL)
        until(lambda: len(questd.pids("serve")) > 2)
        assert re.search(
            r"process \d+ cannot begin: Redis cannot be reached: .*refused$", questd.errors.read_text(), re.MULTILINE
        )
        server.start()
        until(questd.lives, 15)
        assert "Traceback" not in questd.errors.read_text()


def test_a_worker_waits_for_its_keys(tmp_path: Path) -> None:
    """A worker that begins while a file of its settings is gone is tried again too, until the file is back."""
    keys = tmp_path / "keys.toml"
    keys.touch(0o600)
    with serving("--ephemeral", "--keys-file", str(keys)) as questd:
        keys.rename(tmp_path / "away")
        os.kill(questd.pids("serve")[0], signal.SIGKILL)
        until(lambda: re.search(rf"process \d+ cannot begin: {keys}: .*No such file", questd.errors.read_text()))
        (tmp_path / "away").rename(keys)
        until(questd.lives)
        assert "Traceback" not in questd.errors.read_text()


@pytest.mark.parametrize(
    ("flag", "victim"), [("--ephemeral", "server"), ("--data-dir", "server"), ("--data-dir", "guard")]
)
def test_a_dead_redis_is_replaced(tmp_path: Path, flag: str, victim: str) -> None:
    """When the private Redis or its guard is killed, one Redis answers again on the same socket, with the library."""
    flags = [flag, str(tmp_path)] if flag == "--data-dir" else [flag]
    with serving(*flags) as questd, questd.redis() as client:
        client.set("kept", 1)
        time.sleep(0.02)
        server = questd.server_pid()
        os.kill(server if victim == "server" else questd.pids("guard")[0], signal.SIGKILL)
        until(lambda: not alive(server))

        def answers() -> bool:
            with suppress(redis.RedisError):
                return bool(client.execute_command("FCALL", "quest_version", 0))
            return False

        until(answers)
        assert client.get("kept") == (b"1" if flag == "--data-dir" else None)
        until(questd.lives)


def test_sigkill_while_redis_is_away(tmp_path: Path) -> None:
    """Who waits for the private Redis to come back ends with questd: `serving` sees that nothing is left."""
    with serving("--data-dir", str(tmp_path / "data")) as questd:
        (tmp_path / "data").rename(tmp_path / "away")
        os.kill(questd.server_pid(), signal.SIGKILL)
        until(lambda: len(questd.pids("load")) == 2)


def test_a_redis_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    """While the system does not let the private Redis start again, questd waits for it, and has it back."""
    with serving("--data-dir", str(tmp_path / "data")) as questd:
        (tmp_path / "data").rename(tmp_path / "away")
        os.kill(questd.server_pid(), signal.SIGKILL)
        until(lambda: questd.errors.read_text().count("cannot be started: ") >= 2)
        (tmp_path / "away").rename(tmp_path / "data")
        until(lambda: len(questd.pids("guard")) == 2)
        until(questd.lives)
        assert "Traceback" not in questd.errors.read_text()


def test_a_signal_while_starting(tmp_path: Path) -> None:
    """A questd that waits for its data directory ends at once when told to, with status 0."""
    with serving("--data-dir", str(tmp_path)), starting("--data-dir", str(tmp_path)) as second:
        until(lambda: "waiting for process" in second.errors.read_text())
        second.process.terminate()
        assert second.process.wait(6) == 0  # one that goes on waiting gives up in the end, with status 1


def test_a_signal_while_loading() -> None:
    """A questd whose Redis does not answer yet ends at once when told to, with status 0."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        with starting("--redis-url", url) as questd:
            until(lambda: questd.pids("load"))
            questd.process.terminate()
            assert questd.process.wait(6) == 0


def test_nobody_reads_what_it_prints() -> None:
    """A questd whose standard output is gone serves all the same, and logs it."""
    with starting("--ephemeral") as questd:
        assert questd.process.stdout
        questd.process.stdout.close()
        until(lambda: "standard output cannot be written: Broken pipe" in questd.errors.read_text())
        questd.process.terminate()
        assert questd.process.wait(6) == 0
        assert "Traceback" not in questd.errors.read_text()


def test_a_worker_that_never_works() -> None:
    """When a worker dies again and again before it is ready, questd gives up with one line and status 1."""
    program = (
        "import sys; from questd import __main__, server, workers\n"
        "async def serve(*_, **__): raise SystemExit(9)\n"
        "server.serve = serve; sys.exit(__main__.main())"
    )
    with starting("--ephemeral", command=("-c", program)) as questd:
        assert questd.process.wait(10) == 1
        assert questd.errors.read_text().splitlines()[-1] == "questd: a worker ended 5 times before it was ready"
        assert len(questd.pids("serve")) == 5


def test_another_redis() -> None:
    """With a URL no Redis is started; the ready line names it without its password."""
    with running(DEFAULT) as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "me", "on", ">pa55word", "~*", "&*", "+@all")
        with serving("--redis-url", f"redis://me:pa55word@127.0.0.1:{server.port}") as questd:
            assert questd.line.endswith(f" · Redis at redis://***@127.0.0.1:{server.port}\n")
            assert questd.pids("guard") == []
            assert "pa55word" not in questd.errors.read_text()


def test_the_console_lives(tmp_path: Path) -> None:
    """The console has a port and a process of its own, which comes back when it dies and ends with questd."""
    with serving("--data-dir", str(tmp_path), "--console-port", "0") as questd:
        assert re.match(r"questd ready on \S+ · console http://127\.0\.0\.1:\d+ · redis-cli -s ", questd.line)
        until(lambda: questd.lives(questd.console))
        [first] = questd.pids("observe")
        os.kill(first, signal.SIGKILL)
        until(lambda: len(questd.pids("observe")) == 2 and questd.lives(questd.console))
        assert f"console {first} ended with status -9, starting another" in questd.errors.read_text()
        pids = [*everything(questd), questd.pids("observe")[1]]
        questd.process.terminate()
        assert questd.process.wait(6) == 0
        assert not any(map(alive, pids))


def test_a_console_that_never_works() -> None:
    """A console that cannot start is told about, and hurts nobody: the workers go on."""
    program = (
        "import sys; from questd import __main__, console\n"
        "def broken(*_, **__): raise SystemExit(9)\n"
        "console.application = broken; sys.exit(__main__.main())"
    )
    with serving("--ephemeral", "--console-port", "0", command=("-c", program)) as questd:
        until(lambda: len(questd.pids("observe")) > 2)
        assert re.search(r"console \d+ ended with status 1, starting another", questd.errors.read_text())
        assert questd.lives()
        assert len(questd.pids("serve")) == 1


def test_a_worker_for_every_core() -> None:
    """Without a number there is one worker for every core."""
    with starting("--ephemeral", workers=()) as questd:
        until(lambda: len(questd.pids("serve")) == cores())


def test_declared_queues(tmp_path: Path) -> None:
    """Queues of the configuration file are there when questd is ready; SIGHUP makes what was added, a mistake changes nothing."""
    file = tmp_path / "questd.toml"
    file.write_text('[queues.orders]\ndead_letter_queue = "dead"\nmax_receive_count = 2\n[queues.dead]\n')
    with serving("--ephemeral", "--config", str(file)) as questd, questd.redis() as client:
        assert client.zrange("quest:queues", 0, -1) == [b"dead", b"orders"]
        with file.open("a") as more:
            more.write("[queues.more]\n")
        questd.process.send_signal(signal.SIGHUP)
        until(lambda: client.exists("quest:{more}"))
        file.write_text("[queues.yet-more]\nVisibilityTimeout = -1\n")
        questd.process.send_signal(signal.SIGHUP)
        until(
            lambda: (
                f"the settings stay as they are: {file}, line 2: [queues.yet-more] Invalid" in questd.errors.read_text()
            )
        )
        file.write_text('[queues.more]\ndead_letter_queue = "nowhere"\nmax_receive_count = 2\n')
        questd.process.send_signal(signal.SIGHUP)
        until(lambda: f"questd: ERROR: {file}, line 1: [queues.more] Value" in questd.errors.read_text())
        assert questd.lives()
        assert client.zrange("quest:queues", 0, -1) == [b"dead", b"more", b"orders"]


def test_a_private_server_that_comes_back_has_them(tmp_path: Path) -> None:
    """A private server that died with all it held has the declared queues again."""
    file = tmp_path / "questd.toml"
    file.write_text("[queues.orders]\n")
    with serving("--ephemeral", "--config", str(file)) as questd, questd.redis() as client:
        os.kill(questd.server_pid(), signal.SIGKILL)

        def there() -> bool:
            with suppress(redis.RedisError):
                return bool(client.exists("quest:{orders}"))
            return False

        until(there)


def test_a_queue_that_cannot_be_ends_the_start(tmp_path: Path) -> None:
    """What Redis refuses of a declared queue is one line with the file's line, and status 1."""
    file = tmp_path / "questd.toml"
    file.write_text(
        '[queues.orders]\n\nRedrivePolicy = { deadLetterTargetArn = "arn:aws:sqs:us-east-1:000000000000:d", maxReceiveCount = 1 }'
    )
    with starting("--ephemeral", "--config", str(file)) as questd:
        assert questd.process.wait(10) == 1
        last = questd.errors.read_text().splitlines()[-1]
        assert last.startswith(f"questd: {file}, line 3: [queues.orders] Value ")
        assert last.endswith("Dead letter target does not exist.")
