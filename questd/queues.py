"""Queues: CreateQueue, GetQueueUrl, ListQueues, DeleteQueue, PurgeQueue, GetQueueAttributes, SetQueueAttributes."""

import asyncio
import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import from_json

from questd import errors, registry, tags
from questd.action import Action, Questd, QueueAction, flat
from questd.facts import Facts
from questd.library import key_of
from questd.members import Integer, Strings
from questd.namespaces import BEHIND, FIFO, QUEUE_NAME, bare
from questd.queue_attributes import READABLE, readable, stored
from questd.request import Request

MINUTE_MS = 60_000
"""What AWS waits between a queue's deletion and its re-creation, and between two purges; questd only when strict."""

PAGE = 1000

PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,80}", re.ASCII)
"""How a queue's name may begin."""

Texts = dict[str, str]


def _known_names(names: list[str]) -> list[str]:
    for name in names:
        if name not in READABLE:
            raise errors.UnknownAttribute(name)
    return names


def _page_size(value: int) -> int:
    if not 1 <= value <= PAGE:
        raise errors.InvalidPageSize
    return value


PageSize = Annotated[Integer, AfterValidator(_page_size)]


def _wait_ms(questd: Questd) -> int:
    return MINUTE_MS if questd.settings.strict_aws else 0


async def _attributes(questd: Questd, name: str) -> Texts:
    """Return every attribute of a queue. Raises QueueDoesNotExist."""
    visible, in_flight, delayed, pairs = await questd.call("quest_attributes", name, repeat=True)
    fields = {key.decode(): value.decode() for key, value in zip(pairs[::2], pairs[1::2], strict=True)}
    return readable(fields, (visible, in_flight, delayed), questd.arn, name)


async def _claim_target(questd: Questd, name: str, fields: Texts, policy: str) -> Texts:
    """Check that the dead-letter queue is there and allows this queue, and tell it who its source is.

    Returns the fields with the queue's name in the place of its ARN.
    """
    arn = fields.get("deadLetterTarget")
    if not arn:
        return fields
    target = questd.name_of(arn)
    check_kinds(policy, questd.arn(name), arn)
    gone = errors.RedrivePolicyInvalid(policy, "Dead letter target does not exist.")
    if target is None:
        raise gone
    try:
        check_leave(policy, questd.arn(name), await _attributes(questd, target))
        await questd.call("quest_add_source", target, name)
    except errors.QueueDoesNotExist as error:
        raise gone from error
    return fields | {"deadLetterTarget": target}


def check_kinds(policy: str, source_arn: str, target_arn: str) -> None:
    """Check what the ARNs in a RedrivePolicy tell. Raises RedrivePolicyInvalid."""
    if target_arn.endswith(FIFO) != source_arn.endswith(FIFO):
        raise errors.RedrivePolicyInvalid(policy, "Dead-letter queue must be same type of queue as the source..")
    if source_arn.rpartition(":")[0] != target_arn.rpartition(":")[0]:
        raise errors.RedrivePolicyInvalid(policy, "Dead-letter target owner should be same as the source.")


def check_leave(policy: str, source_arn: str, target_attributes: Mapping[str, str]) -> None:
    """Check that the dead-letter queue of a RedrivePolicy allows its source. Raises RedrivePolicyInvalid."""
    if not _allows(target_attributes, source_arn):
        raise errors.RedrivePolicyInvalid(policy, "The dead letter queue does not allow this queue as its source.")


def _allows(attributes: Mapping[str, str], source_arn: str) -> bool:
    policy = from_json(attributes.get("RedriveAllowPolicy") or '{"redrivePermission":"allowAll"}')
    if policy["redrivePermission"] == "byQueue":
        return source_arn in policy["sourceQueueArns"]
    return bool(policy["redrivePermission"] == "allowAll")


class CreateQueue(Action):
    """Make a queue; one that is there already with the same attributes is as good."""

    QueueName: str
    Attributes: Texts | None = None
    tags: Texts | None = None

    def model_post_init(self, _context: object, /) -> None:
        """Check the name, of which AWS says something else where it is to be a FIFO queue's (contract 2.1)."""
        name, given = self.QueueName, self.Attributes or {}
        if not name:
            raise errors.EmptyQueueName
        if given.get("FifoQueue", "").lower() == "true" and not name.endswith(FIFO):
            raise errors.InvalidFifoQueueName
        if not QUEUE_NAME.fullmatch(name) or (name.endswith(FIFO) and "FifoQueue" not in given):
            raise errors.InvalidQueueName

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any]:
        """Make it and return its URL."""
        name = request.namespace.name(self.QueueName)
        if not await self.is_there(questd, name):
            fields = self.fields(questd.settings.attribute_limits)
            fields = await _claim_target(questd, name, fields, (self.Attributes or {}).get("RedrivePolicy", ""))
            size, retention = questd.settings.max_message_size, min(registry.RETENTION, questd.settings.max_retention)
            secret = secrets.token_hex(20)
            async with registry.creating(questd.library, name):
                await questd.call("quest_create", name, secret, _wait_ms(questd), size, retention, *flat(fields))
        return {"QueueUrl": questd.url(name, request)}

    def fields(self, limits: Mapping[str, int]) -> Texts:
        """Return what the hash of a new queue gets, its dead-letter queue as an ARN still; `limits` as for `stored`."""
        fields = stored(self.Attributes or {}, limits, self._scope())
        if self.tags:
            tags.check(self.tags, self.QueueName)
            fields["tags"] = tags.stored(self.tags)
        return fields

    async def is_there(self, questd: Questd, name: str) -> bool:
        """Say whether there is such a queue; then its attributes must be those given, whatever else a new one needs.

        Raises QueueNameExists when they are not. Writes nothing.
        """
        scope = self._scope()
        try:
            facts = await questd.relearn(name)
            if scope:
                scope = facts.DeduplicationScope
            fields = stored(self.Attributes or {}, questd.settings.attribute_limits, scope, facts.FifoThroughputLimit)
            arn = fields.get("deadLetterTarget")
            if arn:
                fields["deadLetterTarget"] = questd.name_of(arn) or arn
            await questd.call("quest_compare", name, *flat(fields), repeat=True)
        except errors.QueueDoesNotExist:
            return False
        return True

    def _scope(self) -> str | None:
        """Return the DeduplicationScope that a new FIFO queue has by default, None for a standard queue."""
        if (self.Attributes or {}).get("FifoQueue", "").lower() == "false":
            raise errors.UnknownAttribute("FifoQueue")
        return "queue" if self.QueueName.endswith(FIFO) else None


