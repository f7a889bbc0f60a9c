"""Many concurrent calls, few round trips: the automatic pipeline on one redis-py connection.

What one tick of the event loop queues is written together; replies come back in order. It owns the connection, its
deadline, its bounds and its return after a loss. It knows commands and replies, not what they mean.
"""

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, RedisError, ResponseError

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
"""How long a TCP or TLS connection may take."""

FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.5
"""Seconds between attempts to connect: doubling from the first to the longest."""

GRACE = 0.02
"""Seconds for replies that arrived while this process was busy to be read before Redis counts as silent."""

PING = pack_command(("PING",))


class RedisUnavailable(Exception):
    """Redis cannot do it now, or did it and could not say so; the text says why."""


class _Call:
    """One command that waits for its reply."""

    __slots__ = ("abandoned", "future", "packed", "repeat")

    def __init__(
        self, future: asyncio.Future[Any], packed: bytes, repeat: bool, abandoned: Callable[[Any], None] | None
    ) -> None:
        self.future = future
        self.packed = packed
        self.repeat = repeat
        self.abandoned = abandoned

    def answer(self, reply: Any) -> None:  # noqa: ANN401  # whatever Redis says
        """Hand over the reply, or give it to `abandoned` when the caller has gone."""
        if not self.future.done():
            self.future.set_result(reply)
        elif self.abandoned:
            _tell(self.abandoned, reply)

    def fail(self, error: Exception) -> None:
        """Raise the error for the caller, if he is still there."""
        if not self.future.done():
            self.future.set_exception(error)


def _tell(listener: Callable[..., None], *news: object) -> None:
    """Call somebody else's code, whose mistakes must not end the pipeline."""
    try:
        listener(*news)
    except Exception:
        log.exception("%r failed", listener)


def _connection(url: str) -> AbstractConnection:
    arguments: dict[str, Any] = dict(parse_url(url))
    kind: type[AbstractConnection] = arguments.pop("connection_class", Connection)
    arguments.pop("max_connections", None)  # for a pool, in a URL that other clients share
    fixed = {
        "protocol": 2,
        "decode_responses": False,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "health_check_interval": 0,
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_SECONDS,
    }
    try:
        return kind(**arguments | fixed)
    except TypeError as error:
        raise ValueError(f"the Redis URL has a parameter that a connection does not know: {error}") from error


