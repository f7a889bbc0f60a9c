"""One connection to a Redis: commands out as they come, replies in, in their order, as RESP2 has them.

It connects as the URL says, and has hiredis' parser under a protocol of its own: redis-py's Connection, a stream with
a coroutine for every reply, took a tenth of all that a request costs. It knows nothing of what is asked.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, DefaultParser, SSLConnection, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError

CONNECT_SECONDS = 5.0
"""How long a connection may take, with all that has to be said before it is used."""

GOODBYE_SECONDS = 0.5
"""How long the end of a connection may take: what is still to be sent, and TLS's own goodbye."""

WAITING_BYTES = 2**20
"""What may wait in the transport before it wants no more; it cannot be taken back from there."""

UNFINISHED = object()

Take = Callable[[Any], None]
"""Takes one reply; an error is an exception."""


class Wire(asyncio.Protocol):
    """A connection, once `connect` gave it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[BaseException] = loop.create_future()
        """Why it is no more, once it is."""
        self.take: Take = self._take_first
        """Gets every reply."""
        self.resumed: Callable[[], None] = lambda: None
        """Called when the transport wants more again."""
        self.is_full = False
        """Whether the transport wants no more."""
        self._gone = asyncio.Event()
        self._first: asyncio.Future[Any] = loop.create_future()
        self._reader = hiredis.Reader(replyError=DefaultParser.parse_error, notEnoughData=UNFINISHED)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WAITING_BYTES)
        made = transport.get_extra_info("socket")
        if made is not None and made.family != socket.AF_UNIX:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """Hand over the replies that are whole."""
        reader = self._reader
        reader.feed(data)
        try:
            while not self.lost.done() and (reply := reader.gets()) is not UNFINISHED:
                self.take(reply)
        except hiredis.ProtocolError as error:
            self.end(RedisConnectionError(f"this is no Redis: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        """Tell why, unless that is known."""
        self.end(error or RedisConnectionError("Connection closed by server."))
        self._gone.set()

    def pause_writing(self) -> None:
        """Say that it is enough."""
        self.is_full = True

    def resume_writing(self) -> None:
        """Say that more can come."""
        self.is_full = False
        self.resumed()

    @property
    def wants_more(self) -> bool:
        """Whether commands can be sent now."""
        return not (self.is_full or self.lost.done())

    def write(self, packed: Sequence[bytes]) -> None:
        """Send commands."""
        self._transport.write(packed[0] if len(packed) == 1 else b"".join(packed))

    def end(self, why: BaseException, *, unsent: bool = False) -> None:
        """End it, for this reason; what it has not sent yet is dropped unless it may still be sent (`unsent`)."""
        if not self.lost.done():
            self.lost.set_result(why)
        (self._transport.close if unsent else self._transport.abort)()

    async def gone(self) -> None:
        """Return when what was ended is closed: TLS says goodbye first, for which it has GOODBYE_SECONDS."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._gone.wait()
        self._transport.abort()

    async def ask(self, *command: bytes | str | int) -> Any:  # noqa: ANN401  # whatever Redis says
        """Return the reply to one of the first commands; raises an error reply, or why the connection was lost."""
        self._first = asyncio.get_running_loop().create_future()
        self.write([hiredis.pack_command(command)])  # type: ignore[arg-type]  # the stub forgot the dots of tuple[…, ...]
        await asyncio.wait({self._first, self.lost}, return_when=asyncio.FIRST_COMPLETED)
        reply = self._first.result() if self._first.done() else self.lost.result()
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def _take_first(self, reply: object) -> None:
        if not self._first.done():
            self._first.set_result(reply)


class Node(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{self.host}:{self.port}"


class Address:
    """Where a URL leads, and as whom. Raises ValueError when it is none of Redis."""

    def __init__(self, url: str) -> None:
        arguments: dict[str, Any] = dict(parse_url(url))
        arguments.pop("max_connections", None)  # for a pool, in a URL that other clients share
        kind: type[AbstractConnection] = arguments.pop("connection_class", Connection)
        try:
            made = kind(**arguments)
        except TypeError as error:
            raise ValueError(f"the Redis URL has a parameter that a connection does not know: {error}") from error
        self._arguments = arguments
        self._where: str | Node = arguments.get("path") or Node(
            arguments.get("host", "localhost"), arguments.get("port", 6379)
        )
        self._tls = made.ssl_context if isinstance(made, SSLConnection) else None

    async def connect(self) -> Wire:
        """Return a new connection, logged in and in the right database. Raises what keeps it from that."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._connect()
        except OSError as error:
            known = isinstance(error, ConnectionError | FileNotFoundError) and error.errno
            text = os.strerror(known) if known else str(error) or "it does not answer"
            raise OSError(f"{self._where}: {text}") from error

    async def _connect(self) -> Wire:
        wire = await self._reach()
        try:
            await self._log_in(wire)
        except BaseException as error:
            wire.end(error)
            raise
        return wire

    async def _reach(self) -> Wire:
        loop = asyncio.get_running_loop()
        if isinstance(self._where, str):
            _, wire = await loop.create_unix_connection(Wire, self._where)
        else:
            tls = self._tls.get() if self._tls else None
            _, wire = await loop.create_connection(Wire, *self._where, ssl=tls)
        return wire

    async def _log_in(self, wire: Wire) -> None:
        user, password = self._arguments.get("username"), self._arguments.get("password")
        if password or user:
            await wire.ask("AUTH", *([user] if user else []), password or "")
        if self._arguments.get("client_name"):
            await wire.ask("CLIENT", "SETNAME", self._arguments["client_name"])
        if self._arguments.get("db"):
            await wire.ask("SELECT", self._arguments["db"])