class GetQueueUrl(Action):
    """Find a queue by its name."""

    QueueName: str | None = None
    QueueOwnerAWSAccountId: str | None = None

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any]:
        """Return its URL."""
        if not self.QueueName:
            raise errors.NoQueueName
        namespace = request.namespace
        if namespace.home and self.QueueOwnerAWSAccountId:
            namespace = namespace.of_account(self.QueueOwnerAWSAccountId)
            if namespace.account != self.QueueOwnerAWSAccountId:
                raise errors.QueueDoesNotExist
        if not QUEUE_NAME.fullmatch(self.QueueName):
            raise errors.QueueDoesNotExist
        name = namespace.name(self.QueueName)
        await questd.call("quest_facts", name, repeat=True)
        return {"QueueUrl": questd.url(name, request)}


class ListQueues(Action):
    """List queues by name, in pages when asked for."""

    QueueNamePrefix: str | None = None
    MaxResults: PageSize | None = None
    NextToken: str | None = None

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any]:
        """Return the URLs of a page; a name without a queue (one just deleted) is left out."""
        if self.QueueNamePrefix and not PREFIX.fullmatch(self.QueueNamePrefix):
            return {}  # no queue's name begins so
        prefix = request.namespace.name(self.QueueNamePrefix or "")
        start = f"({after(self.NextToken, prefix)}" if self.NextToken else f"[{prefix}" if prefix else "-"
        end = b"[" + prefix.encode() + b"\xff" if prefix else f"({BEHIND}"
        limit = self.MaxResults or PAGE
        page = await questd.library.execute("ZRANGE", registry.QUEUES, start, end, "BYLEX", "LIMIT", 0, limit + 1)
        names = [name.decode() for name in page[:limit]]
        there = await asyncio.gather(*(questd.library.execute("EXISTS", key_of(name)) for name in names))
        urls = [questd.url(name, request) for name, found in zip(names, there, strict=True) if found]
        result: dict[str, Any] = {"QueueUrls": urls} if urls else {}
        if len(page) > limit and self.MaxResults:
            result["NextToken"] = token_of(names[-1])
        return result


def token_of(name: str) -> str:
    """Return the NextToken of a page that ends with this name."""
    return base64.urlsafe_b64encode(name.encode()).decode()


def after(token: str, prefix: str) -> str:
    """Return the last name of the page before; it begins with `prefix` as that page did."""
    try:
        name = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise errors.InvalidNextToken from error
    if not QUEUE_NAME.fullmatch(bare(name)) or not name.startswith(prefix):
        raise errors.InvalidNextToken
    return name


class DeleteQueue(QueueAction):
    """Forget a queue and all its messages."""

    async def __call__(self, questd: Questd, _request: Request) -> None:
        """Delete it."""
        async with registry.deleting(questd.library, self.QueueUrl):
            await questd.call("quest_delete_queue", self.QueueUrl)
        questd.facts.pop(self.QueueUrl, None)


class PurgeQueue(QueueAction):
    """Forget all messages of a queue."""

    async def __call__(self, questd: Questd, _request: Request) -> None:
        """Empty it."""
        await questd.call("quest_purge", self.QueueUrl, _wait_ms(questd), repeat=True)


class GetQueueAttributes(QueueAction):
    """Describe a queue."""

    AttributeNames: Annotated[Strings, AfterValidator(_known_names)] | None = None

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Return the attributes asked for that it has."""
        attributes = await _attributes(questd, self.QueueUrl)
        names = set(self.AttributeNames or ())
        shown = {name: value for name, value in attributes.items() if "All" in names or name in names}
        return {"Attributes": shown} if shown else {}


class SetQueueAttributes(QueueAction):
    """Change a queue: all of the attributes given, or none."""

    Attributes: Texts

    async def __call__(self, questd: Questd, _request: Request) -> None:
        """Check and change them."""
        target: Texts = {}

        def fields(facts: Facts) -> Texts:
            scope = facts.DeduplicationScope if facts.FifoQueue else None
            limits = questd.settings.attribute_limits
            return stored(self.Attributes, limits, scope, facts.FifoThroughputLimit) | target

        policy = self.Attributes.get("RedrivePolicy")
        if policy:  # all is checked before the target is told
            claimed = fields(await questd.relearn(self.QueueUrl))
            claimed = await _claim_target(questd, self.QueueUrl, claimed, policy)
            target["deadLetterTarget"] = claimed["deadLetterTarget"]
        await questd.change(self.QueueUrl, fields)
