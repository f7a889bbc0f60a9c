"""goaws' configuration (YAML), read as far as questd has the like: of one environment, and without its SNS."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from questd.draft import NOTHING, Draft, QueueDraft
from questd.settings import BadSetting

ENVIRONMENT = "Local"
"""What goaws takes when nobody names one."""

NO_SNS = "topics and subscriptions are SNS's, and questd speaks SQS only"

Config = Mapping[str, Any]


def read(content: str, source: str) -> Draft:
    """Return what questd has of a goaws.yaml: of its environment Local, else of the first. Raises BadSetting."""
    draft = Draft(source)
    try:
        environments = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise BadSetting(f"{source} is not YAML: {' '.join(str(error).split())}") from None
    if not (
        isinstance(environments, dict) and environments and all(isinstance(e, dict) for e in environments.values())
    ):
        raise BadSetting(
            f"{source} is not what goaws reads: environments such as {ENVIRONMENT}, each with its settings"
        )
    chosen = ENVIRONMENT if ENVIRONMENT in environments else next(iter(environments))
    for name in environments:
        if name != chosen:
            draft.lose("the environment", name, f"questd has one, and this is {chosen}")
    _environment(draft, dict(environments[chosen]))
    return draft


def _environment(draft: Draft, config: dict[str, Any]) -> None:
    draft.everywhere("goaws")
    host, port = config.pop("Host", None), config.pop("Port", None)
    port = port or config.pop("SqsPort", None)
    if port:
        draft.set("port", port)
    if host:
        draft.set("public_url", f"http://{host}:{port or 4100}")
    if region := config.pop("Region", None):
        draft.set("region", region)
    if (account := config.pop("AccountId", config.pop("AccountID", None))) is not None:
        draft.set("account", str(account).zfill(12))  # digits without quotation marks are a number
    [defaults] = _tables([config.pop("QueueAttributeDefaults", None) or {}])
    if defaults:
        draft.say("QueueAttributeDefaults are those of the queues below; one that is made later has AWS's defaults")
    for table in _tables(config.pop("Queues", None)):
        _queue(draft.queue(str(table.get("Name"))), {**defaults, **table})
    for topic in _tables(config.pop("Topics", None)):
        _topic(draft, topic, defaults)
    for name, value in config.items():
        draft.lose(name, value, NOTHING)


def _tables(value: object) -> list[Config]:
    """Return a list of tables, which may not be there. Raises BadSetting when it is something else."""
    tables = value or []
    if not (isinstance(tables, list) and all(isinstance(table, dict) for table in tables)):
        raise BadSetting(f"goaws reads a list of tables with a Name here, not {value!r}")
    return tables


def _queue(queue: QueueDraft, table: Config) -> None:
    for name, value in table.items():
        if name == "RedrivePolicy":
            _redrive(queue, value)
        elif name != "Name":
            queue.set(name, value)


def _redrive(queue: QueueDraft, value: object) -> None:
    try:
        policy: Any = json.loads(value) if isinstance(value, str) else value
        # goaws looks at the name only, whatever account the ARN has.
        queue.dead = (policy["deadLetterTargetArn"].rpartition(":")[2], policy["maxReceiveCount"])
    except (ValueError, TypeError, KeyError, AttributeError):
        queue.lose("RedrivePolicy", value, "it is not {deadLetterTargetArn, maxReceiveCount}")


def _topic(draft: Draft, topic: Config, defaults: Config) -> None:
    """Leave out a topic, but not the queues that goaws makes for its subscriptions."""
    draft.lose("the topic", topic.get("Name"), NO_SNS)
    for subscription in _tables(topic.get("Subscriptions")):
        name = subscription.get("QueueName")
        if name and str(name) not in draft.queues:
            queue = draft.queue(str(name))
            queue.say(f"named only in a subscription to the topic {topic.get('Name')}")
            _queue(queue, defaults)
