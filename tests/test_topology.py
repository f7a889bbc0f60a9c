"""Which Redis a URL names."""

import pytest

from questd import topology
from questd.cluster import Cluster
from questd.primaries import Primaries
from questd.sentinel import Sentinel


async def test_kinds() -> None:
    """The scheme of a URL says what is there."""
    for url, kind in (
        ("redis://host", Primaries),
        ("unix:///run/redis.sock", Primaries),
        ("rediss+sentinel://host/main", Sentinel),
        ("redis+cluster://host", Cluster),
    ):
        assert type(topology.of(url)) is kind
    with pytest.raises(ValueError, match="scheme"):
        topology.of("http://host")
