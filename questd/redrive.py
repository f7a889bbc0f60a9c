"""Dead-letter queues: which queues name one as theirs; tasks that move messages back, or elsewhere (contract 7.6).

The moving is the background task's, in lua/tasks.lua.
"""

import asyncio
import base64
import binascii
from typing import Annotated, Any

import msgpack
from pydantic import AfterValidator, ValidationInfo
from pydantic_core import from_json, to_json

from questd import errors
from questd.action import Action, Questd, QueueAction
from questd.identifiers import as_text, new_id
from questd.library import key_of
from questd.members import Integer
from questd.namespaces import ARN_PARTS, FIFO, bare
from questd.queues import PAGE, PageSize, after, token_of
from questd.request import Request

RATE = 500
RESULTS = 10


class ListDeadLetterSourceQueues(QueueAction):
    """List the queues whose RedrivePolicy names this one, in pages when asked for."""

    MaxResults: PageSize | None = None
    NextToken: str | None = None

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any]:
        """Return the URLs of a page, by name."""
        await questd.call("quest_facts", self.QueueUrl, repeat=True)
        last = after(self.NextToken, "") if self.NextToken else ""
        sources = [name for name in await sources_of(questd, self.QueueUrl) if name > last]
        page = sources[: self.MaxResults or PAGE]
        result: dict[str, Any] = {"queueUrls": [questd.url(name, request) for name in page]} if page else {}
        if len(sources) > len(page) and self.MaxResults:
            result["NextToken"] = token_of(page[-1])
        return result


async def sources_of(questd: Questd, queue: str) -> list[str]:
    """Return the names of the queues that name this one as their dead-letter queue, in order."""
    members = await questd.library.execute("SMEMBERS", f"{key_of(queue)}:sources")
    once = sorted(name.decode() for name in members)
    targets = await asyncio.gather(*(questd.library.execute("HGET", key_of(name), "deadLetterTarget") for name in once))
    return [name for name, target in zip(once, targets, strict=True) if target == queue.encode()]


def _arn(arn: str, info: ValidationInfo) -> str:
    if arn.count(":") < ARN_PARTS - 1 or not arn.startswith("arn:"):
        raise errors.InvalidArn(info.field_name)
    return arn


def _at_most(high: int) -> AfterValidator:
    def check(value: int, info: ValidationInfo) -> int:
        if not 1 <= value <= high:
            raise errors.OutOfRange(info.field_name, 1, high)
        return value

    return AfterValidator(check)


Arn = Annotated[str, AfterValidator(_arn)]


def _queue_of(questd: Questd, request: Request, arn: str, member: str) -> str:
    """Return the queue that an ARN names, if it can be one of the region and account that ask."""
    name = questd.name_of(arn)
    if name is None or name != request.namespace.name(bare(name)):
        raise errors.ArnDoesNotExist(member)
    return name


async def _call(
    questd: Questd, request: Request, function: str, arn: str, *arguments: str | int, repeat: bool = False
) -> Any:  # noqa: ANN401  # each function documents its reply
    """Call a function on the queue that a SourceArn names."""
    name = _queue_of(questd, request, arn, "SourceArn")
    try:
        return await questd.call(function, name, *arguments, repeat=repeat)
    except errors.QueueDoesNotExist as error:
        raise errors.ArnDoesNotExist("SourceArn") from error


def _handle(task_id: str, arn: str) -> str:
    return base64.b64encode(to_json({"taskId": task_id, "sourceArn": arn})).decode()


def _task_of(handle: str) -> tuple[str, str]:
    """Return the task's id and the source's ARN in a handle. Raises InvalidTaskHandle."""
    try:
        task = from_json(base64.b64decode(handle, validate=True))
        return str(task["taskId"]), str(task["sourceArn"])
    except (binascii.Error, ValueError, TypeError, KeyError) as error:
        raise errors.InvalidTaskHandle from error


class StartMessageMoveTask(Action):
    """Begin to move a dead-letter queue's messages."""

    SourceArn: Arn
    DestinationArn: Arn | None = None
    MaxNumberOfMessagesPerSecond: Annotated[Integer, _at_most(RATE)] | None = None

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any]:
        """Check both queues, and start the task."""
        if self.SourceArn == self.DestinationArn:
            raise errors.MoveToItself
        source = _queue_of(questd, request, self.SourceArn, "SourceArn")
        await _call(questd, request, "quest_facts", self.SourceArn, repeat=True)
        destination = await self._destination(questd, request)
        if not await sources_of(questd, source):
            raise errors.NotADeadLetterQueue
        task_id = as_text(new_id())
        rate = self.MaxNumberOfMessagesPerSecond or 0
        await _call(questd, request, "quest_start_move", self.SourceArn, task_id, destination, rate)
        return {"TaskHandle": _handle(task_id, self.SourceArn)}

    async def _destination(self, questd: Questd, request: Request) -> str:
        """Return the destination's name, '' for none."""
        if not self.DestinationArn:
            return ""
        name = _queue_of(questd, request, self.DestinationArn, "DestinationArn")
        try:
            await questd.call("quest_facts", name, repeat=True)
        except errors.QueueDoesNotExist as error:
            raise errors.ArnDoesNotExist("DestinationArn") from error
        if name.endswith(FIFO) != self.SourceArn.endswith(FIFO):
            raise errors.MoveBetweenTypes
        return name


class ListMessageMoveTasks(Action):
    """List the latest move tasks of a queue."""

    SourceArn: Arn
    MaxResults: Annotated[Integer, _at_most(RESULTS)] | None = None

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any]:
        """Return them, newest first; one unless more are asked for."""
        packed = await _call(questd, request, "quest_tasks", self.SourceArn, repeat=True)
        results = [self._shown(questd, msgpack.unpackb(task)) for task in packed[: self.MaxResults or 1]]
        return {"Results": results} if results else {}

    def _shown(self, questd: Questd, task: dict[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        if task["status"] == "RUNNING":
            shown["TaskHandle"] = _handle(task["id"], self.SourceArn)
        shown |= {"Status": task["status"], "SourceArn": self.SourceArn}
        if task["destination"]:
            shown["DestinationArn"] = questd.arn(task["destination"])
        if task["rate"]:
            shown["MaxNumberOfMessagesPerSecond"] = int(task["rate"])
        shown |= {
            "ApproximateNumberOfMessagesMoved": int(task["moved"]),
            "ApproximateNumberOfMessagesToMove": int(task["to_move"]),
        }
        if task["failure"]:
            shown["FailureReason"] = task["failure"]
        return shown | {"StartedTimestamp": int(task["started_ms"])}


class CancelMessageMoveTask(Action):
    """End a running move task; what it moved stays moved."""

    TaskHandle: str

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any]:
        """End it and return how many messages it moved."""
        task_id, arn = _task_of(self.TaskHandle)
        moved = await _call(questd, request, "quest_cancel_move", arn, task_id)
        return {"ApproximateNumberOfMessagesMoved": moved}


def source_of(action: Action) -> str | None:
    """Return the ARN of the queue whose move tasks an action is about, if it is about any."""
    if isinstance(action, CancelMessageMoveTask):
        return _task_of(action.TaskHandle)[1]
    return action.SourceArn if isinstance(action, StartMessageMoveTask | ListMessageMoveTasks) else None
