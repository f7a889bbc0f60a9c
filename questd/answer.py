"""Answers: what a front writes, how failures become answers, and the paths that are no actions. It knows no server."""

import logging
import typing
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from questd import __version__, aws_json, aws_query, errors, logs, mischief
from questd.action import Action, Gate, Questd
from questd.identifiers import new_request_id
from questd.request import Request
from questd.settings import Settings

log = logging.getLogger(__name__)

SERVER = "questd"
"""What both fronts call themselves."""

PLAIN = "text/plain; charset=utf-8"

REQUEST_ID = "x-amzn-RequestId"
"""The header with the id of a request, which its log lines carry too."""

BODY_FACTOR = 8
"""How many times as long as its message a body may be: 1 MiB of message is up to 6 MiB of JSON."""


def body_limit(settings: Settings) -> int:
    """Return how many bytes of body a front has to take."""
    return BODY_FACTOR * settings.max_message_size


@dataclass(slots=True)
class Answer:
    """What a front writes. `undo`, if any, is to be called when it could not be written."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    undo: Callable[[], None] | None = None
    error: str = ""
    """AWS's name of the error that it is."""


class Protocol(typing.Protocol):
    """How requests and answers are written: aws_json.py and aws_query.py."""

    def action_of(self, request: Request, gate: Gate | None) -> Action | None:
        """Return the action that a request asks for, validated; None when it asks for none.

        Says in the request who signed it. Raises what AWS answers to a wrong one.
        """

    def result_parts(
        self, action: Action, result: dict[str, Any] | None, request: Request, request_id: str
    ) -> tuple[str, bytes]:
        """Return the type and the body of a success."""

    def error_parts(
        self, error: errors.SQSError, request: Request, request_id: str
    ) -> tuple[str, bytes, dict[str, str]]:
        """Return the type, the body and more headers of an error."""


class MoveClock(BaseModel):
    """The body of POST /_questd/clock: seconds to move the clock of every rule by; {} only reads it.

    `reset` puts it back to the time of day first: what queues hold by then may have come from the future.
    """

    model_config = ConfigDict(extra="forbid")

    advance: float = Field(0, ge=0, le=1e9, allow_inf_nan=False)
    reset: bool = False


def beside_actions(questd: Questd, request: Request) -> Coroutine[Any, Any, Answer] | None:
    """Return what answers a target that is none of SQS's; None for any other."""
    path = request.target.partition("?")[0]
    if not request.target.isascii():  # RFC 9112: a target has no other characters
        return _refused(errors.SerializationException())
    if path.startswith("/health/"):
        return health(questd, path)
    if path == "/_localstack/health":
        return _localstack_health(questd)
    if path in FOR_TESTS and questd.settings.test_mode:
        return _for_tests(questd, request, path)
    return None


async def _refused(error: errors.SQSError) -> Answer:
    return refusal(error)


def failure(protocol: Protocol, error: errors.SQSError, request: Request, request_id: str) -> Answer:
    """Return the answer that is an error."""
    content_type, body, more = protocol.error_parts(error, request, request_id)
    return Answer(error.status, content_type, body, {REQUEST_ID: request_id} | more, error=error.name)


def shown(error: Exception, request_id: str) -> errors.SQSError:
    """Return what a client gets to see of a failure."""
    if isinstance(error, errors.SQSError) and not isinstance(error, errors.InternalFailure):
        return error
    log.error("request %s failed", request_id, exc_info=error, extra=logs.about(request_id))
    return errors.InternalFailure()


def refusal(error: errors.SQSError) -> Answer:
    """Return the answer to a request that comes to no action."""
    return failure(aws_json, error, Request("", "", {}, b""), new_request_id())


def no_operation() -> Answer:
    """Return what AWS answers to a request without an action (contract 1.3.6)."""
    error = errors.UnknownOperationException.name
    return Answer(404, aws_query.XML, b"<UnknownOperationException/>", error=error)


async def health(questd: Questd, path: str) -> Answer:
    """Return whether this process runs (live), and whether it can work: a function of the library answers (ready)."""
    if path == "/health/live":
        return Answer(200, PLAIN, b"live\n")
    if path != "/health/ready":
        return Answer(404, PLAIN, b"there is /health/live and /health/ready\n")
    try:
        await questd.library.check()
    except errors.SQSError as error:
        return Answer(503, PLAIN, f"not ready: {error.message}\n".encode())
    return Answer(200, PLAIN, b"ready\n")


async def _localstack_health(questd: Questd) -> Answer:
    """Return what LocalStack says of its health, for scripts that wait for it."""
    try:
        await questd.library.check()
        state, status = "running", 200
    except errors.SQSError:
        state, status = "error", 503
    body = {"services": {"sqs": state}, "edition": "community", "version": __version__}
    return Answer(status, "application/json", to_json(body))


async def _clock(questd: Questd, body: bytes) -> dict[str, Any]:
    """Move the clock of a questd in test mode, and return it in ms."""
    move = MoveClock.model_validate_json(body)
    if move.reset:
        await questd.library.call_everywhere("quest_clock", "release")
    arguments = ("advance", round(move.advance * 1000)) if move.advance else ()
    return {"now_ms": await questd.library.call_everywhere("quest_clock", *arguments)}


async def _chaos(questd: Questd, body: bytes) -> dict[str, Any]:
    """Let the requests of an account meet what SQS does at its worst, and return what was understood."""
    chaos = mischief.Chaos.model_validate_json(body)
    mischief.begin(questd, chaos)
    return chaos.model_dump()


FOR_TESTS: dict[str, tuple[Callable[[Questd, bytes], Awaitable[dict[str, Any]]], bytes]] = {
    "/_questd/clock": (_clock, b'{"advance": seconds}'),
    "/_questd/chaos": (_chaos, b'{"account": "123456789012", "seed": 1, "throttling": 0.1}'),
}
"""What there is in test mode, by path, and what it takes."""


async def _for_tests(questd: Questd, request: Request, path: str) -> Answer:
    """Do what only tests may ask for."""
    act, example = FOR_TESTS[path]
    if request.method != "POST":
        return Answer(405, PLAIN, b"POST %s\n" % example, {"Allow": "POST"})
    if act is _chaos and questd.settings.workers > 1:  # only one of them would know
        return Answer(409, PLAIN, b"chaos needs a questd of --workers 1\n")
    try:
        result = await act(questd, request.body or b"{}")
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        return Answer(400, PLAIN, f"send {example.decode()}: {wrong}\n".encode(errors="replace"))
    except errors.SQSError as error:
        return Answer(error.status, PLAIN, f"{error.message}\n".encode())
    return Answer(200, "application/json", to_json(result))
