"""ElasticMQ's configuration (HOCON), read as far as questd has the like: what its keys mean, and in which units."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pyhocon import ConfigFactory
from pyhocon.exceptions import ConfigException
from pyparsing import ParseBaseException

from questd.draft import NOTHING, Draft, QueueDraft
from questd.namespaces import FIFO
from questd.settings import BadSetting

INCLUDE = re.compile(r"^[ \t]*include\b.*$", re.MULTILINE)
DURATION = re.compile(r"[0-9.]+\s*[a-z]+", re.IGNORECASE)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SECONDS = {
    "defaultVisibilityTimeout": "VisibilityTimeout",
    "delay": "DelaySeconds",
    "receiveMessageWait": "ReceiveMessageWaitTimeSeconds",
}
"""A queue's durations, and what SQS calls them."""

LOST = {
    "copyTo": "questd does not copy what is sent to a queue into another one",
    "moveTo": "questd does not pass on what is sent to a queue to another one",
    "created": "a queue is as old as it is",
    "lastModified": "a queue is as old as it is",
}

STORAGE = ("storage", "queues-storage", "persisted-queues-storage", "messages-storage")

Config = Mapping[str, Any]


def read(content: str, source: str) -> Draft:
    """Return what questd has of an elasticmq.conf. Raises BadSetting when it is none."""
    draft = Draft(source)
    for line in INCLUDE.findall(content):
        draft.lose("include", line.strip().removeprefix("include").strip(), "only this file is read")
    try:
        config = ConfigFactory.parse_string(INCLUDE.sub("", content)).as_plain_ordered_dict()
    except (ConfigException, ParseBaseException) as error:
        raise BadSetting(f"{source} is not what ElasticMQ reads (HOCON): {error}") from None
    _interface(draft, _table(config, "rest-sqs"))
    _statistics(draft, _table(config, "rest-stats"))
    generated = config.pop("generate-node-address", False)
    address = _table(config, "node-address")
    if not generated and address.get("host", "*") != "*":
        path = str(address.get("context-path", "")).strip("/")
        url = f"{address.get('protocol', 'http')}://{address['host']}:{address.get('port', 9324)}"
        draft.set("public_url", f"{url}/{path}" if path else url)
    _account(draft, _table(config, "aws"))
    for name in STORAGE:
        storage = _table(config, name)
        if storage.get("enabled"):
            draft.lose(name, storage, "questd keeps everything in Redis by itself: see data_dir and redis_url")
    queues = _table(config, "queues")
    for name in list(queues):
        table = _table(queues, name)
        fifo = bool(table.get("fifo"))
        _queue(draft.queue(name + FIFO if fifo and not name.endswith(FIFO) else name), table)
    for name, value in config.items():
        draft.lose(name, value, NOTHING)
    return draft


def _table(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Take a table out of another one; it may not be there. Raises BadSetting when it is something else."""
    table = config.pop(name, None) or {}
    if not isinstance(table, dict):
        raise BadSetting(f"{name} should be a table in what ElasticMQ reads, not {table!r}")
    return table


def _interface(draft: Draft, config: Config) -> None:
    if "bind-port" in config:
        draft.set("port", config["bind-port"])
    host = config.get("bind-hostname")
    if host is None:
        draft.everywhere("ElasticMQ")
    else:
        draft.set("host", host)
        if host not in {"localhost", "127.0.0.1", "::1"}:
            draft.say(
                "anonymous: anyone who reaches this machine may use every queue, as in ElasticMQ, unless there is"
            )
            draft.say("a keys_file instead")
            draft.set("anonymous", True)  # noqa: FBT003  # a setting's value
    if config.get("sqs-limits", "strict") != "strict":
        why = "questd has AWS's limits: max_message_size, max_retention and max_in_flight raise three of them"
        draft.lose("sqs-limits", config["sqs-limits"], why)


def _statistics(draft: Draft, config: Config) -> None:
    """Carry over ElasticMQ's own interface: its page is questd's console."""
    if not config.get("enabled", True):
        draft.set("console_port", "off")
    elif "bind-port" in config:
        draft.set("console_port", config["bind-port"])


def _account(draft: Draft, config: Config) -> None:
    if "region" in config:
        draft.set("region", config["region"])
    if "accountId" in config:
        draft.set("account", str(config["accountId"]).zfill(12))  # digits without quotation marks are a number


def _queue(queue: QueueDraft, table: Config) -> None:
    for name, value in table.items():
        if name in SECONDS:
            queue.set(SECONDS[name], _seconds(value))
        elif name == "contentBasedDeduplication":
            if value:
                queue.set("ContentBasedDeduplication", value)
        elif name == "deadLettersQueue":
            dead = _table({name: value}, name)
            queue.dead = (str(dead.get("name")), dead.get("maxReceiveCount"))
        elif name == "tags":
            queue.tag(_table({name: value}, name))
        elif name != "fifo":  # it is in the queue's name
            queue.lose(name, value, LOST.get(name, NOTHING))


def _seconds(value: object) -> object:
    """Return a duration in whole seconds; what is none stays as it is."""
    if isinstance(value, str) and DURATION.fullmatch(value):
        value = ConfigFactory.parse_string(f"it = {value}")["it"]  # with quotation marks it was a text
    if isinstance(value, int | float):
        return int(value / 1000)  # HOCON: a duration without a unit is in milliseconds
    if isinstance(value, str):
        return value
    # A timedelta, or dateutil's relativedelta where that is installed.
    return int((EPOCH + value - EPOCH).total_seconds())  # type: ignore[operator]
