"""Extensions: actions that AWS has none of, for the console, the command line and scripts.

They are asked for in AWS JSON, with targets like `Questd.PeekMessages`. Each goes by the right of the AWS action that
gives or takes as much: so keys and policies, their denials too, hold for it as they are.
"""

from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ValidationInfo

from questd import errors
from questd.action import Action, Questd, QueueAction
from questd.figures import figures
from questd.members import Integer, Strings, between
from questd.pause import pause, resume
from questd.peek import PAGE, STATES, Look, Peeked, drop, latest, peek
from questd.request import Request

TARGET_PREFIX = "Questd"

MOST = 1000
"""Messages of one peek at most."""

DROPS = 500
"""Messages of one DropMessages at most."""


def _states(states: list[str]) -> list[str]:
    for state in states:
        if state not in STATES:
            raise errors.InvalidParameter(state, "States", f"Must be {', '.join(STATES)}.")
    return states


class PeekMessages(QueueAction):
    """Show messages without receiving them: nothing is counted or hidden."""

    needs: ClassVar[str] = "ReceiveMessage"

    States: Annotated[Strings, AfterValidator(_states)] | None = None
    Contains: str | None = None
    """A text that their bodies have in them."""
    After: Annotated[Integer, between(0, 2**53, "Must be a sequence.")] | None = None
    """The sequence behind which to begin."""
    MaxNumberOfMessages: Annotated[Integer, between(1, MOST, f"Must be between 1 and {MOST}.")] | None = None

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Return a page in the order of sending; a search may end early, and After is where the next page begins."""
        look = Look(
            [state for state in STATES if state in (self.States or STATES)],
            self.Contains or "",
            self.After or 0,
            self.MaxNumberOfMessages or PAGE,
        )
        page = await peek(questd, self.QueueUrl, look)
        more = {} if page.after is None else {"After": page.after}
        return {"Messages": [_shown(peeked) for peeked in page.messages], "LookedAt": page.looked_at, **more}


def _shown(peeked: Peeked) -> dict[str, Any]:
    until = {} if peeked.until_ms is None else {"Until": peeked.until_ms}
    message = {name: value for name, value in peeked.message.items() if name != "ReceiptHandle"}
    return {"Sequence": peeked.sequence, "State": peeked.state, **until, **message}


def _message_id(text: str, info: ValidationInfo) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise errors.InvalidParameter(text, info.field_name, "Must be a message's.") from error


class Peekable(BaseModel):
    """A message as PeekMessages named it."""

    Sequence: Annotated[Integer, between(1, 2**53, "Must be a message's.")]
    MessageId: Annotated[str, AfterValidator(_message_id)]


def _not_too_many(messages: list[Peekable]) -> list[Peekable]:
    if not 1 <= len(messages) <= DROPS:
        raise errors.InvalidParameter(len(messages), "Messages", f"Must be between 1 and {DROPS}.")
    return messages


class DropMessages(QueueAction):
    """Delete messages that were peeked at, whatever their state."""

    needs: ClassVar[str] = "DeleteMessage"

    Messages: Annotated[list[Peekable], AfterValidator(_not_too_many)]

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Return how many there were."""
        return {"Dropped": await drop(questd, self.QueueUrl, [(one.Sequence, one.MessageId) for one in self.Messages])}


class PauseQueue(QueueAction):
    """Let a queue take messages and hand none out."""

    needs: ClassVar[str] = "SetQueueAttributes"

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Return whether that changed anything."""
        return {"Changed": await pause(questd, self.QueueUrl)}


class ResumeQueue(QueueAction):
    """Let a paused queue hand messages out again."""

    needs: ClassVar[str] = "SetQueueAttributes"

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Return whether that changed anything."""
        return {"Changed": await resume(questd, self.QueueUrl)}


class GetQueueFigures(QueueAction):
    """Return how a queue is at this moment."""

    needs: ClassVar[str] = "GetQueueAttributes"

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Return counts, the age of the oldest message in ms, and the sequence of the latest, which may be gone."""
        found = await figures(questd, self.QueueUrl)
        return {
            "Visible": found.visible,
            "InFlight": found.in_flight,
            "Delayed": found.delayed,
            "AgeOfOldestMessage": found.age_ms,
            "NoisyGroups": found.noisy_groups,
            "Waiting": found.waiting,
            "DeadLettered": found.dead_lettered,
            "Paused": found.paused,
            "LatestSequence": await latest(questd, self.QueueUrl),
        }


ACTIONS: dict[str, type[Action]] = {
    action.__name__: action for action in (DropMessages, GetQueueFigures, PauseQueue, PeekMessages, ResumeQueue)
}
"""What can be asked for under that prefix."""
