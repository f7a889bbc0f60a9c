"""The automatic pipeline on real servers: replies, cancellation, the deadline, losses and returns, bounds, the end."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis.exceptions import ResponseError

from questd import library
from questd.durability import Durability
from questd.pipeline import Pipeline, RedisUnavailable
from tests.servers import DEFAULT, RedisServer, free_port, running
from tests.waiting import until_true

MIB = 2**20

on_both_loops = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
"""For what depends on the order of timers and sockets: tests run on asyncio's own loop, questd on uvloop."""


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """Run a Redis that the test may hurt."""
    with running() as server:
        yield server


@contextlib.asynccontextmanager
async def connected(url: str, **settings: Any) -> AsyncIterator[Pipeline]:
    """Connect a pipeline for the length of the block; afterwards nothing is left of it."""
    pipeline = Pipeline(url, **settings)
    await pipeline.connect()
    try:
        yield pipeline
    finally:
        await pipeline.close()
    assert pipeline._bytes == 0
    assert not [task for task in asyncio.all_tasks() if "Pipeline." in str(task)]


@pytest.fixture
async def pipeline(redis_server: RedisServer) -> AsyncIterator[Pipeline]:
    """Give a pipeline to an empty Redis."""
    async with connected(redis_server.url) as made:
        yield made


def reconnected(pipeline: Pipeline) -> asyncio.Event:
    """Return an event that the next connection sets."""
    event = asyncio.Event()
    pipeline.connects.append(event.set)
    return event


def blocked(server: RedisServer) -> bool:
    """Tell whether a client waits in a blocking command, and so do all commands behind it on its connection."""
    with server.client() as client:
        return bool(client.info("clients")["blocked_clients"])


def kill_connections(server: RedisServer) -> None:
    """Let the server drop all connections."""
    with server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)


class Relay:
    """A port in front of a Redis that can hold what clients send, and drop them."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.passing = asyncio.Event()
        self.passing.set()
        self.clients: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one client's bytes until either side ends."""
        self.clients.append(writer)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(self.copy(reader, server_writer), self.copy(server_reader, writer))

    async def copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one direction."""
        try:
            while data := await reader.read(65536):
                await self.passing.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    def drop(self) -> None:
        """End all clients at once, with what was held."""
        for writer in self.clients:
            writer.transport.abort()
        self.clients.clear()
        self.passing.set()


@contextlib.asynccontextmanager
async def relay(server: RedisServer) -> AsyncIterator[tuple[Relay, str]]:
    """Run a relay in front of a server; gives it and its URL."""
    made = Relay(server.port)
    port = free_port()
    async with await asyncio.start_server(made.serve, "127.0.0.1", port):
        yield made, f"redis://127.0.0.1:{port}"
        made.drop()
        await asyncio.sleep(0.02)


# Replies


async def test_calls_of_one_tick_share_round_trips(pipeline: Pipeline, redis_server: RedisServer) -> None:
    """Redis reads its socket a few times for 400 concurrent calls, and every call gets its own reply."""
    with redis_server.client() as client:
        before = client.info("stats")["total_reads_processed"]
        replies = await asyncio.gather(*(pipeline.call("ECHO", f"n{n}") for n in range(400)))
        reads = client.info("stats")["total_reads_processed"] - before
    assert replies == [b"n%d" % n for n in range(400)]
    assert reads < 10


async def test_calls_of_many_tasks_get_their_replies(pipeline: Pipeline) -> None:
    """Fifty tasks that call again and again never see each other's replies."""

    async def count(key: str) -> list[int]:
        return [await pipeline.call("INCR", key) for _ in range(100)]

    assert await asyncio.gather(*(count(f"k{n}") for n in range(50))) == [list(range(1, 101))] * 50


async def test_arguments_and_replies_are_not_decoded(pipeline: Pipeline) -> None:
    """Bytes, text, integers and floats go out; bytes come back, in RESP2."""
    assert await pipeline.call("RPUSH", "list", b"\xff\x00", "ä", 7, 1.5) == 4
    assert await pipeline.call("LRANGE", "list", 0, -1) == [b"\xff\x00", "ä".encode(), b"7", b"1.5"]
    await pipeline.call("HSET", "hash", "a", 1)
    assert await pipeline.call("HGETALL", "hash") == [b"a", b"1"]
    assert await pipeline.call("GET", "absent") is None


