"""Every function of the library, by what it may do."""

from typing import Any

WRITING: dict[str, list[Any]] = {
    "quest_create": ["5ec2e7", 0, 2**20, 345_600, "VisibilityTimeout", 9],
    "quest_set_attributes": ["{version}", "VisibilityTimeout", 5],
    "quest_pause": [1],
    "quest_purge": [0],
    "quest_delete_queue": [],
    "quest_add_source": ["other"],
    "quest_send": ["{version}", "0123456789abcdef", "", "", "body", "", ""],
    "quest_receive": ["{version}", 1, 20, "", 120_000, "", "p1", 0, 0, 1],
    "quest_delete": ["{version}", "{handle}"],
    "quest_change_visibility": ["{version}", "{handle}", 0],
    "quest_give_back": ["{handle}"],
    "quest_tick": ["0"],
    "quest_arrive": ["abc123", 1, b"\0" * 26 + b"body"],
    "quest_ack": [1],
    "quest_take_back": ["other"],
    "quest_start_move": ["id", "", 0],
    "quest_cancel_move": ["id"],
    "quest_target_made": [],
    "quest_pass": [],
    "quest_drop": [1, "0123456789abcdef"],
}
"""The functions that write in a queue, and arguments of which each makes sense."""

READING: dict[str, list[Any]] = {
    "quest_attributes": [],
    "quest_facts": [],
    "quest_compare": ["VisibilityTimeout", 30],
    "quest_outbox": [10, 0],
    "quest_tasks": [],
    "quest_alarm": [],
    "quest_peek": ["visible", 0, 10, ""],
    "quest_figures": [],
}
OF_THE_LEASE = {"quest_lease", "quest_holder", "quest_grants", "quest_mark"}
QUEST = {"sendMessage", "getMessage", "deleteMessage"}
WITHOUT_QUEUE = {"quest_alarm", "quest_outbox", "quest_ack", "quest_create"}
"""Functions for which a queue that does not exist is no mistake."""

WHEN_FULL = {
    "quest_receive", "quest_delete", "quest_change_visibility", "quest_give_back", "quest_tick", "quest_purge",
    "quest_delete_queue", "quest_ack", "quest_take_back", "quest_target_made", "quest_cancel_move", "quest_pass", "quest_drop",
    "quest_pause", "quest_lease", "quest_mark", "getMessage", "deleteMessage",
}  # fmt: skip
"""What works in a full Redis: all that makes room or gives it away."""
