"""The tables [queues.NAME] of the TOML file: what they may hold, which queues they declare, and the line of a mistake.

It owns the names beside AWS's and the order of dead-letter queues; what an attribute may be is known to the actions. It
asks no Redis.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from questd import namespaces
from questd.action import validated
from questd.namespaces import FIFO
from questd.queue_attributes import FIFO_ONLY, SETTABLE
from questd.queues import CreateQueue, check_kinds
from questd.request import Request
from questd.settings import BadSetting, Settings, did_you_mean
from questd.toml import line_of

REDRIVE = "RedrivePolicy"


def _text(value: object) -> str:
    """Return an attribute as AWS has it: all are texts, some of them JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | dict):
        return json.dumps(value, default=str)  # TOML has dates
    raise ValueError("should be a number, true or false, a text or a table")


class Table(BaseModel):
    """A table [queues.NAME]: AWS's attributes, and these."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Annotated[str, BeforeValidator(_text)]] = Field(init=False)

    tags: dict[str, str] = {}
    dead_letter_queue: str | None = None
    """The name of one of the same region and account: with the next one, a RedrivePolicy."""
    max_receive_count: int | None = None
    region: str | None = Field(None, pattern=f"^{namespaces.REGION.pattern}$")
    account: str | None = Field(None, pattern="^[0-9]{12}$")

    def attributes(self, name: str, target: str) -> dict[str, str]:
        """Return AWS's attributes; `target` is the ARN of the dead-letter queue, '' for none."""
        attributes = dict(self.__pydantic_extra__)
        if name.endswith(FIFO):
            attributes.setdefault("FifoQueue", "true")
        if target or self.max_receive_count is not None:
            if REDRIVE in attributes or not target or self.max_receive_count is None:
                raise _Mistake(
                    f"should have both dead_letter_queue and max_receive_count, or {REDRIVE}, or none of them"
                )
            policy = {"deadLetterTargetArn": target, "maxReceiveCount": self.max_receive_count}
            attributes[REDRIVE] = json.dumps(policy)
        return attributes


KNOWN = frozenset({*SETTABLE, *FIFO_ONLY, *Table.model_fields})
"""What a table may hold."""


class _Mistake(ValueError):
    """Something that a table should not say; the text says what, `key` where."""

    def __init__(self, text: str, key: str = "") -> None:
        super().__init__(text)
        self.key = key


@dataclass(frozen=True)
class File:
    """The file that queues are declared in."""

    path: Path
    content: str

    def place(self, name: str, key: str = "") -> str:
        """Return where a queue, or a key of it, is declared: the file, the line, the table."""
        line = line_of(self.content, "queues", name, key) or line_of(self.content, "queues", name)
        shown = json.dumps(name) if FIFO in name else name
        return f"{self.path}{f', line {line}' if line else ''}: [queues.{shown}]"

    def mistake(self, name: str, error: ValueError, table: object) -> str:
        """Return where and what a mistake in the table of a queue is, as an action, pydantic or we found it."""
        text, key = _meaning(error, table)
        return f"{self.place(name, key)} {text}"


@dataclass(frozen=True)
class Declared:
    """A queue as it is declared."""

    file: File
    create: CreateQueue
    request: Request
    arn: str
    target: str
    """The ARN of its dead-letter queue, '' for none."""

    @property
    def place(self) -> str:
        """Where it is declared."""
        return self.file.place(self.create.QueueName)

    @property
    def policy(self) -> str:
        """Its RedrivePolicy, '' for none."""
        return (self.create.Attributes or {}).get(REDRIVE, "")

    @property
    def name(self) -> str:
        """What it is called inside."""
        return self.request.namespace.name(self.create.QueueName)


def read(settings: Settings) -> list[Declared]:
    """Return the queues that are declared in the file that settings name, dead-letter queues before their sources.

    Raises BadSetting, which tells all mistakes that can be seen without asking Redis.
    """
    if settings.config is None:
        return []
    try:
        file = File(settings.config, settings.config.read_text())
        tables = tomllib.loads(file.content).get("queues", {})
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{settings.config}: {error}") from None
    if not isinstance(tables, dict):
        raise BadSetting(f"queues in {settings.config} should be a table for each queue: [queues.NAME]")
    found, mistakes = list[Declared](), list[str]()
    for name, table in tables.items():
        try:
            found.append(_declared(settings, file, name, table))
        except ValueError as error:  # ValidationError, SQSError and _Mistake
            mistakes.append(file.mistake(name, error, table))
    if mistakes:
        raise BadSetting("; ".join(mistakes))
    return list(_ordered({each.arn: each for each in found}))


def _declared(settings: Settings, file: File, name: str, table: object) -> Declared:
    if not isinstance(table, dict):
        raise _Mistake("should be a table")
    for key, value in table.items():
        if isinstance(value, dict) and key == FIFO[1:]:
            raise _Mistake(f'has a table "{key}": the name of a FIFO queue needs quotation marks, "{name}{FIFO}"', key)
        if key not in KNOWN and key in Settings.model_fields:
            raise _Mistake(f"{key} is a setting, which has its line above the first table", key)
        if key not in KNOWN:
            raise _Mistake(f"{key} is no attribute to set{did_you_mean(key, KNOWN)}", key)
    read = Table.model_validate(table)
    home = namespaces.home_of(settings)
    namespace = home._replace(region=read.region or home.region, account=read.account or home.account)
    if not home.home and namespace != home:
        raise _Mistake("is in another region or account than the server's own, which needs multi_region = true")
    dead = read.dead_letter_queue
    attributes = read.attributes(name, namespaces.arn(home, namespace.name(dead)) if dead else "")
    request = Request("POST", "/", {}, b"", namespace=namespace)
    members = {"QueueName": name, "Attributes": attributes, "tags": read.tags}
    create = cast("CreateQueue", validated(CreateQueue, to_json(members), request))
    target = create.fields(settings.attribute_limits).get("deadLetterTarget", "")
    arn = namespaces.arn(home, namespace.name(name))
    if target:
        check_kinds(attributes[REDRIVE], arn, target)
    return Declared(file, create, request, arn, target)


def _meaning(error: ValueError, table: object) -> tuple[str, str]:
    """Return what to say about a mistake, and the key of the table that it is about, '' for none."""
    if isinstance(error, _Mistake):
        return str(error), error.key
    if isinstance(error, ValidationError):
        detail = error.errors(include_url=False)[0]
        key = ".".join(map(str, detail["loc"]))
        return f"{key}: {detail['msg'].removeprefix('Value error, ')}", str(detail["loc"][0])
    keys = table if isinstance(table, dict) else ()
    text = " ".join((str(error), *getattr(error, "__notes__", ())))
    return text, next((key for key in keys if key in str(error)), "")


def _ordered(queues: Mapping[str, Declared]) -> Iterator[Declared]:
    """Yield queues, by their ARNs, each after its dead-letter queue, unless that leads back to it."""
    seen = set[str]()
    for arn in queues:
        chain = []
        while arn in queues and arn not in seen:
            seen.add(arn)
            chain.append(queues[arn])
            arn = queues[arn].target  # noqa: PLW2901  # down to the last
        yield from reversed(chain)