async def test_a_wrong_argument_is_a_mistake_of_the_caller(pipeline: Pipeline) -> None:
    """A command that cannot be packed raises TypeError at once and is not queued."""
    with pytest.raises(TypeError):
        pipeline.call("SET", "k", None)  # type: ignore[arg-type]
    assert await pipeline.call("PING") == b"PONG"


async def test_an_error_harms_no_other_call(pipeline: Pipeline) -> None:
    """An error reply fails its own call only, wherever it stands in a batch or in an array."""
    connection = await pipeline.call("CLIENT", "ID")
    first = pipeline.call("ECHO", "first")
    wrong = pipeline.call("FCALL", "no_such_function", 0)
    nested = pipeline.call("EVAL", "return {1, redis.error_reply('ERR inside')}", 0)
    last = pipeline.call("ECHO", "last")
    with pytest.raises(ResponseError, match="Function not found"):
        await wrong
    assert (await nested)[0] == 1
    assert isinstance((await nested)[1], ResponseError)
    assert (await first, await last) == (b"first", b"last")
    assert await pipeline.call("CLIENT", "ID") == connection


@pytest.mark.parametrize("text", ["LOADING soon", "NOAUTH nobody"])
async def test_an_error_like_a_lost_connection_harms_no_other_call(pipeline: Pipeline, text: str) -> None:
    """Replies that redis-py counts among lost connections mean 503 for their call, and the connection stays."""
    connection = pipeline.call("CLIENT", "ID")
    unavailable = pipeline.call("EVAL", f"return redis.error_reply('{text}')", 0)
    after = pipeline.call("CLIENT", "ID")
    with pytest.raises(RedisUnavailable, match=text.split()[1]):
        await unavailable
    assert await connection == await after


async def test_large_replies_beside_small_ones(pipeline: Pipeline) -> None:
    """Ten replies of 1 MiB and hundreds of small ones on the same connection are all right."""
    body = bytes(range(256)) * 4096
    await pipeline.call("SET", "large", body)
    large = [pipeline.call("GET", "large") for _ in range(10)]
    small = [pipeline.call("ECHO", n) for n in range(300)]
    assert all([await reply == body for reply in large])
    assert [await reply for reply in small] == [b"%d" % n for n in range(300)]


@on_both_loops
def test_a_call_in_the_tick_of_a_loss_is_sent_later(redis_server: RedisServer, loop: Callable[[], Any]) -> None:
    """A call between the end of a connection and the news of it is not written there: the next connection gets it."""

    async def run() -> Any:
        async with connected(redis_server.url) as pipeline:
            await pipeline.call("SET", "number", 0)
            pipeline.leave()
            return await pipeline.call("INCR", "number")

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(run()) == 1


# Callers that have gone


async def test_a_cancelled_caller_leaves_its_command(pipeline: Pipeline) -> None:
    """The command of a cancelled caller runs, `abandoned` gets its reply, and later calls get theirs."""
    replies: list[Any] = []

    async def pop() -> Any:
        return await pipeline.call("LPOP", "list", abandoned=replies.append)

    await pipeline.call("RPUSH", "list", "a", "b", "c")
    gone, staying = asyncio.create_task(pop()), asyncio.create_task(pop())
    await asyncio.sleep(0)
    gone.cancel()
    assert await staying == b"b"
    assert await pipeline.call("LPOP", "list") == b"c"
    assert gone.cancelled()
    assert replies == [b"a"]


async def test_an_error_is_not_given_to_abandoned(pipeline: Pipeline) -> None:
    """An error reply to a cancelled caller is dropped: there is nothing to give back."""
    replies: list[Any] = []
    pipeline.call("FCALL", "no_such_function", 0, abandoned=replies.append).cancel()
    assert await pipeline.call("PING") == b"PONG"
    assert replies == []


