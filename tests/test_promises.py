"""What questd says at start of a Redis that may not keep what it is given."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from questd import library
from questd.durability import CannotPromise, Durability
from questd.promises import FOR_NOBODY, check, doubts, writes
from questd.settings import BadSetting, Settings, flag, read
from tests.servers import DEFAULT, RedisServer, free_port, running
from tests.test_workers import serving
from tests.waiting import until

KEPT = ("--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "noeviction")


async def test_a_redis_to_be_trusted() -> None:
    """One that writes an append-only file and throws nothing away is not spoken of."""
    with running(DEFAULT, *KEPT) as server:
        assert await doubts(server.url) == []


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("appendonly", "no", "no append-only file"),
        (
            "maxmemory-policy",
            "volatile-lru",
            "throw messages away when its memory is full (maxmemory-policy volatile-lru)",
        ),
    ],
)
async def test_one_that_may_lose_messages(setting: str, value: str, says: str) -> None:
    """What it lacks is said in one line, with the command that mends it."""
    with running(DEFAULT, *KEPT) as server, server.client() as client:
        client.config_set(setting, value)
        [line] = await doubts(server.url)
        assert says in line
        assert f"CONFIG SET {setting}" in line


async def test_a_replica() -> None:
    """A replica is refused."""
    with running(DEFAULT, *KEPT) as server, server.client() as client:
        client.replicaof("127.0.0.1", 1)
        with pytest.raises(CannotPromise, match=r"is a replica and takes no messages: .* URL of its primary"):
            await doubts(server.url)


ALWAYS = Durability("always", 1, frozenset())
REPLICATED = Durability("replicated", 2, frozenset())


async def test_a_server_that_throws_messages_away() -> None:
    """What evicts messages cannot keep what was answered, and is refused where that is promised."""
    with running(DEFAULT, *KEPT, "--appendfsync", "always") as server, server.client() as client:
        assert await doubts(server.url, ALWAYS) == []
        client.config_set("maxmemory-policy", "allkeys-lru")
        for wanted in (ALWAYS, REPLICATED):
            with pytest.raises(CannotPromise, match="CONFIG SET maxmemory-policy noeviction, or choose --durability"):
                await doubts(server.url, wanted)
        assert len(await doubts(server.url)) == 1


async def test_a_server_that_is_slow_to_promise() -> None:
    """That every answer waits for the flush of each second is said, with what is faster."""
    with running(DEFAULT, *KEPT) as server:
        [line] = await doubts(server.url, ALWAYS)
        assert "CONFIG SET appendfsync always" in line


async def test_too_few_replicas() -> None:
    """How many replicas are there, of those that are waited for, is said."""
    with running(DEFAULT, *KEPT) as server:
        [line] = await doubts(server.url, REPLICATED)
        assert line.startswith("this Redis has 0 of the 2 replicas that --durability replicated waits for: until")
        with running(DEFAULT, "--replicaof", f"127.0.0.1 {server.port}"), server.client() as client:
            until(lambda: client.info("replication")["connected_slaves"] == 1)
            assert await doubts(server.url, Durability("replicated", 1, frozenset())) == []


async def test_what_writes(redis_server: RedisServer) -> None:
    """Every function that may write, by the flags that Redis knows, is waited for, but those for nobody."""
    await library.load(redis_server.url, test_mode=False)
    with redis_server.client() as client:
        [found] = client.function_list(library="quest")
        functions = [dict(zip(each[::2], each[1::2], strict=True)) for each in found[5]]
    names = {each[b"name"].decode() for each in functions if b"no-writes" not in each[b"flags"]}
    assert names > FOR_NOBODY
    assert writes() == names - FOR_NOBODY


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"durability": "replicated"}, "needs a Redis that has replicas, and the private one has none"),
        ({"durability": "replicated", "ephemeral": True}, "needs a Redis that has replicas"),
        ({"durability": "always", "ephemeral": True}, "keeps on disk what --ephemeral never writes there"),
    ],
)
def test_settings_that_do_not_fit_together(settings: dict[str, Any], says: str) -> None:
    """What questd's own server cannot give is told by the settings alone."""
    with pytest.raises(BadSetting, match=says):
        check(Settings(**settings))
    check(Settings(durability=settings["durability"], redis_url="redis://host"))


@pytest.mark.parametrize(("name", "value"), [("ephemeral", True), ("maxmemory", "1gb"), ("data_dir", "data")])
@pytest.mark.parametrize("way", ["flag", "variable", "file"])
def test_settings_of_the_private_server(
    name: str, value: object, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only questd's own server heeds is refused beside the URL of another, wherever it was set."""
    file = tmp_path / "questd.toml"
    file.write_text('redis_url = "redis://host"\n' + f"{name} = {json.dumps(value)}\n" * (way == "file"))
    if way == "variable":
        monkeypatch.setenv(f"QUESTD_{name.upper()}", str(value))
    flags = {"config": str(file)} | ({name: value} if way == "flag" else {})
    with pytest.raises(BadSetting, match=rf"heeds {flag(name)} \(QUESTD_{name.upper()}\), and --redis-url \("):
        check(read(flags))


def test_settings_that_say_nothing_of_a_private_server() -> None:
    """The defaults, said in so many words or not, are no choice of a private server."""
    check(Settings(redis_url="redis://host"))
    check(Settings(redis_url="redis://host", ephemeral=False, maxmemory=None))


@pytest.mark.parametrize(
    ("durability", "options", "says"),
    [
        ("always", (), "this Redis has no append-only file"),
        ("always", ("--replicaof", "127.0.0.1 1"), "this Redis is a replica"),
        ("everysec", ("--replicaof", "127.0.0.1 1"), "this Redis is a replica"),
    ],
)
def test_questd_does_not_start(durability: str, options: tuple[str, ...], says: str) -> None:
    """What it cannot promise, questd says in one line and ends."""
    with running(DEFAULT, *options) as server:
        command = (sys.executable, "-m", "questd", "serve", "--port", "0", "--redis-url", server.url)
        result = subprocess.run(
            [*command, "--durability", durability], capture_output=True, text=True, check=False, timeout=20
        )
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith(f"questd: {server.url}: {says}")
        assert result.stderr.count("\n") == 1


async def test_nobody_there() -> None:
    """Of a Redis that is down nothing is said: that it is, others say."""
    assert await doubts(f"redis://127.0.0.1:{free_port()}") == []


def test_it_is_said_at_start(redis_server: RedisServer, tmp_path: Path) -> None:
    """A user's own Redis is looked at; questd's private one, even where it keeps nothing, is what was asked for."""
    with serving("--redis-url", redis_server.url) as questd:
        assert "no append-only file" in questd.errors.read_text()
    with serving("--ephemeral", "--data-dir", str(tmp_path)) as questd:
        assert "append-only" not in questd.errors.read_text()
