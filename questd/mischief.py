"""Mischief: what SQS may do to a client at its worst, done on purpose and by a seed, for one account of a test.

It stands around actions, and does to queues only what clients and questd itself may do. It must not know HTTP. Each
process has its own: it wants a questd of one worker.
"""

import asyncio
from random import Random
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from questd import errors
from questd.action import Action, Questd, QueueAction
from questd.actions import ACTIONS
from questd.batch_entries import MOST, Wrong
from questd.batches import BatchAction, DeleteMessageBatch
from questd.messages import DeleteMessage
from questd.receive import ReceiveMessage
from questd.request import Request

REASON = "A test has asked for this (POST /_questd/chaos)."

Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _action(name: str) -> str:
    if name not in ACTIONS:
        raise ValueError("no such action")
    return name


class Rates(BaseModel):
    """How often what goes wrong, from 0 to 1. The order of these is the order in which a request meets them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delays: Rate = 0.0
    """Of requests: they wait, for up to `longest_delay`."""
    throttling: Rate = 0.0
    """Of requests: RequestThrottled, and nothing is done."""
    unavailable: Rate = 0.0
    """Of requests: 503 ServiceUnavailable, and nothing is done."""
    batch_failures: Rate = 0.0
    """Of the entries of batches: they fail, and may be sent again."""
    reordering: Rate = 0.0
    """Of receives from standard queues: any of the next ten messages, in any order."""
    duplicates: Rate = 0.0
    """Of deletes in standard queues: the message is delivered once more, as AWS may with a copy that it missed."""
    lost_answers: Rate = 0.0
    """Of requests: 503 ServiceUnavailable, though all is done."""


class Chaos(Rates):
    """The body of POST /_questd/chaos: rates for an account; without any, its chaos ends."""

    account: Annotated[str, Field(pattern=r"^[0-9]{12}$")] | None = None
    """Whose requests; the server's own account by default."""
    seed: int = 0
    """The same requests in the same order meet the same."""
    actions: list[Annotated[str, AfterValidator(_action)]] | None = None
    """The actions concerned; all by default."""
    longest_delay: float = Field(0.1, ge=0, le=60, allow_inf_nan=False)
    """Seconds."""


def begin(questd: Questd, chaos: Chaos) -> None:
    """Let an account have this from now on, or nothing any more."""
    account = chaos.account or questd.settings.account
    questd.troubles.pop(account, None)
    if any(getattr(chaos, kind) for kind in Rates.model_fields):
        questd.troubles[account] = _Trouble(chaos)


async def around(questd: Questd, request: Request, action: Action) -> dict[str, Any] | None:
    """Do an action, as badly as whoever asks for it has it coming."""
    trouble = questd.troubles.get(request.namespace.account)
    return await (trouble.around(questd, request, action) if trouble else action(questd, request))


class _Trouble:
    """What one account has asked for."""

    def __init__(self, chaos: Chaos) -> None:
        self._chaos = chaos
        # Dice of its own for each kind: more of one changes nothing of another.
        self._dice = {kind: Random(f"{chaos.seed} {kind}") for kind in Rates.model_fields}  # noqa: S311  # no secret
        self._came_back: set[tuple[str, ...]] = set()

    def _strikes(self, kind: str) -> bool:
        rate: float = getattr(self._chaos, kind)
        return rate > 0 and self._dice[kind].random() < rate

    async def around(self, questd: Questd, request: Request, action: Action) -> dict[str, Any] | None:
        """Do an action late, badly, not at all, or without a word."""
        if self._chaos.actions is not None and type(action).__name__ not in self._chaos.actions:
            return await action(questd, request)
        if self._strikes("delays"):
            await asyncio.sleep(self._dice["delays"].uniform(0, self._chaos.longest_delay))
        if self._strikes("throttling"):
            raise errors.RequestThrottled
        if self._strikes("unavailable"):
            raise errors.ServiceUnavailable(REASON)
        if isinstance(action, BatchAction):
            action = self._with_failures(action)
        result = await self._done(questd, request, action)
        if self._strikes("lost_answers"):
            raise errors.ServiceUnavailable(REASON)
        return result

    def _with_failures(self, action: BatchAction) -> BatchAction:
        """Return the batch with some of its right entries made wrong."""
        right = [not isinstance(entry, Wrong) and self._strikes("batch_failures") for entry in action.Entries]
        entries = [
            Wrong(entry, errors.ServiceUnavailable(REASON)) if strikes else entry
            for entry, strikes in zip(action.Entries, right, strict=True)
        ]
        return action.model_copy(update={"Entries": entries})

    async def _done(self, questd: Questd, request: Request, action: Action) -> dict[str, Any] | None:
        # FIFO queues keep their order, and deliver what was deleted no more.
        if isinstance(action, QueueAction) and not (await questd.facts_of(action.QueueUrl)).FifoQueue:
            if type(action) is ReceiveMessage and self._strikes("reordering"):  # a look (localstack.py) is none
                return await self._reordered(questd, request, action)
            if isinstance(action, DeleteMessage):
                if not await self._back(questd, action.QueueUrl, [action.ReceiptHandle]):
                    await action(questd, request)
                return None
            if isinstance(action, DeleteMessageBatch):
                return await self._batch_deleted(questd, request, action)
        return await action(questd, request)

    async def _reordered(self, questd: Questd, request: Request, action: ReceiveMessage) -> dict[str, Any]:
        """Receive more than was asked for, shuffle, and give back what is too much: as if it had not been received."""
        number = action.MaxNumberOfMessages or 1
        result = await action.model_copy(update={"MaxNumberOfMessages": MOST})(questd, request)
        messages: list[dict[str, Any]] = result.get("Messages", [])
        self._dice["reordering"].shuffle(messages)
        surplus = [message["ReceiptHandle"] for message in messages[number:]]
        if surplus:
            await questd.call("quest_give_back", action.QueueUrl, *surplus)
        return {"Messages": messages[:number]} if messages else {}

    async def _batch_deleted(self, questd: Questd, request: Request, action: DeleteMessageBatch) -> dict[str, Any]:
        """Delete all but those that come back, and say that all were deleted."""
        back = await self._back(questd, action.QueueUrl, [entry["ReceiptHandle"] for entry in action.right()])
        rest = [entry for entry in action.Entries if isinstance(entry, Wrong) or entry["ReceiptHandle"] not in back]
        result = await action.model_copy(update={"Entries": rest})(questd, request) or {}
        spared = [{"Id": entry["Id"]} for entry in action.Entries if entry not in rest]
        return result | {"Successful": [*result.get("Successful", []), *spared]} if spared else result

    async def _back(self, questd: Questd, queue: str, handles: list[str]) -> set[str]:
        """Show some messages again instead of deleting them, each once at most; return their handles."""
        struck = [handle for handle in handles if _message(handle) not in self._came_back]
        struck = [handle for handle in struck if self._strikes("duplicates")]
        if not struck:
            return set()
        arguments = [part for handle in struck for part in (handle, 0)]
        reply = await questd.ask("quest_change_visibility", queue, lambda _: arguments, repeat=True)
        back = {handle for handle, status in zip(struck, reply, strict=True) if status == b"OK"}
        self._came_back.update(map(_message, back))
        return back


def _message(handle: str) -> tuple[str, ...]:
    """Return what the handles of a message have in common: the queue's incarnation and the sequence."""
    return tuple(handle.split("-")[:2])
