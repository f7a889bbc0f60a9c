"""The core of both fronts: an HTTP request in, its answer out. It knows no server.

Which protocol a request speaks is decided here, and every failure becomes an answer here.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from questd import __version__, aws_json, aws_query, errors, logs, mischief, namespaces
from questd.action import Questd, Request
from questd.identifiers import new_request_id
from questd.settings import Settings

log = logging.getLogger(__name__)

SERVER = "questd"
"""What both fronts call themselves."""

PLAIN = "text/plain; charset=utf-8"

REQUEST_ID = "x-amzn-RequestId"
"""The header with the id of a request, which its log lines carry too."""

LONGEST_SHOWN = 200
"""Characters of a queue's name in a log line: one that there cannot be may be long."""

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


class MoveClock(BaseModel):
    """The body of POST /_questd/clock: seconds to move the clock of every rule by; {} only reads it.

    `reset` puts it back to the time of day first: what queues hold by then may have come from the future.
    """

    model_config = ConfigDict(extra="forbid")

    advance: float = Field(0, ge=0, le=1e9, allow_inf_nan=False)
    reset: bool = False


async def answer(questd: Questd, request: Request) -> Answer:
    """Return the answer to a request, whatever is wrong with it."""
    if questd.gate is None and _is_from_another_site(request.headers):
        return Answer(403, PLAIN, b"without access keys, questd answers no web page of another site\n")
    beside = await _beside_actions(questd, request) if request.target != "/" else None
    if beside:
        return beside
    request.namespace = namespaces.of_request(questd.home, request.headers, request.target)
    if request.method not in {"GET", "POST"}:
        return _no_operation()
    speak = _aws_json if request.method == "POST" and _speaks_json(request) else _aws_query
    begun, capacity = perf_counter_ns(), questd.capacity
    capacity.requests += 1
    try:
        given = await speak(questd, request)
    finally:
        capacity.requests -= 1
    took_ns = perf_counter_ns() - begun
    questd.counts.answered(request.action, given.error, took_ns - request.waited_ns)
    if questd.settings.access_log:
        _log(request, given, took_ns)
    return given


async def _beside_actions(questd: Questd, request: Request) -> Answer | None:
    """Return the answer to a target that is none of SQS's; None for any other."""
    if not request.target.isascii():  # RFC 9112: a target has no other characters
        return refusal(errors.SerializationException())
    path = request.target.partition("?")[0]
    if path.startswith("/health/"):
        return await health(questd, path)
    if path == "/_localstack/health":
        return await _localstack_health(questd)
    if path in FOR_TESTS and questd.settings.test_mode:
        return await _for_tests(questd, request, path)
    return None


def _is_from_another_site(headers: Mapping[str, str]) -> bool:
    """Tell whether a browser asks for a web page, whose author may be somebody who cannot reach this port himself."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site not in {"none", "same-origin"}
    return origin is not None and origin.partition("//")[2] != headers.get("host")


def _log(request: Request, given: Answer, took_ns: int) -> None:
    """Write the line of a request into the access log."""
    queue = getattr(request.asked, "QueueUrl", None) or getattr(request.asked, "QueueName", None) or ""
    fields: dict[str, str | float] = {
        "request_id": given.headers.get(REQUEST_ID, ""),
        "peer": request.peer,
        "key": request.principal,
        "action": request.action,
        "queue": queue[:LONGEST_SHOWN],
        "status": given.status,
        "error": given.error,
        "bytes_in": len(request.body),
        "bytes_out": len(given.body),
        "ms": round(took_ns / 1e6, 3),
    }
    logs.access(fields)


def _speaks_json(request: Request) -> bool:
    headers = request.headers
    return "x-amz-target" in headers or headers.get("content-type", "").startswith(aws_json.CONTENT_TYPE)


async def _aws_json(questd: Questd, request: Request) -> Answer:
    request_id = new_request_id()
    headers = {REQUEST_ID: request_id}
    try:
        questd.capacity.check()
        if questd.gate:
            questd.gate.identify(request)
        action = aws_json.action_of(request)
        request.asked = action
        if questd.gate:
            await questd.gate.check(questd, request, action)
        result = await (mischief.around(questd, request, action) if questd.troubles else action(questd, request))
        return Answer(200, aws_json.CONTENT_TYPE, aws_json.result_body(result), headers, request.undo)
    except Exception as error:  # noqa: BLE001  # whatever it is, the client gets an answer
        return _json_error(_shown(error, request_id), headers)


def _json_error(error: errors.SQSError, headers: dict[str, str]) -> Answer:
    more, body = aws_json.error_parts(error)
    return Answer(error.status, aws_json.CONTENT_TYPE, body, headers | more, error=error.name)


async def _aws_query(questd: Questd, request: Request) -> Answer:
    request_id = new_request_id()
    headers = {REQUEST_ID: request_id}
    try:
        questd.capacity.check()
        parameters = aws_query.parameters(request)
        if "Action" not in parameters:
            return _no_operation()
        if questd.gate:
            questd.gate.identify(request)
        action = aws_query.action_of(request, parameters)
        request.asked = action
        if questd.gate:
            await questd.gate.check(questd, request, action)
        result = await (mischief.around(questd, request, action) if questd.troubles else action(questd, request))
        return Answer(200, *aws_query.result_parts(action, result, request, request_id), headers, request.undo)
    except Exception as error:  # noqa: BLE001  # whatever it is, the client gets an answer
        shown = _shown(error, request_id)
        parts = aws_query.error_parts(shown, request, request_id)
        return Answer(shown.status, *parts, headers, error=shown.name)


def _shown(error: Exception, request_id: str) -> errors.SQSError:
    """Return what a client gets to see of a failure."""
    if isinstance(error, errors.SQSError) and not isinstance(error, errors.InternalFailure):
        return error
    log.error("request %s failed", request_id, exc_info=error, extra=logs.about(request_id))
    return errors.InternalFailure()


def refusal(error: errors.SQSError) -> Answer:
    """Return the answer to a request that comes to no action."""
    return _json_error(error, {REQUEST_ID: new_request_id()})


def _no_operation() -> Answer:
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
