"""The private Redis: which server is chosen, and what is on disk before, during and after its life."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from questd import embedded
from questd.embedded import Embedded, Server, StartFailed, choose, servers, wait_until_ready
from questd.settings import Settings
from tests.servers import BUNDLED, DEFAULT
from tests.waiting import until

VALKEY = Server("/v", "valkey", (8, 1, 8))
REDIS = Server("/r", "redis", (7, 0, 15))


@contextmanager
def opened(settings: Settings) -> Iterator[Embedded]:
    """Prepare a private Redis, and end it with all that it has."""
    lifeline, held = os.pipe()
    try:
        private = Embedded(settings, lifeline, time.sleep)
        try:
            yield private
        finally:
            private.stop(5)
    finally:
        os.close(lifeline)
        os.close(held)


@contextmanager
def started(settings: Settings) -> Iterator[tuple[Embedded, redis.Redis]]:
    """Run a private Redis; gives a client of it too."""
    with opened(settings) as private:
        private.start()
        wait_until_ready(private.socket_path)
        with redis.Redis.from_url(private.url, protocol=2, decode_responses=True) as client:
            yield private, client


def test_the_bundled_server_is_first() -> None:
    """The servers of this machine are found with their kind and version, the bundled one first."""
    found = list(servers())
    assert found[0].path == DEFAULT
    assert all(server.version >= (7,) and server.kind in {"valkey", "redis"} for server in found)
    if BUNDLED:
        assert found[0].path == BUNDLED


def test_programs_that_are_no_server_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that does not run, fails, is too old or is something else is no server of questd."""
    for name, text in {
        "valkey-server": "#!/nowhere/sh",
        "redis-server": "#!/bin/sh\necho Redis server v=6.2.14 sha=0",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [server.path for server in servers()] == [path for path in [BUNDLED] if path]


@pytest.mark.parametrize(
    ("wrote", "chosen"),
    [
        (None, VALKEY),
        ("valkey 8.1.8", VALKEY),
        ("valkey 7.2.0", VALKEY),
        ("valkey 8.1.10", None),
        ("redis 7.0.15", REDIS),
        ("redis 7.0.2", REDIS),
        ("redis 7.2.0", None),
        ("redis 8.0.0", None),
    ],
)
def test_a_directory_goes_to_a_server_that_can_read_it(
    tmp_path: Path, wrote: str | None, chosen: Server | None
) -> None:
    """The first server of the same kind, and as new as the one that wrote the data, is chosen and noted."""
    note = tmp_path / "server"
    if wrote:
        note.write_text(f"{wrote}\n")
    if chosen:
        assert choose(tmp_path, [VALKEY, REDIS]) == chosen
        assert note.read_text() == f"{chosen}\n"
    else:
        with pytest.raises(StartFailed, match=f"was written by {wrote}.*install .*--data-dir"):
            choose(tmp_path, [VALKEY, REDIS])
        assert note.read_text() == f"{wrote}\n"


def test_no_server_at_all() -> None:
    """Where there is no server, the line says how to get one."""
    with pytest.raises(StartFailed, match=r"apt install redis-server, brew install redis.*--redis-url"):
        choose(None, [])


def test_it_is_private_and_durable(tmp_path: Path) -> None:
    """It listens on a socket that only this user reaches, writes every second, never evicts, and has a limit."""
    with started(Settings(data_dir=tmp_path, maxmemory="64mb")) as (private, client):
        config = client.config_get("*")
        wanted = {
            "port": "0",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory": str(64 * 1024 * 1024),
            "maxmemory-policy": "noeviction",
            "dir": str(tmp_path),
        }
        assert wanted == {name: config[name] for name in wanted}
        assert private.home.stat().st_mode & 0o777 == 0o700
        assert private.socket_path.stat().st_mode & 0o777 == 0o700
        built_in = [module["path"] for module in client.module_list()]  # as Lua of Valkey 9.1, vector sets of Redis 8
        assert not any(built_in)
    assert not private.home.exists()


def test_it_flushes_as_is_wanted(tmp_path: Path) -> None:
    """With durability always it writes to the disk before it replies."""
    with started(Settings(data_dir=tmp_path, durability="always")) as (_, client):
        assert client.config_get("appendfsync") == {"appendfsync": "always"}


def test_ephemeral_leaves_nothing(tmp_path: Path) -> None:
    """An ephemeral one writes no data, touches no data directory, and takes its own directory away."""
    with started(Settings(data_dir=tmp_path / "data", ephemeral=True)) as (private, client):
        client.set("a", 1)
        assert client.config_get("appendonly") == {"appendonly": "no"}
        assert "ephemeral" in str(private)
    assert not private.home.exists()
    assert not (tmp_path / "data").exists()


def test_memory_limit_by_default() -> None:
    """Without a setting it may use 60 % of the memory that there is."""
    with opened(Settings(ephemeral=True)) as private:
        limit = int(private._maxmemory)
    assert 0.5 < limit / (os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) <= 0.6 or limit < 2**40


def test_a_directory_has_one_questd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second questd waits for the directory, and is then told which process has it."""
    monkeypatch.setattr(embedded, "LOCK_PATIENCE", 0.2)
    with opened(Settings(data_dir=tmp_path)):
        begun = time.monotonic()
        with pytest.raises(StartFailed, match=f"in use by process {os.getpid()}"), opened(Settings(data_dir=tmp_path)):
            pass
        assert time.monotonic() - begun >= 0.2
    with opened(Settings(data_dir=tmp_path)):
        pass


def test_a_directory_is_free_when_its_server_is_gone(tmp_path: Path) -> None:
    """The server itself holds the directory: it stays taken when questd is gone and its Redis still writes."""

    def free() -> bool:
        with (tmp_path / "lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    with started(Settings(data_dir=tmp_path)) as (private, client):
        assert private.lock
        os.close(private.lock)
        private.lock = None
        assert not free()
        client.close()
    assert free()


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """Where no data can be kept, the line names the place."""
    (tmp_path / "file").touch()
    with pytest.raises(StartFailed, match=f"^cannot keep data in {tmp_path}/file: .*--data-dir"):
        Embedded(Settings(data_dir=tmp_path / "file"), 0, time.sleep)


def test_a_server_that_does_not_start(tmp_path: Path) -> None:
    """When the server ends at once, the last lines of its log say why, and only those of this start."""
    (tmp_path / "server.log").write_text("from another day\n")
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with opened(Settings(data_dir=tmp_path)) as private:
        private.start()
        until(private.ended)
        assert "manifest" in private.last_words().lower()
        assert "another day" not in private.last_words()
        assert "\n" not in private.last_words()


def test_a_torn_file_is_mended(tmp_path: Path) -> None:
    """Of a function that a power loss has torn in two nothing is done, not at the next start and not at later ones."""
    parts = tmp_path / "appendonlydir"
    with started(Settings(data_dir=tmp_path)) as (_, client):
        client.set("before", 1)
        client.eval("redis.call('SET', 'half', 1) redis.call('SET', 'whole', 1)", 0)
    [file] = parts.glob("*.incr.aof")
    os.truncate(file, file.read_bytes().index(b"$5\r\nwhole"))
    with started(Settings(data_dir=tmp_path)) as (private, client):
        private.mend()
        client.eval("redis.call('SET', 'after', 1) redis.call('SET', 'later', 1)", 0)
        until(lambda: not file.exists())
        assert sorted(client.keys()) == ["after", "before", "later"]
    with started(Settings(data_dir=tmp_path)) as (private, client):
        private.mend()
        assert sorted(client.keys()) == ["after", "before", "later"]
        assert len(list(parts.glob("*.incr.aof"))) == 1


def test_the_log_stays_small(tmp_path: Path) -> None:
    """A start begins a new log when the old one is above a megabyte."""
    log = tmp_path / "server.log"
    log.write_text("x" * (embedded.LOG_LIMIT + 1))
    with started(Settings(data_dir=tmp_path)):
        assert 0 < log.stat().st_size < embedded.LOG_LIMIT


def test_a_long_runtime_directory_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket's path is short enough for every system, whatever the runtime directory is called."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with opened(Settings(ephemeral=True)) as private:
        assert len(os.fsencode(private.socket_path)) <= 100
    assert list(long.iterdir()) == []
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(embedded, "SOCKET_PATH_LIMIT", 200)
    with opened(Settings(ephemeral=True)) as private:
        assert private.home.parent == tmp_path
