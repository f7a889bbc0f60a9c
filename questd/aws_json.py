"""AWS JSON 1.0: a request's action out of its headers and body, and the bytes of results and errors (contract 1.2)."""

from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from questd import errors
from questd.action import Action, Request, mistake
from questd.actions import ACTIONS

CONTENT_TYPE = "application/x-amz-json-1.0"
TARGET_PREFIX = "AmazonSQS"


def action_of(request: Request) -> Action:
    """Return the action that a request asks for, validated. Raises what AWS answers to a wrong one."""
    prefix, _, name = request.headers.get("X-Amz-Target", "").rpartition(".")
    action = ACTIONS.get(name)
    if action is None or prefix != TARGET_PREFIX:
        raise errors.UnknownOperationException
    try:
        return action.model_validate_json(request.body or b"{}")
    except ValidationError as error:
        raise mistake(error) from error


def result_body(result: dict[str, Any] | None) -> bytes:
    """Return the body of a success: compact JSON, or nothing for an action without output."""
    return b"" if result is None else to_json(result)


def error_parts(error: errors.SQSError) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of an error: `__type` for today's SDKs, the older code for the others."""
    body = to_json({"__type": error.type, "message": error.message})
    return {"x-amzn-query-error": f"{error.code};{error.fault}"}, body
