"""Grants: what questd's Redis user must be allowed, and what it turns out to lack when questd starts.

The library says what its functions need (lua/grants.lua); the commands that questd sends itself are tried here.
"""

import contextlib
import re

from redis.exceptions import NoPermissionError, OutOfMemoryError, RedisError

from questd import library, topology
from questd.pipeline import RedisUnavailable
from questd.primaries import Execute, Primaries, Primary, client_of
from questd.sentinel import Sentinel

COMMANDS: tuple[tuple[str | int, ...], ...] = (
    *(("PING",), ("INFO", "server"), ("EXISTS", "{}"), ("HGET", "{}", "f"), ("SMEMBERS", "{}"), ("ZRANGE", "{}", 0, 0)),
    *(("SUBSCRIBE", "quest:grants"), ("UNSUBSCRIBE", "quest:grants")),
)
"""What questd sends itself, `{}` being a key that is not there."""

OF_A_CLUSTER: tuple[tuple[str | int, ...], ...] = (
    *(("CLUSTER", "SLOTS"), ("ASKING",), ("SCAN", 0, "COUNT", 1), ("HMGET", "{}", "f")),
    *(("ZADD", "{}", "XX", 1, "m"), ("ZREM", "{}", "m")),
)

OF_SENTINELS: tuple[tuple[str | int, ...], ...] = (("ROLE",),)


class GrantsMissing(Exception):
    """The Redis user may not do all that questd does; the text says what it lacks."""

    def __init__(self, lacking: list[str]) -> None:
        rules = " ".join(sorted(set(lacking), key=lambda rule: ("~&+".index(rule[0]), rule)))
        super().__init__(f"this Redis user may not do all that questd does. It lacks: {rules}")


async def load(url: str, *, test_mode: bool) -> None:
    """Load the library as library.load does, and make sure that its functions can be used. Raises GrantsMissing too."""
    try:
        await library.load(url, test_mode=test_mode)
        await check(url)
    except NoPermissionError as error:
        raise GrantsMissing([rule_against(error)]) from error


async def check(url: str) -> None:
    """Try everything that questd does in the Redis at `url`, with the library in it. Raises GrantsMissing."""
    primaries = topology.of(url)
    try:
        await primaries.connect()
        there = [primary for primary in primaries.all if primary.pipeline.connected]
        lacking = [rule for primary in there for rule in await _lacking(primaries, primary)]
    finally:
        await primaries.close()
    if lacking:
        raise GrantsMissing(lacking)


async def _lacking(primaries: Primaries, primary: Primary) -> list[str]:
    key, lacking = f"{primary.lease}:grants", list[str]()
    commands = COMMANDS + (OF_A_CLUSTER if primaries.clustered else ())
    if isinstance(primaries, Sentinel):
        commands += OF_SENTINELS
    async with client_of(primary.url) as client, client.client() as one:
        execute: Execute = one.execute_command
        for command in commands:
            try:
                await execute(*(key if word == "{}" else word for word in command))
            except NoPermissionError as error:
                lacking.append(rule_against(error))
            except (RedisError, OSError, RedisUnavailable):
                continue  # it may be used, and fails for another reason
        with contextlib.suppress(OutOfMemoryError):
            lacking += [rule.decode() for rule in await execute("FCALL", "quest_grants", 1, key)]
    return lacking


def rule_against(error: NoPermissionError) -> str:
    """Return the rule of an ACL that would have allowed what was refused."""
    text = str(error)
    command = re.search("run the '([^']+)' command", text)
    if command:
        return f"+{command[1].lower()}"
    return "&quest:*" if "channel" in text else "~quest:*"
