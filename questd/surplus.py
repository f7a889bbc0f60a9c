"""Connections beyond `max_connections`: each is told to come again, in a bounded time and number, and closed.

It knows the one answer they get, without a body, as load balancers give it: that is what SDKs take for a reason to wait
and try again in either protocol.
"""

import asyncio
from typing import cast

from questd.answer import PLAIN, Answer
from questd.connection import LINGER_SECONDS
from questd.heads import CLOSE, head_of

MOST = 256
"""So many of them are told at a time; any more are closed without a word."""

REFUSAL = Answer(503, PLAIN, b"", {"Retry-After": "1"})


class Surplus(asyncio.Protocol):
    """A connection for which there is no room."""

    def __init__(self, others: set["Surplus"]) -> None:
        """Be one of `others`."""
        self._others = others
        self._told = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for its request for a while: a client may not read before it has written."""
        self._transport = cast("asyncio.Transport", transport)
        self._others.add(self)
        patience = LINGER_SECONDS if len(self._others) <= MOST else 0
        self._end = asyncio.get_running_loop().call_later(patience, self._transport.abort)

    def data_received(self, _data: bytes) -> None:
        """Refuse it. What more it sends is passed over: closing the connection now could take the answer from it."""
        if self._told:
            return
        self._told = True
        self._transport.write(head_of(REFUSAL, CLOSE))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()  # TLS

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget it."""
        self._end.cancel()
        self._others.discard(self)
