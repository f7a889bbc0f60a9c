"""The aiohttp application: the ordinary front of questd, embeddable in any aiohttp server; and that server itself."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from aiohttp import web

from questd import errors
from questd.action import Questd
from questd.answer import SERVER, Answer, body_limit, refusal
from questd.connection import DRAIN_SECONDS, IDLE_SECONDS
from questd.errand import answered
from questd.request import Request
from questd.surplus import Surplus

# What aiohttp logs as errors is HTTP nonsense of strangers, with a traceback each; ours are logged where they happen.
logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


DRAINING = web.AppKey("draining", asyncio.Event)
"""Set when connections are to end with their next answer."""


def application(questd: Questd) -> web.Application:
    """Return the application that answers every path and method.

    Run it with `handler_cancellation=True`, or a client that hangs up is noticed only by its timeout.
    """
    limit = body_limit(questd.settings)

    async def respond(http: web.Request) -> web.StreamResponse:
        try:
            body = await http.read()
        except web.HTTPRequestEntityTooLarge:
            return await _write(http, refusal(errors.RequestEntityTooLargeException(limit)))
        except web.RequestPayloadError:
            return await _write(http, refusal(errors.SerializationException()))
        headers: dict[str, str] = {}
        for name, value in http.headers.items():
            headers.setdefault(name.lower(), value)
        request = Request(http.method, http.raw_path, headers, body, peer=http.remote or "")
        return await _write(http, await answered(questd, request))

    app = web.Application(client_max_size=limit)
    app.router.add_route("*", r"/{path:[\s\S]*}", respond)  # a line feed, too, which a dot is not
    return app


async def _write(http: web.Request, given: Answer) -> web.StreamResponse:
    """Write an answer; one that nobody is there to take is undone. While the server drains, it is the last one."""
    headers = {"Content-Type": given.content_type, "Server": SERVER, **given.headers}
    response = web.Response(status=given.status, body=given.body, headers=headers)
    if DRAINING in http.app and http.app[DRAINING].is_set():
        response.force_close()
    try:
        if http.transport is None or http.transport.is_closing():
            raise ConnectionResetError
        await response.prepare(http)
        await response.write_eof()
    except (ConnectionError, asyncio.CancelledError):
        if given.undo:
            given.undo()
        raise
    return response


class Application:
    """An application on a server of its own: `--front aiohttp` runs this one in the listener's place."""

    def __init__(self, questd: Questd, finish_seconds: float, make: Callable[[Questd], web.Application]) -> None:
        app = make(questd)
        app[DRAINING] = asyncio.Event()
        self._runner = web.AppRunner(
            app,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            shutdown_timeout=finish_seconds,
            keepalive_timeout=IDLE_SECONDS,
            max_line_size=questd.settings.max_header_size,
            max_field_size=questd.settings.max_header_size,
            max_headers=questd.settings.max_headers,
        )
        self._max_connections = questd.settings.max_connections
        self._surplus: set[Surplus] = set()
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._runner.server.connections) if self._runner.server else 0

    async def start(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections on a bound socket."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=sock, ssl=tls)

    def _protocol(self) -> asyncio.Protocol:
        """Return what a new connection gets: aiohttp serves it, or it is told that there is no room."""
        server = self._runner.server
        if server is None or len(server.connections) >= self._max_connections:
            return Surplus(self._surplus)
        return server()

    async def drain(self) -> None:
        """Accept nothing more, and end each connection with its next answer, for DRAIN_SECONDS."""
        if self._server:
            self._server.close()
        self._runner.app[DRAINING].set()
        await asyncio.sleep(DRAIN_SECONDS)

    async def close(self) -> None:
        """Accept nothing more, and give what is in flight `finish_seconds` to be answered."""
        if self._server:
            self._server.close()
        await self._runner.cleanup()
