"""Visits: somebody at the console, what he may, and how he acts: by the same actions as a client of SQS.

It knows actions and access; it must not know pages or forms.
"""

from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from questd import errors, namespaces
from questd.action import Questd, validated
from questd.actions import ACTIONS
from questd.request import Request

BETWEEN = "~"
"""What stands in a page's path where a queue's name inside has a slash; no name has one."""


@dataclass
class Visit:
    """One request for a page."""

    questd: Questd
    request: Request
    """As if he had sent it to the SQS port."""
    token: str
    """What his forms carry."""

    async def do(self, name: str, **members: object) -> dict[str, Any]:
        """Do an action of AWS's name, and return the members of its answer. Raises its SQSErrors."""
        action = validated(ACTIONS[name], to_json(members), self.request)
        if self.questd.gate:
            await self.questd.gate.check(self.questd, self.request, action)
        return await action(self.questd, self.request) or {}

    async def check(self, name: str, queue: str) -> None:
        """Raise AccessDenied unless he may do an action with a queue, by its name inside; '' for none in particular."""
        if self.questd.gate:
            arn = self.questd.arn(queue) if queue else ""  # by which a move task names it
            action = ACTIONS[name].model_construct(QueueUrl=queue, SourceArn=arn)
            await self.questd.gate.check(self.questd, self.request, action)

    async def may(self, name: str, queue: str) -> bool:
        """Tell whether he may do an action with a queue."""
        try:
            await self.check(name, queue)
        except errors.AccessDeniedException:
            return False
        return True

    async def seen(self, name: str, **members: object) -> dict[str, Any]:
        """Do an action that shows something; {} when he may not."""
        try:
            return await self.do(name, **members)
        except errors.AccessDeniedException:
            return {}

    def url(self, queue: str) -> str:
        """Return what an action takes for a queue's URL, given its name inside."""
        return "queue/{}/{}/{}".format(*namespaces.parts(self.questd.home, queue))


def segment(queue: str) -> str:
    """Return a queue's name inside as a part of a path."""
    return queue.replace("/", BETWEEN)


def queue_at(part: str) -> str:
    """Return the queue's name inside that a part of a path stands for."""
    return part[:1] + part[1:].replace(BETWEEN, "/")
