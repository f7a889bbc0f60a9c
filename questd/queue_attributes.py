"""Queue attributes: which there are, what they may be, how they are stored and read back (contract 3 and 7).

Values are texts in both directions. What Redis keeps is AWS's name and value, but for RedrivePolicy: its two parts are
fields of their own, because Redis acts on them.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import from_json

from questd import errors

Stored = dict[str, str]
"""Fields of a queue's hash; an empty value takes the field away."""

NUMBER = re.compile(r"[0-9]{1,18}")

POLICY_BYTES = 8192
TEXT_LENGTH = 2048
SOURCE_ARNS = 10
TRIES = range(1, 1001)

ARN_PARTS = 6


def _whole(low: int, high: int) -> Callable[[str, str], Stored]:
    """Return the rule for a whole number."""

    def rule(name: str, value: str) -> Stored:
        if not (NUMBER.fullmatch(value) and low <= int(value) <= high):
            raise errors.InvalidValue(name)
        return {name: str(int(value))}

    return rule


def _boolean(name: str, value: str) -> Stored:
    if value.lower() not in {"true", "false"}:
        raise errors.InvalidValue(name)
    return {name: value.lower()}


def _text(name: str, value: str) -> Stored:
    if len(value) > TEXT_LENGTH:
        raise errors.InvalidValue(name)
    return {name: value}


def _policy(name: str, value: str) -> Stored:
    if value and (len(value.encode()) > POLICY_BYTES or not isinstance(_json(name, value), dict)):
        raise errors.InvalidValue(name)
    return {name: value}


def _json(name: str, value: str) -> Any:  # noqa: ANN401  # it is JSON
    try:
        return from_json(value)
    except ValueError as error:
        raise errors.InvalidValue(name) from error


def _redrive_policy(_name: str, value: str) -> Stored:
    """Check a RedrivePolicy in itself (contract 7.1); its target's existence is Redis's to know."""
    if not value:
        return {"deadLetterTarget": "", "maxReceiveCount": ""}
    try:
        policy = from_json(value)
    except ValueError as error:
        raise errors.RedrivePolicyNotJson from error
    if not isinstance(policy, dict):
        raise errors.RedrivePolicyNotJson
    for key in ("deadLetterTargetArn", "maxReceiveCount"):
        if key not in policy:
            raise errors.RedrivePolicyInvalid(value, f"Redrive policy does not contain mandatory attribute: {key}.")
    if len(policy) > 2:  # noqa: PLR2004  # the two above
        raise errors.RedrivePolicyInvalid(
            value, "Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn]."
        )
    target = _queue_of_arn(value, policy["deadLetterTargetArn"])
    return {"deadLetterTarget": target, "maxReceiveCount": str(_tries(value, policy["maxReceiveCount"]))}


def _queue_of_arn(value: str, arn: object) -> str:
    parts = arn.split(":") if isinstance(arn, str) else []
    if len(parts) != ARN_PARTS or parts[0] != "arn" or not parts[5]:
        raise errors.RedrivePolicyInvalid(value, "Dead-letter target ARN should be fully qualified ARN.")
    if parts[2] != "sqs":
        raise errors.RedrivePolicyInvalid(value, "Only SQS queues are valid resources for deadLetterTargetArn.")
    return str(parts[5])


def _tries(value: str, count: object) -> int:
    if isinstance(count, (int, str)) and not isinstance(count, bool):
        text = str(count)
        if NUMBER.fullmatch(text) and int(text) in TRIES:
            return int(text)
    raise errors.RedrivePolicyInvalid(
        value, f"Invalid value for maxReceiveCount: {count}, valid values are from 1 to 1000 both inclusive."
    )


def _redrive_allow_policy(name: str, value: str) -> Stored:
    """Check a RedriveAllowPolicy (contract 7.2) and keep it compact."""
    if not value:
        return {name: ""}
    try:
        policy = from_json(value)
        permission, arns = policy["redrivePermission"], policy.get("sourceQueueArns")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise errors.RedriveAllowPolicyUnsupported from error
    if permission not in ("allowAll", "denyAll", "byQueue") or not isinstance(arns, (list, type(None))):
        raise errors.RedriveAllowPolicyUnsupported
    wrong = _wrong_sources(permission, arns)
    if wrong:
        raise errors.RedriveAllowPolicyInvalid(value, wrong)
    return {name: json.dumps(policy, separators=(",", ":"))}


