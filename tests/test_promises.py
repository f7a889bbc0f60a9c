"""What questd says at start of a Redis that may not keep what it is given."""

from pathlib import Path

import pytest

from questd.promises import doubts
from tests.servers import DEFAULT, RedisServer, free_port, running
from tests.test_workers import serving

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
    """A replica is told as one."""
    with running(DEFAULT, *KEPT) as server, server.client() as client:
        client.replicaof("127.0.0.1", 1)
        [line] = await doubts(server.url)
        assert "the URL of its primary" in line


async def test_nobody_there() -> None:
    """Of a Redis that is down nothing is said: that it is, others say."""
    assert await doubts(f"redis://127.0.0.1:{free_port()}") == []


def test_it_is_said_at_start(redis_server: RedisServer, tmp_path: Path) -> None:
    """A user's own Redis is looked at; questd's private one, even where it keeps nothing, is what was asked for."""
    with serving("--redis-url", redis_server.url) as questd:
        assert "no append-only file" in questd.errors.read_text()
    with serving("--ephemeral", "--data-dir", str(tmp_path)) as questd:
        assert "append-only" not in questd.errors.read_text()
