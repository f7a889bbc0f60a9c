"""The aiohttp application: the ordinary front of questd, embeddable in any aiohttp server."""

import asyncio

from aiohttp import web

from questd import errors
from questd.action import Questd, Request
from questd.answer import Answer, answer, refusal

BODY_FACTOR = 8
"""How many times as long as its message a body may be: 1 MiB of message is up to 6 MiB of JSON."""


def application(questd: Questd) -> web.Application:
    """Return the application that answers every path and method.

    Run it with `handler_cancellation=True`, or a client that hangs up is noticed only by its timeout.
    """
    body_limit = BODY_FACTOR * questd.settings.max_message_size

    async def respond(http: web.Request) -> web.StreamResponse:
        try:
            body = await http.read()
        except web.HTTPRequestEntityTooLarge:
            return await _write(http, refusal(errors.RequestEntityTooLargeException(body_limit)))
        except web.RequestPayloadError:
            return await _write(http, refusal(errors.SerializationException()))
        request = Request(http.method, http.raw_path, http.headers, body, peer=http.remote or "")
        return await _write(http, await answer(questd, request))

    app = web.Application(client_max_size=body_limit)
    app.router.add_route("*", "/{path:.*}", respond)
    return app


async def _write(http: web.Request, given: Answer) -> web.StreamResponse:
    """Write an answer; one that nobody is there to take is undone."""
    response = web.Response(
        status=given.status, body=given.body, headers={**given.headers, "Content-Type": given.content_type}
    )
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
