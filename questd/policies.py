"""Queue policies: the documents that say who may do what with a queue (contract 9.1): checked, changed.

Nothing here enforces them.
"""

import json
from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json

from questd import errors

Policy = dict[str, Any]

BYTES = 8192
STATEMENTS = 20
ACTIONS = 7

VERSIONS = ("2008-10-17", "2012-10-17")

GRANTABLE = (
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
)
"""What AddPermission can grant; batches are covered by the single names."""


def check(text: str) -> str:
    """Return a Policy attribute unchanged; '' takes it away. Raises InvalidValue, TooManySubmittedStatements."""
    if not text:
        return ""
    try:
        policy = from_json(text)
    except ValueError as error:
        raise errors.InvalidValue("Policy") from error
    if len(text.encode()) > BYTES or not _is_policy(policy):
        raise errors.InvalidValue("Policy")
    if len(statements(policy)) > STATEMENTS:
        raise errors.TooManySubmittedStatements(len(statements(policy)), STATEMENTS)
    return text


def _is_policy(policy: object) -> bool:
    if not isinstance(policy, dict) or policy.get("Version", VERSIONS[0]) not in VERSIONS:
        return False
    if "Statement" not in policy:
        return False
    return all(isinstance(one, dict) and one.get("Effect") in ("Allow", "Deny") for one in statements(policy))


def statements(policy: Policy) -> list[Any]:
    """Return the statements of a policy, which may hold one without a list."""
    found = policy.get("Statement", [])
    return found if isinstance(found, list) else [found]


def add(text: str, arn: str, label: str, accounts: Sequence[str], actions: Sequence[str]) -> str:
    """Return a policy (or '') with one more statement. Raises LabelExists, TooManyStatements."""
    policy = from_json(text) if text else {"Version": VERSIONS[0], "Id": f"{arn}/SQSDefaultPolicy"}
    listed = statements(policy)
    if any(one.get("Sid") == label for one in listed):
        raise errors.LabelExists(label)
    if len(listed) >= STATEMENTS:
        raise errors.TooManyStatements(len(listed) + 1, STATEMENTS)
    statement = {
        "Sid": label,
        "Effect": "Allow",
        "Principal": {"AWS": _one_or_all([f"arn:aws:iam::{account}:root" for account in accounts])},
        "Action": _one_or_all([f"SQS:{action}" for action in actions]),
        "Resource": arn,
    }
    return _compact(policy | {"Statement": [*listed, statement]})


def remove(text: str, label: str) -> str:
    """Return a policy without the statement of a label; '' when it was the last. Raises NoSuchLabel."""
    if not text:
        raise errors.NoSuchLabel(label, "can't find label.")
    policy = from_json(text)
    kept = [one for one in statements(policy) if one.get("Sid") != label]
    if len(kept) == len(statements(policy)):
        raise errors.NoSuchLabel(label, "can't find label on existing policy.")
    return _compact(policy | {"Statement": kept}) if kept else ""


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _compact(policy: Policy) -> str:
    return json.dumps(policy, separators=(",", ":"))
