"""The core of both fronts: an HTTP request in, its answer out. It knows no server.

Which protocol a request speaks is decided here, and every failure becomes an answer here.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from questd import aws_json, errors
from questd.action import Questd, Request
from questd.identifiers import as_text, new_id

log = logging.getLogger(__name__)

PLAIN = "text/plain; charset=utf-8"


@dataclass(slots=True)
class Answer:
    """What a front writes. `undo`, if any, is to be called when it could not be written."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    undo: Callable[[], None] | None = None


class MoveClock(BaseModel):
    """The body of POST /_questd/clock: seconds to move the clock of every rule by; {} only reads it."""

    model_config = ConfigDict(extra="forbid")

    advance: float = Field(0, ge=0, le=1e9, allow_inf_nan=False)


async def answer(questd: Questd, request: Request) -> Answer:
    """Return the answer to a request, whatever is wrong with it."""
    path = request.target.partition("?")[0]
    if path.startswith("/health/"):
        return await _health(questd, path)
    if path == "/_questd/clock" and questd.settings.test_mode:
        return await _clock(questd, request)
    if request.method == "POST" and "X-Amz-Target" in request.headers:
        return await _aws_json(questd, request)
    return _unknown_operation(request)


async def _aws_json(questd: Questd, request: Request) -> Answer:
    request_id = as_text(new_id())
    headers = {"x-amzn-RequestId": request_id}
    try:
        result = await aws_json.action_of(request)(questd, request)
        return Answer(200, aws_json.CONTENT_TYPE, aws_json.result_body(result), headers, request.undo)
    except errors.SQSError as error:
        return _error(error, headers)
    except Exception:
        log.exception("request %s failed", request_id)
        return _error(errors.InternalFailure(), headers)


def _error(error: errors.SQSError, headers: dict[str, str]) -> Answer:
    more, body = aws_json.error_parts(error)
    return Answer(error.status, aws_json.CONTENT_TYPE, body, headers | more)


def refusal(error: errors.SQSError) -> Answer:
    """Return the answer to a request that comes to no action."""
    return _error(error, {"x-amzn-RequestId": as_text(new_id())})


def _unknown_operation(request: Request) -> Answer:
    """Return what AWS answers to a request without an action (contract 1.3.6)."""
    if request.method == "POST" and request.headers.get("Content-Type", "").startswith("application/x-amz-json"):
        return refusal(errors.UnknownOperationException())
    return Answer(404, "text/xml", b"<UnknownOperationException/>")


async def _health(questd: Questd, path: str) -> Answer:
    """Return whether this process runs (live), and whether it can work: a function of the library answers (ready)."""
    if path == "/health/live":
        return Answer(200, PLAIN, b"live\n")
    if path != "/health/ready":
        return Answer(404, PLAIN, b"there is /health/live and /health/ready\n")
    try:
        await questd.library.call("quest_version", "quest:lease", repeat=True)
    except errors.SQSError as error:
        return Answer(503, PLAIN, f"not ready: {error.message}\n".encode())
    return Answer(200, PLAIN, b"ready\n")


async def _clock(questd: Questd, request: Request) -> Answer:
    """Move the clock of a questd in test mode, and return it in ms."""
    if request.method != "POST":
        return Answer(405, PLAIN, b'POST {"advance": seconds}\n', {"Allow": "POST"})
    try:
        move = MoveClock.model_validate_json(request.body or b"{}")
        arguments = ("advance", round(move.advance * 1000)) if move.advance else ()
        now_ms = await questd.library.call("quest_clock", "quest:clock", *arguments)
    except ValidationError:
        return Answer(400, PLAIN, b'send {"advance": seconds}\n')
    except errors.SQSError as error:
        return Answer(error.status, PLAIN, f"{error.message}\n".encode())
    return Answer(200, "application/json", to_json({"now_ms": now_ms}))
