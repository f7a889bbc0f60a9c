"""What every test may ask for: an empty Redis, and a questd on it."""

import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from questd import library, server
from questd.action import Questd
from questd.settings import Settings
from tests.client import Sqs, serving
from tests.clusters import ClusterServers, cluster
from tests.people import People
from tests.servers import RedisServer, running
from tests.visitor import Visitor, visiting

# Whoever wants the console says so: tests run beside each other, and beside a questd that somebody uses.
os.environ["QUESTD_CONSOLE_PORT"] = "off"

# What a script runs in the background ignores Ctrl-C, and so would all that tests start, and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One Redis for all tests that do not hurt it."""
    with running() as started:
        yield started


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """Return an empty Redis."""
    with shared_redis.client() as client:
        client.flushall()
    return shared_redis


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ClusterServers]:
    """One Redis Cluster for all tests that do not hurt it."""
    with cluster(3, "--appendonly", "yes", "--appendfsync", "always") as started:
        yield started


@pytest.fixture
def servers(shared_cluster: ClusterServers) -> ClusterServers:
    """Return an empty Redis Cluster."""
    shared_cluster.empty()
    return shared_cluster


@pytest.fixture(params=["listener", "aiohttp"])
async def sqs(redis_server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[Sqs]:
    """Give a client of a questd on an empty Redis, once on each front."""
    async with serving(redis_server.url, front=request.param) as client:
        yield client


@pytest.fixture
async def both(redis_server: RedisServer) -> AsyncIterator[tuple[Visitor, Sqs]]:
    """Give somebody at a console, and a client of the same queues."""
    async with visiting(redis_server.url) as pair:
        yield pair


@pytest.fixture
async def questd(redis_server: RedisServer) -> AsyncIterator[Questd]:
    """Give a questd without a front on an empty Redis: another process than the one of `sqs`."""
    await library.load(redis_server.url, test_mode=True)
    async with server.running(Settings(redis_url=redis_server.url, test_mode=True)) as running:
        yield running


@pytest.fixture
async def people(
    redis_server: RedisServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[People]:
    """Give a command line whose server is a questd on an empty Redis."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name in {"NO_COLOR", "FORCE_COLOR"}]:
        monkeypatch.delenv(name)
    async with serving(redis_server.url) as sqs:
        monkeypatch.setenv("QUESTD_ENDPOINT", sqs.url)
        yield People(sqs, capsys)
