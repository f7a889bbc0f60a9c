"""Which kind of Redis a URL names: one server, one that Sentinels watch, or a Cluster."""

from questd import addresses
from questd.cluster import Cluster
from questd.durability import Durability
from questd.primaries import Primaries
from questd.sentinel import Sentinel

KINDS: dict[str, type[Primaries]] = {"server": Primaries, "sentinel": Sentinel, "cluster": Cluster}


def of(url: str, durability: Durability | None = None) -> Primaries:
    """Return the primaries of the Redis at a URL, still to be connected. Raises as addresses.read does.

    `durability`: that of the writes of their pipelines.
    """
    read = addresses.read(url)
    return KINDS[read.kind](read, durability)
