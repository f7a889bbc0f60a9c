"""Figures of a queue as it is now, for the console, metrics and the command line; one call to Redis."""

from typing import NamedTuple

from questd.action import Questd


class Figures(NamedTuple):
    """How a queue is."""

    now_ms: int
    """By the clock of every rule, which a test may have moved."""
    visible: int
    in_flight: int
    delayed: int
    oldest_ms: int | None
    """When its oldest message was sent, whatever its state; None for none."""
    noisy_groups: int
    """Tenants with visible messages that wait until the others have none (a fair queue has such)."""
    waiting: int
    """Processes that have long polls here, not receives."""
    dead_lettered: int
    """Messages that moved to its dead-letter queue since it was made."""
    paused: bool
    """Whether it hands nothing out."""

    @property
    def age_ms(self) -> int:
        """Return the age of its oldest message, 0 for none."""
        return 0 if self.oldest_ms is None else max(self.now_ms - self.oldest_ms, 0)


async def figures(questd: Questd, queue: str) -> Figures:
    """Return the figures of a queue by its name inside. Raises QueueDoesNotExist."""
    found = Figures(*await questd.call("quest_figures", queue, repeat=True))
    return found._replace(oldest_ms=found.oldest_ms or None, paused=bool(found.paused))