async def test_a_mistake_in_abandoned_is_logged(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    """An exception in `abandoned` harms no other call."""
    pipeline.call("PING", abandoned=lambda reply: reply.no_such_attribute).cancel()
    assert await pipeline.call("ECHO", "fine") == b"fine"
    assert "no_such_attribute" in caplog.text


# The deadline


async def test_a_frozen_redis_fails_all_calls_after_the_deadline(own_redis: RedisServer) -> None:
    """Calls fail when Redis is silent for the deadline, new ones at once, and all is well when it thaws."""
    async with connected(own_redis.url, deadline=0.2) as pipeline:
        again = reconnected(pipeline)
        own_redis.process.send_signal(signal.SIGSTOP)
        try:
            start = time.monotonic()
            calls = [pipeline.call("GET", "k", repeat=True), pipeline.call("INCR", "n")]
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert 0.19 < time.monotonic() - start < 2
            assert [str(error) for error in errors] == ["Redis did not answer for 0.2 s"] * 2
            assert not pipeline.connected
            assert isinstance(pipeline.call("PING").exception(), RedisUnavailable)
        finally:
            own_redis.process.send_signal(signal.SIGCONT)
        await asyncio.wait_for(again.wait(), 2)
        assert await pipeline.call("PING") == b"PONG"


async def test_a_slow_redis_is_not_silent(own_redis: RedisServer) -> None:
    """Each reply starts the deadline anew, for the calls behind it too; an idle time does not count."""
    async with connected(own_redis.url, deadline=0.8) as pipeline:
        await asyncio.sleep(0.6)
        calls = [pipeline.call("BLPOP", "absent", 0.3) for _ in range(4)]
        assert await asyncio.gather(*calls) == [None] * 4


@on_both_loops
def test_a_busy_process_is_not_a_silent_redis(
    redis_server: RedisServer, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Doing something else for longer than the deadline costs neither replies that came meanwhile nor the line."""

    async def run() -> None:
        async with connected(redis_server.url, deadline=0.1) as pipeline:
            connection = await pipeline.call("CLIENT", "ID")
            for ticks in range(4):
                call = pipeline.call("PING")
                for _ in range(ticks):
                    await asyncio.sleep(0)
                time.sleep(0.15)  # noqa: ASYNC251  # that is the point
                assert await call == b"PONG"
            assert await pipeline.call("CLIENT", "ID") == connection

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


# Lost connections


async def test_only_calls_that_may_run_twice_are_repeated(own_redis: RedisServer) -> None:
    """After a lost connection the calls with `repeat` are sent again in order; the other written ones fail."""
    async with connected(own_redis.url) as pipeline:
        blocking, write = pipeline.call("BLPOP", "absent", 0), pipeline.call("INCR", "n")
        repeated = [pipeline.call("RPUSH", "list", n, repeat=True) for n in range(3)]
        await until_true(lambda: blocked(own_redis))
        kill_connections(own_redis)
        assert await asyncio.gather(*repeated) == [1, 2, 3]
        for call in (blocking, write):
            with pytest.raises(RedisUnavailable, match="Redis cannot be reached: Connection closed by server"):
                await call
        assert await pipeline.call("LRANGE", "list", 0, -1) == [b"0", b"1", b"2"]
        assert await pipeline.call("GET", "n") is None


async def test_a_call_is_repeated_once(own_redis: RedisServer) -> None:
    """A call that loses its connection a second time fails, so that it cannot bring Redis down for ever."""
    async with connected(own_redis.url) as pipeline:
        call = pipeline.call("BLPOP", "absent", 0, repeat=True)
        for _ in range(2):
            again = reconnected(pipeline)
            await until_true(lambda: blocked(own_redis))
            assert not call.done()
            kill_connections(own_redis)
            await again.wait()
        with pytest.raises(RedisUnavailable):
            await call
        assert await pipeline.call("PING") == b"PONG"


@contextlib.asynccontextmanager
async def proving(server: RedisServer) -> AsyncIterator[Pipeline]:
    """Connect a pipeline that waits for a replica, which there is not, after each quest_send to the queue q."""
    await library.load(server.url, test_mode=False)
    async with connected(server.url, durability=Durability("replicated", 1, frozenset({"quest_send"}))) as pipeline:
        await pipeline.call("FCALL", "quest_create", 1, "quest:{q}", "5ec2e7", 0, 1024, 60)
        await pipeline.call("HSET", "quest:{q}", "version", VERSION)
        yield pipeline


VERSION = "1"
SEND = ("FCALL", "quest_send", 1, "quest:{q}", VERSION, b"0123456789abcdef", "", "", "body", "", "")


async def test_what_is_not_proved_is_taken_back(own_redis: RedisServer) -> None:
    """Without its proof a write fails for its caller, `abandoned` gets its reply, and reads beside it are answered."""
    async with proving(own_redis) as pipeline:
        replies: list[Any] = []
        write = pipeline.call(*SEND, abandoned=replies.append)
        assert await pipeline.call("PING") == b"PONG"
        assert not write.done()
        later = pipeline.call("PING")
        with pytest.raises(RedisUnavailable, match="after 1 s it was on 0 of 1 replicas"):
            await write
        assert len(replies) == 1
        assert not later.done()
        assert await later == b"PONG"


async def test_a_connection_lost_before_the_proof(own_redis: RedisServer) -> None:
    """A write that Redis did and whose proof is lost with the connection fails, or is repeated, as without a reply."""
    async with proving(own_redis) as pipeline:
        replies: list[Any] = []
        once = pipeline.call(*SEND, abandoned=replies.append)
        twice = pipeline.call(*SEND, repeat=True)
        await until_true(lambda: blocked(own_redis))
        kill_connections(own_redis)
        with pytest.raises(RedisUnavailable, match="Redis cannot be reached"):
            await asyncio.wait_for(once, 5)
        await until_true(lambda: blocked(own_redis))
        with pytest.raises(RedisUnavailable, match="0 of 1 replicas"):
            await twice
        assert await pipeline.call("HLEN", "quest:{q}:messages") == 3
        assert replies == []


async def test_close_waits_for_the_proof(own_redis: RedisServer) -> None:
    """A pipeline that is closed lets the callers of writes hear of them first."""
    async with proving(own_redis) as pipeline:
        write = pipeline.call(*SEND)
    assert "0 of 1 replicas" in str(write.exception())


async def test_a_server_that_cannot_promise_is_not_used(own_redis: RedisServer) -> None:
    """A pipeline that is to wait for the disk does not take a server that cannot tell, now or later."""
    pipeline = Pipeline(own_redis.url, durability=Durability("always", 1, frozenset()))
    with pytest.raises(RedisUnavailable, match="Redis cannot be used: this Redis has no append-only file"):
        await pipeline.connect()


async def test_a_call_that_was_not_written_is_sent_on_the_next_connection(redis_server: RedisServer) -> None:
    """Behind a full transport calls stay unwritten, and these survive a lost connection: they run, and once."""
    async with relay(redis_server) as (line, url), connected(url) as pipeline:
        await pipeline.call("PING")
        line.passing.clear()
        calls = [pipeline.call("APPEND", "large", bytes(MIB)) for _ in range(32)]
        await asyncio.sleep(0.05)
        unwritten = len(pipeline._queued)
        assert 0 < unwritten < 32
        line.drop()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(error) for error in results[:-unwritten]} == {RedisUnavailable}
        assert results[-unwritten:] == [n * MIB for n in range(1, unwritten + 1)]


async def test_a_full_transport_blocks_no_replies(redis_server: RedisServer) -> None:
    """Calls wait until the connection takes them, and all are answered then."""
    async with relay(redis_server) as (line, url), connected(url) as pipeline:
        line.passing.clear()
        large = [pipeline.call("ECHO", bytes(MIB)) for _ in range(32)]
        await asyncio.sleep(0.05)
        small = [pipeline.call("ECHO", n) for n in range(100)]
        line.passing.set()
        assert [len(reply) for reply in await asyncio.gather(*large)] == [MIB] * 32
        assert await asyncio.gather(*small) == [b"%d" % n for n in range(100)]


@on_both_loops
def test_redis_goes_and_comes_back(own_redis: RedisServer, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Without Redis calls fail at once, repeated ones too; when it is back, so is the pipeline, by itself."""

    async def run() -> None:
        async with connected(own_redis.url) as pipeline:
            waiting = pipeline.call("BLPOP", "absent", 0, repeat=True)
            await until_true(lambda: blocked(own_redis))
            own_redis.stop()
            with pytest.raises(RedisUnavailable, match="Redis cannot be reached"):
                await waiting
            assert not pipeline.connected
            refused = pipeline.call("GET", "k", repeat=True)
            assert isinstance(refused.exception(), RedisUnavailable)
            again = reconnected(pipeline)
            await asyncio.to_thread(own_redis.start)
            await asyncio.wait_for(again.wait(), 2)
            assert pipeline.connected
            assert await pipeline.call("PING") == b"PONG"

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


async def test_every_connection_is_announced(own_redis: RedisServer) -> None:
    """`connects` are called after the first connection and each later one, and their mistakes harm nothing."""
    told: list[bool] = []
    pipeline = Pipeline(own_redis.url)
    pipeline.connects += [lambda: told.append(pipeline.connected), lambda: told.no_such_attribute]  # type: ignore[attr-defined]
    await pipeline.connect()
    assert told == [True]
    kill_connections(own_redis)
    await until_true(lambda: len(told) > 1)
    assert await pipeline.call("PING") == b"PONG"
    assert told == [True, True]
    await pipeline.close()


async def test_a_loading_redis_is_not_connected() -> None:
    """A Redis that is still reading its data counts as unavailable."""
    with running(DEFAULT, "--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024") as server:
        with server.client() as client:
            client.mset({f"k{n}": "x" * 50 for n in range(1000)})
            client.save()
        async with connected(server.url) as pipeline:
            again = reconnected(pipeline)
            server.stop()
            start = asyncio.create_task(asyncio.to_thread(server.start))
            reasons = set()
            while not again.is_set():
                reasons.add(str((await asyncio.gather(pipeline.call("PING"), return_exceptions=True))[0]))
                await asyncio.sleep(0.005)
            assert any("is loading the dataset in memory" in reason for reason in reasons)
            assert await pipeline.call("DBSIZE") == 1000
            await start


# Bounds


async def test_too_many_calls_are_refused(pipeline: Pipeline) -> None:
    """More than `max_calls` waiting calls are refused at once, until some were answered."""
    pipeline._max_calls = 3
    calls = [pipeline.call("BLPOP", "absent", 0.02) for _ in range(4)]
    with pytest.raises(RedisUnavailable, match="too many calls are waiting for Redis"):
        await calls[3]
    assert await asyncio.gather(*calls[:3]) == [None] * 3
    assert await pipeline.call("PING") == b"PONG"


async def test_too_many_bytes_are_refused(pipeline: Pipeline) -> None:
    """Commands of more than `max_bytes` are refused at once, until some were answered."""
    pipeline._max_bytes = 3 * MIB + 1000
    calls = [pipeline.call("ECHO", bytes(MIB)) for _ in range(4)]
    assert calls[3].done()
    with pytest.raises(RedisUnavailable, match="too many calls are waiting for Redis"):
        await calls[3]
    assert [len(await call) for call in calls[:3]] == [MIB] * 3
    assert await pipeline.call("PING") == b"PONG"


# The end


async def test_close_waits_for_calls_in_flight(redis_server: RedisServer) -> None:
    """Calls in flight get their replies before the connection closes, also those that `abandoned` makes meanwhile."""
    async with connected(redis_server.url, max_calls=2) as pipeline:
        slow = pipeline.call("BLPOP", "absent", 0.05)
        popped: list[asyncio.Future[Any]] = []
        pipeline.call("PING", abandoned=lambda reply: popped.append(pipeline.call("RPUSH", "list", reply))).cancel()
        await pipeline.close()
        assert slow.result() is None
        assert popped[0].result() == 1
        with pytest.raises(RedisUnavailable, match="closed"):
            await pipeline.call("PING")


async def test_close_waits_no_longer_than_the_deadline(redis_server: RedisServer) -> None:
    """A call that Redis never answers fails when the pipeline closes."""
    pipeline = Pipeline(redis_server.url, deadline=0.1)
    await pipeline.connect()
    call = pipeline.call("BLPOP", "absent", 0)
    start = time.monotonic()
    await pipeline.close()
    assert time.monotonic() - start < 2
    with pytest.raises(RedisUnavailable):
        await call


async def test_close_while_redis_is_away(own_redis: RedisServer) -> None:
    """A pipeline that tries to reconnect stops trying."""
    async with connected(own_redis.url) as pipeline:
        own_redis.stop()
        await until_true(lambda: not pipeline.connected)


async def test_close_without_a_connection() -> None:
    """A pipeline that never connected refuses calls and closes like any other."""
    pipeline = Pipeline("redis://127.0.0.1:1")
    with pytest.raises(RedisUnavailable, match="not connected yet"):
        await pipeline.call("PING")
    with pytest.raises(RedisUnavailable, match=r"Redis cannot be reached: .*127\.0\.0\.1:1"):
        await pipeline.connect()
    await pipeline.close()


async def test_refused_connections_are_closed() -> None:
    """A server that is not ready yet is left each time: no connection to it stays."""
    open_now: set[asyncio.StreamWriter] = set()
    made = 0

    async def loading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made
        made += 1
        open_now.add(writer)
        with contextlib.suppress(ConnectionError):  # a connection that is cut off may be a reset
            while await reader.read(100):
                writer.write(b"-LOADING soon\r\n")
        open_now.discard(writer)
        writer.close()

    async with await asyncio.start_server(loading, "127.0.0.1", 0) as server:
        pipeline = Pipeline(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(RedisUnavailable, match="soon"):
            await pipeline.connect()
        pipeline.start()
        await until_true(lambda: made > 4)
        assert len(open_now) <= 1
        await pipeline.close()
        await until_true(lambda: not open_now)


# URLs


async def test_user_password_database_and_unix_socket_come_from_the_url(tmp_path: Path) -> None:
    """TCP and unix URLs carry the password and the database; what the pipeline relies on cannot be changed there."""
    path = tmp_path / "redis.sock"
    with running(DEFAULT, "--unixsocket", str(path)) as server, server.client() as client:
        client.config_set("requirepass", "a:b")
        for url in (
            f"redis://default:a%3Ab@127.0.0.1:{server.port}/3?protocol=3&decode_responses=true&max_connections=5",
            f"unix://:a%3Ab@{path}?db=3&socket_timeout=0.001",
        ):
            async with connected(url) as pipeline:
                # Neither push replies and dictionaries of RESP3 nor a timeout of a single read.
                assert await pipeline.call("BLPOP", "absent", 0.01) is None
                await pipeline.call("HSET", "h", "a", 1)
                assert await pipeline.call("HGETALL", "h") == [b"a", b"1"]
                assert b" db=3 " in await pipeline.call("CLIENT", "INFO")
        with pytest.raises(RedisUnavailable, match="Authentication required"):
            await Pipeline(server.url).connect()


async def test_a_redis_that_refuses_ping_is_there(own_redis: RedisServer) -> None:
    """An ACL that forbids PING neither hinders the connection nor its orderly end."""
    with own_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "minimal", "on", ">secret", "+echo")
    async with connected(own_redis.url.replace("127", "minimal:secret@127")) as pipeline:
        call = pipeline.call("ECHO", "fine")
    assert call.result() == b"fine"


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "redis://localhost?nonsense=1"])
async def test_a_bad_url_is_refused(url: str) -> None:
    """Anything but a Redis URL with known parameters raises ValueError."""
    with pytest.raises(ValueError, match="Redis URL"):
        Pipeline(url)


