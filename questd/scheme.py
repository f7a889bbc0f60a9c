"""Whether the scheme of a URL, with TLS or without, is what its Redis speaks: asked when that cannot be used.

A Redis without TLS takes the beginning of TLS for that of a command and waits for its end; one with TLS hangs up on a
command. It knows where servers are, and nothing of what is done there.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine
from typing import Any, TypeVar

from redis.asyncio.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from questd import addresses
from questd.pipeline import RedisUnavailable
from questd.wire import Node

SLOW_SECONDS = 0.5
"""How long work over TLS may take before a server is asked whether it has any."""

ASK_SECONDS = 1.0
"""How long a server may take for the first byte of its answer."""

LOSSES = (RedisUnavailable, RedisConnectionError, RedisTimeoutError, OSError)
"""What a wrong scheme looks like to a client."""

PING = b"PING\r\n"
PLAIN = frozenset({b"+", b"-"})
"""How the reply of a Redis to that begins, whether it is content or not."""

TLS = frozenset({b"\x15", b"\x16"})
"""How the reply to a ClientHello begins: an alert, or the handshake (RFC 8446, 5.1)."""

T = TypeVar("T")


class WrongScheme(Exception):
    """A URL asks for TLS where there is none, or does not where there is; the text says what to do."""

    def __init__(self, url: str) -> None:
        scheme = url.partition("://")[0]
        if _is_tls(url):
            other = scheme.replace("rediss", "redis", 1)
            text = (
                f"a server answers, but without TLS, which {scheme}:// asks for: use {other}://, or its port with TLS"
            )
        else:
            other = scheme.replace("redis", "rediss", 1)
            text = f"a server answers, but with TLS only, it seems: use {other}://, or its port without TLS"
        super().__init__(text)


async def checked(work: Coroutine[Any, Any, T], url: str) -> T:
    """Return what work with the Redis at a URL gives.

    Raises what it raises, but WrongScheme when the scheme is why it fails, or would fail after a long silence.
    """
    task = asyncio.create_task(work)
    if _is_tls(url):
        await asyncio.wait({task}, timeout=SLOW_SECONDS)
        if not task.done() and all(await _wrong(url)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise WrongScheme(url)
    try:
        return await task
    except LOSSES as error:
        if any(await _wrong(url)):
            raise WrongScheme(url) from error
        raise


def _is_tls(url: str) -> bool:
    return url.startswith("rediss")


async def _wrong(url: str) -> list[bool]:
    """Tell of each server that a URL names whether it certainly speaks what the scheme does not say."""
    return await asyncio.gather(*(_is_wrong(node, tls=_is_tls(url)) for node in _nodes(url)))


def _nodes(url: str) -> tuple[Node, ...]:
    read = addresses.read(url)
    if read.nodes or url.startswith("unix"):
        return read.nodes
    place = parse_url(url)
    return (Node(place.get("host", "localhost"), place.get("port", 6379)),)


async def _is_wrong(node: Node, *, tls: bool) -> bool:
    plain = await _first_byte(node, PING) in PLAIN
    return plain if tls else not plain and await _first_byte(node, _hello(node.host)) in TLS


def _hello(host: str) -> bytes:
    """Return a ClientHello; nothing is believed of what answers."""
    sent = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), sent, server_hostname=host).do_handshake()
    return sent.read()


async def _first_byte(node: Node, question: bytes) -> bytes:
    """Return the first byte that a server answers, nothing when it does not."""
    with contextlib.suppress(OSError):  # also TimeoutError
        async with asyncio.timeout(ASK_SECONDS):
            reader, writer = await asyncio.open_connection(*node)
            try:
                writer.write(question)
                return await reader.read(1)
            finally:
                writer.transport.abort()
    return b""
