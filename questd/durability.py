"""Durability: what Redis must say of a write before its caller hears of it, so that no answer is a lie.

`always`: it is on the disk. `replicated`: so many replicas have it. The pipeline asks once for all that it wrote
together. This knows how a server is asked and what its answers mean; not what is written.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hiredis import pack_command
from redis.exceptions import NoPermissionError, ResponseError

Ask = Callable[..., Awaitable[Any]]
"""Runs one command on a server and gives its reply."""

DISK_MS = 3000
"""How long a disk may take: it is flushed once a second, and Redis lets a slow one be late by two more."""

REPLICAS_MS = 1000
"""How long replicas may take: a frozen one lets all wait, and calls that come meanwhile too."""

MARK = "quest_mark"
"""The function that makes WAIT and WAITAOF speak of all that was done before it (lua/durability.lua)."""

ON_DISK_BY_ITSELF = {b"appendonly": b"yes", b"appendfsync": b"always", b"no-appendfsync-on-rewrite": b"no"}
"""A server with these settings writes to its disk before it replies."""

ALLOWED = {"always": "+config|get and +waitaof", "replicated": "+wait"}
"""What a Redis user needs for each setting."""

BY_CHOICE = "or choose --durability everysec"


class CannotPromise(Exception):
    """A server cannot give the durability that is wanted; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What one server is asked for, after writes."""

    command: bytes
    wanted: int
    unit: str
    within_ms: int

    def commands(self, key: str) -> tuple[bytes, bytes]:
        """Return what is written behind a write to `key`, and all others of the flush."""
        return _packed("FCALL", MARK, 1, key), self.command

    def lack(self, replies: Sequence[Any]) -> str | None:
        """Return what is wrong with the replies to these commands; None when the writes are kept."""
        for reply in replies:
            if isinstance(reply, BaseException):
                return f"Redis did it, and may lose it: it cannot tell how durable it is ({reply})"
        said = replies[-1]
        count = said[0] if isinstance(said, list) else said
        if count >= self.wanted:
            return None
        where = f"{count} of {self.wanted} {self.unit}"
        return f"Redis did it, and may lose it: after {self.within_ms / 1000:g} s it was on {where}"


@dataclass(frozen=True)
class Durability:
    """The durability that is wanted of every server; `writes`: the functions for which it is."""

    setting: Literal["always", "replicated"]
    replicas: int
    writes: frozenset[str]

    def key_of(self, command: Sequence[Any]) -> str:
        """Return the key of a command whose outcome must be durable; '' for any other."""
        return command[3] if command[0] == "FCALL" and command[1] in self.writes else ""

    async def proof(self, ask: Ask) -> Proof | None:
        """Return what proves a write on a server that can be asked; None when its reply does. Raises CannotPromise."""
        try:
            if self.setting == "replicated":
                await ask("WAIT", 0, 1)
                return Proof(_packed("WAIT", self.replicas, REPLICAS_MS), self.replicas, "replicas", REPLICAS_MS)
            return await _proof_of_disk(ask)
        except NoPermissionError as error:
            raise CannotPromise(
                f"this Redis user may not ask how durable a write is: allow {ALLOWED[self.setting]}, {BY_CHOICE}"
            ) from error


async def _proof_of_disk(ask: Ask) -> Proof | None:
    sure = await _is_on_disk_by_itself(ask)
    if sure:
        return None
    try:
        await ask("WAITAOF", 1, 0, 1)
    except NoPermissionError:
        raise
    except ResponseError as error:
        raise CannotPromise(_why_not(str(error), seen=sure is not None)) from error
    return Proof(_packed("WAITAOF", 1, 0, DISK_MS), 1, "disks", DISK_MS)


async def _is_on_disk_by_itself(ask: Ask) -> bool | None:
    """Tell whether a server writes to its disk before it replies; None when that may not be asked."""
    try:
        reply = await ask("CONFIG", "GET", *ON_DISK_BY_ITSELF)
    except NoPermissionError:
        return None
    return dict(zip(reply[::2], reply[1::2], strict=True)) == ON_DISK_BY_ITSELF


def _why_not(refusal: str, *, seen: bool) -> str:
    """Return why a server cannot tell what is on its disk, and what to do; `seen`: its settings could be."""
    if "appendonly" in refusal:
        return f"this Redis has no append-only file: CONFIG SET appendonly yes appendfsync always, {BY_CHOICE}"
    if "unknown command" not in refusal:
        return f"this Redis does not tell what is on its disk ({refusal}), {BY_CHOICE}"
    cause = "whether it writes before it replies may not be seen: allow +config|get to this Redis user"
    if seen:
        cause = "it does not write before it replies: CONFIG SET appendonly yes appendfsync always"
    return f"this Redis cannot tell what is on its disk (Redis can from 7.2 on), and {cause}, {BY_CHOICE}"


def _packed(*command: str | int) -> bytes:
    packed: bytes = pack_command(command)  # type: ignore[arg-type]  # the stub forgot the dots of tuple[…, ...]
    return packed
