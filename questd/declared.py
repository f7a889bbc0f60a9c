"""Queues declared in the TOML file: making those of Redis so, and what there is to do for that.

The tables that declare them are read in tables.py; the actions do the making.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic_core import to_json

from questd import errors, server
from questd.action import Questd, QueueAction, validated
from questd.queues import GetQueueAttributes, SetQueueAttributes, check_leave
from questd.settings import BadSetting, Settings
from questd.tables import REDRIVE, Declared, read
from questd.tags import ListQueueTags, TagQueue

log = logging.getLogger(__name__)


async def make(settings: Settings) -> None:
    """Make the queues of Redis as they are declared; what is so already is not written.

    What is not declared stays: other queues, other attributes, other tags. Raises BadSetting.
    """
    queues = read(settings)
    if not queues:
        return
    async with server.connected(settings, "declared") as questd:
        later, done = list[Declared](), set[str]()
        for queue in queues:
            before = queue
            if queue.target in {each.arn for each in queues} - done:
                attributes = {name: text for name, text in (queue.create.Attributes or {}).items() if name != REDRIVE}
                before = replace(queue, create=queue.create.model_copy(update={"Attributes": attributes}))
                later.append(queue)
            await _make(questd, before)
            done.add(queue.arn)
        for queue in later:
            await _make(questd, queue)


async def outlook(settings: Settings) -> list[tuple[str, str]]:
    """Return the name of each queue and what `make` would do about it; nothing is written.

    The library is loaded. Raises BadSetting.
    """
    queues = read(settings)
    given = _given(queues)
    async with server.connected(settings, "declared") as questd:
        return [(queue.create.QueueName, await _outlook(questd, queue, given)) for queue in queues]


def check_new(queues: list[Declared]) -> None:
    """Check that a Redis that has no queues yet can have these. Raises BadSetting."""
    given = _given(queues)
    for queue in queues:
        _check_target(queue, given.get(queue.target))


def _given(queues: list[Declared]) -> dict[str, dict[str, str]]:
    """Return the attributes that are declared, by the ARNs of their queues."""
    return {queue.arn: queue.create.Attributes or {} for queue in queues}


def _check_target(queue: Declared, attributes: Mapping[str, str] | None) -> None:
    """Check that the dead-letter queue of a queue allows that. Raises BadSetting.

    `attributes` are those that it will have when it is asked, None when it will not be there.
    """
    if queue.target and attributes is None:
        raise BadSetting(f"{queue.place} its dead-letter queue {queue.target} is neither declared nor there")
    try:
        check_leave(queue.policy, queue.arn, attributes or {})
    except errors.RedrivePolicyInvalid as error:
        raise BadSetting(f"{queue.place} {error}") from None


async def _outlook(questd: Questd, queue: Declared, given: Mapping[str, dict[str, str]]) -> str:
    what = await _change(questd, queue)
    if what and queue.target:  # make asks the dead-letter queue of none that is as it is declared
        _check_target(queue, await _target(questd, queue, given.get(queue.target)))
    if what:
        return what
    if new := await _new_tags(questd, queue):
        return f"will be changed: other tags ({', '.join(new)})"
    return "is as it is declared"


async def _change(questd: Questd, queue: Declared) -> str:
    """Return what `make` would do about the attributes of a queue, '' for nothing."""
    try:
        return "" if await queue.create.is_there(questd, queue.name) else "will be made"
    except errors.QueueNameExists as error:
        return f"will be changed: another {error.values[0]}"


async def _target(questd: Questd, queue: Declared, given: dict[str, str] | None) -> dict[str, str] | None:
    """Return what the dead-letter queue of a queue will say of its sources, None when it will not be there."""
    name = queue.target.rpartition(":")[2]  # of the same region and account
    try:
        now = await _act(questd, queue, GetQueueAttributes, QueueUrl=name, AttributeNames=["RedriveAllowPolicy"])
    except errors.QueueDoesNotExist:
        return given
    return {**(now or {}).get("Attributes", {}), **(given or {})}


async def _make(questd: Questd, queue: Declared) -> None:
    try:
        there = await _created(questd, queue)
        if new := await _new_tags(questd, queue):
            await _act(questd, queue, TagQueue, Tags=new)
    except errors.SQSError as error:
        raise BadSetting(queue.file.mistake(queue.create.QueueName, error, queue.create.Attributes)) from None
    if not there:
        log.info("the queue %s was made", queue.name)


async def _created(questd: Questd, queue: Declared) -> bool:
    """Make or change a queue; return whether it was there."""
    try:
        there = await queue.create.is_there(questd, queue.name)
        if not there:
            await queue.create(questd, queue.request)  # by now another questd may have made it
    except errors.QueueNameExists:
        await _act(questd, queue, SetQueueAttributes, Attributes=queue.create.Attributes)
        log.info("the queue %s was changed", queue.name)
        return True
    return there


async def _new_tags(questd: Questd, queue: Declared) -> dict[str, str]:
    """Return the declared tags that a queue has not."""
    tags = (await _act(questd, queue, ListQueueTags) or {}).get("Tags", {})
    return {key: value for key, value in (queue.create.tags or {}).items() if tags.get(key) != value}


async def _act(questd: Questd, queue: Declared, action: type[QueueAction], **members: object) -> dict[str, Any] | None:
    body = to_json({"QueueUrl": queue.create.QueueName} | members)
    return await validated(action, body, queue.request)(questd, queue.request)
