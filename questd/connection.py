"""One client's HTTP/1.1 connection on the listener: requests to the core one after the other, answers out in order.

It owns order, room and time on a connection, and knows nothing of SQS. whole.py reads plain requests, parser.py all
others, and limits.py refuses what is too much.
"""

import asyncio
import logging
import math
import select
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast
from weakref import WeakSet

from questd.action import Questd
from questd.answer import Answer
from questd.errand import Errand
from questd.heads import CLOSE, CONTINUE, KEEP, head_of
from questd.limits import Limits, Refused
from questd.parser import Parser
from questd.request import Request
from questd.whole import request_of

log = logging.getLogger(__name__)

SLICE = 4096
"""Bytes parsed at once, but for a body: a packet may hold thousands of requests, or of chunks. Others have their turn
after it."""

PIPELINED = 8
"""Requests of one connection that wait for their turn; beyond them nothing more is parsed. So many that are answered at
once are begun in one turn of the event loop."""

IDLE_SECONDS = 75.0
"""How long a connection is kept without a request; SDKs close theirs earlier."""

HEAD_SECONDS = 10.0
"""How long the head of a request may take from its first byte on."""

TRANSFER_SECONDS = 20.0
SLOWEST = 16_384
"""A request, or an answer, may take TRANSFER_SECONDS, and a second more for every SLOWEST bytes that have come."""

LINGER_SECONDS = 2.0
"""How long a refused client may go on sending, so that it reads why before its connection is reset."""

DRAIN_SECONDS = 3.0
"""How long a connection may be idle before it is closed while the listener drains."""

ENDED = getattr(select, "POLLRDHUP", 0)
"""The event that is the end of a client's input. Only Linux has it; elsewhere only who is gone altogether is seen."""

RECEIVE = "ReceiveMessage"
"""What the end of a client's input ends: nobody may be there for what it would take."""


@dataclass(eq=False)
class Shared:
    """What the connections of one listener have in common."""

    questd: Questd
    """Handed on to the errands."""
    limits: Limits
    kept: int = 0
    """Bytes of unfinished requests, large ones and unread answers of all connections: at most `limits.kept`."""
    connections: set["Connection"] = field(default_factory=set)
    arriving: WeakSet["Connection"] = field(default_factory=WeakSet)
    """Those whose TLS handshake is not over. Of one that fails nobody hears, but uvloop then lets go of it: so weak."""
    draining: bool = False
    """Whether each connection ends with its next answer."""


def _time_for(size: int) -> float:
    return TRANSFER_SECONDS + size / SLOWEST


