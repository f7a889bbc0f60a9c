"""Queue policies: the documents that say who may do what with a queue (contract 9.1): checked, changed.

Nothing here enforces them.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from questd import errors

Policy = dict[str, Any]

BYTES = 8192
STATEMENTS = 20
LIMITS = {"actions": 7, "principals": 50, "conditions": 10}
"""How many of these a statement may have."""

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


Texts = str | list[str]
Value = str | bool | int | float


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Statement(_Strict):
    """A statement as IAM's grammar has it for the policy of a resource."""

    Sid: str = ""
    Effect: Literal["Allow", "Deny"]
    Principal: Literal["*"] | dict[str, Texts] | None = None
    NotPrincipal: Literal["*"] | dict[str, Texts] | None = None
    Action: Texts | None = None
    NotAction: Texts | None = None
    Resource: Texts | None = None
    NotResource: Texts | None = None
    Condition: dict[str, dict[str, Value | list[Value]]] = Field(default_factory=dict)

    def is_complete(self) -> bool:
        """Return whether it says who may do what, each in one of the two ways."""
        who = (self.Principal is None) != (self.NotPrincipal is None)
        return who and (self.Action is None) != (self.NotAction is None)

    def counts(self) -> dict[str, int]:
        """Return how many it has of what is limited."""
        who = self.Principal or self.NotPrincipal or {}
        return {
            "actions": _count(self.Action or self.NotAction or []),
            "principals": 1 if isinstance(who, str) else sum(map(_count, who.values())),
            "conditions": sum(map(len, self.Condition.values())),
        }


class _Document(_Strict):
    Version: Literal["2008-10-17", "2012-10-17"] = "2008-10-17"
    Id: str = ""
    Statement: _Statement | list[_Statement]


def _count(texts: Texts) -> int:
    return 1 if isinstance(texts, str) else len(texts)


def check(text: str) -> str:
    """Return a Policy attribute unchanged; '' takes it away. Raises InvalidValue, or what is over a limit."""
    if not text:
        return ""
    _check_size(text)
    try:
        found = _Document.model_validate_json(text).Statement
    except ValidationError as error:
        raise errors.InvalidValue("Policy") from error
    given = [found] if isinstance(found, _Statement) else found
    if len(given) > STATEMENTS:
        raise errors.TooManySubmittedStatements(len(given), STATEMENTS)
    for statement in given:
        if not statement.is_complete():
            raise errors.InvalidValue("Policy")
        for what, count in statement.counts().items():
            if count > LIMITS[what]:
                raise errors.TooManyInStatement(count, what, LIMITS[what])
    return text


def check_permission(accounts: Sequence[str], actions: Sequence[str]) -> None:
    """Raise what is over a limit in one permission."""
    for what, given in (("Actions", actions), ("Principals", accounts)):
        limit = LIMITS[what.lower()]
        if len(given) > limit:
            raise errors.TooManyInPermission(len(given), what, limit)


def _check_size(text: str) -> None:
    if len(text.encode()) > BYTES:
        raise errors.PolicyTooLong


def statements(policy: Policy) -> list[Any]:
    """Return the statements of a policy, which may hold one without a list."""
    found = policy.get("Statement", [])
    return found if isinstance(found, list) else [found]


def add(text: str, arn: str, label: str, accounts: Sequence[str], actions: Sequence[str]) -> str:
    """Return a policy (or '') with one more statement. Raises LabelExists, or what is over a limit."""
    policy = from_json(text) if text else {"Version": "2008-10-17", "Id": f"{arn}/SQSDefaultPolicy"}
    listed = statements(policy)
    if any(one.get("Sid") == label for one in listed):
        raise errors.LabelExists(label)
    if len(listed) >= STATEMENTS:
        raise errors.TooManyInPermission(len(listed) + 1, "Statements", STATEMENTS)
    statement = {
        "Sid": label,
        "Effect": "Allow",
        "Principal": {"AWS": _one_or_all([f"arn:aws:iam::{account}:root" for account in accounts])},
        "Action": _one_or_all([f"SQS:{action}" for action in actions]),
        "Resource": arn,
    }
    longer = _compact(policy | {"Statement": [*listed, statement]})
    _check_size(longer)
    return longer


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
