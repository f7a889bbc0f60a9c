"""Queue policies: the documents that say who may do what with a queue (contract 9.1): checked, changed, judged by."""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

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


Texts = str | Annotated[list[str], Field(min_length=1)]
PARTITION = re.compile(r"^arn:aws-(cn|us-gov):")
"""How the ARNs of other clouds begin: an account is the same in each."""

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
    return len(_texts(texts))


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


def single(action: str) -> str:
    """Return the name under which an action is granted: a batch goes by that of one message."""
    return action.removesuffix("Batch")


@lru_cache(4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    first, *others = ["".join("." if one == "?" else re.escape(one) for one in part) for part in pattern.split("*")]
    # The first place where a part fits is as good as any later one: however many stars, nothing is tried twice.
    middle = "".join(f"(?>.*?{part})" for part in others[:-1] if part)
    return re.compile(first + middle + "".join(f".*{part}" for part in others[-1:]), re.DOTALL)


def like(text: str, pattern: str) -> bool:
    """Tell whether a text is like a pattern, in which `*` is anything and `?` any character."""
    return _pattern(pattern).fullmatch(text) is not None


@lru_cache(1024)
def _read(text: str) -> tuple[_Statement, ...]:
    found = _Document.model_validate_json(text).Statement
    return (found,) if isinstance(found, _Statement) else tuple(found)


def verdict(text: str, account: str, user: str, action: str, resource: str) -> Literal["Allow", "Deny"] | None:
    """Return what a policy says of an action on a queue (its ARN) by a user (an ARN) of an account; '' is anybody.

    A statement with conditions, none of which questd knows, allows nothing and denies whatever else it says.
    """
    found: Literal["Allow"] | None = None
    for statement in _read(text):
        if _is_about(statement, account, user, action, resource):
            if statement.Effect == "Deny":
                return "Deny"
            if not statement.Condition:
                found = "Allow"
    return found


def _is_about(statement: _Statement, account: str, user: str, action: str, resource: str) -> bool:
    named = _names(statement.Principal or statement.NotPrincipal or {}, account, user)
    name = f"sqs:{single(action)}".lower()
    acts = any(like(name, pattern.lower()) for pattern in _texts(statement.Action or statement.NotAction))
    about = any(like(resource, pattern) for pattern in _texts(statement.Resource or statement.NotResource or resource))
    return (
        named == (statement.Principal is not None)
        and acts == (statement.Action is not None)
        and about == (statement.NotResource is None)
    )


def _names(principal: str | dict[str, Texts], account: str, user: str) -> bool:
    """Tell whether a statement's principals have an account, or a user of it, among them."""
    if isinstance(principal, str):
        return True
    mine = {"*", account, f"arn:aws:iam::{account}:root", user} if account else {"*"}
    return any(PARTITION.sub("arn:aws:", one) in mine for one in _texts(principal.get("AWS")))


def _texts(texts: Texts | None) -> list[str]:
    return [texts] if isinstance(texts, str) else texts or []


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
