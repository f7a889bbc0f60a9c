"""An errand: one request on its way to its answer, in either protocol. Both fronts begin here; it knows neither.

Most requests are one call of Redis. Such a one has no task and no future of its own: its answer is made in the tick in
which the reply comes, with those of all the requests that the call was for. What takes more is a task.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from time import perf_counter_ns
from typing import Any, cast

from questd import answer, aws_json, aws_query, errors, logs, mischief, namespaces
from questd.action import CallAction, Questd, TakesMore
from questd.answer import PLAIN, REQUEST_ID, Answer
from questd.identifiers import new_request_id
from questd.request import Request

log = logging.getLogger(__name__)

LONGEST_SHOWN = 200
"""Characters of a queue's name in a log line: one that there cannot be may be long."""

CLIENT_GONE = 499
"""What the access log has, as nginx's, for the status of an answer that nobody waited for."""

Done = Callable[[Answer], None]
"""Gets the answer to a request, once."""


async def answered(questd: Questd, request: Request) -> Answer:
    """Return the answer to a request, whatever is wrong with it."""
    return await _awaited(Errand.begin, questd, request)


async def answered_in_query(questd: Questd, request: Request) -> Answer:
    """Return the answer to a request in the Query protocol; who is known already (console.py) need not have signed."""
    return await _awaited(lambda errand: errand.enter(aws_query), questd, request)


async def _awaited(begin: Callable[["Errand"], None], questd: Questd, request: Request) -> Answer:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def hand_over(given: Answer) -> None:
        if not future.done():
            future.set_result(given)
        elif given.undo:
            given.undo()

    errand = Errand(questd, request, hand_over)
    begin(errand)
    try:
        return await future
    except asyncio.CancelledError:
        errand.cancel()
        if not future.cancelled():  # it came in the tick in which the caller went
            hand_over(future.result())
        raise


