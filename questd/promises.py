"""What a Redis promises about the messages it is given, as questd finds it at start and says it.

A user's own Redis may keep nothing or throw messages away; that is his choice, but not one to be made unawares.
"""

from redis.exceptions import RedisError

from questd import topology
from questd.pipeline import RedisUnavailable
from questd.primaries import client_of

Info = dict[str, object]


async def doubts(url: str) -> list[str]:
    """Return what speaks against trusting the Redis at `url` with messages, a line each; none for what is down."""
    found: dict[str, None] = {}
    primaries = topology.of(url)
    try:
        urls = await primaries.urls()
    except RedisUnavailable:
        return []
    for each in urls:
        try:
            async with client_of(each) as client:
                info: Info = await client.info()
        except (RedisError, OSError):
            continue
        found |= dict.fromkeys(doubts_about(info))
    return list(found)


def doubts_about(info: Info) -> list[str]:
    """Return what speaks against a server, out of its INFO."""
    said = []
    if info.get("role") == "slave":
        said.append("this Redis is a replica and takes no messages: give questd the URL of its primary")
    if not info.get("aof_enabled"):
        said.append(
            "this Redis has no append-only file: a crash loses what came after its last snapshot, if it makes any. "
            "CONFIG SET appendonly yes keeps all but the last second"
        )
    policy = info.get("maxmemory_policy")
    if info.get("maxmemory") and policy != "noeviction":
        said.append(
            f"this Redis may throw messages away when its memory is full (maxmemory-policy {policy}): "
            "CONFIG SET maxmemory-policy noeviction keeps them"
        )
    return said
