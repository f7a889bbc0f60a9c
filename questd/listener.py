"""The SQS port of `questd serve`: connections under a thin protocol, half the CPU of an aiohttp server's.

It accepts, ends who is late, drains and closes; what happens on a connection is connection.py's.
"""

import asyncio
import socket
import ssl

from questd.action import Questd
from questd.connection import DRAIN_SECONDS, HEAD_SECONDS, Connection, Shared
from questd.limits import Limits
from questd.surplus import Surplus

SWEEP_SECONDS = 1.0
"""How often connections are looked at: one timer for all of them, none for a request."""

LOOK_SECONDS = 0.05
"""How often a drain looks whether all connections have ended."""


class Listener:
    """A listening socket and its connections."""

    def __init__(self, questd: Questd, finish_seconds: float) -> None:
        self._finish_seconds = finish_seconds
        self._shared = Shared(questd, Limits(questd.settings))
        self._max_connections = questd.settings.max_connections
        self._surplus: set[Surplus] = set()
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._shared.connections)

    async def start(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections on a bound socket."""
        loop = asyncio.get_running_loop()
        patience = HEAD_SECONDS if tls else None
        self._server = await loop.create_server(self._protocol, sock=sock, ssl=tls, ssl_handshake_timeout=patience)
        self._end_the_late()

    def _protocol(self) -> Connection | Surplus:
        """Return what a new connection gets: it is served, or told that there is no room."""
        shared = self._shared
        if len(shared.connections) + len(shared.arriving) >= self._max_connections:
            return Surplus(self._surplus)
        connection = Connection(shared)
        shared.arriving.add(connection)
        return connection

    def _end_the_late(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._shared.connections):
            if connection.deadline < now:
                connection.end()
        self._sweep = loop.call_later(SWEEP_SECONDS, self._end_the_late)

    async def drain(self) -> None:
        """Accept nothing more; end each connection with its next answer, or when it stays idle."""
        self._stop_accepting()
        latest = asyncio.get_running_loop().time() + DRAIN_SECONDS
        for connection in self._shared.connections:
            if connection.idle:
                connection.deadline = min(connection.deadline, latest)
        while self._shared.connections or self._shared.arriving:  # noqa: ASYNC110  # who fails to arrive does not tell
            await asyncio.sleep(LOOK_SECONDS)

    def _stop_accepting(self) -> None:
        if self._server:
            self._server.close()
        self._shared.draining = True

    async def close(self) -> None:
        """Accept nothing more, close what is idle, and give the others `finish_seconds` to be answered."""
        self._stop_accepting()
        for connection in list(self._shared.connections):
            if connection.idle:
                connection.end()
        lost = [connection.lost for connection in self._shared.connections]
        if lost:
            await asyncio.wait(lost, timeout=self._finish_seconds)
        for connection in list(self._shared.connections):
            connection.end()
        if self._sweep:
            self._sweep.cancel()
