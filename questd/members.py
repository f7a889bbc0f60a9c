"""Members of requests: types that several actions have, with AWS's words for what is wrong. It knows no action."""

import re
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from questd import errors
from questd.namespaces import NOWHERE, QUEUE_NAME, Namespace

DECIMAL = re.compile(r"[+-]?[0-9]{1,18}")
"""A whole number as text."""

URLS_LIMIT = 4096
"""Queue URLs whose queues a process knows: most requests come with the same few."""

URL_LENGTH = 1024
"""Characters of a queue's URL at most: a longer one is no queue's, and would only fill the memory."""


def _queue_name(url: object, info: ValidationInfo) -> str:
    """Return the queue that a QueueUrl names: a URL on any host, or a bare name (contract 1.4)."""
    if not isinstance(url, str):
        return url  # type: ignore[return-value]  # the type check comes next
    if len(url) > URL_LENGTH:
        raise errors.QueueDoesNotExist
    return _queue_at(url, info.context or NOWHERE)


@lru_cache(URLS_LIMIT)
def _queue_at(url: str, namespace: Namespace) -> str:
    path, _, name = url.rpartition("/")
    if not QUEUE_NAME.fullmatch(name):
        raise errors.QueueDoesNotExist
    path, _, account = path.rpartition("/")
    path, _, region = path.rpartition("/")
    if path.rpartition("/")[2] == "queue":  # http://localhost:4566/queue/us-east-1/000000000000/name, of LocalStack
        namespace = namespace.of_region(region)
    return namespace.of_account(account).name(name)


def between(low: int, high: int, reason: str) -> AfterValidator:
    """Return a field's range and AWS's words for it."""

    def check(value: int, info: ValidationInfo) -> int:
        if not low <= value <= high:
            raise errors.InvalidParameter(value, info.field_name, reason)
        return value

    return AfterValidator(check)


def _number(value: object) -> object:
    """Return the value unless it is something that only Python takes for a number."""
    if isinstance(value, bool):
        raise errors.UnconvertibleValue(f"{value}_VALUE".upper(), "an Integer")
    if isinstance(value, str) and not DECIMAL.fullmatch(value):
        raise errors.UnconvertibleValue("STRING_VALUE", "an Integer")
    return value


Integer = Annotated[int, BeforeValidator(_number)]
"""A number, or its decimal text; never true or false."""

Strings = Annotated[list[str], Field(fail_fast=True)]
"""Texts. One that is none ends the look at them: a client may send a million."""

QueueName = Annotated[str, BeforeValidator(_queue_name)]
"""A QueueUrl, read as the name in it."""
