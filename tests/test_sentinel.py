"""questd on a primary that a real Sentinel watches: found at the start, and again after every failover."""

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from questd import library
from questd.pipeline import RedisUnavailable
from tests.client import serving
from tests.servers import DEFAULT, RedisServer, free_port, running
from tests.test_cluster import Gated, loaded
from tests.test_server import Client, History
from tests.waiting import until, until_so

SILENCE_MS = 500
"""After so long a silent server is taken for dead."""


@dataclass
class Watched:
    """A primary, its replica, and the Sentinel that watches them."""

    primary: RedisServer
    replica: RedisServer
    sentinel: int
    client: Any

    @property
    def url(self) -> str:
        """The URL by which questd finds the primary; the first Sentinel in it is not there."""
        return f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{self.sentinel}/main/1"

    def replicated(self) -> bool:
        """Tell whether all that the primary has done is on its replica."""
        with self.primary.client() as one, self.replica.client() as two:
            primary, replica = one.info("replication"), two.info("replication")
        return bool(primary["master_repl_offset"] == replica["master_repl_offset"])

    def fail_over(self) -> None:
        """Have the Sentinel swap the two, which go on running, as soon as it thinks well enough of the replica."""
        until(lambda: answers(self.client, "SENTINEL", "FAILOVER", "main"))


def is_primary(server: RedisServer) -> bool:
    """Tell whether a server says that it is a primary."""
    with server.client() as client:
        return bool(client.execute_command("ROLE")[0] == b"master")