class Connection(asyncio.Protocol):
    """A client's connection: what has come of a request, the requests that wait, the one that is answered."""

    def __init__(self, shared: Shared) -> None:
        self.deadline = math.inf
        """When the client must have gone on (the loop's time); `Listener` ends who is late."""
        self.answering: Request | None = None
        self._shared = shared
        self._limits = shared.limits
        self._over = False  # whether nothing more is read
        self._ended = False  # whether the client has ended its input
        self._unparsed = b""
        self._kept = 0  # this connection's part of what all keep
        self._counted = 0  # bytes of the unfinished request in it
        self._unread = 0  # bytes of answers in it
        self._since = 0.0  # when the client began with what it has not finished
        self._begun = False  # the parser's, at hand: every request looks at it
        self._turns: deque[tuple[Request | Answer, bool]] = deque()  # what is answered next; whether more may follow
        self._keep_open = True  # whether more may follow what is being answered
        self._errand: Errand | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._going_on = False
        self._has_turn = False  # whether it goes on in the next turn of the event loop
        self._is_full = False  # whether the client does not read

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._loop = asyncio.get_running_loop()
        self._transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        self._peer = str(address[0]) if address else ""
        self._parser = Parser(self._limits, self._peer, self._line_up)
        self._shared.arriving.discard(self)
        self._shared.connections.add(self)
        self.lost = self._loop.create_future()
        self._await_next()

    @property
    def idle(self) -> bool:
        """Whether nothing of a request has come, and all answers have gone."""
        waits = self.answering or self._turns or self._begun or self._unparsed
        return not (waits or self._transport.get_write_buffer_size())

    def end(self) -> None:
        """End it: an idle one in peace, any other whatever is going on."""
        (self._transport.close if self.idle else self._transport.abort)()

    def data_received(self, data: bytes) -> None:
        """Take what has come: at once, unless enough is waiting."""
        if self._over:
            return
        comes_next = not (self.answering or self._turns or self._begun or self._is_full or self._unparsed)
        request = request_of(data, self._peer, self._limits.headers) if comes_next else None
        if request and (len(request.body) <= SLICE or self._has_room(len(request.body))):
            self._keep_open = True
            self._begin(request)
            return
        if len(data) > SLICE or self._unparsed or len(self._turns) >= PIPELINED:
            self._parse_some(self._unparsed + data)
        else:
            self._parse(data)
        if self._turns or self._unparsed:
            self._go_on()

    def _has_room(self, size: int) -> bool:
        """Tell whether a large body is taken, and count it as kept; the parser's way says why one is not."""
        if size > self._limits.body or self._shared.kept + size > self._limits.kept:
            return False
        self._keep(size)
        return True

    def eof_received(self) -> bool:
        """Answer what has come whole, and nothing after it; a receive is over: nobody may be there for it."""
        self._over = self._ended = True
        if self.answering and self.answering.action == RECEIVE:
            self._give_up()
        elif self.answering or self._turns:
            return self._transport.can_write_eof()  # TLS ends in both directions at once
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget it, and whatever is still being done for it."""
        self._shared.connections.discard(self)
        self._shared.kept -= self._kept
        self._give_up()
        self._turns.clear()
        self._unparsed = b""
        self.lost.set_result(None)
        # All of these refer to this connection too, and what it holds is to be freed at once.
        if self._lingering:
            self._lingering.cancel()
        self._errand = self._lingering = None
        self._parser.close()

    def pause_writing(self) -> None:
        """Begin no other request: the client does not read. With too much unread already, it has to go."""
        self._is_full = True
        self._unread = self._transport.get_write_buffer_size()
        self.deadline = self._loop.time() + _time_for(self._unread)
        self._keep(self._unread)
        if self._shared.kept > self._limits.kept:
            self._transport.abort()

    def resume_writing(self) -> None:
        """Go on."""
        self._is_full = False
        self._keep(-self._unread)
        if self._transport.is_closing():
            return
        self.deadline = math.inf
        if self._turns or self._unparsed:
            self._go_on()
        elif not (self.answering or self._over):
            self._await_next()

    # From bytes to turns.

    def _parse_some(self, data: bytes) -> None:
        """Parse a slice, and the body that begins in it, if there is room; hear more only when all is parsed."""
        view, parsed = memoryview(data), 0
        if len(self._turns) < PIPELINED and not self._over:
            parsed = max(SLICE, self._parser.lacking)
            self._parse(view[:parsed])
            if parsed < len(data) and not self._over and (lacking := self._parser.lacking):
                self._parse(view[parsed : parsed + lacking])
                parsed += lacking
        rest = b"" if self._over else data[parsed:]
        if bool(rest) != bool(self._unparsed):
            (self._transport.pause_reading if rest else self._transport.resume_reading)()
        self._keep(len(rest) - len(self._unparsed))
        self._unparsed = rest

    def _parse(self, piece: bytes | memoryview) -> None:
        begun, parser = self._begun, self._parser
        try:
            parser.feed(piece)
            if parser.begun:
                self._keep(parser.size - self._counted)
                self._counted = parser.size
                self._limits.check_kept(self._shared.kept)
        except Refused as reason:
            if not self._over:
                self._turns.append((reason.answer, False))
                self._over = True
            parser.body = b""
            self._keep(-self._counted)
            self._counted = 0
        self._begun = parser.begun
        if self._begun and not (self.answering or self._turns or self._is_full):
            self._await_rest(begun=begun)

    def _line_up(self, request: Request, keep: bool) -> None:  # noqa: FBT001  # the parser's
        """Take a request that has come whole; `keep`: more may follow."""
        if self._counted:
            size = len(request.body)
            self._keep((size if size > SLICE else 0) - self._counted)
            self._counted = 0
        self._turns.append((request, keep))
        self._over = not keep

    def _keep(self, more: int) -> None:
        """Count bytes that this connection keeps from now on, or, with less than 0, keeps no more."""
        if not self.lost.done():
            self._kept += more
            self._shared.kept += more

    def _await_rest(self, *, begun: bool) -> None:
        """Give the client time for the rest of its request, and leave to send it."""
        if not begun or self.deadline == math.inf:  # another was answered meanwhile
            self._since = self._loop.time()
        parser = self._parser
        self.deadline = self._since + (_time_for(len(parser.body)) if parser.headed else HEAD_SECONDS)
        if parser.expecting:
            parser.expecting = False
            if not parser.body:
                self._transport.write(CONTINUE)

    # From turns to answers.

    def _go_on(self) -> None:
        """Begin with what is next, unless one is being answered or the client does not read; not for too long."""
        if self._going_on or self.answering or self._is_full:
            return  # or an answer came at once
        self._going_on = True
        if self._unparsed:
            self._parse_some(self._unparsed)
        for _ in range(min(PIPELINED, len(self._turns))):
            turn, self._keep_open = self._turns.popleft()
            if isinstance(turn, Answer):
                self._refuse(turn)
            else:
                self._begin(turn)
            if self.answering or self._is_full or not self._turns:
                break
        self._going_on = False
        if self.answering or self._is_full:
            return
        if self._turns or self._unparsed:
            self._go_on_in_turn()
        elif self.deadline == math.inf and not self._over:
            self._await_next()

    def _go_on_in_turn(self) -> None:
        """Go on when others had their turn: one client's requests that are answered at once kept a worker from all."""
        if not self._has_turn:
            self._has_turn = True
            self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._has_turn = False
        if not self._transport.is_closing():
            self._go_on()

    def _begin(self, request: Request) -> None:
        """Have a request answered."""
        self.answering, self.deadline = request, math.inf
        errand = self._errand = Errand(self._shared.questd, request, self._answered)
        errand.begin()
        if self._ended and self.answering is request and request.action == RECEIVE:
            self._give_up()
            self._close()

    def _answered(self, answer: Answer) -> None:
        """Write the answer to what is being answered, and go on."""
        request: Any = self.answering
        self.answering = self._errand = None
        if len(request.body) > SLICE:
            self._keep(-len(request.body))
        # Nothing follows what is undone: its client would take the next answer for this one.
        undo = answer.undo if answer.undo and self._is_gone() else None
        ends = undo or not self._keep_open or self._shared.draining or (self._over and not self._turns)
        try:
            if undo:
                undo()
            else:
                self._write(answer, CLOSE if ends else KEEP, request.method)
            if ends:
                self._close()
            elif self._turns or self._unparsed:
                self._go_on()
            elif not self._is_full:
                self._await_next()
        except Exception:  # the client would take the next answer for this one
            log.exception("a connection failed")
            self._over = True
            self._turns.clear()
            self._transport.abort()

    def _is_gone(self) -> bool:
        """Tell whether nobody is there to take messages; the loop may tell so a moment later than Redis replies.

        Of clients that hang up at once, up to a third were answered without the last look; it takes 0.6 µs.
        """
        return self._ended or self._transport.is_closing() or bool(self._input.poll(0))

    @cached_property
    def _input(self) -> select.poll:
        watch = select.poll()
        watch.register(self._transport.get_extra_info("socket"), ENDED)
        return watch

    def _await_next(self) -> None:
        """Give the client time for its next request, or for the rest of it."""
        if self._begun:
            self._await_rest(begun=False)
        else:
            self.deadline = self._loop.time() + (DRAIN_SECONDS if self._shared.draining else IDLE_SECONDS)

    def _close(self) -> None:
        """Close it when all is written."""
        self._over = True
        self._turns.clear()
        self.deadline = self._loop.time() + _time_for(self._transport.get_write_buffer_size())
        self._transport.close()

    def _refuse(self, answer: Answer) -> None:
        """Write why nothing more is taken, and let the client read it.

        One that still sends when its connection is closed sees a reset instead.
        """
        self._write(answer, CLOSE)
        if not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()
        self._lingering = self._loop.call_later(LINGER_SECONDS, self._close)

    def _give_up(self) -> None:
        if self._errand:
            self._errand.cancel()

    def _write(self, answer: Answer, connection: str, method: str = "") -> None:
        if self._transport.is_closing():
            return
        head = head_of(answer, connection)
        self._transport.write(head if method == "HEAD" else head + answer.body)
