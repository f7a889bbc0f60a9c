"""Calls that come together: what several requests of one tick ask of a queue is done by one function call.

Most of what a function costs Redis is its beginning and its end: ten messages sent by one call take half the time of
ten calls. It knows how the calls of a function become one, and how its reply is dealt out; not what they are for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from questd import errors
from questd.calls import Caller, Waiting, awaited
from questd.library import Library

Arguments = tuple[Any, ...]
"""Of one call, the version first."""

HEAVIEST = 8
"""What one call may weigh, about: a message is 1, and 1 more for every KiB. More gains little, and Redis should begin
while this process goes on: with 64, one busy worker answered a sixth less."""

BODY, SEND_WIDTH = 4, 6
"""Where quest_send's arguments have the first body, and how many each message has."""

HEADER = 2
MESSAGE = 4
"""Of quest_receive's reply: how many parts come first, and how many each message has."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How calls of one function become one."""

    mark: Callable[[Arguments], Hashable] | None
    """What calls must have in common; None: the version."""
    merge: Callable[[Sequence[Arguments]], Arguments]
    """The arguments of one call that does what these do."""
    split: Callable[[list[Any], Sequence[Arguments]], list[list[Any]]]
    """The reply that each of them would have got, out of the reply to all."""
    weight: Callable[[Arguments], int]
    """How much a call is to do."""


def _weight_of_sent(call: Arguments) -> int:
    if len(call) == 1 + SEND_WIDTH:
        return 1 + len(call[BODY]) // 1024
    bodies = call[BODY::SEND_WIDTH]
    return len(bodies) + sum(map(len, bodies)) // 1024


def _appended(calls: Sequence[Arguments]) -> Arguments:
    """Return the arguments of functions that take, after the version, one entry after the other."""
    appended = list(calls[0])
    for call in calls[1:]:
        appended += call[1:]
    return tuple(appended)


def _sent_together(calls: Sequence[Arguments]) -> Arguments:
    """Return the arguments of one send: the most messages that the queue may have, if told, come last and once."""
    most = (len(calls[0]) - 1) % SEND_WIDTH
    if not most:
        return _appended(calls)
    return *_appended([call[:-most] for call in calls]), *calls[0][-most:]