@contextlib.contextmanager
def sentinel(directory: Path, primary: int, *more: str, binary: str = DEFAULT) -> Iterator[int]:
    """Run a Sentinel of a primary's port for the length of the block, with more lines in its file; gives its own."""
    port = free_port()
    file = directory / "sentinel.conf"
    watch = {"monitor main": f"127.0.0.1 {primary} 1", "down-after-milliseconds main": SILENCE_MS}
    lines = [f"sentinel {name} {value}" for name, value in (watch | {"failover-timeout main": 5000}).items()]
    file.write_text("\n".join([f"port {port}", "bind 127.0.0.1", f"dir {directory}", *lines, *more, ""]))
    command = [binary, str(file), "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Run a primary, a replica and a Sentinel that knows both."""
    with running(DEFAULT, "--repl-diskless-sync-delay", "0") as primary:
        follow = ("--replicaof", f"127.0.0.1 {primary.port}")
        with running(DEFAULT, "--repl-diskless-sync-delay", "0", *follow) as replica, replica.client() as client:
            until(lambda: client.info("replication")["master_link_status"] == "up")
            with sentinel(tmp_path, primary.port) as port, redis.Redis(port=port, protocol=2) as asked:
                made = Watched(primary, replica, port, asked)
                until(lambda: answers(asked, "SENTINEL", "REPLICAS", "main"))
                yield made


def answers(client: Any, *command: str) -> bool:
    """Tell whether a command succeeds."""
    try:
        return bool(client.execute_command(*command))
    except redis.RedisError:
        return False


async def test_the_primary_dies_under_load(watched: Watched) -> None:
    """The primary is killed under load and the replica takes over: nothing acknowledged is lost, nothing given wrongly.

    What a primary has acknowledged and not yet sent to its replica, Redis itself loses: so that everything counts here,
    clients hold their breath until the replica has it, and go on in the moment of the kill.
    """
    bodies = [str(number) for number in range(2000)]
    async with serving(watched.url, test_mode=False) as sqs:
        client, history = Gated(sqs), History()
        url = await sqs.create("load")
        await sqs("SendMessage", QueueUrl=url, MessageBody="delayed", DelaySeconds=4)
        load = loaded(client, url, history, bodies, len(bodies) + 1)
        while len(history.deleted) < 300:
            await asyncio.sleep(0.005)
        client.gate.clear()

        async def safe() -> bool:
            return client.busy == 0 and watched.replicated()

        await until_so(safe)
        assert len(history.deleted) < len(bodies)
        watched.primary.stop()
        client.gate.set()
        await asyncio.wait_for(asyncio.gather(*load), 40)
        history.check({*bodies, "delayed"})
        assert client.refused == {url}


async def test_a_failover_under_a_long_poll(watched: Watched) -> None:
    """When primary and replica swap, requests go to the new primary at once, and who waited is woken there.

    The old one goes on taking writes for seconds, until the Sentinel makes a replica of it: those would be lost.
    """
    async with serving(watched.url) as sqs:
        url = await sqs.create()
        poll = asyncio.create_task(sqs.receive(url, WaitTimeSeconds=20))
        with redis.Redis(port=watched.replica.port, db=1, protocol=2) as client:

            async def registered() -> bool:
                return bool(client.exists("quest:{q}:waiting"))

            async def on_the_new_one() -> bool:
                promoted, before = is_primary(watched.replica), client.hlen("quest:{q}:messages")
                await Client(sqs.session, [sqs.url]).ask("SendMessage", QueueUrl=url, MessageBody="x")
                return promoted and client.hlen("quest:{q}:messages") > before

            await until_so(registered)
            watched.fail_over()
            await until_so(on_the_new_one, 10)
            assert is_primary(watched.primary)
            assert await asyncio.wait_for(poll, 5)
            before = client.hlen("quest:{q}:messages")
            for _ in range(20):
                await sqs("SendMessage", QueueUrl=url, MessageBody="x")
            assert client.hlen("quest:{q}:messages") == before + 20


async def test_nobody_knows_the_primary(watched: Watched) -> None:
    """Without a Sentinel that answers and knows the service, the problem is told."""
    with pytest.raises(RedisUnavailable, match="no Sentinel tells where other is: No such master with that name"):
        await library.load(f"redis+sentinel://127.0.0.1:{watched.sentinel}/other", test_mode=False)
    with pytest.raises(RedisUnavailable, match=r"no Sentinel tells where main is: .*Connect call failed"):
        await library.load(f"redis+sentinel://127.0.0.1:{free_port()}/main", test_mode=False)


async def test_a_sentinel_that_is_behind(watched: Watched) -> None:
    """A server that a Sentinel takes for the primary, and that is a replica, is not used: 503 until there is one."""
    async with serving(watched.url) as sqs:
        await sqs.create()
        with watched.primary.client() as client:
            client.replicaof("127.0.0.1", watched.replica.port)
            client.client_kill_filter(_type="normal", skipme=True)

            async def refused() -> bool:
                reply = await sqs.ask("SendMessage", QueueUrl="q", MessageBody="x")
                assert reply.status in {200, 503}
                return "it is a replica, no primary" in reply.json.get("message", "")

            await until_so(refused)


async def test_replicas_have_what_is_answered(watched: Watched) -> None:
    """With durability replicated a send waits for the replica, before and after a failover."""
    async with serving(watched.url, durability="replicated") as sqs:
        await sqs.create()
        for primary, replica in ((watched.primary, watched.replica), (watched.replica, watched.primary)):
            async with asyncio.timeout(20):
                while (await sqs.ask("SendMessage", QueueUrl="q", MessageBody="x")).status != 200:
                    await asyncio.sleep(0.05)
            assert stored(replica) == stored(primary)
            with primary.client() as client:
                assert client.info("commandstats")["cmdstat_wait"]["calls"] > 1  # the first asks whether it may
            if primary is watched.primary:
                watched.fail_over()
                await asyncio.to_thread(until, lambda: is_primary(watched.replica))
                with watched.primary.client() as client:  # the Sentinel would tell it so 8 s later
                    client.replicaof("127.0.0.1", watched.replica.port)


def stored(server: RedisServer) -> int:
    """Return how many messages the queue q has on a server, in the database of the URL."""
    with redis.Redis(port=server.port, db=1, protocol=2) as client:
        return int(client.hlen("quest:{q}:messages"))


async def test_users_of_their_own(tmp_path: Path) -> None:
    """A Sentinel and the server that it watches may have different passwords."""
    with running(DEFAULT) as primary, primary.client() as client:
        client.config_set("requirepass", "ofServers")
        client.auth("ofServers")
        with sentinel(tmp_path, primary.port, "sentinel auth-pass main ofServers", "requirepass ofSentinels") as port:
            url = f"redis+sentinel://:ofServers@127.0.0.1:{port}/main"

            async def loaded() -> bool:
                try:
                    await library.load(f"{url}?sentinel_password=ofSentinels", test_mode=False)
                except RedisUnavailable:  # it is starting
                    return False
                return bool(client.fcall("quest_version", 0))

            await until_so(loaded)
            with pytest.raises(RedisUnavailable, match="no Sentinel tells where main is: Authentication required"):
                await library.load(url, test_mode=False)
