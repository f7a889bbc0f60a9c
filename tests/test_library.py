"""The library in a Redis: loaded, replaced, refused, taken out alone, and back when it was gone."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from questd import library, server, source
from questd.settings import Settings
from tests.client import Sqs, serving
from tests.servers import BINARIES, RedisServer, free_port, running
from tests.test_sentinel import answers, sentinel
from tests.waiting import until

OTHER = "#!lua name=other\nredis.register_function('other', function() return 'other' end)"


def newer(version: int) -> str:
    """Return a library of another version."""
    return f"#!lua name=quest\nredis.register_function('quest_version', function() return {{{version}, 1}} end)"


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """Give a client of a Redis without functions, and leave none there."""
    with redis_server.client() as made:
        made.function_flush()
        yield made
        made.function_flush()


def test_a_queue_has_one_slot() -> None:
    """The name is the hash tag of the key."""
    assert library.key_of("orders") == "quest:{orders}"


async def test_loading_is_idempotent(redis_server: RedisServer, client: redis.Redis) -> None:
    """Loading once or twice is the same."""
    for _ in range(2):
        await library.load(redis_server.url, test_mode=False)
        assert client.fcall("quest_version", 0) == [source.version(), 2]


async def test_an_older_library_is_replaced_and_a_newer_one_refused(
    redis_server: RedisServer, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A questd never puts its library in the place of a newer one, and says that it replaces an older one."""
    caplog.set_level("INFO")
    client.function_load(newer(-1), replace=True)
    await library.load(redis_server.url, test_mode=False)
    assert caplog.messages == [f"version -1 of the library gives way to version {source.version()}"]
    assert client.fcall("quest_version", 0)[0] == source.version()
    client.function_load(newer(source.version() + 1), replace=True)
    with pytest.raises(library.LibraryRefused, match="newer questd"):
        await library.load(redis_server.url, test_mode=False)
    assert client.fcall("quest_version", 0)[0] == source.version() + 1


@pytest.mark.parametrize("name", sorted(BINARIES))
async def test_a_server_of_another_kind(name: str, tmp_path: Path) -> None:
    """A node of a Cluster, or a Sentinel, that a URL takes for a Redis of its own is refused as what it is."""
    if (binary := BINARIES[name]) is None:
        pytest.skip(f"{name} is not installed")
    a_node, a_sentinel = r"one node of a Redis Cluster, .*: use redis\+cluster://", r"a Sentinel, .* redis\+sentinel://"
    with (
        running(binary, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as node,
        pytest.raises(library.LibraryRefused, match=a_node),
    ):
        await library.load(node.url, test_mode=False)
    with sentinel(tmp_path, free_port(), binary=binary) as port, redis.Redis(port=port, protocol=2) as asked:
        until(lambda: answers(asked, "PING"))
        with pytest.raises(library.LibraryRefused, match=a_sentinel):
            await library.load(f"redis://127.0.0.1:{port}", test_mode=False)


async def test_old_and_new_share_a_redis(redis_server: RedisServer, client: redis.Redis) -> None:
    """While questds are replaced one by one, the old ones go on with the new library and leave it where it is."""
    number = source.version()
    text = source.text(test_mode=True).replace(f"local VERSION = {number} ", f"local VERSION = {number + 1} ")
    async with serving(redis_server.url) as sqs:
        url = await sqs.create()
        client.function_load(text, replace=True)
        await sqs("SendMessage", QueueUrl=url, MessageBody="x")
        [message] = await sqs.receive(url)
        await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        async with sqs.session.get(f"{sqs.url}/health/ready") as response:
            assert response.status == 200
        assert client.fcall("quest_version", 0)[0] == number + 1


async def test_an_older_library_that_came_back(redis_server: RedisServer, client: redis.Redis) -> None:
    """Where the library was lost and an older questd loaded its own, the next look at readiness puts that right."""
    async with serving(redis_server.url) as sqs:
        client.function_load(newer(source.version() - 1), replace=True)
        async with sqs.session.get(f"{sqs.url}/health/ready") as response:
            assert response.status == 200
        assert client.fcall("quest_version", 0)[0] == source.version()


async def test_unloading_takes_only_ours(redis_server: RedisServer, client: redis.Redis) -> None:
    """Another library stays, messages stay, and unloading what is not there is no error."""
    client.function_load(OTHER)
    await library.load(redis_server.url, test_mode=False)
    client.fcall("sendMessage", 1, "q", "x")
    for _ in range(2):
        await library.unload(redis_server.url, force=False)
        assert client.fcall("other", 0) == b"other"
        with pytest.raises(redis.ResponseError, match="Function not found"):
            client.fcall("quest_version", 0)
    await library.load(redis_server.url, test_mode=False)
    assert len(client.fcall("getMessage", 1, "q", 1)) == 1


async def test_unloading_under_a_running_questd(redis_server: RedisServer, client: redis.Redis) -> None:
    """While a questd has the lease unloading is refused, but for --force."""
    async with serving(redis_server.url):
        while not client.fcall("quest_holder", 1, "quest:lease"):
            await asyncio.sleep(0.005)
        with pytest.raises(library.LibraryRefused, match="a questd is running"):
            await library.unload(redis_server.url, force=False)
        await library.unload(redis_server.url, force=True)


async def test_a_library_that_is_gone_comes_back(sqs: Sqs, redis_server: RedisServer) -> None:
    """FUNCTION FLUSH under a running questd harms no request, however many come together."""
    url = await sqs.create()
    with redis_server.client() as client:
        client.function_flush()
    await asyncio.gather(*(sqs("SendMessage", QueueUrl=url, MessageBody="x") for _ in range(20)))
    assert await sqs.counts(url) == (20, 0, 0)


async def test_what_nobody_waits_for(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """A call for whose outcome nobody waits is logged when it fails, unless its queue was deleted meanwhile."""
    await library.load(redis_server.url, test_mode=False)
    async with server.connected(Settings(redis_url=redis_server.url), "test") as questd:
        for arguments in (), ("odd",):
            questd.library.send("quest_pass", library.key_of("gone"), *arguments)
        await asyncio.gather(*questd.library._sent, return_exceptions=True)
        await asyncio.sleep(0)
    [told] = [each for each in caplog.messages if "background" in each]
    assert told.startswith("a call in the background failed: ")


async def test_a_full_redis_refuses_sends_and_lets_consumers_empty_it(sqs: Sqs, redis_server: RedisServer) -> None:
    """Out of memory, a send is a 503 and a receive and a delete go on."""
    url = await sqs.create()
    await sqs("SendMessage", QueueUrl=url, MessageBody="x")
    with redis_server.client() as client:
        client.config_set("maxmemory", "1mb")
        try:
            reply = await sqs.ask("SendMessage", QueueUrl=url, MessageBody="x")
            assert reply.error[:3] == (503, "ServiceUnavailable", "ServiceUnavailable")
            [message] = await sqs.receive(url)
            await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        finally:
            client.config_set("maxmemory", "0")
    assert await sqs.counts(url) == (0, 0, 0)