def _split_sent(reply: list[Any], calls: Sequence[Arguments]) -> list[list[Any]]:
    """Deal out quest_send's reply: in a FIFO queue two parts for each message, in others one for all."""
    if len(reply) == 1:
        return [reply] * len(calls)
    return _dealt(reply, [len(call) // SEND_WIDTH * 2 for call in calls])


def _split_deleted(reply: list[Any], calls: Sequence[Arguments]) -> list[list[Any]]:
    return _dealt(reply, [len(call) - 1 for call in calls])


def _split_changed(reply: list[Any], calls: Sequence[Arguments]) -> list[list[Any]]:
    return _dealt(reply, [len(call) // 2 for call in calls])


def _dealt(parts: list[Any], counts: Sequence[int]) -> list[list[Any]]:
    dealt, start = [], 0
    for count in counts:
        dealt.append(parts[start : start + count])
        start += count
    return dealt


def _receiving(call: Arguments) -> Hashable:
    version, _, visibility_ms, _, limit, _, process, wait_ms, *_ = call
    return version, visibility_ms, limit, process, wait_ms == 0


def _receiving_groups(call: Arguments) -> Hashable:
    """In a queue with groups each wants as many as the others; what an attempt gets stays the attempt's."""
    _, most, _, _, _, attempt, *_ = call
    return _receiving(call), most, attempt and object()


def _received_together(calls: Sequence[Arguments]) -> Arguments:
    """Return the arguments of a receive for all of them, which waits as long as the most patient one."""
    version, _, visibility_ms, not_after, limit, attempt, process, *_ = calls[0]
    most = sum(call[1] for call in calls)
    wait_ms, others_ms = max(call[7] for call in calls), max(call[8] for call in calls)
    return version, most, visibility_ms, not_after, limit, attempt, process, wait_ms, others_ms, len(calls)


def _split_received(reply: list[Any], calls: Sequence[Arguments]) -> list[list[Any]]:
    """Deal out messages: one for each in turn, so that nobody gets ten while another gets none."""
    left, counts = (len(reply) - HEADER) // MESSAGE, [0] * len(calls)
    while left:
        for i, call in enumerate(calls):
            if left and counts[i] < call[1]:
                counts[i] += 1
                left -= 1
    dealt = _dealt(reply[HEADER:], [count * MESSAGE for count in counts])
    return [reply[:HEADER] + messages for messages in dealt]


def _split_groups(reply: list[Any], calls: Sequence[Arguments]) -> list[list[Any]]:
    """Deal out messages as Redis has: those of a group are for one."""
    first = HEADER + len(calls)
    dealt = _dealt(reply[first:], [count * MESSAGE for count in reply[HEADER:first]])
    return [reply[:HEADER] + messages for messages in dealt]


KINDS = {
    "quest_send": Kind(None, _sent_together, _split_sent, _weight_of_sent),
    "quest_delete": Kind(None, _appended, _split_deleted, lambda call: len(call) - 1),
    "quest_change_visibility": Kind(None, _appended, _split_changed, lambda call: len(call) // 2),
    "quest_receive": Kind(_receiving, _received_together, _split_received, lambda call: int(call[1])),
}
"""The functions whose calls can be done together."""

KINDS_WITH_GROUPS = KINDS | {
    "quest_receive": Kind(_receiving_groups, _received_together, _split_groups, lambda call: int(call[1])),
}
"""The same in a queue whose messages have groups: one receive may get several messages of a group, but two never share
one."""


class _Group:
    """Calls of this tick that will be one."""

    __slots__ = ("_together", "callers", "calls", "function", "key", "kind", "repeat", "weight")

    def __init__(self, together: "Together", function: str, kind: Kind, key: str, *, repeat: bool) -> None:
        self._together = together
        self.function = function
        self.kind = kind
        self.key = key
        self.repeat = repeat
        self.calls: list[Arguments] = []
        self.callers: list[Caller] = []
        self.weight = 0

    def apart(self) -> list["_Group"]:
        """Return a group for each call; none when there is but one."""
        alone = [
            _Group(self._together, self.function, self.kind, self.key, repeat=self.repeat)
            for _ in self.calls
            if len(self.calls) > 1
        ]
        for one, call, caller in zip(alone, self.calls, self.callers, strict=False):
            one.calls, one.callers = [call], [caller]
        return alone

    def command(self) -> Arguments:
        """Return the command that does all of them."""
        given = self.calls[0] if len(self.calls) == 1 else self.kind.merge(self.calls)
        return "FCALL", self.function, 1, self.key, *given

    def take(self, reply: list[Any]) -> None:
        """Give each caller what is his."""
        try:
            for caller, part in zip(self.callers, self._parts(reply), strict=True):
                caller.take(part)
        except Exception as failure:  # noqa: BLE001  # a reply that cannot be dealt out: nobody may wait for ever
            self.tell_all(failure)

    def take_back(self, reply: list[Any]) -> None:
        """Give nobody what was his: they will hear of a failure."""
        for caller, part in zip(self.callers, self._parts(reply), strict=True):
            caller.take_back(part)

    def fail(self, error: Exception) -> None:
        """Go on, if that can be done."""
        self._together.recover(self, error)

    def tell_all(self, error: Exception) -> None:
        """Tell every caller of a failure."""
        for caller in self.callers:
            caller.fail(type(error)(*error.values) if isinstance(error, errors.SQSError) else error)

    def _parts(self, reply: list[Any]) -> list[list[Any]]:
        if len(self.calls) == 1 or reply[:1] == [b"facts"]:
            return [reply] * len(self.calls)
        return self.kind.split(reply, self.calls)


class Together:
    """The calls of one tick, by what can be done together."""

    def __init__(self, library: Library) -> None:
        self.merged = 0
        """How many calls needed no function call of their own; whoever counts them takes them away."""
        self._library = library
        self._loop = asyncio.get_running_loop()
        self._open: dict[Hashable, _Group] = {}
        self._called = False
        self._tasks: set[asyncio.Task[None]] = set()

    def call(
        self,
        function: str,
        key: str,
        *call: bytes | str | float,
        grouped: bool,
        repeat: bool = False,
        abandoned: Callable[[Any], None] | None = None,
    ) -> Awaitable[list[Any]]:
        """Call one of KINDS as `Library.call` does, together with others; `grouped`: its messages have groups.

        Not a coroutine: each one on the way of a reply costs a request a hundredth.
        """
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self.begin(function, key, call, Waiting(future, abandoned), grouped, repeat)
        return awaited(future, abandoned) if abandoned else future

    def begin(  # noqa: PLR0913, PLR0917  # a call, and how it may be made
        self,
        function: str,
        key: str,
        call: Arguments,
        caller: Caller,
        grouped: bool,  # noqa: FBT001  # Python takes long over keywords
        repeat: bool,  # noqa: FBT001
    ) -> None:
        """Make a call for a caller that hears of it."""
        kind = (KINDS_WITH_GROUPS if grouped else KINDS)[function]
        mark = (function, key, kind.mark(call) if kind.mark else call[0])
        group = self._open.get(mark)
        if group is None:
            group = self._open[mark] = _Group(self, function, kind, key, repeat=repeat)
            if not self._called:
                self._called = True
                self._loop.call_soon(self._begin_all)
        group.calls.append(call)
        group.callers.append(caller)
        group.weight += kind.weight(call)
        if group.weight >= HEAVIEST:
            del self._open[mark]
            self._begin(group)

    def _begin_all(self) -> None:
        """Make the calls, and have them written now: to write at the end of the tick made one worker a tenth slower."""
        self._called = False
        groups = list(self._open.values())
        self._open.clear()
        for group in groups:
            self._begin(group)
        self._write()

    def _write(self) -> None:
        for primary in self._library.primaries.all:
            primary.pipeline.write()

    def _begin(self, group: _Group) -> None:
        self.merged += len(group.calls) - 1
        try:
            self._library.primaries.begin(group.command(), group, repeat=group.repeat)
        except Exception as error:  # noqa: BLE001  # nobody may wait for a call that could not be made
            self._loop.call_soon(group.fail, error)  # not now: who hears of it may begin with the next call

    def recover(self, group: _Group, error: Exception) -> None:
        """Go on with calls that failed."""
        task = self._loop.create_task(self._recover(group, error))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _recover(self, group: _Group, error: Exception) -> None:
        try:
            how: dict[str, Any] = {"repeat": group.repeat, "abandoned": group.take_back}
            group.take(await self._library.recover(error, group.command(), **how))
        except errors.QueueFull as full:  # for all of them, but there may be room for some
            if len(group.calls) == 1:
                group.tell_all(full)
            for alone in group.apart():
                self._begin(alone)
            self._write()
        except Exception as failure:  # noqa: BLE001  # whatever it is, each of those who wait must hear of it
            group.tell_all(failure)
