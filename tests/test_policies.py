"""Policies in themselves: what is one, and what is not (contract 9.1)."""

import json
import time

import pytest

from questd import errors, policies

ACCOUNT = "444455556666"


def statement(**members: object) -> dict[str, object]:
    """Return a statement of a policy."""
    return {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "arn:aws:sqs:us-east-1:1:q"} | members


def document(*statements: object, version: str = "2012-10-17") -> str:
    """Return a policy."""
    return json.dumps({"Version": version, "Statement": statements})


@pytest.mark.parametrize(
    "text",
    [
        document(statement()),
        document(
            statement(Sid="a", Principal={"AWS": ACCOUNT, "Service": ["sns.amazonaws.com"]}), version="2008-10-17"
        ),
        document(statement(Effect="Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})),
        '{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"*"},"NotAction":["sqs:SendMessage"]}}',
        '{  "Id" : "ключ", "Statement" : [] }',
        document(*[statement()] * 20),
        document(statement(Action=["sqs:SendMessage"] * 7, Principal={"AWS": [ACCOUNT] * 50})),
    ],
)
def test_a_policy_is_kept_as_it_was_sent(text: str) -> None:
    """White space and order stay (contract 3.2)."""
    assert policies.check(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[]",
        "{}",
        "[" * 8000,
        '{"Version":"2012-10-17"}',
        document(statement(), version="2013-01-01"),
        document("x"),
        document(statement(Effect="allow")),
        document(statement(Sid=1)),
        document(statement(Principal="me")),
        document(statement(Principal=None)),
        document(statement(NotPrincipal="*")),
        document(statement(Action=None)),
        document(statement(NotAction="*")),
        document(statement(Action=[1])),
        document(statement(Action=[])),
        document(statement(Resource=[])),
        document(statement(Principal={"AWS": []})),
        document(statement(Condition=["x"])),
        document(statement(Conditions={})),
        document(statement(Condition={"Bool": {"a": {"b": "c"}}})),
    ],
)
def test_what_is_no_policy(text: str) -> None:
    """Neither JSON, nor what IAM's grammar has for the policy of a resource."""
    with pytest.raises(errors.InvalidValue, match=r"Invalid value for the parameter Policy\."):
        policies.check(text)


IN_STATEMENT = "were found in a statement from the submitted policy, max allowed is"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (document(*[statement()] * 21), "21 statements were found in the submitted policy, max allowed is 20"),
        (document(statement(Action=["sqs:SendMessage"] * 8)), f"8 actions {IN_STATEMENT} 7"),
        (document(statement(Principal={"AWS": [ACCOUNT] * 50, "Service": "x"})), f"51 principals {IN_STATEMENT} 50"),
        (
            document(statement(Condition={"Bool": {f"k{i}": "x" for i in range(11)}})),
            f"11 conditions {IN_STATEMENT} 10",
        ),
        (document(statement(Sid="x" * 8192)), "Submitted policy is over max allowed size."),
    ],
)
def test_limits(text: str, expected: str) -> None:
    """A policy that is over a limit is OverLimit."""
    with pytest.raises(errors.OverLimit) as caught:
        policies.check(text)
    assert caught.value.message == expected


def test_no_policy() -> None:
    """An empty text takes the policy away."""
    assert policies.check("") == ""


@pytest.mark.parametrize(
    ("pattern", "like"),
    [
        ("*", True), ("orders-*", True), ("*-eu", True), ("*s-*", True), ("o*s*e?", True), ("orders-eu", True),
        ("orders", False), ("*orders", False), ("o*o*o", False), ("*eu*u", False), ("", False), ("ORDERS-EU", False),
        ("[o]rders-eu", False), ("order.-eu", False), ("**?????????", True), ("**??????????", False),
    ],
)  # fmt: skip
def test_patterns(pattern: str, *, like: bool) -> None:
    """`*` is any text and `?` any character; every other character is itself."""
    assert policies.like("orders-eu", pattern) == like


def test_a_pattern_of_many_stars_is_quick() -> None:
    """However many stars a pattern has, none of its parts is tried again and again: a policy cannot hold a process."""
    begun = time.process_time()
    assert not policies.like("a" * 80, "*a" * 60 + "b")
    assert time.process_time() - begun < 1
