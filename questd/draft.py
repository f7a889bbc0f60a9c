"""A TOML file for questd in the making, out of another server's configuration: settings, queues, and what is lost.

What is put in is checked as questd will check it; what it would refuse becomes a comment that says why.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import tomli_w
from pydantic import TypeAdapter, ValidationError

from questd import errors, tags
from questd.namespaces import FIFO, QUEUE_NAME
from questd.queue_attributes import stored
from questd.settings import Settings

LIMITS = Settings.model_construct().attribute_limits
"""Of a questd that has nothing else configured."""

NO_TARGET = "arn:aws:sqs:us-east-1:000000000000:any"

NOTHING = "questd has nothing like it"
"""Why most of what is lost is lost."""


class _Section:
    """Keys of the file that stand together, and the comments above them."""

    def __init__(self) -> None:
        self.table: dict[str, Any] = {}
        self.comments: list[str] = []

    def say(self, text: str) -> None:
        """Put a comment above."""
        self.comments.append(f"# {' '.join(text.split())}\n")

    def lose(self, name: str, value: object, why: str) -> None:
        """Say that something is not carried over; of a table only its name, for it may hold a password."""
        shown = name if isinstance(value, dict) else f"{name} = {json.dumps(value, default=str)}"
        self.say(f"not carried over: {shown}, because {why}")


class QueueDraft(_Section):
    """A queue."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.dead: tuple[str, object] | None = None
        """The name of its dead-letter queue as the other server has it, and the receives before that."""

    def set(self, attribute: str, value: object) -> None:
        """Give it one of SQS's attributes."""
        try:
            self.check({attribute: json.dumps(value) if isinstance(value, bool) else str(value)})
            self.table[attribute] = value
        except errors.SQSError as error:
            self.lose(attribute, value, f"SQS says: {error.message}")

    def check(self, attributes: Mapping[str, str]) -> None:
        """Raise an SQSError when it cannot have these attributes."""
        stored(attributes, LIMITS, "queue" if self.name.endswith(FIFO) else None)

    def tag(self, given: Mapping[str, object]) -> None:
        """Give it tags."""
        for key, value in given.items():
            new = {key: str(value)}
            try:
                tags.check(self.table.get("tags", {}) | new, self.name)
                self.table.setdefault("tags", {}).update(new)
            except errors.SQSError as error:
                self.lose(f"the tag {key}", value, f"SQS says: {error.message}")


class Draft(_Section):
    """The file."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.queues: dict[str, QueueDraft] = {}
        self.say(f"questd's settings and queues out of {source}. Look at them with: questd check --config FILE")

    def set(self, setting: str, value: object) -> None:
        """Give a setting a value."""
        field = Settings.model_fields[setting]
        try:
            TypeAdapter(Annotated[field.annotation, field]).validate_python(value)  # type: ignore[arg-type]  # made here
            self.table[setting] = value
        except ValidationError as error:
            self.lose(setting, value, f"it {error.errors()[0]['msg'].partition(' ')[2]}")

    def queue(self, name: str) -> QueueDraft:
        """Return the queue of this name; one that questd cannot have is not written."""
        if not QUEUE_NAME.fullmatch(name):
            self.lose("the queue", name, "a name has 1 to 80 letters, digits, hyphens and underscores")
            return QueueDraft(name)
        return self.queues.setdefault(name, QueueDraft(name))

    def everywhere(self, server: str) -> None:
        """Say what to do when the other server listened on every address by default."""
        self.say(
            f"{server} listens on every address, questd on 127.0.0.1: for another one set host, "
            "and keys_file (access keys) or anonymous = true"
        )

    def text(self) -> str:
        """Return the file."""
        for queue in list(self.queues.values()):
            self._link(queue)
        parts = ["".join(self.comments), tomli_w.dumps(self.table)]
        for name, queue in self.queues.items():
            parts.append("".join(queue.comments) + tomli_w.dumps({"queues": {name: queue.table}}))
        return "\n".join(filter(None, parts))

    def _link(self, queue: QueueDraft) -> None:
        """Give a queue its dead-letter queue, which the other server may not have named in full, or made by itself."""
        if queue.dead is None:
            return
        name, tries = queue.dead
        if queue.name.endswith(FIFO) and name not in self.queues:
            name = name.removesuffix(FIFO) + FIFO
        policy = {"deadLetterTargetArn": NO_TARGET, "maxReceiveCount": tries}
        try:
            queue.check({"RedrivePolicy": json.dumps(policy)})
        except errors.SQSError as error:
            queue.lose("the dead-letter queue", name, f"SQS says: {error.message}")
            return
        if not QUEUE_NAME.fullmatch(name) or name.endswith(FIFO) != queue.name.endswith(FIFO):
            queue.lose("the dead-letter queue", name, "SQS wants another name, or one of the same type")
            return
        if name not in self.queues:
            self.queue(name).say(f"named only as the dead-letter queue of {queue.name}")
        queue.table |= {"dead_letter_queue": name, "max_receive_count": int(str(tries))}
