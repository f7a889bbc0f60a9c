"""A primary that Redis Sentinels watch: where it is, is asked before every connection."""

import logging

from redis.exceptions import RedisError

from questd.addresses import Addresses, Node
from questd.pipeline import Pipeline, RedisUnavailable
from questd.primaries import Execute, Primaries, Primary, client_of

log = logging.getLogger(__name__)

ASK_SECONDS = 1
"""How long a Sentinel may take to answer before the next one is asked."""


class Sentinel(Primaries):
    """The one primary of a service, wherever it is now."""

    def __init__(self, addresses: Addresses) -> None:
        super().__init__(addresses)
        self._sentinels = list(addresses.nodes)

    async def connect(self) -> None:
        """Find the primary, connect, and find it again after every loss; raises RedisUnavailable."""
        url = await self.find()
        pipeline = Pipeline(url, find=self.find)
        self._take(Primary(url, pipeline))
        await pipeline.connect()

    async def urls(self) -> list[str]:
        """Return the URL of the primary. Raises RedisUnavailable."""
        return [await self.find()]

    async def find(self) -> str:
        """Return the URL of the primary, as the first Sentinel that answers knows it; raises RedisUnavailable."""
        problem = "nobody knows it"
        for _ in self.addresses.nodes:
            asked = self._sentinels.pop(0)
            self._sentinels.append(asked)  # it may be the one that has not heard of a failover: the next one next time
            try:
                async with client_of(self.addresses.sentinel(asked), ASK_SECONDS) as client:
                    execute: Execute = client.execute_command
                    found = await execute("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.addresses.service)
            except (RedisError, OSError) as error:
                problem = str(error)
                continue
            if found:
                return self._noted(self.addresses.server(Node(found[0].decode(), int(found[1]))))
        raise RedisUnavailable(f"no Sentinel tells where {self.addresses.service} is: {problem}")

    def _noted(self, url: str) -> str:
        """Keep where the primary is now; everybody who listens to the one before moves on."""
        if self.all and self.all[0].url != url:
            log.warning("the primary of %s is another server now", self.addresses.service)
            self.all = [Primary(url, self.all[0].pipeline)]
            self._changed()
        return url
