"""The process that loads the library, forked as questd forks it: what it does, and what it says when it cannot."""

import logging
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from questd import loader
from questd.library import LibraryRefused
from questd.settings import Settings
from tests.servers import RedisServer, free_port


def load(url: str, *, private: bool = False) -> tuple[int, str]:
    """Load the library in a process of its own; return its exit status and what it reported."""
    return forked(lambda write: loader.run(Settings(redis_url=url), write, private=private))


def forked(work: Callable[[int], None]) -> tuple[int, str]:
    """Do a loader's work in a process of its own; return its exit status and what it reported."""
    report, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        logging.basicConfig(stream=os.fdopen(2, "w", closefd=False), force=True)
        try:
            work(write)
        except BaseException:  # noqa: BLE001  # the process ends here whatever it is
            os._exit(9)
        os._exit(0)
    os.close(write)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(report) as said:
        return status, said.read()


def test_the_library_is_loaded(redis_server: RedisServer) -> None:
    """Afterwards its functions are there, and nothing was reported."""
    with redis_server.client() as client:
        client.function_flush()
        assert load(redis_server.url) == (0, "")
        assert client.execute_command("FCALL", "quest_version", 0)


def test_doubts_are_told(redis_server: RedisServer, capfd: pytest.CaptureFixture[str]) -> None:
    """Of a user's Redis it is told what it does not promise, of questd's own nothing; the library is loaded in both."""
    assert load(redis_server.url, private=True) == (0, "")
    assert capfd.readouterr().err == ""
    assert load(redis_server.url) == (0, "")
    assert "append" in capfd.readouterr().err


def test_no_redis() -> None:
    """A Redis that cannot be reached is one line with its URL, without the password."""
    port = free_port()
    status, said = load(f"redis://me:secret@127.0.0.1:{port}")
    assert status == 1
    assert said.startswith(f"no Redis at redis://***@127.0.0.1:{port}: ")
    assert "\n" not in said


def test_no_redis_but_something_else() -> None:
    """So is a port on which nobody answers as Redis does."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        other.close()
        assert load(f"redis://127.0.0.1:{port}")[0] == 1


def test_a_redis_without_tls(redis_server: RedisServer) -> None:
    """A Redis without TLS is told of as that, with the URL, whose password is hidden."""
    place = f"127.0.0.1:{redis_server.port}"
    status, said = load(f"rediss://:secret@{place}")
    assert status == 1
    assert said.startswith(f"rediss://***@{place}: a server answers, but without TLS")


def test_a_refusal_names_the_server() -> None:
    """A library that is refused is told with the URL, whose password is hidden."""
    assert loader.explained(LibraryRefused("too old"), "redis://me:secret@host") == "redis://***@host: too old"


def test_a_redis_that_says_no(redis_server: RedisServer) -> None:
    """A Redis that is there and refuses is not said to be missing: a wrong password, a database too many, no memory."""
    place = f"127.0.0.1:{redis_server.port}"
    for url, why in (
        (f"redis://:wrong@{place}", "AUTH"),
        (f"redis://me:wrong@{place}", "invalid username-password pair"),
        (f"redis://{place}/9999", "DB index is out of range"),
    ):
        status, said = load(url)
        assert status == 1
        assert re.match(rf"redis://(\*\*\*@)?{place}(/9999)?: Redis answered: .*{why}", said), said
    with redis_server.client() as client:
        client.function_flush()
        client.config_set("maxmemory", 1)
        try:
            assert "Redis answered: command not allowed when used memory > 'maxmemory'" in load(redis_server.url)[1]
        finally:
            client.config_set("maxmemory", 0)


def test_declared_queues(redis_server: RedisServer, tmp_path: Path) -> None:
    """Declared queues are made; one that cannot be is reported with its line, a Redis that is not there as ever."""
    file = tmp_path / "questd.toml"

    def declare(content: str, url: str) -> tuple[int, str]:
        file.write_text(content)
        return forked(lambda write: loader.declare(Settings(redis_url=url, config=file), write))

    assert load(redis_server.url) == (0, "")
    assert declare("[queues.orders]", redis_server.url) == (0, "")
    with redis_server.client() as client:
        assert client.exists("quest:{orders}")
    status, said = declare('[queues.a]\ndead_letter_queue = "b"\nmax_receive_count = 1', redis_server.url)
    assert status == 1
    assert said.startswith(f"{file}, line 1: [queues.a] Value ")
    status, said = declare("[queues.orders]", f"redis://:secret@127.0.0.1:{free_port()}")
    assert status == 1
    assert said.startswith("no Redis at redis://***@127.0.0.1:")
    assert declare("", f"redis://127.0.0.1:{free_port()}") == (0, "")
