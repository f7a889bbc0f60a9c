"""Pause: a queue that takes messages and hands none out, for the console and the command line. AWS has none such."""

from questd.action import Questd


async def pause(questd: Questd, queue: str) -> bool:
    """Let a queue hand nothing out; whether it did before. Raises QueueDoesNotExist."""
    return bool(await questd.call("quest_pause", queue, 1, repeat=True))


async def resume(questd: Questd, queue: str) -> bool:
    """Let a paused queue hand out again, also to who waits; whether it was paused. Raises QueueDoesNotExist."""
    return bool(await questd.call("quest_pause", queue, 0, repeat=True))