async def test_a_primary_that_becomes_a_replica(own_redis: RedisServer) -> None:
    """A server that refuses writes is left at once: the next connection may find another one."""
    async with connected(own_redis.url) as pipeline:
        again = reconnected(pipeline)
        with own_redis.client() as client:
            client.replicaof("127.0.0.1", 1)
        with pytest.raises(RedisUnavailable, match="read only replica"):
            await pipeline.call("INCR", "n")
        await asyncio.wait_for(again.wait(), 2)


async def test_what_is_behind_a_refused_write(own_redis: RedisServer) -> None:
    """Replies behind the one that says that this is no primary are nobody's: their calls are made anew, or fail."""
    async with connected(own_redis.url) as pipeline:
        await pipeline.call("SET", "k", "v")
        with own_redis.client() as client:
            client.replicaof("127.0.0.1", 1)
        write, again, once = pipeline.call("INCR", "n"), pipeline.call("GET", "k", repeat=True), pipeline.call("PING")
        assert await again == b"v"
        for call in (write, once):
            with pytest.raises(RedisUnavailable, match="read only replica"):
                await call


async def test_where_to_connect_is_asked_every_time(own_redis: RedisServer) -> None:
    """With `find` the server is looked for before each connection, and a replica is refused."""
    with running() as other:
        found = [own_redis.url, other.url, other.url]

        async def find() -> str:
            return found.pop(0) if len(found) > 1 else found[0]

        pipeline = Pipeline("redis://nowhere", find=find)
        await pipeline.connect()
        try:
            await pipeline.call("SET", "k", "one")
            again = reconnected(pipeline)
            lost: list[str] = []
            pipeline.losses.append(lambda: lost.append(pipeline._down or ""))
            with other.client() as client:
                client.replicaof("127.0.0.1", 1)
                own_redis.stop()
                await until_true(lambda: len(lost) > 1)
                assert lost[1] == "Redis cannot be reached: it is a replica, no primary"
                client.replicaof("NO", "ONE")
            await asyncio.wait_for(again.wait(), 2)
            assert await pipeline.call("GET", "k") is None
        finally:
            await pipeline.close()
