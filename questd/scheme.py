"""Whether the scheme of a URL, with TLS or without, is what its Redis speaks: asked when that cannot be used.

A Redis without TLS takes the beginning of TLS for that of a command and waits for its end; one with TLS hangs up on a
command. It knows where servers are, the primary of Sentinels too, and nothing of what is done there.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from redis.asyncio.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from questd import addresses, topology
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
    """A URL asks for TLS where there is none, or does not where there is; the text says what to do.

    `primary` is where the one is that Sentinels name: they speak as the URL says, and it does not.
    """

    def __init__(self, url: str, primary: Node | None = None) -> None:
        scheme, tls = url.partition("://")[0], _is_tls(url)
        other = scheme.replace("rediss", "redis", 1) if tls else scheme.replace("redis", "rediss", 1)
        asked, spoken = ("with", "without") if tls else ("without", "with")
        says = f"without TLS, which {scheme}:// asks for" if tls else "with TLS only, it seems"
        if primary:
            who = f"the primary that its Sentinels name, {primary.host}:{primary.port},"
            advice = f"have them watch its port {asked} TLS, or use {other}://, and Sentinels {spoken} TLS"
        else:
            who, advice = "a server", f"use {other}://, or its port {asked} TLS"
        super().__init__(f"{who} answers, but {says}: {advice}")


async def checked(work: Coroutine[Any, Any, T], url: str) -> T:
    """Return what work with the Redis at a URL gives.

    Raises what it raises, but WrongScheme when the scheme is why it fails, or would fail after a long silence.
    """
    task = asyncio.create_task(work)
    if _is_tls(url):
        await asyncio.wait({task}, timeout=SLOW_SECONDS)
        if not task.done() and (wrong := await _wrong(url, all)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise wrong
    try:
        return await task
    except LOSSES as error:
        if wrong := await _wrong(url, any):
            raise wrong from error
        raise


def _is_tls(url: str) -> bool:
    return url.startswith("rediss")


async def _wrong(url: str, enough: Callable[[Iterable[bool]], bool]) -> WrongScheme | None:
    """Return what is wrong when enough of the servers that a URL names certainly speak what its scheme does not say."""
    read, tls = addresses.read(url), _is_tls(url)
    nodes = read.nodes or _nodes(url)
    if enough(await asyncio.gather(*(_is_wrong(node, tls=tls) for node in nodes))):
        return WrongScheme(url)
    if read.kind == "sentinel":
        with contextlib.suppress(RedisUnavailable):
            [node] = _nodes(*await topology.of(url).urls())
            if await _is_wrong(node, tls=tls):
                return WrongScheme(url, node)
    return None


def _nodes(url: str) -> tuple[Node, ...]:
    """Return where the one server of a URL is; nowhere, when that is a socket."""
    if url.startswith("unix"):
        return ()
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
