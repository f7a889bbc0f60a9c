"""Tags of a queue: TagQueue, UntagQueue, ListQueueTags; and what a tag may be (contract 9.2)."""

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import from_json

from questd import errors
from questd.action import Questd, QueueAction
from questd.facts import Facts
from questd.members import Strings
from questd.mistakes import missing
from questd.namespaces import bare
from questd.request import Request

TAGS, KEY_LENGTH, VALUE_LENGTH = 50, 128, 256

CHARACTERS = re.compile(r"(?:[\w\s.:/=+@-](?<![\v\f\x1c-\x1f]))*")
"""Of keys and values; but not the white space that XML has not."""

Tags = dict[str, str]


def check(tags: Tags, queue: str) -> None:
    """Raise what AWS answers to tags that a queue cannot have."""
    if len(tags) > TAGS:
        raise errors.TooManyTags(bare(queue))
    for key, value in tags.items():
        if not 1 <= len(key) <= KEY_LENGTH:
            raise errors.InvalidTagKey
        if len(value) > VALUE_LENGTH:
            raise errors.InvalidTagValue
        if not CHARACTERS.fullmatch(key):
            raise errors.InvalidTagKeyCharacters
        if not CHARACTERS.fullmatch(value):
            raise errors.InvalidTagValueCharacters
        if key.lower().startswith("aws:"):
            raise errors.ReservedTagKey


def stored(tags: Tags) -> str:
    """Return tags as the queue's hash keeps them; '' for none."""
    return json.dumps(tags, separators=(",", ":")) if tags else ""


def read(text: str) -> Tags:
    """Return the tags in a field of a queue's hash."""
    return from_json(text) if text else {}


def _some(tags: Tags) -> Tags:
    if not tags:
        raise missing("Tags")
    return tags


def _keys(keys: list[str]) -> list[str]:
    if not keys or not all(1 <= len(key) <= KEY_LENGTH for key in keys):
        raise errors.InvalidTagKey
    return keys


class TagQueue(QueueAction):
    """Add tags to a queue; one of the same key gets the new value."""

    Tags: Annotated[Tags, AfterValidator(_some)]

    async def __call__(self, questd: Questd, _request: Request) -> None:
        """Check and keep them."""

        def fields(facts: Facts) -> Tags:
            tags = read(facts.tags) | self.Tags
            check(tags, self.QueueUrl)
            return {"tags": stored(tags)}

        await questd.change(self.QueueUrl, fields)


class UntagQueue(QueueAction):
    """Take tags off a queue; one it does not have is as good."""

    TagKeys: Annotated[Strings, AfterValidator(_keys)]

    async def __call__(self, questd: Questd, _request: Request) -> None:
        """Forget them."""
        gone = frozenset(self.TagKeys)

        def fields(facts: Facts) -> Tags:
            kept = {key: value for key, value in read(facts.tags).items() if key not in gone}
            return {"tags": stored(kept)}

        await questd.change(self.QueueUrl, fields)


class ListQueueTags(QueueAction):
    """List the tags of a queue."""

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Return them."""
        tags = read((await questd.relearn(self.QueueUrl)).tags)
        return {"Tags": tags} if tags else {}