class Errand:
    """One request. As a caller of functions (calls.Caller) it is told the reply."""

    __slots__ = (
        *("_action", "_begun", "_counted", "_done", "_id", "_is_given_up", "_meaning", "_protocol", "_questd"),
        *("_request", "_task"),
    )

    def __init__(self, questd: Questd, request: Request, done: Done) -> None:
        self._questd = questd
        self._request = request
        self._done = done
        self._counted = self._is_given_up = False
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin with it; never raises."""
        questd, request = self._questd, self._request
        if request.target != "/":
            request.take_origin_form()
        headers = request.headers
        if (
            questd.gate is None
            and ("origin" in headers or "sec-fetch-site" in headers)
            and _is_from_another_site(headers)
        ):
            self._done(Answer(403, PLAIN, b"without access keys, questd answers no web page of another site\n"))
            return
        beside = answer.beside_actions(questd, request) if request.target != "/" else None
        if beside:
            self._run(self._tell(beside))
            return
        request.namespace = namespaces.of_request(questd.home, headers, request.target)
        method = request.method
        if method == "POST" and ("x-amz-target" in headers or _has_json(request)):
            self.enter(aws_json)
        elif method in {"GET", "POST"}:
            self.enter(aws_query)
        else:
            self._done(answer.no_operation())

    def cancel(self) -> None:
        """Give it up: nobody is there for the answer. A call that is made is made, and undone when its reply comes."""
        self._is_given_up = True
        if self._task:
            self._task.cancel()

    def enter(self, protocol: answer.Protocol) -> None:
        """Begin with what it asks for in a protocol."""
        questd, request = self._questd, self._request
        self._protocol = protocol
        self._id = new_request_id()
        self._begun = perf_counter_ns()
        self._counted = True
        try:
            questd.capacity.begin()
            action = protocol.action_of(request, questd.gate)
            if action is None:
                self._finish(answer.no_operation())
                return
            self._action = request.asked = action
            if not (action.function and self._call(action)):
                self._run(self._do())
        except Exception as error:  # noqa: BLE001  # whatever it is, the client gets an answer
            self._fail(error)

    def _call(self, action: Any) -> bool:  # noqa: ANN401  # a CallAction: to cast it is a call of a function
        """Make the call that an action is; tell whether that is all, and nothing has to be found out first."""
        questd, queue = self._questd, action.QueueUrl
        facts = questd.facts.get(queue)
        if facts is None or questd.troubles:
            return False
        if questd.gate and not questd.gate.check_at_once(questd, self._request, action):
            return False
        try:
            given, self._meaning = action.asked(questd, self._request, facts)
        except (errors.SQSError, TakesMore):  # the queue may be another one by now: what waits for it finds out
            return False
        call = facts.version, *given
        questd.together.begin(action.function, facts.key, call, self, facts.grouped, action.repeat)
        return True

    def take(self, reply: list[Any]) -> None:
        """Make the answer out of the reply to its call."""
        if self._is_over():
            self.take_back(reply)
            return
        if reply and reply[0] == b"facts":
            self._questd.learn(cast("CallAction", self._action).QueueUrl, reply[1])
            self._run(self._do())
            return
        try:
            self._succeed(self._meaning(reply))
        except TakesMore:
            self._run(self._do())
        except Exception as error:  # noqa: BLE001  # as above
            self._fail(error)

    def take_back(self, reply: list[Any]) -> None:
        """Undo what its call did."""
        cast("CallAction", self._action).take_back(self._questd, reply)

    def fail(self, error: Exception) -> None:
        """Answer that its call failed."""
        if self._is_over():
            return
        if isinstance(error, errors.QueueDoesNotExist):
            self._questd.facts.pop(cast("CallAction", self._action).QueueUrl, None)
        self._fail(error)

    def _is_over(self) -> bool:
        """Tell whether nobody waits for an answer any more, and count it no more then."""
        if self._counted and self._is_given_up:
            self._give_up()
        return not self._counted

    async def _do(self) -> None:
        """Do what takes more than one call, or has to wait."""
        questd, request, action = self._questd, self._request, self._action
        try:
            if questd.gate:
                await questd.gate.check(questd, request, action)
            result = await (mischief.around(questd, request, action) if questd.troubles else action(questd, request))
            self._succeed(result)
        except Exception as error:  # noqa: BLE001  # as above
            self._fail(error)

    async def _tell(self, beside: Coroutine[Any, Any, Answer]) -> None:
        try:
            given = await beside
        except Exception as error:  # noqa: BLE001  # as above
            given = answer.refusal(answer.shown(error, new_request_id()))
        self._done(given)

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._task = self._questd.loop.create_task(coroutine)
        self._task.add_done_callback(self._ended)

    def _ended(self, _task: asyncio.Task[None]) -> None:
        self._task = None  # it refers to this through its cancellation
        if self._counted:  # it was cancelled
            self._give_up()

    def _give_up(self) -> None:
        """Count it no more, and log that its client did not wait."""
        self._count_out()
        if self._questd.logs_access:
            unread = Answer(CLIENT_GONE, PLAIN, b"", {REQUEST_ID: self._id})
            _log(self._request, unread, perf_counter_ns() - self._begun)

    def _count_out(self) -> None:
        self._counted = False
        self._questd.capacity.requests -= 1

    def _succeed(self, result: dict[str, Any] | None) -> None:
        request = self._request
        content_type, body = self._protocol.result_parts(self._action, result, request, self._id)
        self._finish(Answer(200, content_type, body, {REQUEST_ID: self._id}, request.undo))

    def _fail(self, error: Exception) -> None:
        if not self._counted:
            return
        shown = answer.shown(error, self._id)
        self._finish(answer.failure(self._protocol, shown, self._request, self._id))

    def _finish(self, given: Answer) -> None:
        """Count it, log it and hand it over."""
        questd, request = self._questd, self._request
        took_ns = perf_counter_ns() - self._begun
        self._count_out()
        questd.counts.answered(request.action, given.error, took_ns - request.waited_ns)
        if questd.logs_access:
            _log(request, given, took_ns)
        try:
            self._done(given)
        except Exception:  # one request's failure must not be that of others, whose replies came with its own
            log.exception("an answer could not be handed over")


def _is_from_another_site(headers: Mapping[str, str]) -> bool:
    """Tell whether a browser asks for a web page, whose author may be somebody who cannot reach this port himself."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site not in {"none", "same-origin"}
    return origin is not None and origin.partition("//")[2] != headers.get("host")


def _has_json(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith(aws_json.CONTENT_TYPE)


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
