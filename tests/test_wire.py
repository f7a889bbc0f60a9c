"""One connection to a Redis: how it is made, what it says when it cannot be, how it ends. More: test_pipeline.py."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from questd import wire
from questd.wire import Address, Wire
from tests.servers import RedisServer, free_port


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Wire]:
    """Connect for the length of the block."""
    made = await Address(url).connect()
    try:
        yield made
    finally:
        made.end(RedisConnectionError("the test is over"))


async def test_first_commands_are_asked_one_by_one(redis_server: RedisServer) -> None:
    """Before anybody takes the replies, a command can be asked and its error is raised."""
    async with connected(f"{redis_server.url}/2?client_name=me") as made:
        assert await made.ask("PING") == b"PONG"
        with pytest.raises(ResponseError, match="unknown command"):
            await made.ask("NONSENSE")
        assert b" name=me " in await made.ask("CLIENT", "INFO")
        assert b" db=2 " in await made.ask("CLIENT", "INFO")


async def test_replies_come_in_order(redis_server: RedisServer) -> None:
    """Whoever takes the replies gets each once it is whole, in the order of the commands."""
    async with connected(redis_server.url) as made:
        taken: list[Any] = []
        done = asyncio.Event()

        def take(reply: Any) -> None:
            taken.append(reply)
            if len(taken) == 102:
                done.set()

        made.take = take
        large = b"x" * 2**20
        echo = b"*2\r\n$4\r\nECHO\r\n$%d\r\n%b\r\n"
        made.write([echo % (len(large), large)])
        made.write([echo % (len(b"%d" % i), b"%d" % i) for i in range(100)])
        made.write([b"*1\r\n$4\r\nOOPS\r\n"])
        await asyncio.wait_for(done.wait(), 5)
        assert taken[:-1] == [large, *(b"%d" % i for i in range(100))]
        assert isinstance(taken[-1], ResponseError)


async def test_nobody_there(tmp_path: Path) -> None:
    """Who cannot be reached is named, as people write addresses."""
    port = free_port()
    with pytest.raises(OSError, match=f"^127.0.0.1:{port}: Connection refused$"):
        await Address(f"redis://127.0.0.1:{port}").connect()
    with pytest.raises(OSError, match=f"^{tmp_path}/no: No such file or directory$"):
        await Address(f"unix://{tmp_path}/no").connect()


async def test_somebody_else_there() -> None:
    """A server that speaks something else is left, with a word about it."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        made = await Address(f"redis://127.0.0.1:{port}").connect()
        with pytest.raises(RedisConnectionError, match="this is no Redis"):
            await made.ask("PING")


async def test_the_other_side_ends_it(redis_server: RedisServer) -> None:
    """Whoever asks, and whoever waits for its end, hears why a connection ended."""
    async with connected(redis_server.url) as made:
        number = await made.ask("CLIENT", "ID")
        asked = asyncio.create_task(made.ask("BLPOP", "absent", 0))
        with redis_server.client() as client:
            while b"cmd=blpop" not in client.execute_command("CLIENT", "LIST", "ID", number, NEVER_DECODE=True):
                await asyncio.sleep(0.002)
            client.client_kill_filter(_id=number)
        with pytest.raises(RedisConnectionError, match="Connection closed by server"):
            await asked
        assert isinstance(await made.lost, RedisConnectionError)


async def test_what_is_taken_may_end_it(redis_server: RedisServer) -> None:
    """Whoever ends a connection while he takes a reply gets none of the others that came with it."""
    async with connected(redis_server.url) as made:
        taken: list[Any] = []

        def take(reply: Any) -> None:
            taken.append(reply)
            made.end(RedisConnectionError("enough"))

        made.take = take
        made.write([b"*1\r\n$4\r\nPING\r\n"] * 3)
        assert str(await made.lost) == "enough"
        await asyncio.sleep(0)
        assert taken == [b"PONG"]


async def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and says nothing is left, also when it is to be logged in to."""
    monkeypatch.setattr(wire, "CONNECT_SECONDS", 0.05)
    gone = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(OSError, match=f"^127.0.0.1:{port}: it does not answer$"):
            await Address(f"redis://:password@127.0.0.1:{port}").connect()
        await asyncio.wait_for(gone.wait(), 5)
