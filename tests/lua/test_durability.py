"""durability.lua: the write that leaves nothing."""

from tests.lua.quest import Quest, key_of


def _changes(quest: Quest) -> int:
    changes: int = quest.redis.info("persistence")["rdb_changes_since_last_save"]
    return changes


def test_a_mark_is_written_and_gone(quest: Quest) -> None:
    """Each mark is a change that Redis must keep, with or without a queue, and leaves no key."""
    for _ in range(2):
        before = _changes(quest)
        assert quest.redis.fcall("quest_mark", 1, key_of("orders")) == 1
        assert _changes(quest) > before
        assert quest.keys() == set()
