"""AWS JSON 1.0: a request's action out of its headers and body, and the bytes of results and errors (contract 1.2)."""

import re
from itertools import islice
from typing import Any

import orjson
from pydantic_core import from_json, to_json

from questd import errors, extensions
from questd.action import Action, Gate, validated
from questd.actions import ACTIONS, named
from questd.request import Request

CONTENT_TYPE = "application/x-amz-json-1.0"
TARGET_PREFIX = "AmazonSQS"

LARGE, TOKENS = 2**18, 20_000
"""What a body of more than LARGE bytes has at most: requests have hundreds, and to look at millions takes a second."""

TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)|[,\[{]', re.DOTALL)
"""A text, which may be a megabyte, or what begins another value."""


TARGETS = {f"{TARGET_PREFIX}.{name}": action for name, action in ACTIONS.items()} | {
    f"{extensions.TARGET_PREFIX}.{name}": action for name, action in extensions.ACTIONS.items()
}
"""Actions by what requests call them."""


def action_of(request: Request, gate: Gate | None) -> Action:
    """Return the action that a request asks for, validated. Raises what AWS answers to a wrong one."""
    if gate:
        gate.identify(request)
    action = TARGETS.get(request.headers.get("x-amz-target", ""))
    on_a_path = request.target != "/"
    if action and on_a_path and request.peeks and action.__name__ in ACTIONS:
        action = named(action.__name__, request)
    if action is None:
        raise errors.UnknownOperationException
    request.action = action.__name__
    body = request.body or b"{}"
    if len(body) > LARGE and _is_crowded(body):
        raise errors.SerializationException
    if on_a_path and request.queue:
        body = _with_queue(body, request.queue)
    return validated(action, body, request)


def _is_crowded(body: bytes) -> bool:
    """Say whether a body has more tokens than any request needs."""
    return sum(1 for _ in islice(TOKEN.finditer(body), TOKENS + 1)) > TOKENS


def _with_queue(body: bytes, queue: str) -> bytes:
    """Return members with the queue that the path names, if they name none (contract 1.2.1)."""
    try:
        members = from_json(body)
    except ValueError:
        return body  # whose error comes next
    if isinstance(members, dict) and members.get("QueueUrl") is None:
        return to_json(members | {"QueueUrl": queue})
    return body


def result_parts(
    _action: Action, result: dict[str, Any] | None, _request: Request, _request_id: str
) -> tuple[str, bytes]:
    """Return the type and the body of a success: compact JSON, or nothing for an action without output."""
    return CONTENT_TYPE, b"" if result is None else orjson.dumps(result)


def error_parts(error: errors.SQSError, _request: Request, _request_id: str) -> tuple[str, bytes, dict[str, str]]:
    """Return the type, the body and more headers of an error: `__type` for today's SDKs, the older code for others."""
    # AccessDenied was seen with a capital (contract 1.2.3).
    name = "Message" if isinstance(error, errors.AccessDeniedException) else "message"
    body = orjson.dumps({"__type": error.type, name: error.message})
    return CONTENT_TYPE, body, {"x-amzn-query-error": f"{error.code};{error.fault}"}
