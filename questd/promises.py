"""What a Redis promises about the messages it is given, as questd finds it at start and says it.

A user's own Redis may keep nothing or throw messages away; that is his choice, but not one to be made unawares. Where
it cannot give the durability that is wanted, questd does not start.
"""

import re
from typing import Any

from redis.exceptions import RedisError

from questd import source, topology
from questd.durability import BY_CHOICE, CannotPromise, Durability
from questd.pipeline import RedisUnavailable
from questd.primaries import client_of
from questd.settings import BadSetting, Settings, flag, variable

Info = dict[str, Any]

FOR_NOBODY = frozenset({"quest_give_back", "quest_lease", "quest_pass", "quest_tick"})
"""Functions that write for no caller who relies on it: what is lost of them, is done again."""

WRITES = re.compile(r"^register\('(\w+)', \{(?!'no-writes')", re.MULTILINE)


def writes() -> frozenset[str]:
    """Return the functions whose outcome somebody relies on, by the flags that they are registered with."""
    return frozenset(WRITES.findall(source.text(test_mode=False))) - FOR_NOBODY


def durability(settings: Settings) -> Durability | None:
    """Return what must be proved of every write; None when its reply is enough."""
    if settings.durability == "everysec":
        return None
    return Durability(settings.durability, settings.replicas, writes())


def check(settings: Settings) -> None:
    """Raise BadSetting when the Redis that is wanted, by the settings alone, would not keep messages as they say."""
    if settings.redis_url is not None:
        _refuse_private(settings)
        return
    if settings.durability == "everysec":
        return
    if settings.durability == "replicated":
        raise BadSetting(
            "--durability replicated needs a Redis that has replicas, and the private one has none: "
            "name one with --redis-url, or choose --durability always"
        )
    if settings.ephemeral:
        raise BadSetting("--durability always keeps on disk what --ephemeral never writes there: leave one of them out")


def _refuse_private(settings: Settings) -> None:
    """Refuse what only the private server heeds: who set it means that one, and another is named."""
    where = settings.data_dir if "data_dir" in settings.model_fields_set else None
    wanted = {"ephemeral": settings.ephemeral, "maxmemory": settings.maxmemory, "data_dir": where}
    given = [f"{flag(name)} ({variable(name)})" for name, value in wanted.items() if value]
    if given:
        raise BadSetting(
            f"only a private Redis heeds {' and '.join(given)}, and {flag('redis_url')} ({variable('redis_url')}) "
            "names another: leave one or the other out"
        )


async def doubts(url: str, wanted: Durability | None = None) -> list[str]:
    """Return what speaks against trusting the Redis at `url` with messages, a line each; none for what is down.

    Raises CannotPromise when it is a replica, or cannot give the durability that is `wanted`.
    """
    found: dict[str, None] = {}
    try:
        urls = await topology.of(url).urls()
    except RedisUnavailable:
        return []
    for each in urls:
        try:
            found |= dict.fromkeys(await _doubts_about(each, wanted))
        except (RedisError, OSError):
            continue
    return list(found)


async def _doubts_about(url: str, wanted: Durability | None) -> list[str]:
    async with client_of(url) as client:
        info: Info = await client.info()
        if info.get("role") == "slave":
            raise CannotPromise("this Redis is a replica and takes no messages: give questd the URL of its primary")
        said = doubts_about(info)
        if wanted:
            _refuse_eviction(info)
            proof = await wanted.proof(client.execute_command)
            if proof and wanted.setting == "always":
                said.append(
                    "this Redis flushes its append-only file once a second, and every answer waits for that: "
                    "with CONFIG SET appendfsync always it takes milliseconds"
                )
            if wanted.setting == "replicated":
                said += _too_few(info, wanted.replicas)
    return said


def doubts_about(info: Info) -> list[str]:
    """Return what speaks against a server, out of its INFO."""
    said = []
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


def _refuse_eviction(info: Info) -> None:
    policy = str(info.get("maxmemory_policy"))
    if info.get("maxmemory") and policy.startswith("allkeys"):  # the keys of messages have no expiry: others spare them
        raise CannotPromise(
            f"this Redis throws messages away when its memory is full (maxmemory-policy {policy}): "
            f"CONFIG SET maxmemory-policy noeviction, {BY_CHOICE}"
        )


def _too_few(info: Info, wanted: int) -> list[str]:
    connected = info.get("connected_slaves", 0)
    if connected >= wanted:
        return []
    said = f"this Redis has {connected} of the {wanted} replicas that --durability replicated waits for"
    return [f"{said}: until it has them, every send, receive and delete is answered with 503"]
