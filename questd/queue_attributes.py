"""Queue attributes: which there are, what they may be, how they are stored and read back (contract 3 and 7).

Values are texts in both directions. What Redis keeps is AWS's name and value, but for RedrivePolicy: its two parts are
fields of their own, because Redis acts on them.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import from_json

from questd import errors, message_attributes, policies
from questd.namespaces import ARN_PARTS

Stored = dict[str, str]
"""Fields of a queue's hash; an empty value takes the field away."""

NUMBER = re.compile(r"[0-9]{1,18}")

UNLIMITED = 2**63
"""Where settings have the highest value."""

TEXT_LENGTH = 2048
PERMISSIONS = ("allowAll", "denyAll", "byQueue")
SOURCE_ARNS = 10
TRIES = range(1, 1001)


def _wrong(name: str, wanted: str) -> errors.InvalidValue:
    """Return the error of a value; what it should be is a note, for AWS does not say it."""
    error = errors.InvalidValue(name)
    error.add_note(f"It should be {wanted}.")
    return error


def _whole(low: int, high: int) -> Callable[[str, str], Stored]:
    """Return the rule for a whole number."""

    def rule(name: str, value: str) -> Stored:
        if not (NUMBER.fullmatch(value) and low <= int(value) <= high):
            raise _wrong(
                name, f"a whole number from {low} to {high}" if high < UNLIMITED else f"a whole number, {low} at least"
            )
        return {name: str(int(value))}

    return rule


def _boolean(name: str, value: str) -> Stored:
    if value.lower() not in {"true", "false"}:
        raise _wrong(name, "true or false")
    return {name: value.lower()}


def _text(name: str, value: str) -> Stored:
    if len(value) > TEXT_LENGTH or not message_attributes.is_text(value.encode()):
        raise errors.InvalidValue(name)
    return {name: value}


def _one_of(*values: str) -> Callable[[str, str], Stored]:
    """Return the rule for a value out of few."""

    def rule(name: str, value: str) -> Stored:
        if value not in values:
            raise _wrong(name, " or ".join(values))
        return {name: value}

    return rule


def _policy(name: str, value: str) -> Stored:
    return {name: policies.check(value)}


def _fifo_queue(name: str, value: str) -> Stored:
    if value.lower() != "true":
        raise errors.QueueTypeIsFixed
    return {name: "true"}


def _redrive_policy(_name: str, value: str) -> Stored:
    """Check a RedrivePolicy in itself (contract 7.1); its target is an ARN still."""
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
    target = _arn(value, policy["deadLetterTargetArn"])
    return {"deadLetterTarget": target, "maxReceiveCount": str(_tries(value, policy["maxReceiveCount"]))}


def _arn(value: str, arn: object) -> str:
    text = arn if isinstance(arn, str) else ""
    parts = text.split(":")
    if len(parts) != ARN_PARTS or parts[0] != "arn" or not parts[5]:
        raise errors.RedrivePolicyInvalid(value, "Dead-letter target ARN should be fully qualified ARN.")
    if parts[2] != "sqs":
        raise errors.RedrivePolicyInvalid(value, "Only SQS queues are valid resources for deadLetterTargetArn.")
    return text


def _tries(value: str, count: object) -> int:
    if isinstance(count, (int, str)) and not isinstance(count, bool):
        text = str(count)
        if NUMBER.fullmatch(text) and int(text) in TRIES:
            return int(text)
    shown = count if isinstance(count, str) else json.dumps(count)
    raise errors.RedrivePolicyInvalid(
        value, f"Invalid value for maxReceiveCount: {shown}, valid values are from 1 to 1000 both inclusive."
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
    known = permission in PERMISSIONS and policy.keys() <= {"redrivePermission", "sourceQueueArns"}
    if not known or not isinstance(arns, (list, type(None))) or not all(isinstance(arn, str) for arn in arns or ()):
        raise errors.RedriveAllowPolicyUnsupported
    wrong = _wrong_sources(permission, arns)
    if wrong:
        raise errors.RedriveAllowPolicyInvalid(value, wrong)
    # In one order: CreateQueue compares texts.
    return {name: json.dumps(dict(sorted(policy.items())), separators=(",", ":"))}


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
    "MaximumMessageSize": _whole(1024, UNLIMITED),
    "MessageRetentionPeriod": _whole(60, UNLIMITED),
    "Policy": _policy,
    "ReceiveMessageWaitTimeSeconds": _whole(0, 20),
    "RedriveAllowPolicy": _redrive_allow_policy,
    "RedrivePolicy": _redrive_policy,
    "SqsManagedSseEnabled": _boolean,
    "VisibilityTimeout": _whole(0, 43200),
}
"""Every attribute that can be set in a queue of either type, and its rule: name and value → what is stored."""

FIFO_ONLY: dict[str, Callable[[str, str], Stored]] = {
    "ContentBasedDeduplication": _boolean,
    "DeduplicationScope": _one_of("queue", "messageGroup"),
    "FifoQueue": _fifo_queue,
    "FifoThroughputLimit": _one_of("perQueue", "perMessageGroupId"),
}
"""What a standard queue has none of; asking for them is no error."""

READ_ONLY = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
)

READABLE = frozenset({"All", *SETTABLE, *READ_ONLY, *FIFO_ONLY})


def stored(
    attributes: Mapping[str, str], limits: Mapping[str, int], scope: str | None, throughput: str = "perQueue"
) -> Stored:
    """Return the fields to store for the attributes given, each checked. Raises what AWS answers (contract 3.3).

    `limits` are the highest values of some attributes; `scope` and `throughput` are the DeduplicationScope and the
    FifoThroughputLimit of a FIFO queue as it is, `scope` None for a standard queue.
    """
    fields: Stored = {}
    for name, value in attributes.items():
        fields |= _rule(name, fifo=scope is not None)(name, value)
        if name in limits and int(fields[name]) > limits[name]:
            raise _wrong(name, f"at most {limits[name]}")
    by_group = fields.get("FifoThroughputLimit", throughput) == "perMessageGroupId"
    if by_group and fields.get("DeduplicationScope", scope) != "messageGroup":
        raise errors.LimitNeedsScope
    return fields | _encryption(fields)


def _rule(name: str, *, fifo: bool) -> Callable[[str, str], Stored]:
    if name in SETTABLE:
        return SETTABLE[name]
    if name in FIFO_ONLY and fifo:
        return FIFO_ONLY[name]
    if name in ("DeduplicationScope", "FifoThroughputLimit"):
        raise errors.OnlyForFifoQueues(name)
    raise errors.UnknownAttribute(name)


def _encryption(fields: Stored) -> Stored:
    """Return what one kind of encryption does to the other: a queue has one at a time (contract 3.2).

    That SQS's own kind takes a key away is not known of AWS.
    """
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
    shown |= {key: fields[key] for key in (*SETTABLE, *FIFO_ONLY) if key in fields}
    if "KmsMasterKeyId" not in fields:
        shown.pop("KmsDataKeyReusePeriodSeconds", None)
    if "deadLetterTarget" in fields:
        policy = {
            "deadLetterTargetArn": arn(fields["deadLetterTarget"]),
            "maxReceiveCount": int(fields["maxReceiveCount"]),
        }
        shown["RedrivePolicy"] = json.dumps(policy, separators=(",", ":"))
    return shown
