"""Actions: request models that answer themselves, and what they may use. No protocol is known here."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from questd import errors, namespaces
from questd.capacity import Capacity
from questd.counts import Page
from questd.facts import Facts
from questd.library import Library, key_of
from questd.longpoll import LongPolls
from questd.members import QueueName
from questd.mistakes import mistake
from questd.namespaces import Namespace
from questd.request import Request
from questd.settings import Settings
from questd.together import KINDS, Together

FACTS_LIMIT = 100_000
"""Queues that a process knows by heart; more are forgotten together, and learnt again."""

LONG_AGO_MS = 1
"""A time of Redis that has passed on every server."""


class Gate(Protocol):
    """What stands before every action where access keys are configured."""

    def identify(self, request: Request) -> None:
        """Say in the request who signed it. Raises an SQSError when the signature is not good."""

    def admit(self, request: Request, name: str) -> None:
        """Say in the request whose it is: somebody's who has proved that the key is his."""

    def knows(self, name: str, secret: str) -> bool:
        """Tell whether this is the secret of a key."""

    def seal(self, name: str, text: str) -> str:
        """Return what only who has the key's secret can say of a text; '' when there is no such key."""

    def trusts(self, name: str, secret: str) -> bool:
        """Tell whether this is the secret of a key that may do everything."""

    def check_at_once(self, questd: "Questd", request: Request, action: "CallAction") -> bool:
        """Do as `check` does if nothing has to be asked for; tell whether it was done."""

    async def check(self, questd: "Questd", request: Request, action: "Action") -> None:
        """Raise an SQSError unless he may have what he asks for."""


class Trouble(Protocol):
    """What stands around every action of an account for which a test has asked for chaos."""

    async def around(self, questd: "Questd", request: Request, action: "Action") -> dict[str, Any] | None:
        """Do it, with what SQS does at its worst. Raises an SQSError, too."""


@dataclass(slots=True)
class Questd:
    """What an action may use."""

    settings: Settings
    library: Library
    polls: LongPolls
    capacity: Capacity
    counts: Page
    gate: Gate | None = None
    """Nobody is kept out without one."""
    troubles: dict[str, Trouble] = field(default_factory=dict)
    """By account, in test mode only."""
    facts: dict[str, Facts] = field(default_factory=dict)
    ahead_ms: dict[str, float] = field(default_factory=dict)
    """How far Redis's clock is ahead of this process's monotonic one, from the first receive on; by the process's name
    on each primary, for each has a clock of its own."""

    home: Namespace = field(init=False)
    """The server's own namespace."""
    loop: asyncio.AbstractEventLoop = field(init=False)
    together: Together = field(init=False)
    """The calls of functions that can be done together."""
    logs_access: bool = field(init=False)
    max_in_flight: int = field(init=False)
    max_messages: tuple[int, ...] = field(init=False)
    """What quest_send is told of how many messages a queue may have."""

    def __post_init__(self) -> None:
        """Gather what comes together."""
        self.home = namespaces.home_of(self.settings)
        self.loop = asyncio.get_running_loop()
        self.together = Together(self.library)
        self.logs_access = self.settings.access_log
        self.max_in_flight = self.settings.max_in_flight
        most = self.settings.max_messages
        self.max_messages = () if most is None else (most,)

    def arn(self, queue: str) -> str:
        """Return the ARN of a queue."""
        return namespaces.arn(self.home, queue)

    def name_of(self, arn: str) -> str | None:
        """Return the queue that an ARN names; None when it can be none of this server's."""
        return namespaces.name_of(self.home, arn)

    def url(self, queue: str, request: Request) -> str:
        """Return the URL of a queue, on the host that the client used."""
        here = request.host or f"{self.settings.host}:{self.settings.port}"
        scheme = "https" if self.settings.tls_cert else "http"
        base = (self.settings.public_url or f"{scheme}://{here}").rstrip("/")
        _, account, bare = namespaces.parts(self.home, queue)
        return f"{base}/{account}/{bare}"

    async def call(self, function: str, queue: str, *arguments: bytes | str | float, repeat: bool = False) -> Any:  # noqa: ANN401
        """Call a function of the library on a queue."""
        return await self.library.call(function, key_of(queue), *arguments, repeat=repeat)

    async def facts_of(self, queue: str) -> Facts:
        """Return what is known of a queue; the first time it is asked. Raises QueueDoesNotExist."""
        return self.facts.get(queue) or await self.relearn(queue)

    async def relearn(self, queue: str) -> Facts:
        """Return what a queue is now, whatever was known of it. Raises QueueDoesNotExist."""
        try:
            reply = await self.call("quest_facts", queue, repeat=True)
        except errors.QueueDoesNotExist:
            self.facts.pop(queue, None)
            raise
        return self.learn(queue, reply[1])

    def learn(self, queue: str, pairs: list[bytes]) -> Facts:
        """Keep the facts of a queue, out of all the fields of its hash."""
        if len(self.facts) >= FACTS_LIMIT:
            self.facts.clear()
        self.facts[queue] = Facts.of(queue, pairs)
        return self.facts[queue]

    async def ask(
        self,
        function: str,
        queue: str,
        arguments: Callable[[Facts], Iterable[bytes | str | float]],
        *,
        repeat: bool = False,
        abandoned: Callable[[Any], None] | None = None,
    ) -> list[Any]:
        """Call a function that wants to know that this process knows the queue as it is.

        `arguments` checks the request against the facts and gives what the function gets after the version; it is
        called again when they were out of date.
        """
        while True:
            known = self.facts.get(queue)
            facts = known or await self.facts_of(queue)
            try:
                given = (facts.version, *arguments(facts))
            except errors.SQSError:
                # Known from an earlier request: it may have changed since.
                if known is None or await self.relearn(queue) == facts:
                    raise
                continue
            try:
                key = key_of(queue)
                if function in KINDS:
                    reply = await self.together.call(
                        function, key, *given, grouped=facts.grouped, repeat=repeat, abandoned=abandoned
                    )
                else:
                    reply = await self.library.call(function, key, *given, repeat=repeat, abandoned=abandoned)
            except errors.QueueDoesNotExist:
                self.facts.pop(queue, None)
                raise
            if not reply or reply[0] != b"facts":
                return reply
            self.learn(queue, reply[1])

    async def change(self, queue: str, fields: Callable[[Facts], Mapping[str, str]]) -> None:
        """Change fields of a queue's hash, made out of what it is now; '' takes one away. Raises QueueDoesNotExist."""
        await self.ask("quest_set_attributes", queue, lambda facts: flat(fields(facts)))
        self.facts.pop(queue, None)

    def not_after_ms(self, key: str, process: str) -> int:
        """Return the time of the Redis that has `key` at which this process gives up a call that it makes now.

        `process` is its name there. As long as it does not know what time it is there, that is long ago: a receive gets
        nothing but the time, and is to ask again.
        """
        ahead_ms = self.ahead_ms.get(process)
        if ahead_ms is None:
            return LONG_AGO_MS
        return round(self.library.primaries.of(key).pipeline.gives_up_at * 1000 + ahead_ms)

    def note_time(self, process: str, server_ms: int) -> None:
        """Keep how far Redis's clock is ahead."""
        self.ahead_ms[process] = server_ms - time.monotonic() * 1000


