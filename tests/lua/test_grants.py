"""grants.lua: which commands of the library a user lacks."""

import redis

from tests.lua.quest import Quest

KEY = "quest:lease:{tag}:grants"
"""As it is in a Cluster: all that is tried is in one slot. Valkey 9.1 would run no script after one that is not."""


def test_nothing_is_lacking(quest: Quest) -> None:
    """A user who may do everything lacks nothing, and no key is left."""
    assert quest.redis.fcall("quest_grants", 1, KEY) == []
    assert quest.keys() == set()


def test_what_is_lacking(quest: Quest) -> None:
    """Commands, keys and channels that a user is refused are told as the rules that would allow them."""
    port = quest.redis.connection_pool.connection_kwargs["port"]
    lesser = redis.Redis(port=port, username="lesser", password="p", protocol=2)
    for rules, lacking in (
        (["~quest:*", "&quest:*", "+@all", "-zadd", "-time"], [b"+time", b"+zadd"]),
        (["~quest:*", "+@all"], [b"&quest:*"]),
        ([f"~{KEY}", "&quest:*", "+@all"], [b"~quest:*"]),
    ):
        quest.redis.execute_command("ACL SETUSER", "lesser", "reset", "on", ">p", *rules)
        assert sorted(set(lesser.fcall("quest_grants", 1, KEY))) == lacking
    quest.redis.execute_command("ACL DELUSER", "lesser")
    lesser.close()
