"""A call that waits for its reply, and what becomes of that when its caller has gone or shall not rely on it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Call:
    """One command that waits for its reply."""

    future: asyncio.Future[Any]
    packed: bytes
    repeat: bool
    abandoned: Callable[[Any], None] | None
    key: str = ""
    """Where it writes, when its reply waits for the proof of that."""

    def answer(self, reply: Any) -> None:  # noqa: ANN401  # whatever Redis says
        """Hand over the reply, or give it to `abandoned` when the caller has gone."""
        if not self.future.done():
            self.future.set_result(reply)
        elif self.abandoned:
            tell(self.abandoned, reply)

    def take_back(self, reply: Any, error: Exception) -> None:  # noqa: ANN401  # whatever Redis says
        """Give the reply to `abandoned`, and raise the error for the caller: he shall not rely on it."""
        if self.abandoned:
            tell(self.abandoned, reply)
        self.fail(error)

    def fail(self, error: Exception) -> None:
        """Raise the error for the caller, if he is still there."""
        if not self.future.done():
            self.future.set_exception(error)


def tell(listener: Callable[..., None], *news: object) -> None:
    """Call somebody else's code, whose mistakes must not end the pipeline."""
    try:
        listener(*news)
    except Exception:
        log.exception("%r failed", listener)