def _wrong_sources(permission: str, arns: list[Any] | None) -> str | None:
    if permission == "byQueue" and not arns:
        return "When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values."
    if permission != "byQueue" and arns:
        return "To specify one or more source queue ARNs, you must set redrivePermission to byQueue."
    if arns and len(arns) > SOURCE_ARNS:
        return "The maximum number of source queue ARNs you can specify is 10."
    return None


SETTABLE: dict[str, Callable[[str, str], Stored]] = {
    "DelaySeconds": _whole(0, 900),
    "KmsDataKeyReusePeriodSeconds": _whole(60, 86400),
    "KmsMasterKeyId": _text,
    "MaximumMessageSize": _whole(1024, 1048576),
    "MessageRetentionPeriod": _whole(60, 1209600),
    "Policy": _policy,
    "ReceiveMessageWaitTimeSeconds": _whole(0, 20),
    "RedriveAllowPolicy": _redrive_allow_policy,
    "RedrivePolicy": _redrive_policy,
    "SqsManagedSseEnabled": _boolean,
    "VisibilityTimeout": _whole(0, 43200),
}
"""Every attribute of a standard queue that can be set, and its rule: name and value → what is stored."""

READ_ONLY = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
)

FIFO_ONLY = ("ContentBasedDeduplication", "DeduplicationScope", "FifoQueue", "FifoThroughputLimit")
"""A standard queue has none of these; asking for them is no error."""

READABLE = frozenset({"All", *SETTABLE, *READ_ONLY, *FIFO_ONLY})


def stored(attributes: Mapping[str, str]) -> Stored:
    """Return the fields to store for the attributes given, each checked. Raises what AWS answers (contract 3.3)."""
    fields: Stored = {}
    for name, value in attributes.items():
        if name in ("DeduplicationScope", "FifoThroughputLimit"):
            raise errors.OnlyForFifoQueues(name)
        if name not in SETTABLE:
            raise errors.UnknownAttribute(name)
        fields |= SETTABLE[name](name, value)
    return fields | _encryption(fields)


def _encryption(fields: Stored) -> Stored:
    """Return what one kind of encryption does to the other (contract 3.2): a queue has one at a time."""
    if fields.get("KmsMasterKeyId"):
        if fields.get("SqsManagedSseEnabled") == "true":
            raise errors.TwoKindsOfEncryption
        return {"SqsManagedSseEnabled": "false"}
    return {"KmsMasterKeyId": ""} if fields.get("SqsManagedSseEnabled") == "true" else {}


def readable(fields: Mapping[str, str], counts: tuple[int, int, int], arn: Callable[[str], str], name: str) -> Stored:
    """Return every attribute of a queue as AWS shows it, out of its hash's fields and its three counts."""
    visible, in_flight, delayed = counts
    shown = {
        "ApproximateNumberOfMessages": str(visible),
        "ApproximateNumberOfMessagesNotVisible": str(in_flight),
        "ApproximateNumberOfMessagesDelayed": str(delayed),
        "CreatedTimestamp": str(int(fields["created"]) // 1000),
        "LastModifiedTimestamp": str(int(fields["modified"]) // 1000),
        "QueueArn": arn(name),
    }
    shown |= {key: fields[key] for key in SETTABLE if key in fields}
    if "KmsMasterKeyId" not in fields:
        shown.pop("KmsDataKeyReusePeriodSeconds", None)
    if "deadLetterTarget" in fields:
        policy = {
            "deadLetterTargetArn": arn(fields["deadLetterTarget"]),
            "maxReceiveCount": int(fields["maxReceiveCount"]),
        }
        shown["RedrivePolicy"] = json.dumps(policy, separators=(",", ":"))
    return shown
