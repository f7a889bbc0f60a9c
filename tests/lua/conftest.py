"""The library on every server at hand, and on a Redis Cluster of one node; each runs once for all tests."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis

from tests.lua.quest import FIFO, Quest
from tests.servers import BINARIES, DEFAULT, RedisServer, free_port, running

CLUSTER = "cluster"
Start = Callable[[str], Quest]


def cluster_options() -> tuple[str, str, str, str]:
    """Return what makes a server a node of a cluster."""
    return "--cluster-enabled", "yes", "--cluster-port", str(free_port())


def own_all_slots(client: redis.Redis) -> None:
    """Make a node a whole cluster, which comes up a little later."""
    client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)


def wait_until_clustered(client: redis.Redis) -> None:
    """Wait until a node says that its cluster is complete."""
    deadline = time.monotonic() + 10
    while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
        assert time.monotonic() < deadline, "the cluster does not come up"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def start() -> Iterator[Start]:
    """Give the library on a server by its name; the server runs to the end of the session."""
    with ExitStack() as stack:
        started: dict[str, Quest] = {}

        def quest_on(name: str) -> Quest:
            if name not in started:
                started[name] = _start(name, stack)
            started[name].reset()
            return started[name]

        yield quest_on


def _start(name: str, stack: ExitStack) -> Quest:
    binary = DEFAULT if name == CLUSTER else BINARIES[name]
    if binary is None:
        pytest.skip(f"{name} is not installed")
    server: RedisServer = stack.enter_context(running(binary, *(cluster_options() if name == CLUSTER else ())))
    client = stack.enter_context(server.client())
    if name == CLUSTER:
        own_all_slots(client)
        wait_until_clustered(client)
    return Quest(client, clustered=name == CLUSTER)


@pytest.fixture(params=[*BINARIES, CLUSTER])
def quest(request: pytest.FixtureRequest, start: Start) -> Quest:
    """Give the library on an empty server: each that is installed, and a cluster of one node."""
    return start(request.param)


@pytest.fixture(params=BINARIES)
def one_redis(request: pytest.FixtureRequest, start: Start) -> Quest:
    """Give the library on an empty Redis where a function may use the keys of every queue."""
    return start(request.param)


@pytest.fixture
def cluster(start: Start) -> Quest:
    """Give the library on an empty cluster of one node."""
    return start(CLUSTER)


@pytest.fixture
def default(start: Start) -> Quest:
    """Give the library on one empty server, for tests that take long."""
    return start(next(name for name, path in BINARIES.items() if path == DEFAULT))


@pytest.fixture
def fifo(quest: Quest) -> Quest:
    """Make a FIFO queue in an empty Redis."""
    quest.create(FIFO, FifoQueue="true")
    return quest