class Pipeline:
    """The shared connection to the Redis at `url`.

    `deadline`: seconds without any reply after which all waiting calls fail. `max_calls`, `max_bytes`: how many calls, and
    bytes of their commands, may wait for replies. Raises ValueError when the URL is none of Redis.
    """

    def __init__(
        self, url: str, *, deadline: float = 5.0, max_calls: int = 10_000, max_bytes: int = 256 * 2**20
    ) -> None:
        self.connects: list[Callable[[], None]] = []
        """Called after every successful connection, the first one too."""
        self._deadline = deadline
        self._max_calls = max_calls
        self._max_bytes = max_bytes
        self._connection = _connection(url)
        self._down: str | None = "Redis cannot be reached: not connected yet"
        self._queued: list[_Call] = []
        self._written: deque[_Call] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._progress = 0.0  # loop time of the last reply, or of the first call after an idle time
        self._keeper: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether calls are taken now."""
        return self._down is None

    async def connect(self) -> None:
        """Connect for the first time, and stay connected from then on; raises RedisUnavailable."""
        await self._open()
        self._keeper = asyncio.create_task(self._keep())

    def call(
        self, *command: bytes | str | float, repeat: bool = False, abandoned: Callable[[Any], None] | None = None
    ) -> asyncio.Future[Any]:
        """Queue one command, a word per argument; the future gives its reply.

        It raises ResponseError when the reply is an error, RedisUnavailable when there is none. `repeat`: the command may
        run twice, so it is sent again after a lost connection. The command of a caller that was cancelled runs all the
        same, and `abandoned` gets its reply, unless that is an error or the caller was cancelled only after it came.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        packed = pack_command(command)
        waiting = len(self._queued) + len(self._written)
        if self._down is not None:
            future.set_exception(RedisUnavailable(self._down))
        elif waiting >= self._max_calls or self._bytes + len(packed) > self._max_bytes:
            future.set_exception(RedisUnavailable("too many calls are waiting for Redis"))
        else:
            if not waiting:
                self._progress = loop.time()
            self._bytes += len(packed)
            self._queued.append(_Call(future, packed, repeat, abandoned))
            self._wake.set()
        return future

    async def close(self) -> None:
        """Wait for the calls in flight, at most for the deadline, and disconnect."""
        try:
            with contextlib.suppress(TimeoutError, RedisUnavailable):
                async with asyncio.timeout(self._deadline):
                    await self._replied()
        finally:
            unanswered = bool(self._queued or self._written)
            if self._keeper:
                self._keeper.cancel()
                await asyncio.wait({self._keeper})
            self._fail_all("Redis cannot be reached: the connection was closed")
            with contextlib.suppress(RedisError):
                await self._connection.disconnect(nowait=unanswered)

    async def _replied(self) -> None:
        """Return when nothing waits: replies are in order, so the one to a PING comes behind all others."""
        self._max_calls += 1  # room for the PING
        self._max_bytes += len(PING)
        while self._queued or self._written:
            with contextlib.suppress(ResponseError):
                await self.call("PING")

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                await self._handshake()
        except TimeoutError as error:
            raise self._silence() from error
        except Exception as error:
            raise RedisUnavailable(f"Redis cannot be reached: {error}") from error
        self._down = None
        self._progress = asyncio.get_running_loop().time()
        for listener in self.connects:
            _tell(listener)

    async def _handshake(self) -> None:
        try:
            await self._connection.connect()
            await self._connection.send_packed_command(PING, check_health=False)
            # A server that is still loading its data says so here. One whose ACL forbids PING is there.
            with contextlib.suppress(NoPermissionError):
                await self._connection.read_response(timeout=math.inf)
        except BaseException:
            await self._connection.disconnect(nowait=True)
            raise

    def _silence(self) -> RedisUnavailable:
        return RedisUnavailable(f"Redis did not answer for {self._deadline:g} s")

    async def _keep(self) -> None:
        """Use one connection after the other."""
        while True:
            self._lose(await self._session())
            await self._connection.disconnect(nowait=True)
            await self._reconnect()

    async def _session(self) -> BaseException | None:
        """Write, read and watch until one of them fails; return why."""
        tasks = [asyncio.create_task(work) for work in (self._write(), self._read(), self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().exception()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        send, wake, written = self._connection.send_packed_command, self._wake, self._written
        while True:
            await wake.wait()
            wake.clear()
            calls, self._queued = self._queued, []
            written.extend(calls)
            await send([call.packed for call in calls], check_health=False)

    async def _read(self) -> None:
        read, written, time = self._connection.read_response, self._written, asyncio.get_running_loop().time
        while True:
            try:
                reply = await read(timeout=math.inf, disconnect_on_error=False)
            except ResponseError as error:
                call = written.popleft()
                call.fail(error)
            except RedisConnectionError as error:
                # redis-py raises LOADING, MASTERDOWN and NOAUTH like lost connections; only a reply has a code.
                if error.status_code is None:
                    raise
                call = written.popleft()
                call.fail(RedisUnavailable(f"Redis cannot do it now: {error}"))
            else:
                call = written.popleft()
                call.answer(reply)
            self._bytes -= len(call.packed)
            self._progress = time()

    async def _watch(self) -> None:
        """Fail when calls wait and no reply came for the deadline."""
        time = asyncio.get_running_loop().time
        while True:
            progress = self._progress if self._queued or self._written else time()
            left = progress + self._deadline - time()
            await asyncio.sleep(left if left > 0 else GRACE)
            if left <= 0 and progress == self._progress:
                raise self._silence()

    def _lose(self, lost: BaseException | None) -> None:
        """Fail what may have run and must not run twice; queue the rest for the next connection."""
        if isinstance(lost, RedisUnavailable):
            self._fail_all(str(lost))
        else:
            written = [*self._written]
            self._written.clear()
            self._down = f"Redis cannot be reached: {lost}"
            self._fail([call for call in written if not call.repeat])
            again = [call for call in written if call.repeat]
            for call in again:
                call.repeat = False
            self._queued = again + self._queued
            self._wake.set()
        log.warning("connection lost: %s", self._down)

    async def _reconnect(self) -> None:
        pause = FIRST_PAUSE
        while not self.connected:
            try:
                await self._open()
            except RedisUnavailable as error:
                self._fail_all(str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        log.info("connected to Redis again")

    def _fail_all(self, reason: str) -> None:
        """Fail all calls that wait, and those to come, until Redis is back."""
        self._down = reason
        waiting = [*self._written, *self._queued]
        self._written.clear()
        self._queued = []
        self._fail(waiting)

    def _fail(self, calls: list[_Call]) -> None:
        for call in calls:
            self._bytes -= len(call.packed)
            call.fail(RedisUnavailable(self._down))