def flat(fields: Mapping[str, str]) -> list[str]:
    """Return names and values in turn, as functions take them."""
    return [part for pair in fields.items() for part in pair]


class Action(BaseModel):
    """A request for one action. Unknown members are ignored, null is absent (the awsJson rules)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    needs: ClassVar[str] = ""
    """The AWS action whose right it needs; '' is that of its own name."""
    function: ClassVar[str] = ""
    """The function, one of together.KINDS, that it may be one call of: it is a CallAction then."""

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any] | None:
        """Do it, and return the members of the answer; None for an action without output."""
        raise NotImplementedError

    @classmethod
    def wrong(cls, error: ValidationError, body: bytes, request: Request) -> "Action":  # noqa: ARG003  # a batch looks
        """Raise what AWS answers to wrong members, or return what can be done all the same."""
        raise mistake(error) from error


class QueueAction(Action):
    """An action on one queue."""

    QueueUrl: QueueName


class TakesMore(Exception):
    """An action is more than the one call that it mostly is: it is to be done as a whole."""


Meaning = Callable[[list[Any]], dict[str, Any] | None]
"""What a reply means: the members of the answer, None for an action without output. Raises an SQSError or TakesMore."""


class CallAction(QueueAction):
    """An action that is one call of `function`, as most requests are: in two halves, so that neither has to wait."""

    repeat: ClassVar[bool] = False
    """Whether the call may run twice."""

    def asked(self, questd: Questd, request: Request, facts: Facts) -> tuple[Sequence[Any], Meaning]:
        """Return what the function gets after the version, and what its reply will mean. Raises TakesMore.

        Raises also what is wrong with the action in a queue of which these are the facts.
        """
        raise NotImplementedError

    def take_back(self, questd: Questd, reply: list[Any]) -> None:
        """Undo what was done, if it has to be: nobody will rely on it."""

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any] | None:
        """Do it, whatever has to be found out first."""
        meanings: list[Meaning] = []

        def arguments(facts: Facts) -> Sequence[Any]:
            given, meaning = self.asked(questd, request, facts)
            meanings.append(meaning)
            return given

        reply = await questd.ask(self.function, self.QueueUrl, arguments, repeat=self.repeat)
        return meanings[-1](reply)


def validated(action: type[Action], body: bytes, request: Request) -> Action:
    """Return an action out of its members as JSON. Raises what AWS answers to wrong ones."""
    try:
        # Without pydantic's front door, model_validate_json: that is 3 000 of a request's instructions (callgrind).
        found: Action = action.__pydantic_validator__.validate_json(body, context=request.namespace)
    except ValidationError as error:
        return action.wrong(error, body, request)
    return found
