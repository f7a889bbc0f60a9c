"""The only primary of a server: it has every key, and work with it goes on as long as it is there."""

import asyncio

from questd import addresses
from questd.pipeline import Pipeline
from questd.primaries import LEASE, Primaries, Primary, client_of
from tests.servers import RedisServer


async def test_one_primary_has_every_key(redis_server: RedisServer) -> None:
    """A single server is the primary of all keys, and is called without detour."""
    primaries = Primaries(addresses.read(redis_server.url))
    await primaries.connect()
    [primary] = primaries.all
    assert (primary.name, primary.lease, primary.url) == ("", LEASE, redis_server.url)
    assert primary.has("quest:{a}")
    assert primaries.of("quest:{a}") is primary
    assert primaries.call == primary.pipeline.call
    assert await primaries.urls() == [redis_server.url]
    await primaries.close()


async def test_work_with_each_primary() -> None:
    """Work begins with every primary that comes, and ends with every one that goes; others are left alone."""
    primaries, running = Primaries(addresses.read("redis://host")), list[str]()

    async def work(primary: Primary) -> None:
        running.append(primary.name)
        try:
            await asyncio.Event().wait()
        finally:
            running.remove(primary.name)

    one, two, three = (Primary("redis://host", Pipeline("redis://host"), name) for name in ("one", "two", "three"))
    primaries.all = [one, two]
    task = asyncio.create_task(primaries.with_each(work))
    for there in ([one, two], [two, three], []):
        primaries.all = there
        primaries._changed()
        await asyncio.sleep(0.01)
        assert sorted(running) == sorted(primary.name for primary in there)
    task.cancel()
    await asyncio.wait({task})
    assert primaries.changes == []


async def test_a_url_shared_with_others(redis_server: RedisServer) -> None:
    """How other clients of the same URL want their replies changes nothing here; its other parameters count."""
    url = f"{redis_server.url}?protocol=3&decode_responses=true&client_name=shop"
    async with client_of(url, seconds=1) as client:
        assert await client.execute_command("CONFIG", "GET", "maxmemory-samples") == [b"maxmemory-samples", b"5"]
        assert await client.execute_command("CLIENT", "GETNAME") == b"shop"
        await client.execute_command("SUBSCRIBE", "quest:grants")
