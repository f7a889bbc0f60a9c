"""A call that waits for its reply: who hears of it, once, and what becomes of a reply that nobody shall rely on."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

log = logging.getLogger(__name__)


class Caller(Protocol):
    """Who has made a call. He hears of it once: in the tick in which its reply comes, or the proof of it."""

    def take(self, reply: Any) -> None:  # noqa: ANN401  # whatever Redis says
        """Take the reply."""

    def take_back(self, reply: Any) -> None:  # noqa: ANN401  # whatever Redis says
        """Undo what was done: he will hear of a failure, and shall not rely on it."""

    def fail(self, error: Exception) -> None:
        """Hear that it failed."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A caller that is a coroutine; `abandoned` gets the reply when it has gone."""

    future: asyncio.Future[Any]
    abandoned: Callable[[Any], None] | None

    def take(self, reply: Any) -> None:  # noqa: ANN401  # whatever Redis says
        """Hand it over."""
        if not self.future.done():
            self.future.set_result(reply)
        else:
            self.take_back(reply)

    def take_back(self, reply: Any) -> None:  # noqa: ANN401  # whatever Redis says
        """Give it to nobody."""
        if self.abandoned:
            self.abandoned(reply)

    def fail(self, error: Exception) -> None:
        """Raise the error, if somebody is still there."""
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class Call:
    """One command that waits for its reply. The mistakes of its caller go no further."""

    caller: Caller
    packed: bytes
    repeat: bool
    key: str = ""
    """Where it writes, when its reply waits for the proof of that."""

    def answer(self, reply: Any) -> None:  # noqa: ANN401  # whatever Redis says
        """Hand over the reply."""
        tell(self.caller.take, reply)

    def take_back(self, reply: Any, error: Exception) -> None:  # noqa: ANN401  # whatever Redis says
        """Have what was done undone, and raise the error for the caller."""
        tell(self.caller.take_back, reply)
        self.fail(error)

    def fail(self, error: Exception) -> None:
        """Raise the error for the caller."""
        tell(self.caller.fail, error)


def tell(listener: Callable[..., None], *news: object) -> None:
    """Call somebody else's code, whose mistakes must not end the pipeline."""
    try:
        listener(*news)
    except Exception:
        log.exception("%r failed", listener)


async def awaited(reply: asyncio.Future[Any], abandoned: Callable[[Any], None] | None) -> Any:  # noqa: ANN401
    """Return a reply; `abandoned` gets it when the caller is cancelled between its coming and our waking."""
    try:
        return await reply
    except asyncio.CancelledError:
        if abandoned and reply.done() and not reply.cancelled() and not reply.exception():
            abandoned(reply.result())
        raise
