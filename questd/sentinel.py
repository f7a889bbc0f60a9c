"""A primary that Redis Sentinels watch: where it is, is asked before every connection, and they tell of changes."""

import asyncio
import contextlib
import logging

from questd.addresses import Addresses
from questd.channel import hear
from questd.durability import Durability
from questd.pipeline import RedisUnavailable
from questd.primaries import Execute, Primaries, Primary, client_of
from questd.wire import Node

log = logging.getLogger(__name__)

ASK_SECONDS = 1
"""How long a Sentinel may take to answer."""

Found = tuple[int, Node]
"""The number of the last failover that a Sentinel knows, and where the primary is since then."""


class Sentinel(Primaries):
    """The one primary of a service, wherever it is now."""

    def __init__(self, addresses: Addresses, durability: Durability | None = None) -> None:
        super().__init__(addresses, durability)
        self._ears: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Find the primary, connect, and find it again after every loss and failover; raises RedisUnavailable."""
        url = await self.find()
        pipeline = self._pipeline(url, self.find)
        self._take(Primary(url, pipeline))
        await pipeline.connect()
        for node in self.addresses.nodes:
            listening = hear(self.addresses.sentinel(node), self._told, "+switch-master")
            self._ears.append(asyncio.create_task(listening))

    async def close(self) -> None:
        """Wait for the calls in flight, at most for the deadline, and disconnect."""
        for ear in self._ears:
            ear.cancel()
        await asyncio.gather(*self._ears, return_exceptions=True)
        await super().close()

    async def urls(self) -> list[str]:
        """Return the URL of the primary. Raises RedisUnavailable."""
        return [await self.find()]

    async def _told(self, published: bytes | None) -> None:
        """Leave a server that is the primary no more: it may not know that yet, and take writes that will be lost."""
        service = (published or b"").decode(errors="replace").partition(" ")[0]
        if published is None or service == self.addresses.service:
            before = self.all[0].url
            with contextlib.suppress(RedisUnavailable):
                if await self.find() != before:
                    self.all[0].pipeline.leave()

    async def find(self) -> str:
        """Return the URL of the primary as the Sentinels know it that heard of the last failover.

        Raises RedisUnavailable when nobody knows it.
        """
        answers = await asyncio.gather(*(self._ask(node) for node in self.addresses.nodes), return_exceptions=True)
        found = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not found:
            raise RedisUnavailable(f"no Sentinel tells where {self.addresses.service} is: {answers[-1]}")
        return self._noted(self.addresses.server(max(found)[1]))

    async def _ask(self, node: Node) -> Found:
        async with client_of(self.addresses.sentinel(node), ASK_SECONDS) as client:
            execute: Execute = client.execute_command
            reply = await execute("SENTINEL", "MASTER", self.addresses.service)
        fields = dict(zip(reply[::2], reply[1::2], strict=True))
        return int(fields[b"config-epoch"]), Node(fields[b"ip"].decode(), int(fields[b"port"]))

    def _noted(self, url: str) -> str:
        """Keep where the primary is now; everybody who listens to the one before moves on."""
        if self.all and self.all[0].url != url:
            log.warning("the primary of %s is another server now", self.addresses.service)
            self.all = [Primary(url, self.all[0].pipeline)]
            self._changed()
        return url
