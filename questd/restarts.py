"""Restarts: when what has died is started again; the more often it died, the later. What it is, is not known here."""

import time
from dataclasses import dataclass, field

FIRST_DELAY, LAST_DELAY, CALM = 0.1, 5.0, 10.0
"""Seconds before what has died is started again, doubling from the first to the last until it once lived for CALM."""


@dataclass
class Restarts:
    """When one thing is started again."""

    started: float = field(default_factory=time.monotonic)
    delay: float = 0.0
    due: float | None = None

    def died(self) -> None:
        """Note that it has died now."""
        now = time.monotonic()
        calm = now - self.started > CALM
        self.delay = FIRST_DELAY if calm or not self.delay else min(self.delay * 2, LAST_DELAY)
        self.due = now + self.delay

    def start(self) -> bool:
        """Tell whether it is to be started now, and note that it is."""
        now = time.monotonic()
        if self.due is None or now < self.due:
            return False
        self.started, self.due = now, None
        return True
