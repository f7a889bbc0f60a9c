"""Policies in themselves: what is one, and what is not."""

import json

import pytest

from questd import errors, policies


@pytest.mark.parametrize(
    "document",
    [
        {"Statement": [{"Effect": "Allow"}]},
        {"Statement": []},
        {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Principal": "*", "Action": "*"}},
    ],
)
def test_a_policy_is_kept_as_it_was_sent(document: object) -> None:
    """White space and order stay (contract 3.2)."""
    text = json.dumps(document, indent=2)
    assert policies.check(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[]",
        "{}",
        '{"Statement":["x"]}',
        '{"Statement":[{"Effect":"Maybe"}]}',
        '{"Version":"2020-01-01","Statement":[{"Effect":"Allow"}]}',
        json.dumps({"Statement": [{"Effect": "Allow", "Sid": "x" * 8192}]}),
        "[" * 10_000,
    ],
)
def test_what_is_no_policy(text: str) -> None:
    """Neither JSON, nor a document of a known version with statements, nor up to 8192 bytes."""
    with pytest.raises(errors.InvalidValue, match=r"Invalid value for the parameter Policy\."):
        policies.check(text)


def test_no_policy() -> None:
    """An empty text takes the policy away."""
    assert policies.check("") == ""
